"""The header of a safetensors file, checked before anything is believed.  Floor 5.

8 bytes little-endian length, one JSON object {name: {dtype, shape, data_offsets}}, then the tensors' bytes, which the
offsets must tile from end to end.  Reads no tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lora_np.errors import (
    DTypeError,
    HeaderJSONError,
    HeaderSchemaError,
    HeaderTooLargeError,
    OffsetError,
    TruncatedFileError,
)
from lora_np.files.json_text import Literal, parse_object, shown
from lora_np.files.sources import Limits, MemorySource, Source, opened, require_tensor_file

ITEM_BYTES = {  # of every type that the format knows and NumPy or a bit shift can hold
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
ONE_BYTE = ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ")  # sized, but not read
_DEPTH = 3  # the object, a tensor, its shape


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """What a header says of one tensor; start and stop count from the first byte of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Header:
    """A header that holds together: every entry lies in the file, and no two overlap."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    data_start: int


def read_safetensors_header(source: str | Path | bytes, *, limits: Limits = Limits()) -> Header:  # noqa: B008 (frozen)
    """Read and check the header of a safetensors file, given by its path or its bytes.

    Raises `AdapterFileError` and its kinds (see `lora_np.errors`), `DTypeError`.
    """
    if isinstance(source, bytes):
        return header_of(MemorySource(source), limits)
    with opened(Path(source)) as file:
        return header_of(file, limits)


def header_of(source: Source, limits: Limits) -> Header:
    """Read and check the header of an open file."""
    require_tensor_file(source)
    length = int.from_bytes(source.read(0, 8), "little")
    _require_length(length, source, limits)
    label = f"the header of {source.label}"
    found = parse_object(
        source.read(8, 8 + length), label, HeaderJSONError, depth=_DEPTH, objects=limits.tensors + 2
    )
    metadata = _metadata(found.pop("__metadata__", {}), label)
    start = 8 + length
    tensors = {name: _entry(name, facts, start, label) for name, facts in found.items()}
    _require_tiled(tensors, start, source)
    return Header(MappingProxyType(tensors), MappingProxyType(metadata), start)


def _require_length(length: int, source: Source, limits: Limits) -> None:
    """Raise unless a header of this length is allowed and fits the file; nothing of it was read yet."""
    if length > limits.header_bytes:
        raise HeaderTooLargeError(
            f"{source.label} claims a header of {length} bytes, the limit is {limits.header_bytes}; it was not read"
        )
    if length > source.size - 8:
        raise HeaderTooLargeError(
            f"{source.label} claims a header of {length} bytes, but {source.size - 8} bytes follow: the file is "
            "cut short or no safetensors file"
        )


def _metadata(found: Any, label: str) -> dict[str, str]:
    """Return the free text of a header."""
    if not isinstance(found, dict) or not all(type(value) is str for value in found.values()):
        raise HeaderSchemaError(f"{label}: __metadata__ must map names to text, got {shown(found)}")
    return found


def _entry(name: str, facts: Any, data_start: int, label: str) -> TensorEntry:
    """Check what a header says of one tensor by itself: its fields, type, extents and the size of its span."""
    where = f"{label}: tensor {shown(name)}"
    if not isinstance(facts, dict) or facts.keys() != {"dtype", "shape", "data_offsets"}:
        keys = shown(sorted(facts)) if isinstance(facts, dict) else shown(facts)
        raise HeaderSchemaError(f"{where} must have dtype, shape and data_offsets, got {keys}")
    shape = _whole_numbers(facts["shape"], "shape", where)
    offsets = _whole_numbers(facts["data_offsets"], "data_offsets", where)
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise OffsetError(
            f"{where} has data_offsets {list(offsets)}, expected [start, stop] with start <= stop"
        )
    span, needed = offsets[1] - offsets[0], math.prod(shape) * _item_bytes(facts["dtype"], where)
    if span != needed:
        raise OffsetError(
            f"{where} of shape {list(shape)} and dtype {facts['dtype']} needs {needed} bytes, "
            f"its data_offsets {list(offsets)} span {span}"
        )
    return TensorEntry(facts["dtype"], shape, data_start + offsets[0], data_start + offsets[1])


def _whole_numbers(found: Any, key: str, where: str) -> tuple[int, ...]:
    """Return a list of non-negative 64-bit integers as a tuple."""
    if not isinstance(found, list) or len(found) > 64:
        raise HeaderSchemaError(f"{where}: {key} must be a list of whole numbers, got {shown(found)}")
    for value in found:
        if type(value) is not int or not 0 <= value < 2**64:
            kind = "a number out of range" if isinstance(value, Literal) else type(value).__name__
            raise HeaderSchemaError(
                f"{where}: {key} holds {shown(value)} ({kind}), expected whole numbers from 0 to 2^64 - 1"
            )
    return tuple(found)


def _item_bytes(dtype: Any, where: str) -> int:
    """Return the size of one entry of a type that the format knows."""
    if dtype in ONE_BYTE:
        return 1
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise DTypeError(
            f"{where} has dtype {shown(dtype)}, expected one of {', '.join((*ITEM_BYTES, *ONE_BYTE))}",
            fix="save it as F32, F16 or BF16",
        )
    return ITEM_BYTES[dtype]


def _require_tiled(tensors: Mapping[str, TensorEntry], data_start: int, source: Source) -> None:
    """Raise unless the spans follow each other from the header to the end of the file."""
    end, last = data_start, "the header"
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != end:
            what = "overlaps" if entry.start < end else "leaves a hole after"
            raise OffsetError(
                f"{source.label}: tensor {shown(name)} at bytes {entry.start} to {entry.stop} {what} {last}, "
                f"which ends at {end} (the data has {source.size - data_start} bytes)"
            )
        end, last = entry.stop, f"tensor {shown(name)}"
    if end > source.size:
        raise TruncatedFileError(
            f"{source.label} has {source.size} bytes, its tensors need {end}: {end - source.size} are missing",
            fix="the file was cut short; fetch or write it again",
        )
    if end < source.size:
        raise OffsetError(
            f"{source.label} has {source.size} bytes, its tensors end at {end}: {source.size - end} trailing bytes "
            "belong to none"
        )
