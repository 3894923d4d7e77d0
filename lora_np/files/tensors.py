"""A tensor's bytes to an array of float32 or float64, and back.  Floor 5.

F32 and F64 keep their type; F16 and BF16 become float32, exactly: bfloat16 is the upper half of a float32, so no
package is needed to read it.  Integers and 8-bit floats are refused where a weight is expected.
"""

from __future__ import annotations

import numpy as np

from lora_np import checks
from lora_np._typing import Array
from lora_np.errors import DTypeError
from lora_np.files.header import TensorEntry
from lora_np.files.json_text import shown
from lora_np.files.sources import Source

STORED = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
READABLE = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip


def read_tensor(
    source: Source, name: str, entry: TensorEntry, *, what: str = "tensor", weight: bool = True
) -> Array:
    """Read one tensor; a `weight` holds floats.  Raises `DTypeError`, `NonFiniteError`, `TruncatedFileError`."""
    where = f"{what} {shown(name)} of {source.label}"
    readable = STORED if weight else READABLE
    if entry.dtype not in readable:
        raise DTypeError(
            f"{where} has dtype {entry.dtype}, supported: {', '.join(readable)} (little-endian)",
            fix="save it as F32, F16 or BF16",
        )
    x = decode(source.read(entry.start, entry.stop), entry.dtype).reshape(entry.shape)
    x.flags.writeable = False  # one copy may serve many readers
    if entry.dtype in STORED:
        checks.require_finite(where, x)
    return x


def decode(content: bytes, dtype: str) -> Array:
    """Return the numbers in little-endian bytes: floats as float32 or float64, others in their own type.

    >>> decode(bytes([0x80, 0x3F, 0x00, 0xC0]), "BF16")
    array([ 1., -2.], dtype=float32)
    """
    if dtype == "BF16":
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    x = np.frombuffer(content, READABLE[dtype])
    with np.errstate(invalid="ignore"):  # a signalling NaN is told of by name, later
        return x.astype(np.float32 if dtype == "F16" else x.dtype.newbyteorder("="), copy=False)


def encode(x: Array, dtype: str) -> bytes:
    """Return the little-endian bytes of numbers, rounded to nearest where the stored type is narrower.

    To bfloat16 by way of float32, as PyTorch goes.  Raises `NonFiniteError` where a number is too large for the type.

    >>> encode(np.array([1.0, -2.0], dtype=np.float32), "BF16").hex()
    '803f00c0'
    """
    with np.errstate(over="ignore"):  # told of below
        narrow = np.ascontiguousarray(x).astype("<f4" if dtype == "BF16" else READABLE[dtype])
    if dtype == "BF16":
        bits = narrow.view("<u4").astype(np.uint64)
        nearest = bits + 0x7FFF + ((bits >> 16) & 1)  # ties to the even one of two neighbours
        narrow = (nearest >> 16).astype("<u2")
    content = narrow.tobytes()
    if dtype in STORED:
        checks.require_finite(f"a tensor as {STORED[dtype]}", decode(content, dtype))
    return content
