"""Write an adapter so that PEFT loads it: two files, each whole or not at all.  Floor 5.

A tensor keeps the type that it was stored in, so what was read is written back bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lora_np import checks
from lora_np._typing import Array
from lora_np.atomic import write_whole
from lora_np.errors import AdapterFileError, ConfigError
from lora_np.files.adapter import CONFIG, TENSORS
from lora_np.files.config import PEFT_NAMES, PeftConfig
from lora_np.files.module import AdapterFile, ModuleAdapter
from lora_np.files.names import PREFIX
from lora_np.files.tensors import STORED, encode

_CODES = {name: code for code, name in STORED.items()}
_ALIGN = 8  # the format's own writer pads the header, so that data start at a multiple of this


def write_adapter(path: str | Path, adapter: AdapterFile) -> None:
    """Write an adapter into a folder, which is made where it is missing.

    The config goes first; each file is written beside its destination and renamed, so an old one stays whole if
    anything fails.  Raises `ConfigError` without a config, `AdapterFileError` where the folder cannot be written.
    """
    tensors, config = adapter_to_bytes(adapter)
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / CONFIG, config)
        write_whole(folder / TENSORS, tensors)
    except OSError as error:
        raise AdapterFileError(f"the adapter cannot be written to {folder}: {error.strerror}") from None


def adapter_to_bytes(adapter: AdapterFile) -> tuple[bytes, bytes]:
    """Return what `write_adapter` writes: the tensors and the config.  Raises `ConfigError`."""
    checks.require_instance("adapter", adapter, AdapterFile)
    if adapter.config is None:
        raise ConfigError(
            "adapter has no config, so no alpha to write",
            fix="make one with make_adapter, which asks for alpha",
        )
    tensors: dict[str, tuple[Array, str]] = {}
    for module in adapter.modules.values():
        tensors |= _tensors_of(module)
    tensors |= {name: (x, adapter.extra_dtypes.get(name, "F32")) for name, x in adapter.extra.items()}
    return tensors_to_bytes(tensors), _config_text(adapter.config)


def tensors_to_bytes(tensors: Mapping[str, tuple[Array, str]]) -> bytes:
    """Return a safetensors file of {name: (array, stored type)}.

    >>> import numpy as np
    >>> len(tensors_to_bytes({"x": (np.zeros(2), "F64")}))
    112
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    spans, end = [], 0
    for name, (x, dtype) in sorted(tensors.items()):
        spans.append(encode(x, dtype))
        header[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [end, end + len(spans[-1])]}
        end += len(spans[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGN)
    return b"".join([len(text).to_bytes(8, "little"), text, *spans])


def _tensors_of(module: ModuleAdapter) -> dict[str, tuple[Array, str]]:
    """Return the tensors of a module under PEFT's names, in PEFT's shapes."""
    code, vectors = _CODES[module.dtype], _CODES[module.vector_dtype or module.dtype]
    stem = module.stem or PREFIX + module.name
    (B, A), weight = module.params, ".weight"
    where = {"A": f"{stem}.lora_A{weight}", "B": f"{stem}.lora_B{weight}"}
    if module.kind == "embedding":
        where = {part: f"{stem}.lora_embedding_{part}" for part in "AB"}
    if module.window is not None:
        A, B = A.reshape(module.rank, *module.window), B.reshape(*B.shape, 1, 1)
    tensors = {where["A"]: (A, code), where["B"]: (B, code)}
    if module.magnitude is not None:
        axes = (1, -1, 1, 1) if module.window is not None else (-1,)
        tensors[f"{stem}.lora_magnitude_vector"] = (module.magnitude.reshape(axes), vectors)
    if module.bias is not None:
        tensors[f"{stem}.lora_B.bias"] = (module.bias, vectors)
    return tensors


def _config_text(config: PeftConfig) -> bytes:
    """Return adapter_config.json, keys in order; what was not understood is written back as it came."""
    own = {
        PEFT_NAMES.get(field.name, field.name): _plain(getattr(config, field.name))
        for field in fields(config)
        if field.name != "other"
    }
    text = json.dumps({"inference_mode": True} | dict(config.other) | own, indent=2, sort_keys=True)
    return text.encode()


def _plain(value: Any) -> Any:
    """Return what JSON can say: lists and dicts; nothing saved whole is None, as PEFT has it."""
    if isinstance(value, Mapping):
        return dict(value)
    return (list(value) or None) if isinstance(value, tuple) else value
