"""Which students handed in what.  Floor 6.  Nothing is read here, nothing is run.

A folder of submissions holds a folder or a file for each student.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lora_np.errors import ConfigError
from lora_np.teach.grade.reading import KINDS, MOST_BYTES

MOST_BESIDE = 50
"""How many files of a student's folder its process gets to see."""

_SKIPPED = {"__pycache__", "__MACOSX", "node_modules"}


@dataclass(frozen=True, slots=True)
class Submission:
    """What one student handed in; `others` are files that are neither scripts nor notebooks."""

    student: str
    files: tuple[Path, ...]
    others: tuple[str, ...] = ()
    folder: Path | None = None  # where it is a folder of its own

    def beside(self) -> dict[str, Path]:
        """List what lies in its folder, by the path there, as far as it is plain files of a sensible size."""
        if self.folder is None:
            return {}
        there = {str(path.relative_to(self.folder)): path for path in self.files}
        there |= {name: self.folder / name for name in self.others}
        plain = [(name, path) for name, path in there.items() if path.is_file() and not path.is_symlink()]
        return {name: path for name, path in plain[:MOST_BESIDE] if path.stat().st_size <= MOST_BYTES // 4}

    def digest(self) -> str:
        """Hash names and contents: the same digest means that nothing was handed in anew."""
        whole = hashlib.sha256()
        for path in self.files:
            content = b"unreadable"
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_size <= MOST_BYTES:
                    content = path.read_bytes()
            whole.update(f"{path.name}\0{len(content)}\0".encode(errors="replace") + content)
        return whole.hexdigest()


def find(folder: Path, *, ignore: Iterable[Path] = ()) -> list[Submission]:
    """List the submissions of a folder by student's name; `ignore` names files that are none, such as the report.

    Raises `ConfigError` where there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"{folder} is no folder", fix="give the folder that holds one folder or file a student"
        )
    ignored = {path.resolve() for path in ignore}
    entries = [entry for entry in _visible(folder) if entry.resolve() not in ignored]
    loose: dict[str, list[Path]] = {}
    found = []
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            found.append(_sorted(entry.name, _inside(entry), entry, own=True))
        else:
            loose.setdefault(entry.stem, []).append(entry)
    found += [_sorted(stem, paths, folder) for stem, paths in loose.items()]
    if not found:
        raise ConfigError(f"{folder} holds no submission", fix="put one folder or file a student into it")
    return sorted(found, key=lambda one: (one.student.casefold(), one.student, one.files))


def _sorted(student: str, paths: Iterable[Path], folder: Path, *, own: bool = False) -> Submission:
    paths = sorted(paths)
    files = tuple(path for path in paths if path.suffix.lower() in KINDS)
    others = tuple(str(path.relative_to(folder)) for path in paths if path not in files)
    return Submission(student, files, others, folder if own else None)


def _visible(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if not entry.name.startswith((".", "~$")) and entry.name not in _SKIPPED:
            yield entry


def _inside(folder: Path) -> Iterator[Path]:
    for entry in _visible(folder):
        if entry.is_dir() and not entry.is_symlink():
            yield from _inside(entry)
        else:
            yield entry
