"""One submission: its files run, its answers judged, its marks.  Floor 6.  Nothing is written here.

A process that dies costs what killed it: a cell is left out, an answer is marked, and a new process goes on with the
rest, as long as there is time.
"""

from __future__ import annotations

import hashlib
import threading
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_np.teach.exercise import Task
from lora_np.teach.grade import reading
from lora_np.teach.grade.answering import name_of, remote
from lora_np.teach.grade.limits import Limits, Usage
from lora_np.teach.grade.marks import Mark, Result, missed, points_of
from lora_np.teach.grade.reading import Cell, UnreadableError
from lora_np.teach.grade.sandbox import Sandbox, StoppedError, sandbox
from lora_np.teach.grade.submissions import Submission
from lora_np.teach.judging import judge

MOST_STARTS = 4
"""How many processes one file gets: each but the first goes on after a death."""

MANY_BYTES = 1_000_000
"""Printing more is told to the teacher."""

SKIPPED_TAGS = {"picture", "solution", "ungraded"}
"""Cells with these tags are not run: what they show is for readers, and needs time, or processes."""

Exercises = Callable[[str], Sequence[Task]]
"""From a lesson's number to its exercises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is graded and how: the exercises, the seed of the course, one lesson or all, the limits."""

    exercises: Exercises
    seed: int = 0
    lesson: str | None = None
    limits: Limits = field(default_factory=Limits)
    closed: tuple[Path, ...] = ()  # places that no submission may read
    cancelled: threading.Event = field(default_factory=threading.Event)  # set: stop what runs


def seed_of(course_seed: int, student: str, id: str) -> int:
    """Derive the seed of a student's hidden cases: another for each student, the same every time.

    >>> (
    ...     seed_of(7, "anna", "05.2") == seed_of(7, "anna", "05.2"),
    ...     seed_of(7, "anna", "05.2") == seed_of(7, "bob", "05.2"),
    ... )
    (True, False)
    """
    words = f"{course_seed}\0{unicodedata.normalize('NFC', student)}\0{id}"
    return int.from_bytes(hashlib.sha256(words.encode(errors="surrogateescape")).digest()[:8], "big")


def grade(submission: Submission, course: Course) -> Result:
    """Grade one submission: of several answers to an exercise the best counts; what is wrong ends in its notes."""
    began = time.monotonic()
    digest, notes, usage = submission.digest(), [], Usage()
    marks: dict[str, Mark] = {}
    if not submission.files:
        there = ", ".join(submission.others[:3])
        notes.append("no script and no notebook" + (f", only {there}" if there else ""))
    for path in submission.files:
        said, found = _grade_file(path, submission, course, usage)
        notes += [f"{path.name}: {one}" for one in said]
        for mark in found:
            if mark.id not in marks or mark.points > marks[mark.id].points:
                marks[mark.id] = mark
    if submission.files and not marks and not notes:
        notes.append(f"nothing in it answers lesson {course.lesson}")
    seconds = round(time.monotonic() - began, 2)
    ordered = tuple(marks[id] for id in sorted(marks))
    return Result(submission.student, digest, ordered, tuple(notes), seconds, round(usage.peak_mb, 1))


def _grade_file(
    path: Path, submission: Submission, course: Course, usage: Usage
) -> tuple[list[str], list[Mark]]:
    cells: list[Cell] = []
    problem = ""
    try:
        cells = reading.read(path)
    except UnreadableError as error:
        problem = str(error)
    lessons = reading.lessons_of(path, cells)
    if course.lesson is not None:
        if lessons and course.lesson not in lessons:
            return [], []
        lessons = [course.lesson]
    tasks = [task for number in lessons for task in _tasks(course, number)]
    if problem:
        return [problem], [missed(task, "Unreadable", f"{path.name} {problem}") for task in tasks]
    if not tasks:
        return _without_lesson(lessons, is_alone=len(submission.files) == 1), []
    one = _File(cells, tasks, submission, course, usage)
    return one.notes, one.graded()


def _without_lesson(lessons: list[str], *, is_alone: bool) -> list[str]:
    if lessons:
        return [f"lesson {', '.join(lessons)} has no exercises"]
    words = 'it does not say which lesson it answers: name it as the lesson, "05_...", or grade with --lesson'
    return [words] if is_alone else []  # beside others it may be a part of them


def _tasks(course: Course, number: str) -> Sequence[Task]:
    try:
        return course.exercises(number)
    except ValueError:  # a number that no lesson has
        return ()


