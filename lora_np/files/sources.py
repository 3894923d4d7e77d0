"""Where bytes come from: a file, opened once, or bytes in memory.  Floor 5.

Spans are read from the open file with plain reads.  It is not mapped into memory: a mapped file that another process
cuts short kills the reader, where a read returns too few bytes.  Nothing is read, or made room for, because a file
claims it: only spans inside the size that the system reports.  Formats other than safetensors are told by their first
bytes and refused by name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from lora_np import checks
from lora_np.errors import AdapterFileError, ConfigError, TruncatedFileError, UnsafeFormatError


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file from elsewhere is looked at: what is larger is refused before it is read.

    A text may take about ten times its size in memory while it is parsed; an upload page sets smaller limits.

    >>> Limits().tensors
    100000
    """

    header_bytes: int = 100_000_000  # the limit of the format itself
    tensors: int = 100_000
    config_bytes: int = 1_000_000
    tensor_bytes: int = 4_000_000_000  # of an adapter, all tensors together; a base is read by name

    def __post_init__(self) -> None:
        for name in self.__slots__:
            checks.require_int(name, getattr(self, name), minimum=1)


LIMITS = Limits()


class Source(Protocol):
    """Bytes that know their name and size."""

    label: str
    size: int

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes start to stop, all of them."""


class MemorySource:
    """Bytes in memory, such as an upload.

    >>> MemorySource(b"abc").read(1, 3)
    b'bc'
    """

    def __init__(self, content: bytes, label: str = "the uploaded file") -> None:
        self.content, self.label, self.size = content, label, len(content)

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes start to stop.  Raises `TruncatedFileError`."""
        return _whole(self.content[start:stop], start, stop, self.label)


class FileSource:
    """An open file; what is read later is read from the same file, whatever its name points to by then."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.label = file, str(path)
        self.before = os.fstat(file.fileno())
        self.size = self.before.st_size

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes start to stop.  Raises `TruncatedFileError`, `AdapterFileError`."""
        try:
            self.file.seek(start)
            return _whole(self.file.read(stop - start), start, stop, self.label)
        except OSError as error:
            raise AdapterFileError(f"{self.label} cannot be read: {error.strerror}") from None

    def require_unchanged(self) -> None:
        """Raise `AdapterFileError` if the file was written to since it was opened."""
        now = os.fstat(self.file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.before.st_size, self.before.st_mtime_ns):
            raise AdapterFileError(
                f"{self.label} was changed while it was read ({self.size} bytes before, {now.st_size} now)",
                fix="read it again; write files beside their destination and rename them",
            )


@contextmanager
def opened(path: Path) -> Iterator[FileSource]:
    """Open a regular file for reading, and see to it that it stayed the same.

    Raises `AdapterFileError` where there is none, `UnsafeFormatError` for the name of a pickle.
    """
    require_safe_name(path)
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (closed below)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AdapterFileError(f"{path} cannot be opened: {reason}", fix="give the path of a file") from None
    with file:
        source = FileSource(file, path)
        if not stat.S_ISREG(source.before.st_mode):
            raise AdapterFileError(f"{path} is not a regular file, expected a file of tensors or settings")
        yield source
        source.require_unchanged()


def checked_path(path: Any) -> Path:
    """Return a path as `Path`.  Raises `ConfigError` for what is none."""
    if not isinstance(path, (str, Path)):
        raise ConfigError(
            f"source must be a path, got {type(path).__name__}", fix="for bytes there is adapter_from_bytes"
        )
    return Path(path)


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe, which is none, would wait for its writer for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _whole(content: bytes, start: int, stop: int, label: str) -> bytes:
    """Return `content` if it is as long as was asked for."""
    if len(content) != stop - start:
        raise TruncatedFileError(
            f"{label} ends at byte {start + len(content)}: bytes {start} to {stop} were expected",
            fix="the file was cut short; fetch or write it again",
        )
    return content


# ---- what is not safetensors -------------------------------------------------------------------------------

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".npz")
_REFUSED = "refused: can execute code; convert to safetensors"
_MAGIC = {
    b"version https://git-lfs": "looks like a Git LFS pointer: the file's address, not its content (git lfs pull)",
    b"\x1f\x8b": "looks like a gzip archive: unpack it first",
    b"PK\x03\x04": "looks like a zip archive: unpack it first",
    b"BZh": "looks like a bzip2 archive: unpack it first",
    b"\xfd7zXZ": "looks like an xz archive: unpack it first",
    b"\x28\xb5\x2f\xfd": "looks like a zstandard archive: unpack it first",
    b"GGUF": "looks like a GGUF file, expected safetensors",
    b"\x89HDF": "looks like an HDF5 file, expected safetensors",
    b"<!DOCTYPE": "looks like a web page, perhaps an error page that was saved under this name",
    b"<html": "looks like a web page, perhaps an error page that was saved under this name",
}


def require_safe_name(path: Path) -> None:
    """Raise `UnsafeFormatError` for the name of a pickle or of an array file that may hold one."""
    if path.suffix.lower() in _PICKLES:
        raise UnsafeFormatError(f"{path}: the format {path.suffix} is {_REFUSED}")


def require_tensor_file(source: Source) -> None:
    """Raise unless the first bytes can be those of a safetensors file; name the format that they look like."""
    head = source.read(0, min(source.size, 128))
    if not head:
        raise AdapterFileError(f"{source.label} is empty (0 bytes), expected a safetensors file")
    if head[8:9] == b"{":
        return
    pickled = head[:1] == b"\x80" and head[1:2] in b"\x01\x02\x03\x04\x05" and len(head) > 2
    if pickled or head.startswith(b"\x93NUMPY") or (head.startswith(b"PK") and b"data.pkl" in head):
        raise UnsafeFormatError(f"{source.label} looks like a pickle, whatever its name: {_REFUSED}")
    for magic, words in _MAGIC.items():
        if head.startswith(magic):
            raise AdapterFileError(f"{source.label} {words}")
    if len(head) < 8:
        raise TruncatedFileError(
            f"{source.label} has {source.size} bytes, too few for the 8-byte header length of a safetensors file",
            fix="the file was cut short; fetch or write it again",
        )
