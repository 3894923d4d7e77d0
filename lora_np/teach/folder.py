"""A student's folder: laying the lessons out in it, and seeing how far each of them is.  Floor 6.

Each file is checked in a process of its own; an answer that never ends is stopped, and costs only its own exercise.
Nothing is printed here.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lora_np.errors import ConfigError
from lora_np.teach.build.notebooks import student_script
from lora_np.teach.build.strip import CHECK
from lora_np.teach.grade.reading import UnreadableError, read
from lora_np.teach.lessons import Lesson, lessons

SECONDS = 10.0
"""How long an answer may take."""

STARTING = 60.0
"""How long its process may take to start, on a slow disk."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How an exercise stands: solved, open (not written yet), or wrong, with the mistake's name and words."""

    id: str
    function: str
    state: str
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How a lesson's file stands; `trouble` says why it could not be read, and then there are no answers."""

    lesson: Lesson
    path: Path
    answers: tuple[Answer, ...]
    trouble: str = ""

    @property
    def solved(self) -> int:
        """How many exercises are solved."""
        return sum(answer.state == "solved" for answer in self.answers)

    @property
    def asked(self) -> int:
        """How many exercises there are."""
        return len(asked(self.lesson))

    @property
    def next(self) -> Answer | None:
        """The first exercise that is not solved."""
        return next((answer for answer in self.answers if answer.state != "solved"), None)


def asked(lesson: Lesson) -> tuple[tuple[str, str], ...]:
    """List the exercises of a lesson: (id, name of the function)."""
    return tuple(CHECK.findall(lesson.text))


# ---- laying out ----------------------------------------------------------------------------------------------


def start(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Write the student's scripts, giving each path and whether it is new: a file that is there stays as it is.

    Raises `ConfigError` where the folder is a file, and `OSError` where it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file", fix="name a folder")
    scripts = {lesson.path.name: student_script(lesson) for lesson in lessons()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in scripts.items():
        yield folder / name, _written(folder / name, text)


def _written(path: Path, text: str) -> bool:
    """Write a file that must not be there yet; tell whether it was written."""
    try:
        file = path.open("x", encoding="utf-8", newline="\n")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(text)
    except BaseException:  # half a lesson would be taken for a whole one
        path.unlink(missing_ok=True)
        raise
    return True


# ---- looking -------------------------------------------------------------------------------------------------


def files(folder: Path) -> dict[Path, Lesson]:
    """List the lessons' files in a folder, scripts and notebooks, in order.

    Raises `ConfigError` where there is no such folder, or no lesson in it.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder", fix="lay the lessons out: lora-np tutorials start DIR")
    known = {lesson.name: lesson for lesson in lessons()}
    found = {
        path: known[path.stem]
        for path in sorted(folder.iterdir())
        if path.suffix in (".py", ".ipynb") and path.stem in known
    }
    if not found:
        raise ConfigError(f"no lesson is in {folder}", fix=f"lay them out: lora-np tutorials start {folder}")
    return found


def progress(path: Path, lesson: Lesson, *, seconds: float = SECONDS) -> Progress:
    """Check every exercise of a file."""
    try:
        read(path)
    except UnreadableError as error:
        return Progress(lesson, path, (), str(error))
    return Progress(lesson, path, tuple(_answers(path, asked(lesson), seconds)))


def _answers(path: Path, left: Iterable[tuple[str, str]], seconds: float) -> Iterator[Answer]:
    """Check exercises in one process; after an answer that ends it or never ends, the rest in another."""
    waiting = list(left)
    while waiting:
        with _process(path, waiting) as lines:
            while waiting:
                id, function = waiting.pop(0)
                try:
                    said = lines.get(timeout=seconds)
                except queue.Empty:
                    yield Answer(id, function, "wrong", "TooLong", f"it takes longer than {seconds:g} s")
                    break
                if not said:
                    yield Answer(id, function, "wrong", "Ends", "it ends the Python that runs it")
                    break
                heard = json.loads(said)
                open_ = heard["name"] == "NotWritten"
                state = "solved" if heard["ok"] else "open" if open_ else "wrong"
                yield Answer(id, function, state, heard["name"], heard["words"])


@contextmanager
def _process(path: Path, exercises: Iterable[tuple[str, str]]) -> Iterator[queue.Queue[str]]:
    """Start the process that checks a file; what comes through the queue is its lines, and "" at its end."""
    package = str(Path(__file__).parents[2])
    command = [sys.executable, "-P", "-m", "lora_np.teach.running", str(path.resolve())]
    process = subprocess.Popen(
        [*command, *(f"{id}:{function}" for id, function in exercises)],
        cwd=path.resolve().parent,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    lines: queue.Queue[str] = queue.Queue()
    listener = threading.Thread(target=_listen, args=(process.stdout, lines), daemon=True)
    listener.start()
    try:
        _awaited(lines)
        yield lines
    finally:
        process.kill()
        process.wait()
        listener.join(STARTING)
        if process.stdout is not None:
            process.stdout.close()


def _awaited(lines: queue.Queue[str]) -> None:
    """Wait for the process's first word."""
    try:
        first = lines.get(timeout=STARTING)
    except queue.Empty:
        first = ""
    if not first:
        raise ConfigError("the process that checks the answers does not start", fix="run: lora-np verify")


def _listen(stream: Iterable[str] | None, lines: queue.Queue[str]) -> None:
    """Pass on the lines of a process, then "": it is over."""
    for line in stream or ():
        lines.put(line)
    lines.put("")


__all__ = ["SECONDS", "Answer", "Progress", "asked", "files", "progress", "start"]
