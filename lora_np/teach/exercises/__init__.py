"""The exercises of the lessons, one file a lesson.  Floor 6.  The lessons themselves are in `tutorials/`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec

from lora_np import checks
from lora_np.teach.exercise import Task

LESSONS = tuple(f"{number:02}" for number in range(1, 16))


@cache
def exercises(lesson: str) -> tuple[Task, ...]:
    """List the exercises of a lesson in their order, its quiz last.  Raises `ConfigError` for a lesson there is not.

    >>> [task.id for task in exercises("05")]
    ['05.1', '05.2', '05.3', '05.4', '05.quiz']
    """
    checks.require_one_of("lesson", lesson, LESSONS)
    module = f"{__name__}.lesson_{lesson}"
    found: tuple[Task, ...] = import_module(module).EXERCISES if find_spec(module) else ()
    return found


def exercise(id: str) -> Task:
    """Find an exercise by its id, as "05.2" or "05.quiz".  Raises `ConfigError` with the ids that there are.

    >>> exercise("05.2").signature
    'backward(gY, X, Z, W0, B, A, scale)'
    """
    lesson = str(id).partition(".")[0]
    checks.require_one_of("the lesson of the exercise", lesson, LESSONS)
    known = {task.id: task for task in exercises(lesson)}
    checks.require_one_of("exercise", id, known)
    return known[id]
