"""The diagnoser's table: its formulas are right, every row can be met, and what it says is what was done."""

from collections import defaultdict
from functools import cache

import numpy as np
import pytest

from lora_np.conformance.diagnose import combining, diagnoses, pruning, rules, steps
from lora_np.conformance.diagnose.guessing import IMPOSSIBLE, answer, has_model
from lora_np.conformance.diagnose.names import NAMES
from lora_np.conformance.diagnose.question import Question
from lora_np.conformance.diagnose.search import LAST_RESORTS, TABLE
from lora_np.conformance.vectors.flags import FLAGS
from lora_np.conformance.vectors.format import Case, read_all

SWITCHED = {
    **steps.PLUS,
    **steps.FA,
    **rules.PENALTY,
    **rules.IMPORTANCE,
    **rules.SCHEDULE,
    **rules.BUDGET,
    **rules.STARTS,
    **rules.MAGNITUDES,
    **combining.ALL,
    **pruning.IMPORTANCE,
    **pruning.RELEASED,
    **pruning.AVERAGE,
    **pruning.SCHEDULE,
    **pruning.MASK,
}


@cache
def usual() -> tuple[Case, ...]:
    """The shipped cases in float64 and float32 that have answers."""
    return tuple(case for case in read_all() if case.outputs and case.dtype in ("float64", "float32"))


@cache
def by_capability() -> dict[str, list[Case]]:
    """The usual cases in float64, by capability."""
    found: dict[str, list[Case]] = defaultdict(list)
    for case in usual():
        if case.dtype == "float64":
            found[case.capability].append(case)
    return found


def right(case: Case, name: str) -> Question:
    """Ask about an output that is right."""
    return Question(case, name, case.outputs[name].want)


# ---- the formulas -------------------------------------------------------------------------------------------


def layer_capabilities() -> list[str]:
    """Every capability for which there is a model."""
    return sorted(
        name
        for name, cases in by_capability().items()
        if has_model(right(cases[0], next(iter(cases[0].outputs))))
    )


@pytest.mark.parametrize("capability", layer_capabilities())
def test_without_a_mistake_the_models_give_the_expected_values(capability):
    """A third writing of every formula, and gradients in the imaginary direction, against the exact answers."""
    for case in by_capability()[capability]:
        for name in case.outputs:
            q = right(case, name)
            found = answer(q)
            assert found is not None, (case.id, name)
            assert found.shape == q.want.shape, (case.id, name)
            assert (np.abs(found - q.want) <= q.room(found)).all(), (case.id, name)


@pytest.mark.parametrize("capability", sorted(SWITCHED.keys() & by_capability().keys()))
def test_without_a_switch_the_operations_give_the_expected_values(capability):
    """Steps, penalties, importance, schedules, budgets and starting points."""
    for case in by_capability()[capability]:
        for name in case.outputs:
            q = right(case, name)
            found = np.asarray(SWITCHED[capability](q.tensors, q.config)[name], dtype=np.float64)
            assert (np.abs(found - q.want) <= q.room(found)).all(), (case.id, name)


# ---- the rows -----------------------------------------------------------------------------------------------


def met(flag: str, row: int) -> list[str]:
    """Feed a row's own guesses back as answers; return the names that the diagnoser gives to the first that differ."""
    hypothesis, names = TABLE[row], []
    for cases in by_capability().values():
        for case in cases[:: max(1, len(cases) // 16)]:
            for name in case.outputs:
                for guess in guessed(hypothesis, right(case, name)):
                    q = Question(case, name, guess)
                    if q.got.shape == q.want.shape and q.wrong.any():
                        names = [one.name for one in diagnoses(case, {name: guess})]
                        if flag in names:
                            return names
                        break
    return names


def guessed(hypothesis, q: Question) -> list[np.ndarray]:
    """Make a row's guesses about an output, those that can be made."""
    found: list[np.ndarray] = []
    if not hypothesis.applies(q):
        return found
    with np.errstate(all="ignore"):
        try:
            found.extend(guess for guess, _ in hypothesis.guesses(q) if guess is not None)
        except (*IMPOSSIBLE, KeyError):
            return found
    return found


LOOKING = {"NotFinite", "Permuted", "EpsilonAdded", *LAST_RESORTS}
"""Rows that look at what came, so that they guess nothing about a right answer; they have tests of their own."""


ROUNDED = ("InputRounded", "IncrementRounded", "ScaleRounded")
"""Rows that need inputs of many bits; tested by themselves, too."""

PREDICTING = [
    i for i, one in enumerate(TABLE) if one.flag not in LOOKING and not one.flag.startswith(ROUNDED)
]


@pytest.mark.parametrize("row", PREDICTING, ids=[f"{i}-{TABLE[i].flag}" for i in PREDICTING])
def test_every_row_can_be_met_with_the_shipped_vectors(row):
    """What a row predicts, given as an answer, is found under the row's name: no row is dead."""
    assert TABLE[row].flag in met(TABLE[row].flag, row)


def test_the_names_of_mistakes_are_described_and_shared_with_the_vectors():
    """Names that the vectors carry as flags are spelled as the diagnoser spells them, and every name has a meaning."""
    names = {one.flag for one in TABLE}
    shared = """
        MissingScale SquaredScale ScaleInverted RankDivided SqrtRank Transposed FactorsSwapped
        KroneckerOrder SignFlipped MeanForSum MissingBias BiasScaled InputRoundedToFloat32
        InputRoundedToBfloat16 DetachedNorm AttachedNorm MissingVector WrongSide RotationInverted
        TriangleOrder ActivationApproximated MissingResidual MissingRootOfWidth PromptBehind
        PartsShifted GroupsMixed WindowShifted PaddingTrained StaleMerge RatioOnWrongFactor
        TiedScores
    """
    assert set(shared.split()) <= names & FLAGS.keys()
    assert names <= NAMES.keys()
    assert all(flag.description and flag.effect for flag in NAMES.values())
