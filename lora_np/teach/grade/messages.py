"""What goes between the judge and a submission's process: whole messages over a pipe, plain values in them.  Floor 6.

To the submission goes a pickle, made by us.  What comes back is never unpickled: it is JSON that says numbers,
words, lists and arrays, and nothing else, so that a submission cannot make the judge run anything.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
import select
import struct
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

MOST_BYTES = 16_000_000
"""The longest message; exercises speak of arrays of at most some hundred numbers."""

MOST_VALUE_BYTES = 4_000_000
"""The largest value that is looked at; of a larger array comes its shape alone: it cannot be right."""

_LENGTH = struct.Struct(">I")
_DEEPEST = 20
_SLICE = 0.2  # seconds between two looks at whether it is cancelled
_MOST_ITEMS = 100_000


class ChannelError(Exception):
    """The other side is gone, too late, or says what cannot be understood; `reason` is one of these."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


# ---- whole messages ------------------------------------------------------------------------------------------


def send(handle: int, content: bytes) -> None:
    """Write one message.  Raises `ChannelError("gone")` where nobody reads any more."""
    whole = memoryview(_LENGTH.pack(len(content)) + content)
    try:
        while whole:
            whole = whole[os.write(handle, whole) :]
    except BrokenPipeError:
        raise ChannelError("gone") from None


def receive(handle: int, *, until: float = math.inf, cancelled: Callable[[], bool] = lambda: False) -> bytes:
    """Read one message, before the monotonic clock shows `until` and while nobody cancels.

    Raises `ChannelError`: gone, late, cancelled or garbled.
    """
    (length,) = _LENGTH.unpack(_exactly(handle, _LENGTH.size, until, cancelled))
    if length > MOST_BYTES:
        raise ChannelError("garbled")
    return _exactly(handle, length, until, cancelled)


def _exactly(handle: int, count: int, until: float, cancelled: Callable[[], bool]) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        ready = False
        while not ready:
            if cancelled():
                raise ChannelError("cancelled")
            if time.monotonic() >= until:
                raise ChannelError("late")
            ready = bool(select.select([handle], [], [], max(0.0, min(_SLICE, until - time.monotonic())))[0])
        part = os.read(handle, min(count - len(parts), 1 << 20))
        if not part:
            raise ChannelError("gone")
        parts += part
    return bytes(parts)


# ---- values that a submission returns ------------------------------------------------------------------------


def encode(value: Any) -> Any:
    """Say a value in JSON: numbers, fractions, words, lists, tuples, dicts, arrays; of anything else its type's name.

    >>> encode((1, 2.5, "a"))
    {'tuple': [{'int': '1'}, {'float': '0x1.4000000000000p+1'}, {'str': 'a'}]}
    """
    return _Encoder().encode(value, 0)


class _Encoder:
    """Encodes one value, as far as there is room: what is larger than that cannot be right."""

    def __init__(self) -> None:
        self.room = MOST_VALUE_BYTES

    def encode(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is bool:
            return value
        self.room -= 32
        if self.room < 0 or depth > _DEEPEST:
            return {"other": f"{kind.__name__[:60]} beyond what can be looked at"}
        if kind is int:
            return {"int": str(value)} if value.bit_length() < 4000 else {"other": "int"}
        if kind is float:
            return {"float": value.hex()}
        if kind is Fraction:
            return {"fraction": [self.encode(value.numerator, depth), self.encode(value.denominator, depth)]}
        if kind is str:
            return {"str": value[:10_000].encode("utf-8", "replace").decode()}
        if isinstance(value, (np.ndarray, np.generic)):
            return self._array(value, depth)
        if isinstance(value, (list, tuple)):
            items = [self.encode(one, depth + 1) for one in value[:_MOST_ITEMS]]
            return {"list" if isinstance(value, list) else "tuple": items}
        if isinstance(value, Mapping):
            items = list(value.items())[:_MOST_ITEMS]
            return {
                "dict": [[self.encode(key, depth + 1), self.encode(one, depth + 1)] for key, one in items]
            }
        return {"other": kind.__name__[:100]}

    def _array(self, value: np.ndarray[Any, Any] | np.generic, depth: int) -> Any:
        plain = np.asarray(value)
        self.room -= plain.nbytes
        if self.room < 0:
            return {"other": f"array of shape {plain.shape}"[:100]}
        if plain.dtype.kind == "O":  # numbers of mixed kinds, or anything else: item by item
            return {"objects": [self.encode(one, depth + 1) for one in plain.ravel()], "shape": plain.shape}
        if plain.dtype.kind not in "biufcU":
            return {"other": f"array of {plain.dtype}"[:100]}
        plain = plain.astype(plain.dtype.newbyteorder("="), copy=False)
        content = base64.b64encode(np.ascontiguousarray(plain).tobytes()).decode()
        said = {"dtype": plain.dtype.str, "shape": list(plain.shape), "bytes": content}
        return {"scalar" if isinstance(value, np.generic) else "array": said}


def decode(said: Any) -> Any:
    """Make the value again; raises `ChannelError("garbled")` for what `encode` never says.

    >>> decode(encode([1, (2.5, "a"), np.float32(0.1)]))
    [1, (2.5, 'a'), np.float32(0.1)]
    """
    try:
        return _decode(said, 0)
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError, MemoryError, binascii.Error):
        raise ChannelError("garbled") from None


