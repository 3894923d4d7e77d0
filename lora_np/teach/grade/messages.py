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
from typing import Any

import numpy as np

MOST_BYTES = 16_000_000
"""The longest message; exercises speak of arrays of at most some hundred numbers."""

MOST_ARRAY_BYTES = 4_000_000
"""A larger array comes back as its shape and NaN: it cannot be right."""

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
        while not select.select([handle], [], [], max(0.0, min(_SLICE, until - time.monotonic())))[0]:
            if cancelled():
                raise ChannelError("cancelled")
            if time.monotonic() >= until:
                raise ChannelError("late")
        part = os.read(handle, min(count - len(parts), 1 << 20))
        if not part:
            raise ChannelError("gone")
        parts += part
    return bytes(parts)


# ---- values that a submission returns ------------------------------------------------------------------------


def encode(value: Any, *, depth: int = 0) -> Any:
    """Say a value in JSON: numbers, words, lists, tuples, dicts and arrays; of anything else its type's name.

    >>> encode((1, 2.5, "a"))
    {'tuple': [{'int': '1'}, {'float': '0x1.4000000000000p+1'}, {'str': 'a'}]}
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is int:
        return {"int": str(value)} if value.bit_length() < 4000 else {"other": "int"}
    if kind is float:
        return {"float": value.hex()}
    if kind is str:
        return {"str": value[:100_000].encode("utf-8", "replace").decode()}
    if isinstance(value, (np.ndarray, np.generic)):
        return _encode_array(value)
    if depth < _DEEPEST and isinstance(value, (list, tuple)) and len(value) <= _MOST_ITEMS:
        return {
            "list" if isinstance(value, list) else "tuple": [encode(one, depth=depth + 1) for one in value]
        }
    if depth < _DEEPEST and isinstance(value, Mapping) and len(value) <= _MOST_ITEMS:
        pairs = [[encode(key, depth=depth + 1), encode(one, depth=depth + 1)] for key, one in value.items()]
        return {"dict": pairs}
    return {"other": kind.__name__[:100]}


def _encode_array(value: np.ndarray[Any, Any] | np.generic) -> Any:
    plain = np.asarray(value)
    if plain.dtype.kind == "O":  # numbers of mixed kinds, or anything else: item by item
        if plain.size > _MOST_ITEMS:
            return {"other": "array of objects"}
        return {"objects": [encode(one, depth=_DEEPEST) for one in plain.ravel()], "shape": plain.shape}
    if plain.dtype.kind not in "biufcU":
        return {"other": f"array of {plain.dtype}"[:100]}
    plain = plain.astype(plain.dtype.newbyteorder("="), copy=False)
    said: dict[str, Any] = {"dtype": plain.dtype.str, "shape": list(plain.shape)}
    if plain.nbytes <= MOST_ARRAY_BYTES:
        said["bytes"] = base64.b64encode(np.ascontiguousarray(plain).tobytes()).decode()
    return {"scalar" if isinstance(value, np.generic) else "array": said}


def decode(said: Any) -> Any:
    """Make the value again; raises `ChannelError("garbled")` for what `encode` never says.

    >>> decode(encode([1, (2.5, "a"), np.float32(0.1)]))
    [1, (2.5, 'a'), np.float32(0.1)]
    """
    try:
        return _decode(said, 0)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError, binascii.Error):
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
    if "bytes" not in content:  # too large to be sent, so too large to be right
        return np.broadcast_to(np.float64("nan"), shape)
    raw = base64.b64decode(content["bytes"], validate=True)
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise ValueError(len(raw))
    return np.frombuffer(raw, dtype).reshape(shape).copy()


def stranger(name: str) -> Any:
    """Make a thing that is none of the values an answer may be, with the name of its type."""
    return type(name[:100] or "object", (), {})()


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
