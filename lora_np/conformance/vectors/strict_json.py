"""Reading JSON that may be damaged: every way it can be wrong has a message with the path.  Floor 6."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lora_np.errors import VectorFileError

LARGEST = 64 * 2**20
"""Bytes that a file of vectors may have."""

NOT_JSON = {
    b"version https://git-lfs": "is a Git LFS pointer, not the file itself; fetch it with git lfs pull",
    b"\x1f\x8b": "is compressed with gzip; decompress it first",
    b"PK\x03\x04": "is a zip archive; unpack it first",
    b"\xef\xbb\xbf": "begins with a byte order mark; save it as UTF-8 without one",
}


def read_content(path: Path) -> Any:
    """Read a JSON file as it is.  Raises `VectorFileError`."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise VectorFileError(
                f"{path} has {size} bytes, more than a file of vectors may have ({LARGEST})"
            )
        data = path.read_bytes()
    except OSError as error:
        raise VectorFileError(f"cannot read {path}: {error.strerror}") from None
    return parse(data, path)


def parse(data: bytes, path: Path | str) -> Any:
    """Parse the bytes of a JSON file; a key that stands twice, or a NaN, is an error.

    >>> parse(b'{"a": 1, "a": 2}', "x.json")
    Traceback (most recent call last):
        ...
    lora_np.errors.VectorFileError: x.json is not JSON as it should be: the key 'a' stands twice in ...
    """
    if not data:
        raise VectorFileError(f"{path} is empty (0 bytes)")
    for start, what in NOT_JSON.items():
        if data.startswith(start):
            raise VectorFileError(f"{path} {what}")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise VectorFileError(f"{path} is not UTF-8 text: byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise VectorFileError(
            f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise VectorFileError(f"{path} is nested too deeply to be a file of test vectors") from None
    except ValueError as error:
        raise VectorFileError(f"{path} is not JSON as it should be: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the key {next(n for n in names if names.count(n) > 1)!r} stands twice in one object"
        )
    return found


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number; numbers that are not counts are hexadecimal text")