def _decode(said: Any, depth: int) -> Any:
    if depth > _DEEPEST + 1:
        raise ValueError(depth)
    match said:
        case None | True | False:
            return said
        case {"int": str(digits)}:
            return int(digits)
        case {"float": str(digits)}:
            return float.fromhex(digits)
        case {"str": str(text)}:
            return text
        case {"fraction": [above, below]}:
            return Fraction(_decode(above, depth), _decode(below, depth))
        case {"list": [*items]}:
            return [_decode(one, depth + 1) for one in items]
        case {"tuple": [*items]}:
            return tuple(_decode(one, depth + 1) for one in items)
        case {"dict": [*pairs]}:
            return {_decode(key, depth + 1): _decode(one, depth + 1) for key, one in pairs}
        case {"array": dict(content)}:
            return _decode_array(content)
        case {"scalar": dict(content)}:
            return _decode_array(content)[()]
        case {"objects": [*items], "shape": [*shape]}:
            array = np.empty(tuple(map(int, shape)), dtype=object)
            array.ravel()[:] = [_decode(one, depth + 1) for one in items]
            return array
        case {"other": str(name)}:
            return stranger(name)
    raise ValueError(said)


def _decode_array(content: dict[str, Any]) -> np.ndarray[Any, Any]:
    dtype, shape = np.dtype(str(content["dtype"])), tuple(map(int, content["shape"]))
    if dtype.kind not in "biufcU" or dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise ValueError(dtype)
    raw = base64.b64decode(content["bytes"], validate=True)
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise ValueError(len(raw))
    return np.frombuffer(raw, dtype).reshape(shape).copy()


def stranger(name: str) -> Any:
    """Make a thing that is none of the values an answer may be, with the name of its type."""
    return type(name[:100] or "object", (), {})()


# ---- arguments that were written into ------------------------------------------------------------------------


def write_back(before: Any, after: Any) -> None:
    """Change an argument as its copy was changed on the other side."""
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        if before.shape != after.shape and before.size == after.size:
            before.shape = after.shape
        if (
            before.shape == after.shape
            and before.dtype == after.dtype
            and before.tobytes() != after.tobytes()
        ):
            before.flags.writeable = True
            before[...] = after
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) == len(after):
            for one, other in zip(before, after, strict=True):
                write_back(one, other)
        if not all(isinstance(one, np.ndarray) for one in before):
            before[:] = after
    elif isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        for key, value in before.items():
            write_back(value, after[key])


# ---- a submission's messages ---------------------------------------------------------------------------------


def packed(message: Mapping[str, Any]) -> bytes:
    """Write a message of a submission's process as JSON."""
    return json.dumps(message, allow_nan=False).encode()


def unpacked(content: bytes) -> dict[str, Any]:
    """Read a message of a submission's process; raises `ChannelError("garbled")`."""
    try:
        message = json.loads(content)
    except (ValueError, RecursionError):
        raise ChannelError("garbled") from None
    if not isinstance(message, dict):
        raise ChannelError("garbled")
    return message
