"""The results so far, beside the report: an interrupted run loses nothing.  Floor 6.

One line of JSON a result, each on the disk before the next submission counts as done.  The first line says what was
graded and how; a journal of something else is not gone on with.  A line cut short by a power cut is as if not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lora_np.atomic import write_whole
from lora_np.teach.grade.marks import Result


class Journal:
    """A file of results that grows line by line.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     journal = Journal(Path(folder, "marks.journal"), {"seed": 0})
    ...     _ = journal.begin(resume=True)
    ...     journal.add(Result("anna", "d1"))
    ...     list(Journal(journal.path, {"seed": 0}).begin(resume=True))
    ['anna']
    """

    def __init__(self, path: Path, how: dict[str, Any]) -> None:
        self.path, self.how = path, how

    def begin(self, *, resume: bool) -> dict[str, Result]:
        """Return what is there already, by student, and make the journal ready for more."""
        there = {result.student: result for result in self._read()} if resume else {}
        lines = [json.dumps(self.how), *(_line(result) for result in there.values())]
        write_whole(self.path, ("\n".join(lines) + "\n").encode())
        return there

    def add(self, result: Result) -> None:
        """Append a result, and return when it is on the disk."""
        with open(self.path, "ab") as file:
            file.write((_line(result) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())

    def end(self) -> None:
        """Remove it: the report holds everything."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> Iterator[Result]:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        if not lines or _loaded(lines[0]) != self.how:
            return
        for line in lines[1:]:
            said = _loaded(line)
            try:
                yield Result.of_dict(said)
            except (TypeError, KeyError):
                continue


def _line(result: Result) -> str:
    return json.dumps(result.as_dict())


def _loaded(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
