"""Writing the classroom's folder: whole or not at all, and never over work that somebody did in it.  Floor 6."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lora_np.errors import ConfigError
from lora_np.teach.build.archive import TOP, archive
from lora_np.teach.build.notebooks import (
    nbgrader_source,
    otter_master,
    solution_notebook,
    student_notebook,
    student_script,
)
from lora_np.teach.lessons import Lesson, lessons

MANIFEST = ".lora-np-build.json"
"""What was written, by digest: a file that differs is somebody's work."""

PLACES: Mapping[str, Callable[[Lesson], str]] = {
    "student/scripts/{}.py": student_script,
    "student/notebooks/{}.ipynb": student_notebook,
    "solutions/{}.ipynb": solution_notebook,
    "nbgrader/source/{0}/{0}.ipynb": nbgrader_source,
    "otter/{}.ipynb": otter_master,
}

WORDS: Mapping[str, str] = {
    "student/scripts": "for students: any editor",
    "student/notebooks": "for students: Jupyter; nbgrader reads them too",
    "solutions": "for teachers: with the answers, and why they are right",
    "nbgrader/source": "a course folder: nbgrader generate_assignment NAME",
    "otter": "masters: otter assign NAME.ipynb DIR",
    f"{TOP}.zip": "the student's files, for a machine without internet",
}
"""What is where, in a line each."""


def contents(lesson: Lesson) -> dict[str, bytes]:
    """Make every file of a lesson, by its path; an error of the lesson names it."""
    try:
        return {place.format(lesson.name): make(lesson).encode() for place, make in PLACES.items()}
    except ConfigError as error:
        raise ConfigError(f"{lesson.path.name}: {error.problem}", fix=error.fix) from None


def build(out: Path, chosen: tuple[Lesson, ...] | None = None) -> Iterator[str]:
    """Write the material of the lessons into `out`, giving each lesson's name when it is made.

    A folder that an earlier build wrote and nobody changed is replaced.  Raises `ConfigError` where `out` holds
    anything else, and `OSError` where it cannot be written; then what was there is there still.
    """
    out = out.resolve()
    refuse_to_overwrite(out)
    files: dict[str, bytes] = {}
    for lesson in lessons() if chosen is None else chosen:
        files |= contents(lesson)
        yield lesson.name
    student = {
        path.removeprefix("student/"): content for path, content in files.items() if "student/" in path
    }
    files[f"{TOP}.zip"] = archive(student)
    files[MANIFEST] = json.dumps(
        {path: _digest(content) for path, content in files.items()}, indent=1
    ).encode()
    _put(files, out)


def refuse_to_overwrite(out: Path) -> None:
    """Raise `ConfigError` if a folder holds something that no build wrote."""
    if out.is_file():
        raise ConfigError(f"{out} is a file", fix="name a folder")
    if not out.exists():
        return
    there = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir())
    written = _manifest(out)
    others = [path for path in there if path != MANIFEST and written.get(path) != _digest_of(out / path)]
    if others:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if others[3:] else "")
        raise ConfigError(
            f"{out} holds what this command did not write: {shown}", fix="name another folder, or move these"
        )


def _put(files: Mapping[str, bytes], out: Path) -> None:
    """Write everything beside `out`, which then takes its name."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as made:
        new, old = Path(made, "new"), Path(made, "old")
        for path, content in files.items():
            target = new / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        refuse_to_overwrite(out)  # a file may have come meanwhile
        if out.exists():
            out.replace(old)
        try:
            new.replace(out)
        except OSError:
            if old.exists():
                old.replace(out)
            raise


def _manifest(out: Path) -> dict[str, str]:
    """Read what an earlier build wrote; nothing if there is no list, or none that can be read."""
    try:
        found = json.loads((out / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of(path: Path) -> str:
    return _digest(path.read_bytes()) if path.is_file() and not path.is_symlink() else ""


__all__ = ["MANIFEST", "PLACES", "WORDS", "build", "contents", "refuse_to_overwrite"]
