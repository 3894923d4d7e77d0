"""What a student calls: check an answer, ask for a hint.  Floor 6.  It prints; `judging` decides."""

from __future__ import annotations

from typing import Any

from lora_np import checks
from lora_np.equations import EQUATIONS
from lora_np.errors import ConfigError
from lora_np.teach.exercise import Quiz, Task
from lora_np.teach.exercises import exercise
from lora_np.teach.judging import Verdict, judge

LEVELS = (1, 2, 3)


def check(id: str, answer: Any) -> bool:
    """Check an answer to an exercise: print what holds or what fails, and return which.

    Raises `ConfigError` for an exercise that there is not.

    >>> check("05.2", lambda gY, X, Z, W0, B, A, scale: 2)
    ✗ 05.2  it returns 1 thing, 3 are expected: gX, gB, gA
        case 1: ...
        hint("05.2") says what is asked
    False
    """
    task = exercise(id)
    verdict = judge(task, answer)
    print(report(task, verdict))
    return verdict.ok


def report(task: Task, verdict: Verdict) -> str:
    """Write a verdict for a student: a mark, a sentence, the first wrong element, and where help is."""
    if verdict.ok:
        return f"✓ {task.id}  {verdict.words}"
    lines = [f"✗ {task.id}  {verdict.words}"]
    lines += [f"    {verdict.where}"] if verdict.where else []
    if not isinstance(task, Quiz):
        lines.append(f'    hint("{task.id}") says what is asked')
    return "\n".join(lines)


def hint(id: str, level: int = 1) -> None:
    """Print a hint: what is asked (level 1), where to look (2), or the equation (3).

    Raises `ConfigError` for an exercise or a level that there is not.

    >>> hint("05.2", 3)
    [lora-2] ...
    """
    print(hint_text(exercise(id), level))


def hint_text(task: Task, level: int) -> str:
    """Write a hint of one level."""
    checks.require_int("level", level, minimum=1, fix="levels are 1 (what), 2 (where) and 3 (the equation)")
    if level not in LEVELS:
        raise ConfigError(f"level is {level}, one of 1, 2, 3 expected", fix="3, the equation, is the last")
    if isinstance(task, Quiz):
        return "Read again: " + "; ".join(dict.fromkeys(task.again))
    if level < len(LEVELS):
        more = f'  (hint("{task.id}", {level + 1}) says more)'
        return task.hints[level - 1] + more
    return "\n".join(
        f"[{key}] {EQUATIONS[key].words}\n    {EQUATIONS[key].latex}" for key in task.equations
    ) or ("This exercise has no equation; level 2 is the last.")
