"""A lesson of four small exercises for the tests of grading, and ways to grade a file of a few lines."""

from pathlib import Path
from typing import Any

import numpy as np

from lora_np.teach.exercise import Exercise, Quiz, Reverse, Suspect, Task, digest
from lora_np.teach.grade.grading import Course, grade
from lora_np.teach.grade.limits import Limits
from lora_np.teach.grade.marks import Result
from lora_np.teach.grade.submissions import find

FAST = Limits(seconds=20, cell_seconds=1.5, call_seconds=1)


def given_counts(rng):
    for _ in range(4):
        yield {"d": int(rng.integers(2, 99)), "k": int(rng.integers(2, 99)), "r": int(rng.integers(2, 9))}


def given_factors(rng):
    for d, k, r in ((2, 3, 1), (4, 3, 2), (5, 6, 3)):
        yield {"B": rng.normal(size=(d, r)), "A": rng.normal(size=(r, k)), "scale": 0.5}


TASKS: tuple[Task, ...] = (
    Exercise(
        id="05.1",
        stars=1,
        signature="count(d, k, r)",
        given=given_counts,
        expected=lambda d, k, r: r * (d + k),
        suspects=(Suspect("DenseCount", "that is the count of the whole matrix", lambda d, k, r: d * k),),
    ),
    Exercise(
        id="05.2",
        stars=2,
        signature="increment(B, A, scale)",
        given=given_factors,
        expected=lambda B, A, scale: scale * (B @ A),
        forbidden=("numpy.linalg.multi_dot",),
    ),
    Reverse(
        id="05.3",
        stars=3,
        signature="test_double(double)",
        right=(lambda x: 2 * x, lambda x: x + x),
        mutants=(Suspect("Square", "it squares", lambda x: x * x),),
    ),
    Quiz(id="05.quiz", answers=(digest("05.quiz", 1, "b"),), again=("section 1",)),
)

RIGHT = {
    "05.1": "def count(d, k, r):\n    return r * (d + k)",
    "05.2": "def increment(B, A, scale):\n    return scale * (B @ A)",
    "05.3": "def test_double(double):\n    return bool(np.all(double(np.arange(3.0)) == [0, 2, 4]))",
    "05.quiz": 'def quiz():\n    return "b"',
}


def exercises(number: str) -> tuple[Task, ...]:
    return TASKS if number == "05" else ()


def course(**changed: Any) -> Course:
    return Course(**{"exercises": exercises, "limits": FAST, **changed})


def script(*cells: str, **answers: str) -> str:
    """A student's script: the cells given, then the right answers, some of them replaced: e1, e2, e3, quiz."""
    names = {"05.1": "e1", "05.2": "e2", "05.3": "e3", "05.quiz": "quiz"}
    codes = [answers.get(name, RIGHT[id]) for id, name in names.items()]
    head = "import numpy as np\nfrom lora_np.teach import check, hint"
    return "\n".join(f"\n# %%\n{code}\n" for code in (head, *cells, *codes))


def graded(folder: Path, text: str, name: str = "05_anna.py", **changed: Any) -> Result:
    (folder / name).write_text(text, encoding="utf-8")
    (one,) = find(folder)
    return grade(one, course(**changed))


def points(result: Result) -> list[int]:
    return [mark.points for mark in result.marks]


def named(result: Result) -> dict[str, str]:
    return {mark.id: mark.name for mark in result.marks}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)
