"""Base weights for the modules of an adapter: only the tensors asked for are read.  Floor 5.

A base model's own file often names a module shorter or longer than the adapter does (``h.0.attn`` for
``transformer.h.0.attn``), so one name may be the other's ending.  Weights come as (d, k), as their increments stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from lora_np._typing import Array
from lora_np.errors import AdapterFileError, MissingTensorError, ShapeError
from lora_np.files.header import Header, header_of
from lora_np.files.json_text import shown
from lora_np.files.module import ModuleAdapter
from lora_np.files.names import listed
from lora_np.files.shards import catalogue
from lora_np.files.sources import LIMITS, Limits, MemorySource, Source, checked_path, opened
from lora_np.files.tensors import read_tensor


def read_base(
    source: str | Path | bytes,
    names: Iterable[str] | Mapping[str, ModuleAdapter],
    *,
    limits: Limits = LIMITS,
) -> Mapping[str, Array]:
    """Read the weights of the named modules from a checkpoint: a folder, an index, a file, or bytes.

    Given the modules of an adapter, each weight comes in the shape (d, k) of its increment: tables of embeddings and
    the weights of Conv1D are transposed, filters laid out as rows.  Given names alone, weights come as stored.

    Raises `MissingTensorError` with all names that are not there, `ShapeError` where a weight is not of its adapter's
    shape, `NonFiniteError`, and what reading a header raises.
    """
    modules = names if isinstance(names, Mapping) else dict.fromkeys(names)
    files: dict[str, Source | Path]
    if isinstance(source, bytes):
        memory = MemorySource(source)
        files = dict.fromkeys(header_of(memory, limits).tensors, memory)
    else:
        files = dict(catalogue(checked_path(source), limits))
    keys = matched(modules, files)
    label = "the uploaded file" if isinstance(source, bytes) else str(source)
    read = _read({key: files[key] for key in keys.values()}, limits)
    return MappingProxyType(
        {name: _shaped(read[key], modules[name], f"{shown(key)} of {label}") for name, key in keys.items()}
    )


def matched(names: Iterable[str], keys: Iterable[str]) -> dict[str, str]:
    """Find the tensor of each module: {module: tensor}.  Raises `MissingTensorError`.

    >>> matched(["transformer.h.0.attn"], ["h.0.attn.weight", "h.0.attn.bias"])
    {'transformer.h.0.attn': 'h.0.attn.weight'}
    """
    stems = {key.removesuffix(".weight"): key for key in keys if key.endswith(".weight")}
    endings: dict[str, list[str]] = {}
    for stem in stems:
        for ending in _endings(stem):
            endings.setdefault(ending, []).append(stem)
    found, missing = {}, []
    for name in names:
        longer = endings.get(name, [])  # the base names it with more before
        shorter = [ending for ending in _endings(name) if ending in stems and "." in ending]
        fits = [name] if name in stems else longer + shorter[:1]
        if len(fits) == 1:
            found[name] = stems[fits[0]]
        else:
            missing.append(f"{name} ({listed(fits, most=3)})" if fits else name)
    if missing:
        raise MissingTensorError(
            f"the base lacks, or names twice, the weights of {len(missing)} modules: {listed(missing)}; it holds "
            f"{listed(stems, most=5)}",
            fix="pass the base model that this adapter was trained on",
        )
    return found


def _endings(name: str) -> Iterator[str]:
    """Yield a dotted name and each of its endings, the longest first."""
    parts = name.split(".")
    return (".".join(parts[start:]) for start in range(len(parts)))


def _read(files: Mapping[str, Source | Path], limits: Limits) -> dict[str, Array]:
    """Read tensors by name, each file opened once."""
    arrays: dict[str, Array] = {}
    for place in set(files.values()):
        keys = [key for key, other in files.items() if other == place]
        with _open(place) as source:
            header = header_of(source, limits)
            _require_there(keys, header, source, limits)
            arrays |= {key: read_tensor(source, key, header.tensors[key], what="base weight") for key in keys}
    return arrays


@contextmanager
def _open(place: Source | Path) -> Iterator[Source]:
    """Open a file; bytes are open already."""
    if isinstance(place, Path):
        with opened(place) as source:
            yield source
    else:
        yield place


def _require_there(keys: list[str], header: Header, source: Source, limits: Limits) -> None:
    """Raise unless a file holds what its index says, and the tensors asked for are within the limit."""
    absent = [key for key in keys if key not in header.tensors]
    if absent:
        raise MissingTensorError(f"{source.label} lacks tensors that its index puts there: {listed(absent)}")
    size = sum(header.tensors[key].stop - header.tensors[key].start for key in keys)
    if size > limits.tensor_bytes:
        raise AdapterFileError(
            f"{size} bytes of {source.label} were asked for, the limit is {limits.tensor_bytes}"
        )


def _shaped(W: Array, module: ModuleAdapter | None, where: str) -> Array:
    """Return a weight as (d, k), the shape of its increment."""
    if module is None:
        return W
    d, k = module.shape
    if tuple(W.shape) == module.base_shape:
        return W.T if module.transposed else W.reshape(d, k)
    if module.kind == "linear" and tuple(W.shape) in (
        (d, k),
        (k, d),
    ):  # PEFT itself looks at the layer, not the flag
        return W if tuple(W.shape) == (d, k) else W.T
    raise ShapeError(
        f"base weight {where} has shape {tuple(W.shape)}, the adapter of {shown(module.name)} expects "
        f"{module.base_shape}",
        fix="pass the base model that this adapter was trained on",
    )
