"""Answers that students give: wrong ones with the hint each must get, and right ones that must not be rejected.

`lesson_NN.toml` has, for each exercise, `wrong.<label>` (code; the mistake's name; a word that the hint must
contain) and `right.<label>` (code).  `python -m tests.answers [NN …]` prints the table with its percentage.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lora_np.teach import Verdict, exercise, judge

HERE = Path(__file__).parent
LESSONS = tuple(sorted(path.stem.removeprefix("lesson_") for path in HERE.glob("lesson_*.toml")))


class Submission(NamedTuple):
    """One answer of the collection: for which exercise, under which label, and what is to be said of it."""

    id: str
    label: str
    code: str
    name: str = "Right"
    says: str = ""


def submissions(lesson: str) -> Iterator[Submission]:
    """All answers to the exercises of a lesson, in the order of the file."""
    stored: dict[str, Any] = tomllib.loads((HERE / f"lesson_{lesson}.toml").read_text(encoding="utf-8"))
    for id, kinds in stored.items():
        for label, one in kinds.get("wrong", {}).items():
            yield Submission(id, label, one["code"], one["name"], one["says"])
        for label, one in kinds.get("right", {}).items():
            yield Submission(id, label, one["code"])


def judged(one: Submission) -> Verdict:
    """Run the code of an answer and judge the function that it defines under the exercise's name."""
    task = exercise(one.id)
    space: dict[str, Any] = {"np": np, "__name__": "answer"}
    exec(compile(one.code, f"<{one.id} {one.label}>", "exec"), space)
    return judge(task, space[task.signature.partition("(")[0] or "quiz"])


def is_as_expected(one: Submission, verdict: Verdict) -> bool:
    """Tell whether an answer got the name and the word that it must get."""
    said = f"{verdict.words} {verdict.where}".lower()
    return verdict.name == one.name and one.says.lower() in said