class _File:
    """One file on its way: which cells are left out, what is judged already."""

    def __init__(
        self,
        cells: Sequence[Cell],
        tasks: Sequence[Task],
        submission: Submission,
        course: Course,
        usage: Usage,
    ) -> None:
        self.cells = [cell for cell in cells if not SKIPPED_TAGS & set(cell.tags)]
        self.tasks, self.course, self.usage = tasks, course, usage
        self.student, self.beside = submission.student, submission.beside()
        self.until = time.monotonic() + course.limits.seconds
        self.left_out: set[int] = set()
        self.marks: dict[str, Mark] = {}
        self.notes: list[str] = []
        self.running: int | Task | None = None

    def graded(self) -> list[Mark]:
        """Run the file, in as many processes as it takes, and judge what it defines."""
        printed = self.usage.printed_bytes
        for _ in range(MOST_STARTS):
            if self._one_process():
                break
        for task in self.tasks:
            if task.id not in self.marks:
                self.marks[task.id] = missed(
                    task, "NotReached", "the submission was stopped before this was judged"
                )
        printed = self.usage.printed_bytes - printed
        if printed > MANY_BYTES:
            self._note(f"it prints {printed / 1e6:.0f} MB, which nobody reads")
        return [self.marks[task.id] for task in self.tasks]

    def _one_process(self) -> bool:
        """Run and judge in one process; tell whether there is nothing left to do."""
        limits = self.course.limits
        self.running = None
        box: Sandbox | None = None
        try:
            with sandbox(
                limits,
                until=self.until,
                closed=self.course.closed,
                beside=self.beside,
                usage=self.usage,
                cancelled=self.course.cancelled.is_set,
            ) as box:
                self._run(box)
                for task in self.tasks:
                    if task.id not in self.marks:
                        self.running = task
                        self.marks[task.id] = self._judged(task, box)
            return True
        except StoppedError as stopped:
            return self._died(str(stopped))
        finally:
            for what in box.refused if box else ():
                self._note(f"it tried to {what}")

    def _died(self, how: str) -> bool:
        """Note what killed a process; tell whether it makes no sense to go on."""
        if time.monotonic() >= self.until:
            how = f"it is stopped after {self.course.limits.seconds:g} s"
        if isinstance(self.running, Task):
            self.marks[self.running.id] = missed(self.running, "Stopped", how)
            self._note(f"{self.running.id}: {how}")
        elif self.running is not None:
            self.left_out.add(self.running)
            self._note(f"{self.cells[self.running].where}: {how}")
        else:
            self._note(how)
        return time.monotonic() >= self.until or self.course.cancelled.is_set()

    def _run(self, box: Sandbox) -> None:
        cells = [
            (n, "\n" * (c.line - 1) + c.code, c.where)
            for n, c in enumerate(self.cells)
            if n not in self.left_out
        ]
        box.order(do="run", cells=cells)
        while True:
            message = box.answer(seconds=self.course.limits.cell_seconds + 2)
            if "cell" in message:
                said = message["cell"]
                self.running = said if type(said) is int and 0 <= said < len(self.cells) else None
            elif "failed" in message:
                self._note(f"{str(message['failed'])[:40]}: {str(message.get('words'))[:400]}")
            elif "ready" in message:
                return

    def _judged(self, task: Task, box: Sandbox) -> Mark:
        name = name_of(task)
        box.order(do="find", id=task.id, name=name)
        found = box.answer(seconds=self.course.limits.call_seconds + 2).get("found")
        if not isinstance(found, dict) or "missing" in found:
            near = found.get("missing") if isinstance(found, dict) else None
            words = f"there is no function {name}" + (
                f"; is {str(near[0])[:60]} meant to be it?" if near else ""
            )
            return missed(task, "NotFound", words)
        answer: Any = remote(task, found, box, seconds=self.course.limits.call_seconds + 2)
        try:
            verdict = judge(task, answer, seed=seed_of(self.course.seed, self.student, task.id))
        except Exception as error:  # of ours, or of an answer that nobody thought of: it costs this exercise
            words = f"the grader failed, look at it yourself: {type(error).__name__}: {str(error)[:200]}"
            self._note(f"{task.id}: {words}")
            return missed(task, "NotJudged", words)
        words = verdict.words + (f" ({verdict.where})" if verdict.where else "")
        return Mark(
            task.id, points_of(task) if verdict.ok else 0, points_of(task), verdict.name, _line(words)
        )

    def _note(self, words: str) -> None:
        line = _line(words)
        if line not in self.notes and len(self.notes) < 12:
            self.notes.append(line)


def _line(words: str) -> str:
    """Make one line of printable characters of what may hold a student's words."""
    flat = " ".join(words.split())
    return "".join(char if char.isprintable() else "�" for char in flat)[:600]
