"""Judging an answer, whatever kind of exercise it is for.  Floor 6.  Nothing is printed here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lora_np.errors import ConfigError
from lora_np.teach.comparing import Trial, named
from lora_np.teach.exercise import Exercise, Quiz, Reverse, Task, digest
from lora_np.teach.naming import first_wrong, name_it, the_case
from lora_np.teach.watching import Problem, call, guarded, unwatched


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to say of an answer: right or not, the mistake's name, a sentence, and where it shows first."""

    id: str
    ok: bool
    name: str
    words: str
    where: str = ""
    passed: int = 0
    cases: int = 0


def judge(task: Task, answer: Any, *, seed: int = 0) -> Verdict:
    """Judge a function written for an exercise; another `seed` draws other cases of the same kinds.

    The error of a float is measured in units of u S and may be 16; whole numbers and words must be equal.

    >>> from lora_np.teach import exercise
    >>> judge(exercise("05.2"), lambda gY, X, Z, W0, B, A, scale: None).name
    'NothingReturned'
    """
    if not callable(answer):
        words = f"it is {type(answer).__name__}; give the function itself, without brackets after its name"
        return Verdict(task.id, False, "WrongType", words)
    if isinstance(task, Exercise):
        return _exercise(task, answer, seed)
    if isinstance(task, Reverse):
        return _reverse(task, answer)
    if isinstance(task, Quiz):
        return _quiz(task, answer)
    raise ConfigError(f"exercise {task.id} is of an unknown kind, {type(task).__name__}")


# ---- a function to write -----------------------------------------------------------------------------------


def _exercise(task: Exercise, answer: Callable[..., Any], seed: int) -> Verdict:
    trials = [_trial(task, answer, given, number) for number, given in enumerate(cases(task, seed), 1)]
    passed = sum(trial.ok for trial in trials)
    if passed == len(trials):
        worst, limit = max(trial.worst_u for trial in trials), trials[0].limit_u
        how = f"worst error {worst:.2g} u of {limit:g} allowed" if worst else "all equal"
        return Verdict(task.id, True, "Right", f"{passed} cases, {how}", "", passed, passed)
    first = next(trial for trial in trials if not trial.ok)
    problem = first.problem or name_it(trials)
    where = "" if problem.name == "NotWritten" else "; ".join(_where(first))
    return Verdict(task.id, False, problem.name, problem.words, where, passed, len(trials))


def cases(task: Exercise, seed: int = 0) -> list[dict[str, Any]]:
    """Draw the cases of an exercise: the same for the same seed."""
    number = int("".join(re.findall(r"\d", task.id)))
    return list(task.given(np.random.default_rng([seed, number])))


def _trial(task: Exercise, answer: Callable[..., Any], given: dict[str, Any], number: int) -> Trial:
    result = call(task, answer, given)
    got = result if isinstance(result, Problem) else named(task, result, given)
    if isinstance(got, Problem):
        return Trial(task, given, number, {}, got)
    lost = [name for name in Trial(task, given, number, got).want if name not in got]
    return Trial(task, given, number, got, Problem("WrongCount", f"{lost[0]} is missing") if lost else None)


def _where(trial: Trial) -> list[str]:
    """Say which element is wrong first, if there are any, and in which case."""
    elements = [] if trial.problem else first_wrong(trial)
    return [*elements, the_case(trial)]


# ---- a test to write ---------------------------------------------------------------------------------------


def _reverse(task: Reverse, test: Callable[..., Any]) -> Verdict:
    total = len(task.right) + len(task.mutants)
    for number, right in enumerate(task.right):
        said = _said(task, test, right)
        if isinstance(said, Problem):
            return Verdict(task.id, False, said.name, said.words, "", number, total)
        if not said:
            words = "your test rejects an implementation that is right"
            where = (right.__doc__ or f"right implementation {number + 1}").split("\n")[0]
            return Verdict(task.id, False, "RejectsRight", words, where, number, total)
    said_of = [(mutant, _said(task, test, mutant.wrong)) for mutant in task.mutants]
    alive = [mutant for mutant, said in said_of if said is True]
    if alive:
        words = f"{len(alive)} of {len(task.mutants)} mutants pass your test; one of them: {alive[0].words}"
        if len(alive) == len(task.mutants):
            words += "; it accepts everything: does it return or assert what it found?"
        return Verdict(task.id, False, "MutantSurvives", words, alive[0].name, total - len(alive), total)
    return Verdict(
        task.id, True, "Right", f"it accepts what is right and kills {len(said_of)} mutants", "", total, total
    )


def _said(task: Reverse, test: Callable[..., Any], implementation: Callable[..., Any]) -> bool | Problem:
    """Tell whether a test accepts an implementation: it neither asserts nor returns False."""
    try:
        result = guarded(task, lambda: test(unwatched(implementation)))
    except AssertionError:
        return False
    if isinstance(result, Problem):
        return result
    return result is None or bool(np.all(result))


# ---- a quiz ------------------------------------------------------------------------------------------------


def _quiz(task: Quiz, answer: Callable[..., Any]) -> Verdict:
    total = len(task.answers)
    letters = guarded(task, answer)
    if isinstance(letters, Problem):
        return Verdict(task.id, False, letters.name, letters.words, "", 0, total)
    if not isinstance(letters, (tuple, list, str)) or len(letters) != total:
        words = f"it must return {total} letters, as in return {', '.join(repr('a') for _ in range(total))}"
        return Verdict(task.id, False, "WrongCount", words, "", 0, total)
    wrong = [
        n
        for n, (one, right) in enumerate(zip(letters, task.answers, strict=True), 1)
        if digest(task.id, n, str(one)) != right
    ]
    if not wrong:
        return Verdict(task.id, True, "Right", f"{total} of {total} questions", "", total, total)
    first = wrong[0]
    words = f"{total - len(wrong)} of {total} questions right; question {first}: read again {task.again[first - 1]}"
    return Verdict(task.id, False, "WrongChoice", words, "", total - len(wrong), total)
