"""Read an adapter: a folder as PEFT saves it, a single file, or the bytes of an upload.  Floor 5.

Everything is checked: header, config, that each factor has its partner, that their ranks are those of the config, that
nothing is left over, and that every number is finite.  Reads no base weight (see `base`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lora_np import checks
from lora_np._typing import Array
from lora_np.errors import (
    AdapterFileError,
    ConfigError,
    DTypeError,
    RankError,
    ShapeError,
    UnexpectedTensorError,
    UnsafeFormatError,
)
from lora_np.files.config import PeftConfig, config_from_bytes, read_config
from lora_np.files.header import Header, header_of
from lora_np.files.json_text import shown
from lora_np.files.module import AdapterFile, ModuleAdapter
from lora_np.files.names import grouped, listed, module_name, require_complete, unexpected
from lora_np.files.sources import Limits, MemorySource, Source, opened
from lora_np.files.tensors import STORED, read_tensor
from lora_np.lora import LoraParams

TENSORS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def read_adapter(
    source: str | Path,
    *,
    scale: float | None = None,
    strict: bool = True,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> AdapterFile:
    """Read an adapter that PEFT saved: a folder, or its .safetensors file.  [lora-delta]

    A file is read with the adapter_config.json beside it, if there is one.  Without a config alpha is not known: then
    `scale` is the factor on B A of all modules, and where it is not given it is assumed to be 1, and marked so.  With
    ``strict=False``, tensors that nothing announces are kept in `extra`.

    Raises `AdapterFileError` and its kinds, `ConfigError`, `DTypeError`, `RankError`, `ShapeError`, `NonFiniteError`.
    """
    path = Path(source)
    if path.is_dir():
        beside = path / CONFIG
        config: PeftConfig | None = read_config(beside, limits)
        path = _tensors_in(path)
    else:
        beside = path.with_name(CONFIG)
        config = read_config(beside, limits) if path.exists() and beside.exists() else None
    with opened(path) as file:
        return _adapter_of(file, config, scale, strict, limits)


def adapter_from_bytes(
    tensors: bytes,
    config: bytes | None = None,
    *,
    scale: float | None = None,
    strict: bool = True,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> AdapterFile:
    """Read an adapter from the bytes of its two files, or of the first alone.  [lora-delta]

    As `read_adapter`, and raises what it raises.
    """
    read = None if config is None else config_from_bytes(config, limits)
    return _adapter_of(MemorySource(tensors), read, scale, strict, limits)


def _tensors_in(folder: Path) -> Path:
    """Return the tensor file of a folder; say what is there instead where it is missing."""
    path = folder / TENSORS
    if not path.exists():
        if path.with_suffix(".bin").exists():
            raise UnsafeFormatError(
                f"{folder} holds adapter_model.bin, a pickle, refused: can execute code; convert to safetensors"
            )
        raise AdapterFileError(f"{path} is missing", fix=f"an adapter folder holds {CONFIG} and {TENSORS}")
    return path


def _adapter_of(
    source: Source, config: PeftConfig | None, scale: float | None, strict: bool, limits: Limits
) -> AdapterFile:
    """Read an open tensor file under a config."""
    _require_scale(scale, config)
    header = header_of(source, limits)
    _require_size(source, header, limits)
    stems, rest = grouped(header.tensors)
    require_complete(stems, rest, source.label)
    if strict:
        _require_expected(rest, stems, config, source.label)
    modules = [_module(source, header, stem, parts, config, scale) for stem, parts in stems.items()]
    named = {module.name: module for module in modules}
    if len(named) < len(modules):
        raise UnexpectedTensorError(f"{source.label} holds a module with and without the prefix of PEFT")
    extra = {name: read_tensor(source, name, header.tensors[name], weight=False) for name in rest}
    dtypes = {name: header.tensors[name].dtype for name in rest}
    return AdapterFile(
        config, MappingProxyType(named), MappingProxyType(extra), MappingProxyType(dtypes), source.size
    )


def _module(
    source: Source,
    header: Header,
    stem: str,
    names: Mapping[str, str],
    config: PeftConfig | None,
    scale: float | None,
) -> ModuleAdapter:
    """Read the tensors of one module into the paper's shapes."""
    where = f"module {shown(stem)} of {source.label}"
    arrays = {part: read_tensor(source, name, header.tensors[name]) for part, name in names.items()}
    stored = {header.tensors[name].dtype for name in names.values()}
    if len(stored) > 1:
        raise DTypeError(f"{where} mixes element types: {', '.join(sorted(stored))}", fix="save it in one")
    embedding = "embedding_A" in arrays
    A, B = (arrays[f"embedding_{part}" if embedding else part] for part in "AB")
    kind = "embedding" if embedding else "conv2d" if A.ndim == 4 else "linear"
    p, window = _factors(A, B, kind, where)
    name, rank = module_name(stem), int(p.A.shape[0])
    if config is not None and rank != config.rank_for(name):
        raise RankError(
            f"{where}: lora_A has rank {rank}, the config says r = {config.rank_for(name)}",
            fix="put the rank into rank_pattern, or use the config that belongs to this file",
        )
    return ModuleAdapter(
        name=name,
        params=p,
        scale=config.scale_for(name, rank) if config is not None else 1.0 if scale is None else float(scale),
        alpha=None if config is None else config.alpha_for(name),
        scale_assumed=config is None and scale is None,
        dtype=STORED[stored.pop()],
        kind=kind,
        transposed=kind == "embedding" or (kind == "linear" and config is not None and config.fan_in_fan_out),
        window=window,
        magnitude=_vector(arrays.get("magnitude"), p, f"the magnitude of {where}"),
        bias=_vector(arrays.get("bias"), p, f"the bias of {where}"),
        stem=stem,
    )


