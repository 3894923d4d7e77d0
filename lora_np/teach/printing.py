"""What the code of a lesson prints, cell by cell: run in a process of its own, so that it can be ended.  Floor 6.

Only the lesson's own cells run: no exercise, no check, no picture.  Nothing that a student wrote comes here.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from lora_np.teach.build.strip import strip
from lora_np.teach.lessons import Cell, Lesson, cells

HOME = Path(__file__).parents[2]  # where this package is imported from
LOOK_SECONDS = 0.1  # between two looks at how far it is
SECONDS = 120.0
"""The longest that a lesson may run: the slowest is allowed a minute of a quiet machine."""

Printing = Generator[tuple[float, str], None, dict[int, str]]


def printed(of: Lesson, *, seconds: float = SECONDS) -> Printing:
    """Run a lesson's code: yield (share done, words), return what each cell printed, by its place in the lesson.

    A cell that raises prints the error, and those after it nothing; closing the generator ends the process.

    >>> from lora_np.teach.lessons import lesson
    >>> run = printed(lesson("04"))
    >>> share, words = next(run)
    >>> run.close()
    """
    total = len(runs(cells(strip(of.text))))
    with TemporaryDirectory() as folder:
        told = Path(folder) / "told.jsonl"
        command = [sys.executable, "-W", "ignore", "-m", "lora_np.teach.printing", str(of.path), str(told)]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, cwd=HOME, stdout=quiet, stderr=quiet)
        end = time.monotonic() + seconds
        try:
            while process.poll() is None and time.monotonic() < end:
                done = len(_read(told))
                yield done / total, f"{done} of {total} cells have run"
                time.sleep(LOOK_SECONDS)
        finally:
            process.kill()
            process.wait()
        return dict(_read(told))


def runs(found: Sequence[Cell]) -> dict[int, str]:
    """Give the code that runs, by its place: not what is asked, checked or drawn."""
    return {
        place: cell.text
        for place, cell in enumerate(found)
        if cell.kind == "code" and not {"exercise", "check", "picture"} & set(cell.tags)
    }


def _read(told: Path) -> list[tuple[int, str]]:
    """Read what was told so far; a line that is not yet complete waits."""
    lines = told.read_text(encoding="utf-8").splitlines(keepends=True) if told.exists() else []
    return [tuple(json.loads(line)) for line in lines if line.endswith("\n")]


def _tell(path: Path, told: Path) -> None:
    """Run the cells of a lesson and write a line of JSON for each."""
    space: dict[str, object] = {"__name__": "__main__"}
    with told.open("w", encoding="utf-8") as file:
        for place, code in runs(cells(strip(path.read_text(encoding="utf-8")))).items():
            said = io.StringIO()
            error = ""
            with contextlib.redirect_stdout(said):
                try:
                    exec(compile(code, f"{path.stem}, cell {place}", "exec"), space)
                except Exception as raised:
                    error = f"{type(raised).__name__}: {raised}"
            print(json.dumps([place, said.getvalue() + error]), file=file, flush=True)
            if error:
                return


if __name__ == "__main__":
    _tell(Path(sys.argv[1]), Path(sys.argv[2]))

__all__ = ["printed", "runs"]
