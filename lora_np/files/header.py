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
from lora_np.files.sources import (
    LIMITS,
    Limits,
    MemorySource,
    Source,
    checked_path,
    opened,
    require_tensor_file,
)

ITEM_BITS = {  # of every type that the format knows; `tensors` says which of them are read
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
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


def read_safetensors_header(source: str | Path | bytes, *, limits: Limits = LIMITS) -> Header:
    """Read and check the header of a safetensors file, given by its path or its bytes.

    Raises `AdapterFileError` and its kinds (see `lora_np.errors`), `DTypeError`.
    """
    if isinstance(source, bytes):
        return header_of(MemorySource(source), limits)
    with opened(checked_path(source)) as file:
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
    if len(found) > limits.tensors:
        raise HeaderJSONError(f"{label} names {len(found)} tensors, the limit is {limits.tensors}")
    start = 8 + length
    tensors = {name: _entry(name, facts, start, label) for name, facts in found.items()}
    _require_tiled(tensors, start, source)
    return Header(MappingProxyType(tensors), MappingProxyType(metadata), start)


def _require_length(length: int, source: Source, limits: Limits) -> None:
    """Raise unless a header of this length is allowed and fits the file; nothing of it was read yet."""
    if length > limits.header_bytes:
        raise HeaderTooLargeError(
            f"{source.label} claims a header of {length} bytes, the limit is {limits.header_bytes}; it was not read",
            fix=_byte_order(length, source) or "is it a safetensors file? it begins with its header's length",
        )
    if length > source.size - 8:
        raise HeaderTooLargeError(
            f"{source.label} claims a header of {length} bytes, but {source.size - 8} bytes follow; it was not read",
            fix=_byte_order(length, source) or "the file is cut short, or no safetensors file",
        )


def _byte_order(length: int, source: Source) -> str:
    """Say so where a length would fit if its bytes came in the other order."""
    other = int.from_bytes(length.to_bytes(8, "little"), "big")
    return (
        "big-endian? numbers in a safetensors file are little-endian" if 1 < other <= source.size - 8 else ""
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
    span, bits = offsets[1] - offsets[0], math.prod(shape) * _item_bits(facts["dtype"], where)
    if 8 * span != bits:
        raise OffsetError(
            f"{where} of shape {list(shape)} and dtype {facts['dtype']} needs {bits / 8:.17g} bytes, "
            f"its data_offsets {list(offsets)} span {span}"
        )
    if math.prod(n for n in shape if n) >= 2**48:  # the empty ones among these pass the test above
        raise HeaderSchemaError(f"{where} has shape {list(shape)}, more than any array can have")
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


def _item_bits(dtype: Any, where: str) -> int:
    """Return the size of one entry of a type that the format knows."""
    if not isinstance(dtype, str) or dtype not in ITEM_BITS:
        raise DTypeError(
            f"{where} has dtype {shown(dtype)}, the format knows {', '.join(ITEM_BITS)}",
            fix="save it as F32, F16 or BF16; numbers are little-endian",
        )
    return ITEM_BITS[dtype]


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
