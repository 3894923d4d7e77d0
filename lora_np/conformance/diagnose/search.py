"""Finding what is wrong: the table of all hypotheses, simplest first, and the first that explains everything.  Floor 6."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from lora_np.conformance.diagnose import (
    axes,
    fallback,
    layouts,
    norm,
    numbers,
    parts,
    precision,
    products,
    reduction,
    scale,
)
from lora_np.conformance.diagnose.guessing import IMPOSSIBLE, Hypothesis
from lora_np.conformance.diagnose.question import Diagnosis, Question
from lora_np.conformance.vectors.format import Case

TABLE: tuple[Hypothesis, ...] = (
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


def diagnose(case: Case, got: Mapping[str, np.ndarray]) -> Diagnosis | None:
    """Name what explains all wrong elements of a case; None where nothing is wrong, or nothing explains it.

    Of several wrong outputs, a mistake that explains each of them goes before one that explains the first alone.
    """
    found = diagnoses(case, got)
    return found[0] if found else None


def diagnoses(case: Case, got: Mapping[str, np.ndarray]) -> list[Diagnosis]:
    """List every diagnosis that holds, one for each name: first those that explain all wrong outputs, simplest first."""
    by_output = [
        _of_output(question)
        for name in case.outputs
        if name in got and (question := Question(case, name, np.asarray(got[name]))) and _is_wrong(question)
    ]
    if not by_output:
        return []
    count = Counter(name for found in by_output for name in found)
    merged = {name: diagnosis for found in reversed(by_output) for name, diagnosis in found.items()}
    ranked = sorted(merged, key=lambda name: (-count[name], name in LAST_RESORTS, _rank(name)))
    return [merged[name] for name in ranked]


def verdict(found: Iterable[Sequence[Diagnosis]]) -> Diagnosis | None:
    """Name the one mistake that explains most cases of a capability, by its diagnosis of the first of them.

    `found` has what `diagnoses` returned for each failing case.  Of two that explain as many, the simpler wins.
    """
    lists = [diagnoses for diagnoses in found if diagnoses]
    count = Counter(diagnosis.name for diagnoses in lists for diagnosis in diagnoses)
    if not count:
        return None
    best = min(count, key=lambda name: (-count[name], name in LAST_RESORTS, _rank(name)))
    return next(one for diagnoses in lists for one in diagnoses if one.name == best)


LAST_RESORTS = {one.flag for one in (*fallback.HYPOTHESES, *fallback.LAST, *precision.LAST)}
"""Names that say how the numbers look rather than what was done."""


def _rank(name: str) -> int:
    return next((i for i, one in enumerate(TABLE) if one.flag == name), len(TABLE))


def _is_wrong(q: Question) -> bool:
    return q.got.shape == q.want.shape and bool(q.wrong.any())


def _of_output(q: Question) -> dict[str, Diagnosis]:
    """Try the table on one output: the first sentence of each name that explains it."""
    for hypothesis in fallback.FIRST:
        for _, words in hypothesis.guesses(q):
            return {hypothesis.flag: q.diagnosis(hypothesis.flag, words)}
    found: dict[str, Diagnosis] = {}
    for hypothesis in TABLE:
        if hypothesis.flag in found or not hypothesis.applies(q):
            continue
        words = next(_explaining(q, hypothesis), None)
        if words is not None:
            found[hypothesis.flag] = q.diagnosis(hypothesis.flag, words)
    return found


def _explaining(q: Question, hypothesis: Hypothesis) -> Iterator[str]:
    """Go through the guesses that explain what was got; one that cannot be made here is passed over."""
    guesses = iter(hypothesis.guesses(q))
    while True:
        try:
            with np.errstate(all="ignore"):
                guess, words = next(guesses)
        except StopIteration:
            return
        except (*IMPOSSIBLE, KeyError):
            return
        if guess is not None and q.is_explained_by(guess):
            yield words
