"""What an exercise is: what is given, what is asked, what students get wrong.  Floor 6.  No answer is run here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Given = dict[str, Any]
"""The arguments of one case, by name, in the order of the signature."""

Seen = Callable[[Any, Given], Mapping[str, Any]]
"""From an answer and its arguments to what is compared, by name: for answers that are not unique."""


@dataclass(frozen=True, slots=True, eq=False)
class Suspect:
    """A mistake with a name: the words to say it with, and the function that makes it."""

    name: str
    words: str
    wrong: Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Task:
    """What every kind of exercise has.

    `hints` are the first two levels, what is asked and where to look; the third is the equations of the registry.
    `forbidden` names what an answer may not call beside this package, autograd and torch; `allowed` takes back.
    """

    id: str
    title: str = ""
    stars: int = 1
    signature: str = ""
    hints: tuple[str, str] = ("", "")
    equations: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Exercise(Task):
    """A function to write: its answer on every case of `given` is compared with `expected`.

    `returns` names what comes back.  `size` gives the sizes S that an error is measured against, in units of u S;
    without it they are `expected` at absolute values, which is right for sums of products.  `oracle` names the
    method and operation whose table of mistakes applies; `config` may give it its rank and alpha.
    """

    given: Callable[[np.random.Generator], Iterable[Given]]
    expected: Callable[..., Any]
    returns: tuple[str, ...] = ("answer",)
    suspects: tuple[Suspect, ...] = ()
    seen: Seen | None = None
    size: Callable[[Given], Any] | None = None
    oracle: str = ""
    config: Callable[[Given], Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reverse(Task):
    """A test to write: it accepts every implementation in `right`, and rejects every mutant."""

    right: tuple[Callable[..., Any], ...]
    mutants: tuple[Suspect, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Quiz(Task):
    """Questions with one right letter each, kept as digests; `again` says for each where to read again."""

    answers: tuple[str, ...]
    again: tuple[str, ...]


def digest(quiz: str, question: int, letter: str) -> str:
    """Hide the right letter of a question, so that nobody reads it by chance.

    >>> (
    ...     digest("05.quiz", 1, "b") == digest("05.quiz", 1, " B "),
    ...     digest("05.quiz", 1, "b") == digest("05.quiz", 2, "b"),
    ... )
    (True, False)
    """
    text = f"{quiz} question {question} answer {letter.strip().lower()}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]
