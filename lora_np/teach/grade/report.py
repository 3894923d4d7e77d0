"""Marks for people and for Gradescope.  Floor 6.  Files are written whole or not at all.

The CSV has a row a submission: student, a column an exercise (its points; empty where its lesson was not handed in),
total, of, seconds, peak memory, and notes.  The JSON is what an autograder leaves in Gradescope's `results.json`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lora_np.atomic import write_whole
from lora_np.teach.grade.marks import Mark, Result, ids

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(path: Path, results: Sequence[Result]) -> None:
    """Write the table of marks; UTF-8 with a mark in front, so that a spreadsheet reads names right."""
    columns = ids(results)
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["student", *columns, "total", "of", "seconds", "peak_mb", "notes"])
    for result in results:
        marks = {mark.id: mark for mark in result.marks}
        points = [marks[id].points if id in marks else "" for id in columns]
        row = [_cell(result.student), *points, result.points, result.of, result.seconds, result.peak_mb]
        table.writerow([*row, _cell(notes(result))])
    write_whole(path, text.getvalue().encode("utf-8-sig", errors="replace"))


def notes(result: Result) -> str:
    """Write what a teacher wants to know in a line: what went wrong, then each mistake by its name."""
    wrong = [f"{mark.id} {mark.name}" for mark in result.marks if not mark.points]
    return "; ".join([*result.notes, *wrong])


def _cell(text: str) -> str:
    """Keep a spreadsheet from reading a student's words as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def write_json(folder: Path, results: Sequence[Result]) -> None:
    """Write one Gradescope file a submission, `STUDENT.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        content = json.dumps(gradescope(result), indent=2, ensure_ascii=False)
        write_whole(folder / f"{result.student}.json", content.encode("utf-8", errors="replace"))


def gradescope(result: Result) -> dict[str, Any]:
    """Say a result as Gradescope's `results.json`.

    >>> gradescope(Result("anna", "", (Mark("05.2", 2, 2, "Right", "6 cases, all equal"),)))["score"]
    2
    """
    return {
        "score": result.points,
        "execution_time": round(result.seconds),
        "output": "\n".join(result.notes) or "Everything ran.",
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {"student": result.student, "of": result.of, "peak_mb": result.peak_mb},
        "tests": [_test(mark) for mark in result.marks],
    }


def _test(mark: Mark) -> dict[str, Any]:
    return {
        "name": f"Exercise {mark.id}" if not mark.id.endswith("quiz") else f"Quiz of lesson {mark.id[:2]}",
        "number": mark.id,
        "score": mark.points,
        "max_score": mark.of,
        "status": "passed" if mark.points else "failed",
        "output": mark.words if mark.name == "Right" else f"{mark.name}: {mark.words}",
        "output_format": "text",
        "visibility": "visible",
    }
