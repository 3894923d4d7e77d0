"""JSON from elsewhere: bounded in size, depth and number of objects, no key twice, no number that JSON lacks.  Floor 5.

Python's parser does the parsing; this file looks at the brackets first, so that a deep or crowded text is refused
before any object is made of it.  A number that JSON does not have, or that is no small integer, becomes a `Literal`:
the text as it stood, for the message of whoever expected something else.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

from lora_np.errors import AdapterFileError

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # possessive: linear, also where no quote closes
_QUOTED = re.compile(rb'"[^"]*+"?')
_NO_STRUCTURE = bytes(set(range(256)) - set(b'{}[],"'))
_STEP = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1, ord(","): 0, ord('"'): 0}
_CONSTANT = re.compile(_STRING.pattern + rb"|(NaN|-?Infinity)", re.DOTALL)
_PER_OBJECT = 20  # brackets and commas; the entry of a tensor has about ten
_LONGEST_INT = 20  # digits: an unsigned 64-bit integer


class Literal(str):
    """A number as it was written: NaN, 1e400, or an integer too long to be meant."""


def parse_object(
    text: bytes, label: str, error: type[AdapterFileError], *, depth: int, objects: int
) -> dict[str, Any]:
    """Parse one JSON object, or raise `error` with the line and column.

    >>> parse_object(b'{"r": 8}', "a config", AdapterFileError, depth=4, objects=10)
    {'r': 8}
    """
    if text.startswith(b"\xef\xbb\xbf"):
        raise error(f"{label} starts with a byte order mark (BOM) at 1:1", fix="save it as UTF-8 without BOM")
    if text.lstrip()[:1] != b"{":
        raise error(f"{label} starts with {text[:16]!r} at byte 0, expected a JSON object: '{{'")
    _require_modest(text, label, error, depth, objects)
    try:
        found = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_constant=Literal,
            parse_float=_number,
            parse_int=lambda digits: int(digits) if len(digits) <= _LONGEST_INT else Literal(digits),
        )
    except UnicodeDecodeError as wrong:
        raise error(f"{label} is not UTF-8 at byte {wrong.start}") from None
    except json.JSONDecodeError as wrong:
        raise error(
            f"{label} is not JSON at {wrong.lineno}:{wrong.colno} (line:column, character {wrong.pos}): {wrong.msg}"
        ) from None
    except _TwiceError as wrong:
        raise error(f"{label} has the key {shown(wrong.args[0])} twice") from None
    _require_characters(text, found, label, error)
    return found  # type: ignore[no-any-return]


def shown(value: Any, most: int = 120) -> str:
    """Write a value from a file so that it fits a message.

    >>> shown("x" * 10**6, most=8)
    "'xxxxxxx... (1000002 characters)"
    """
    text = str(value) if isinstance(value, Literal) else repr(value)
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


class _TwiceError(Exception):
    """A key that stands twice in one object."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict; refuse a key that stands twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        raise _TwiceError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return made


def _number(text: str) -> float | Literal:
    """Return a float, or the text of one that no float holds."""
    value = float(text)
    return value if abs(value) < float("inf") else Literal(text)


def _require_characters(text: bytes, found: Any, label: str, error: type[AdapterFileError]) -> None:
    r"""Raise if an escape such as ``\ud800`` made half a character, which no file name or page can show."""
    if b"\\ud" in text.lower():
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise error(f"{label} holds an escape that is half a character (a lone surrogate)") from None


def _require_modest(text: bytes, label: str, error: type[AdapterFileError], depth: int, objects: int) -> None:
    """Raise if brackets nest deeper, or braces open more often, than a text of its kind does."""
    structure = _structure(text, _PER_OBJECT * objects)
    count = structure.count(b"{")
    if count > objects:
        raise error(f"{label} holds {count} objects, the limit is {objects}")
    if len(structure) > _PER_OBJECT * objects:
        raise error(f"{label} holds {len(structure)} values, the limit is {_PER_OBJECT * objects}")
    deepest = max(accumulate(map(_STEP.__getitem__, structure)), default=0)
    if deepest > depth:
        raise error(f"{label} is nested {deepest} deep, the limit is {depth}")


def _structure(text: bytes, most: int) -> bytes:
    """Return the brackets and commas outside of strings, or the first of them where there are more than `most`."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")  # now every quote opens or closes a string
    text = text.translate(None, _NO_STRUCTURE).replace(b'""', b"")  # and most strings are gone
    found, end = bytearray(), 0
    for string in _QUOTED.finditer(text):  # one after the other: a list of all would be many times the text
        found += text[end : string.start()]
        end = string.end()
        if len(found) > most or end > 10 * most:
            return bytes(found) + text[end:]
    return bytes(found) + text[end:]


def require_no_constants(text: bytes, label: str, error: type[AdapterFileError]) -> None:
    """Raise if the text holds a NaN or an Infinity, which Python's parser takes and JSON does not have.

    >>> require_no_constants(b'{"name": "NaN"}', "a config", AdapterFileError)
    """
    for constant in _CONSTANT.finditer(text):
        if constant[1]:
            line = text.count(b"\n", 0, constant.start()) + 1
            column = constant.start() - text.rfind(b"\n", 0, constant.start())
            word = constant[1].decode()
            raise error(f"{label} is not JSON at {line}:{column} (line:column): {word} is no number")
