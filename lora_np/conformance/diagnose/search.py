"""Finding what is wrong: the table of all hypotheses, and the first that explains everything.  Floor 6."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose import (
    axes,
    combining,
    fallback,
    layouts,
    norm,
    numbers,
    parts,
    precision,
    products,
    pruning,
    reduction,
    rules,
    scale,
    steps,
)
from lora_np.conformance.diagnose.guessing import IMPOSSIBLE, Hypothesis
from lora_np.conformance.diagnose.question import Diagnosis, Question
from lora_np.conformance.vectors.format import Case

TABLE: tuple[Hypothesis, ...] = (
    *fallback.FIRST,
    *steps.HYPOTHESES,
    *rules.HYPOTHESES,
    *combining.HYPOTHESES,
    *pruning.HYPOTHESES,
    *numbers.HYPOTHESES,
    *scale.HYPOTHESES,
    *parts.HYPOTHESES,
    *norm.HYPOTHESES,
    *products.HYPOTHESES,
    *layouts.HYPOTHESES,
    *axes.HYPOTHESES,
    *reduction.HYPOTHESES,
    *precision.HYPOTHESES,
    *fallback.HYPOTHESES,
    *precision.LAST,
    *fallback.LAST,
)
"""Every mistake that has a name, in the order in which they are tried."""


def diagnose(case: Case, got: Mapping[str, Array]) -> Diagnosis | None:
    """Name what explains all wrong elements of a case; None where nothing is wrong, or nothing explains it.

    Of several wrong outputs, a mistake that explains each of them goes before one that explains the first alone.
    """
    found = diagnoses(case, got)
    return found[0] if found else None


def diagnoses(case: Case, got: Mapping[str, Array]) -> list[Diagnosis]:
    """List the diagnoses that hold, one for each name, simplest first: those that explain most of the wrong outputs."""
    questions = [Question(case, name, np.asarray(got[name])) for name in case.outputs if name in got]
    return _ranked([_of_output(question) for question in questions if _is_wrong(question)])


def verdict(found: Iterable[Sequence[Diagnosis]]) -> Diagnosis | None:
    """Name the one mistake that explains most cases of a capability, by its diagnosis of the first of them.

    `found` has what `diagnoses` returned for each failing case.  Of two that explain as many, the simpler wins.
    """
    ranked = _ranked([{one.name: one for one in listed} for listed in found])
    return ranked[0] if ranked else None


LAST_RESORTS = {one.flag for one in (*fallback.HYPOTHESES, *fallback.LAST, *precision.LAST)}
"""Names that say how the numbers look rather than what was done."""
PLACES = {one.flag for one in fallback.LAST}
"""Names that only say where."""


def _ranked(found: Sequence[Mapping[str, Diagnosis]]) -> list[Diagnosis]:
    """Keep the names that explain most of `found`, by their rows in the table; last resorts at the end.

    To say which part is wrong explains nothing, so it never goes before a name that explains less.
    """
    count = Counter(name for diagnoses in found for name in diagnoses if name not in PLACES)
    most = max(count.values(), default=0)
    first = {name: one for diagnoses in reversed(found) for name, one in diagnoses.items()}
    kept = [one for name, one in first.items() if count[name] == most]
    return sorted(kept, key=lambda one: (one.name in LAST_RESORTS, one.rank))


def _is_wrong(q: Question) -> bool:
    return q.got.shape != q.want.shape or bool(q.wrong.any())


def _of_shape(q: Question) -> dict[str, Diagnosis]:
    """Say whether the numbers are right and only the shape is not: transposed, or with axes too many or too few."""
    for flag, turned in (("Transposed", q.got.T), ("AxisLost", q.got)):
        fits = turned.size == q.want.size and (flag == "AxisLost" or turned.shape == q.want.shape)
        if fits and not Question(q.case, q.name, turned.reshape(q.want.shape)).wrong.any():
            words = f"{q.name} has the right numbers in the shape {q.got.shape} for {q.want.shape}"
            return {flag: Diagnosis(flag, words, q.name, (), float("nan"), float("nan"))}
    return {}


def _of_output(q: Question) -> dict[str, Diagnosis]:
    """Try the table on one output: the first sentence of each name that explains it."""
    if q.got.shape != q.want.shape:
        return _of_shape(q)
    found: dict[str, Diagnosis] = {}
    for rank, hypothesis in enumerate(TABLE):
        if hypothesis.flag in found or not hypothesis.applies(q):
            continue
        words = next(_explaining(q, hypothesis), None)
        if words is not None:
            found[hypothesis.flag] = q.diagnosis(hypothesis.flag, words, rank)
            if hypothesis in fallback.FIRST:
                break
    return found


def _explaining(q: Question, hypothesis: Hypothesis) -> Iterator[str]:
    """Go through the guesses that explain what was got; where one cannot be made, those after it are passed over."""
    guesses = iter(hypothesis.guesses(q))
    while True:
        try:
            with np.errstate(all="ignore"):
                guess, words = next(guesses)
        except (StopIteration, *IMPOSSIBLE, KeyError):
            return
        if guess is not None and q.is_explained_by(guess):
            yield words
