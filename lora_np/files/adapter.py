"""Read an adapter: a folder as PEFT saves it, a single file, or the bytes of an upload.  Floor 5.

Everything is checked: header, config, that each factor has its partner, that their ranks are those of the config, that
nothing is left over, and that every number is finite.  Reads no base weight (see `base`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lora_np import checks
from lora_np.errors import (
    AdapterFileError,
    ConfigError,
    UnexpectedTensorError,
    UnsafeFormatError,
)
from lora_np.files.building import VECTORS, Stated, read_module
from lora_np.files.config import PeftConfig, config_from_bytes, read_config
from lora_np.files.header import Header, header_of
from lora_np.files.module import AdapterFile
from lora_np.files.names import grouped, listed, module_name, require_complete, unexpected
from lora_np.files.shards import inside
from lora_np.files.sources import LIMITS, Limits, MemorySource, Source, checked_path, opened
from lora_np.files.tensors import read_tensor

TENSORS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def read_adapter(
    source: str | Path,
    *,
    scale: float | None = None,
    strict: bool = True,
    limits: Limits = LIMITS,
) -> AdapterFile:
    """Read an adapter that PEFT saved: a folder, or its .safetensors file.  [lora-delta]

    A file is read with the adapter_config.json beside it, if there is one.  Without a config alpha is not known: then
    `scale` is the factor on B A of all modules, and where it is not given it is assumed to be 1, and marked so.  With
    ``strict=False``, tensors that nothing announces are kept in `extra`.

    Raises `AdapterFileError` and its kinds, `ConfigError`, `DTypeError`, `RankError`, `ShapeError`, `NonFiniteError`.
    """
    path = checked_path(source)
    config: PeftConfig | None = None
    if os.path.isdir(path):  # false, not an error, for a path that cannot be
        config = read_config(inside(path, CONFIG), limits)
        path = _tensors_in(path)
    elif os.path.exists(path) and os.path.exists(path.with_name(CONFIG)):
        config = read_config(inside(path.parent, CONFIG), limits)
    with opened(path) as file:
        return _adapter_of(file, config, scale, strict, limits)


def adapter_from_bytes(
    tensors: bytes,
    config: bytes | None = None,
    *,
    scale: float | None = None,
    strict: bool = True,
    limits: Limits = LIMITS,
) -> AdapterFile:
    """Read an adapter from the bytes of its two files, or of the first alone.  [lora-delta]

    As `read_adapter`, and raises what it raises.
    """
    checks.require_instance("tensors", tensors, bytes)
    if config is not None:
        checks.require_instance("config", config, bytes)
    read = None if config is None else config_from_bytes(config, limits)
    return _adapter_of(MemorySource(tensors), read, scale, strict, limits)


def _tensors_in(folder: Path) -> Path:
    """Return the tensor file of a folder; say what is there instead where it is missing."""
    path = inside(folder, TENSORS)
    if not os.path.exists(path):
        if os.path.exists(path.with_suffix(".bin")):
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
    stems, rest = grouped(header.tensors, _not_announced(config))
    require_complete(stems, rest, source.label, dora=config is not None and config.use_dora)
    if strict:
        _require_expected(rest, stems, config, source.label)
    stated = Stated(config, scale, [module_name(stem) for stem in stems])
    modules = [read_module(source, header, stem, parts, stated) for stem, parts in stems.items()]
    named = {module.name: module for module in modules}
    if len(named) < len(modules):
        raise UnexpectedTensorError(f"{source.label} holds a module with and without the prefix of PEFT")
    extra = {name: read_tensor(source, name, header.tensors[name], weight=False) for name in rest}
    dtypes = {name: header.tensors[name].dtype for name in rest}
    return AdapterFile(
        config, MappingProxyType(named), MappingProxyType(extra), MappingProxyType(dtypes), source.size
    )


def _not_announced(config: PeftConfig | None) -> list[str]:
    """Name the parts of an adapter that the config rules out: PEFT would not apply them."""
    if config is None:
        return []
    return [
        part for part, there in zip(VECTORS, (config.use_dora, config.lora_bias), strict=True) if not there
    ]


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
