"""Marks: what an exercise earned, what a submission earned.  Floor 6.  Nothing is judged here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lora_np.teach.exercise import Quiz, Task


@dataclass(frozen=True, slots=True)
class Mark:
    """What one exercise earned: points, of how many, the mistake's name, the sentence for the student."""

    id: str
    points: int
    of: int
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class Result:
    """What one submission earned, what there is to say about it, what it used."""

    student: str
    digest: str
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_mb: float = 0.0

    @property
    def points(self) -> int:
        """The sum of its points."""
        return sum(mark.points for mark in self.marks)

    @property
    def of(self) -> int:
        """The points that could be had for the lessons handed in."""
        return sum(mark.of for mark in self.marks)

    def as_dict(self) -> dict[str, Any]:
        """Write it for JSON."""
        return asdict(self)

    @classmethod
    def of_dict(cls, said: dict[str, Any]) -> Result:
        """Read what `as_dict` wrote."""
        marks = tuple(Mark(**mark) for mark in said["marks"])
        return cls(**{**said, "marks": marks, "notes": tuple(said["notes"])})


def points_of(task: Task) -> int:
    """Tell what an exercise is worth: its stars; a quiz one point."""
    return 1 if isinstance(task, Quiz) else task.stars


def missed(task: Task, name: str, words: str) -> Mark:
    """Mark an exercise that could not be judged."""
    return Mark(task.id, 0, points_of(task), name, words)


def ids(results: Iterable[Result]) -> list[str]:
    """List the exercises that any of the results has a mark for, in order."""
    return sorted({mark.id for result in results for mark in result.marks})