def _factors(A: Array, B: Array, kind: str, where: str) -> tuple[LoraParams, tuple[int, int, int] | None]:
    """Return B (d, r) and A (r, k), and the window of a convolution; refuse what does not fit together."""
    shapes = f"lora_A {tuple(A.shape)} and lora_B {tuple(B.shape)}"
    window = None
    if kind == "conv2d":
        if B.ndim != 4 or B.shape[2:] != (1, 1):
            raise ShapeError(f"{where}: {shapes}, expected (r, channels, height, width) and (d, r, 1, 1)")
        window = tuple(int(n) for n in A.shape[1:])
        A, B = A.reshape(A.shape[0], math.prod(window)), B.reshape(B.shape[:2])
    if A.ndim != 2 or B.ndim != 2:
        raise ShapeError(f"{where}: {shapes}, expected (r, k) and (d, r)")
    if A.shape[0] != B.shape[1]:
        raise RankError(
            f"{where}: {shapes} disagree on the rank", fix="convolutions in groups cannot be read"
        )
    if 0 in A.shape + B.shape:
        raise ShapeError(f"{where}: {shapes} are empty")
    return LoraParams(B=B, A=A), window  # type: ignore[return-value]


def _vector(x: Array | None, p: LoraParams, what: str) -> Array | None:
    """Return a vector of one number for each output, whatever axes of length 1 it was saved with."""
    if x is None:
        return None
    if x.size != p.B.shape[0]:
        raise ShapeError(
            f"{what} has shape {tuple(x.shape)}, expected {p.B.shape[0]} numbers, one for each output"
        )
    return x.reshape(-1)


# ---- what a file can get wrong -----------------------------------------------------------------------------


def _require_scale(scale: float | None, config: PeftConfig | None) -> None:
    """Raise unless the scale is stated once: by the config or by the caller."""
    if scale is None:
        return
    checks.require_number("scale", scale)
    if config is not None:
        raise ConfigError("scale is given, but the config states alpha", fix="leave scale out")


def _require_size(source: Source, header: Header, limits: Limits) -> None:
    """Raise if the tensors are larger than an adapter's may be; none was read yet."""
    size = source.size - header.data_start
    if size > limits.tensor_bytes:
        raise AdapterFileError(
            f"{source.label} holds {size} bytes of tensors, the limit is {limits.tensor_bytes}"
        )


def _require_expected(
    rest: list[str], stems: Mapping[str, Mapping[str, str]], config: PeftConfig | None, label: str
) -> None:
    """Raise `UnexpectedTensorError` if tensors are there that neither modules nor config explain."""
    if config is None:  # nothing was announced, so nothing is unexpected
        return
    tokens = config.other.get("trainable_token_indices") is not None
    strange = unexpected(rest, stems, config.modules_to_save, config.bias, tokens)
    if strange:
        raise UnexpectedTensorError(
            f"{label} holds {len(strange)} tensors that the config does not announce: {listed(strange)}",
            fix="with strict=False they are kept in extra",
        )
