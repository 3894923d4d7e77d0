"""Exercises of lesson 13, LoRAPrune: the estimate, what it sees, the mask, and a test to write.  Floor 6.

Long, because every exercise stands with its suspects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lora_np import prune
from lora_np._typing import Array
from lora_np.lora import LoraParams
from lora_np.prune.groups import channels, rows
from lora_np.teach.exercise import Exercise, Quiz, Reverse, Suspect

Given = dict[str, Any]

SIZES = ((2, 3, 1), (4, 3, 2), (1, 1, 1), (3, 5, 2), (5, 4, 3))
"""(d, k, r): d and k differ in the first, so that a wrong product shows there."""


# ---- the estimate: 13.1 and 13.6 -----------------------------------------------------------------------------


def _given_factors(rng: np.random.Generator) -> Iterator[Given]:
    for d, k, r in SIZES:
        yield {
            "B": rng.normal(size=(d, r)),
            "A": rng.normal(size=(r, k)),
            "gB": rng.normal(size=(d, r)),
            "gA": rng.normal(size=(r, k)),
        }


def _estimate(B: Array, A: Array, gB: Array, gA: Array) -> Array:
    return gB @ A + B @ gA - gB @ gA


def _size_estimate(given: Given) -> Array:
    B, A, gB, gA = (np.abs(given[name]) for name in ("B", "A", "gB", "gA"))
    return gB @ A + B @ gA + gB @ gA + B @ A


def _added(B: Array, A: Array, gB: Array, gA: Array) -> Array:
    return gB @ A + B @ gA + gB @ gA


def _third_missing(B: Array, A: Array, gB: Array, gA: Array) -> Array:
    return gB @ A + B @ gA


def _third_twice(B: Array, A: Array, gB: Array, gA: Array) -> Array:
    return gB @ A + B @ gA - 2 * gB @ gA


def _no_b_term(_B: Array, A: Array, gB: Array, gA: Array) -> Array:
    return gB @ A - gB @ gA


def _no_a_term(B: Array, _A: Array, gB: Array, gA: Array) -> Array:
    return B @ gA - gB @ gA


ESTIMATE = Exercise(
    id="13.1",
    title="The estimate",
    stars=1,
    signature="estimate(B, A, gB, gA)",
    returns=("G_hat",),
    given=_given_factors,
    expected=lambda B, A, gB, gA: prune.gradients.estimated(LoraParams(B, A), LoraParams(gB, gA)),
    size=_size_estimate,
    hints=(
        "Three products of a (d, r) and an (r, k) array: two are added, the third is subtracted.",
        "gB A and B gA are added, gB gA is subtracted. Matrix products are written @, the one of d rows first.",
    ),
    equations=("prune-estimate",),
    suspects=(
        Suspect(
            "LearningRate",
            "the learning rate is 0.1, as in the example by hand: the estimate of LoRAPrune has 1",
            lambda B, A, gB, gA: gB @ A + B @ gA - 0.1 * gB @ gA,
        ),
        Suspect(
            "LearningRate",
            "this is the step with learning rate 0.1, not divided by it: the estimate of LoRAPrune has 1",
            lambda B, A, gB, gA: B @ A - (B - 0.1 * gB) @ (A - 0.1 * gA),
        ),
        Suspect(
            "OuterForProduct",
            "np.outer pairs every number with every other; a (d, r) and an (r, k) array are multiplied with @",
            lambda B, A, gB, gA: np.outer(gB, A) + np.outer(B, gA) - np.outer(gB, gA),
        ),
        Suspect("SignWrong", "the third term gB gA is added: it is subtracted", _added),
        Suspect(
            "SignWrong",
            "the sign of the whole: it is the product before the step minus the product after it",
            lambda B, A, gB, gA: -_estimate(B, A, gB, gA),
        ),
        Suspect("ThirdMissing", "the third term is left out: subtract gB gA", _third_missing),
        Suspect("ThirdTwice", "the third term is subtracted twice", _third_twice),
        Suspect("TermMissing", "the term B gA is left out", _no_b_term),
        Suspect("TermMissing", "the term gB A is left out", _no_a_term),
        Suspect(
            "TermMissing",
            "only gB A is there: B gA and the third term are left out",
            lambda _B, A, gB, _gA: gB @ A,
        ),
        Suspect(
            "ProductMissing",
            "the product of the gradients alone: each gradient meets the other strip, gB A and B gA",
            lambda _B, _A, gB, gA: gB @ gA,
        ),
        Suspect(
            "ProductMissing",
            "the gradients are not multiplied with the other strip: gB meets A, and B meets gA",
            lambda B, A, gB, gA: B @ A - gB @ gA,
        ),
        Suspect(
            "StepNotSubtracted",
            "this is the product after the step: the estimate is B A minus it",
            lambda B, A, gB, gA: (B - gB) @ (A - gA),
        ),
        Suspect(
            "BaseAdded",
            "the product B A itself is added: only its change counts",
            lambda B, A, gB, gA: B @ A + _estimate(B, A, gB, gA),
        ),
        Suspect(
            "Halved",
            "a mean of the two terms: they are added",
            lambda B, A, gB, gA: (gB @ A + B @ gA) / 2 - gB @ gA,
        ),
    ),
)


def _concatenated(B: Array, A: Array, gB: Array, gA: Array) -> Array:
    return np.hstack([gB, B - gB]) @ np.vstack([A, gA])


def _the_step(B: Array, A: Array, gB: Array, gA: Array) -> Array:
    return B @ A - (B - gB) @ (A - gA)


def _only_rank_1(B: Array, A: Array, gB: Array, gA: Array) -> Array:
    b, a, gb, ga = B.sum(axis=1), A.sum(axis=0), gB.sum(axis=1), gA.sum(axis=0)
    return np.outer(gb, a) + np.outer(b, ga) - np.outer(gb, ga)


def _only_square(B: Array, A: Array, gB: Array, gA: Array) -> Array:
    right = _estimate(B, A, gB, gA)
    return right if right.shape[0] == right.shape[1] else right.T


def _rounded(B: Array, A: Array, gB: Array, gA: Array) -> Array:
    return np.round(_estimate(B, A, gB, gA), 3)


def _changing(B: Array, A: Array, gB: Array, gA: Array) -> Array:
    right = _estimate(B, A, gB, gA)
    gB *= 0
    return right


TEST_ESTIMATE = Reverse(
    id="13.6",
    title="The other way round: write the test",
    stars=3,
    signature="test_estimate(estimate)",
    right=(_estimate, _concatenated, _the_step),
    mutants=(
        Suspect("SignWrong", "the third term is added", _added),
        Suspect("ThirdMissing", "the third term is left out", _third_missing),
        Suspect("ThirdTwice", "the third term is taken twice", _third_twice),
        Suspect("TermMissing", "the term B gA is left out", _no_b_term),
        Suspect("TermMissing", "the term gB A is left out", _no_a_term),
        Suspect("OnlyRank1", "right only if r = 1: try r = 2", _only_rank_1),
        Suspect("OnlySquare", "right only if d = k: try different ones, and compare shapes", _only_square),
        Suspect("Rounded", "the result is rounded to three decimals: compare more closely", _rounded),
        Suspect("InputChanged", "gB has been changed: keep a copy, and compare after the call", _changing),
    ),
    hints=(
        "Draw B, A, gB, gA at random with d, k and r all different; compute what you expect; compare with np.allclose.",
        "What you expect: B A − (B − gB)(A − gA). Look at the shape as well, and at gB after the call.",
    ),
    equations=("prune-estimate", "prune-estimate-sgd"),
)


# ---- the shadow: 13.2 ----------------------------------------------------------------------------------------


def _given_shadow(rng: np.random.Generator) -> Iterator[Given]:
    for (d, k, r), scale in zip(SIZES, (2.0, 0.5, 1.5, 3.0, 0.25), strict=True):
        B = rng.normal(size=(d, r))
        yield {
            "G": rng.normal(size=(d, k)),
            "B": B * 0 if (d, k) == (2, 3) else B,
            "A": rng.normal(size=(r, k)),
            "scale": scale,
        }


def _expected_shadow(G: Array, B: Array, A: Array, scale: float) -> Array:
    g = LoraParams(scale * (G @ A.T), scale * (B.T @ G))
    return prune.gradients.estimated(LoraParams(B, A), g, lr=0.0)


def _shadow(G: Array, B: Array, A: Array) -> Array:
    return G @ A.T @ A + B @ B.T @ G


SHADOW = Exercise(
    id="13.2",
    title="The shadow",
    stars=2,
    signature="shadow(G, B, A, scale)",
    returns=("seen",),
    given=_given_shadow,
    expected=_expected_shadow,
    hints=(
        "Put gB = s G Aᵀ and gA = s Bᵀ G into gB A + B gA. The third term of the estimate is not asked for.",
        "Two terms of shape (d, k): G times AᵀA on its right, B Bᵀ times G on its left; the scale stands before both.",
    ),
    equations=("prune-projected", "grad-1"),
    suspects=(
        Suspect(
            "ScaleMissing",
            "the scale is left out: both gradients have it once",
            lambda G, B, A, _scale: _shadow(G, B, A),
        ),
        Suspect(
            "ScaleTwice",
            "the scale is there twice: each of the two terms has one gradient, and one scale",
            lambda G, B, A, scale: scale**2 * _shadow(G, B, A),
        ),
        Suspect(
            "ScaleOnce",
            "the scale multiplies the first term only",
            lambda G, B, A, scale: scale * (G @ A.T @ A) + B @ B.T @ G,
        ),
        Suspect(
            "ScaleOnce",
            "the scale multiplies the second term only",
            lambda G, B, A, scale: G @ A.T @ A + scale * (B @ B.T @ G),
        ),
        Suspect(
            "TermMissing",
            "only G AᵀA is there: this is the estimate at B = 0; the term with B is left out",
            lambda G, _B, A, scale: scale * (G @ A.T @ A),
        ),
        Suspect(
            "TermMissing",
            "only B Bᵀ G is there: the term with A is left out",
            lambda G, B, _A, scale: scale * (B @ B.T @ G),
        ),
        Suspect(
            "ProductForSum",
            "one shadow of the other, B Bᵀ G AᵀA: the two are added, not multiplied",
            lambda G, B, A, scale: scale * (B @ B.T @ G @ A.T @ A),
        ),
        Suspect(
            "SignWrong",
            "the second term is subtracted: it is added",
            lambda G, B, A, scale: scale * (G @ A.T @ A - B @ B.T @ G),
        ),
        Suspect(
            "GradientAdded",
            "the true gradient itself is added: only its two shadows are",
            lambda G, B, A, scale: G + scale * _shadow(G, B, A),
        ),
        Suspect(
            "Halved", "a mean of the two terms: they are added", lambda G, B, A, s: s * _shadow(G, B, A) / 2
        ),
        Suspect(
            "ThirdIncluded",
            "the third term is there, too: only the two linear terms are asked for",
            lambda G, B, A, s: s * _shadow(G, B, A) - s**2 * (G @ A.T) @ (B.T @ G),
        ),
    ),
)


# ---- the score of a row: 13.3 --------------------------------------------------------------------------------


def _given_rows(rng: np.random.Generator) -> Iterator[Given]:
    scales = (2.0, 0.5, 1.5, 3.0, 0.25)
    for scale, (d, k, _), factors in zip(scales, SIZES, _given_factors(rng), strict=True):
        yield {"W0": rng.normal(size=(d, k)), **factors, "scale": scale}


def _expected_rows(W0: Array, B: Array, A: Array, gB: Array, gA: Array, scale: float) -> Array:
    p, g = LoraParams(B, A), LoraParams(gB, gA)
    weight = prune.Adapted(W0, p, scale)
    estimate = prune.gradients.estimated_product(p, g)
    return prune.importance(weight, estimate, rows(W0.shape[0]), form="sum-squared")


def _terms(W0: Array, B: Array, A: Array, gB: Array, gA: Array, scale: float) -> Array:
    return _estimate(B, A, gB, gA) * _weight(W0, B, A, scale)


def _weight(W0: Array, B: Array, A: Array, scale: float) -> Array:
    return W0 + scale * (B @ A)


def _size_rows(given: Given) -> Array:
    absolute = {name: np.abs(value) for name, value in given.items()}
    W = absolute["W0"] + absolute["scale"] * (absolute["B"] @ absolute["A"])
    return ((_size_estimate(given) * W) ** 2).sum(axis=1)


ROW_SCORES = Exercise(
    id="13.3",
    title="LoRAPrune's score of a row",
    stars=2,
    signature="row_scores(W0, B, A, gB, gA, scale)",
    returns=("scores",),
    given=_given_rows,
    expected=_expected_rows,
    size=_size_rows,
    hints=(
        "Make the weight in use and the estimate, both (d, k). Multiply entry by entry, square, and add up each row.",
        "W = W0 + scale · B A; Ĝ has no scale. Square before adding, and add along axis=1.",
    ),
    equations=("prune-weightwise", "prune-group-sum", "prune-estimate"),
    suspects=(
        Suspect(
            "ProductForHadamard",
            "a matrix product of the estimate and Wᵀ: multiply them entry by entry",
            lambda W0, B, A, gB, gA, s: ((_estimate(B, A, gB, gA) @ _weight(W0, B, A, s).T) ** 2).sum(axis=1),
        ),
        Suspect(
            "ScaleOnBase",
            "the scale multiplies the frozen weight, too: W0 + scale · B A",
            lambda W0, B, A, gB, gA, s: ((s * _terms(W0, B, A, gB, gA, 1.0)) ** 2).sum(axis=1),
        ),
        Suspect(
            "ScaleDivided",
            "the increment is divided by the scale: multiply it",
            lambda W0, B, A, gB, gA, s: (_terms(W0, B, A, gB, gA, 1 / s) ** 2).sum(axis=1),
        ),
        Suspect(
            "ScaleTwice",
            "the third term of the estimate is scaled: the estimate has no scale here",
            lambda W0, B, A, gB, gA, s: (
                ((_third_missing(B, A, gB, gA) - s * gB @ gA) * _weight(W0, B, A, s)) ** 2
            ).sum(axis=1),
        ),
        Suspect(
            "AllSummed",
            "everything is added up to one number: each row has its own score, along axis=1",
            lambda W0, B, A, gB, gA, s: (_terms(W0, B, A, gB, gA, s) ** 2).sum(),
        ),
        Suspect(
            "SumMissing",
            "these are the squares, weight by weight: add up each row, along axis=1",
            lambda W0, B, A, gB, gA, s: _terms(W0, B, A, gB, gA, s) ** 2,
        ),
        Suspect(
            "SquareOfOne",
            "only the estimate is squared: square the product Ĝ W",
            lambda W0, B, A, gB, gA, s: (_estimate(B, A, gB, gA) ** 2 * _weight(W0, B, A, s)).sum(axis=1),
        ),
        Suspect(
            "SquareOfOne",
            "only the weight is squared: square the product Ĝ W",
            lambda W0, B, A, gB, gA, s: (_estimate(B, A, gB, gA) * _weight(W0, B, A, s) ** 2).sum(axis=1),
        ),
        Suspect(
            "SumsApart",
            "the squares of Ĝ and of W are added up apart: multiply entry by entry first",
            lambda W0, B, A, gB, gA, s: (
                (_estimate(B, A, gB, gA) ** 2).sum(axis=1) * (_weight(W0, B, A, s) ** 2).sum(axis=1)
            ),
        ),
        Suspect(
            "IncrementMissing",
            "the frozen weight alone is multiplied: the weight in use is W0 + scale · B A",
            lambda W0, B, A, gB, gA, _s: ((_estimate(B, A, gB, gA) * W0) ** 2).sum(axis=1),
        ),
        Suspect(
            "BaseMissing",
            "the increment alone is multiplied: the weight in use is W0 + scale · B A",
            lambda W0, B, A, gB, gA, s: (_terms(W0 * 0, B, A, gB, gA, s) ** 2).sum(axis=1),
        ),
        Suspect(
            "ScaleMissing",
            "the scale is left out of the weight in use: W0 + scale · B A",
            lambda W0, B, A, gB, gA, _s: (_terms(W0, B, A, gB, gA, 1.0) ** 2).sum(axis=1),
        ),
        Suspect(
            "ScaleTwice",
            "the estimate is scaled, too: here only the weight has the scale",
            lambda W0, B, A, gB, gA, s: ((s * _terms(W0, B, A, gB, gA, s)) ** 2).sum(axis=1),
        ),
        Suspect(
            "SumFirst",
            "the sum is squared: LoRAPrune squares weight by weight, and then adds",
            lambda W0, B, A, gB, gA, s: _terms(W0, B, A, gB, gA, s).sum(axis=1) ** 2,
        ),
        Suspect(
            "SignLost",
            "absolute values are added, as the released program does: the equation adds squares",
            lambda W0, B, A, gB, gA, s: np.abs(_terms(W0, B, A, gB, gA, s)).sum(axis=1),
        ),
        Suspect(
            "SquareMissing",
            "nothing is squared: square weight by weight, then add",
            lambda W0, B, A, gB, gA, s: _terms(W0, B, A, gB, gA, s).sum(axis=1),
        ),
        Suspect(
            "AxisWrong",
            "these are sums over columns: each row has one score, along axis=1",
            lambda W0, B, A, gB, gA, s: (_terms(W0, B, A, gB, gA, s) ** 2).sum(axis=0),
        ),
        Suspect(
            "MeanForSum",
            "a mean along each row for a sum",
            lambda W0, B, A, gB, gA, s: (_terms(W0, B, A, gB, gA, s) ** 2).mean(axis=1),
        ),
        Suspect(
            "ThirdMissing",
            "the third term of the estimate is left out: subtract gB gA",
            lambda W0, B, A, gB, gA, s: ((_third_missing(B, A, gB, gA) * (W0 + s * (B @ A))) ** 2).sum(
                axis=1
            ),
        ),
        Suspect(
            "SignWrong",
            "the third term of the estimate is added: subtract gB gA",
            lambda W0, B, A, gB, gA, s: ((_added(B, A, gB, gA) * (W0 + s * (B @ A))) ** 2).sum(axis=1),
        ),
        Suspect(
            "RootForSquare",
            "a norm for its square: no root is taken",
            lambda W0, B, A, gB, gA, s: np.sqrt((_terms(W0, B, A, gB, gA, s) ** 2).sum(axis=1)),
        ),
    ),
)


# ---- the mask: 13.4 ------------------------------------------------------------------------------------------


def _given_masks(rng: np.random.Generator) -> Iterator[Given]:
    """Draw scores with ties, and masks whose pruned units would score high."""
    yield _masks(rng.permutation(4.0 + np.arange(4)), 0.5, gone=())
    yield _masks(np.array([2.0, 1.0, 2.0, 1.0, 1.0]), 0.5, gone=())
    scores = rng.permutation(1.0 + np.arange(8))
    yield _masks(scores, 0.5, gone=np.argsort(scores)[-3:])
    scores = rng.permutation(1.0 + np.arange(7))
    yield _masks(scores, 0.75, gone=np.argsort(scores)[[1, 5]])
    yield _masks(rng.permutation(1.0 + np.arange(8)), 0.25, gone=rng.choice(8, 4, replace=False))
    yield _masks(rng.permutation(1.0 + np.arange(5)), 0.0, gone=())


def _masks(scores: Array, ratio: float, *, gone: Any) -> Given:
    kept = np.ones(scores.size, dtype=bool)
    kept[np.array(gone, dtype=int)] = False
    return {"scores": scores, "ratio": ratio, "kept": kept}


def _cut(scores: Array, kept: Array, count: int) -> Array:
    """Let the lowest `count` of what is kept go."""
    new = kept.copy()
    new[np.argsort(np.where(kept, scores, np.inf), kind="stable")[: max(0, count)]] = False
    return new & kept


def _wanted(scores: Array, ratio: float) -> int:
    return int(ratio * scores.size)


def _mask(scores: Array, ratio: float, kept: Array) -> Array:
    return _cut(scores, kept, _wanted(scores, ratio) - int((~kept).sum()))


def _by_place(scores: Array, kept: Array, count: int) -> Array:
    """As `_cut`, the highest first."""
    return _cut(-scores, kept, count)


def _lowest_go(scores: Array, count: int) -> Array:
    return np.argsort(np.argsort(scores, kind="stable"), kind="stable") >= count


def _among_kept(scores: Array, kept: Array, count: int) -> Array:
    new = kept.copy()
    new[np.argsort(scores[kept], kind="stable")[:count]] = False
    return new


def _cut_slice(scores: Array, kept: Array, count: int) -> Array:
    new = kept.copy()
    new[[i for i in np.argsort(scores, kind="stable") if kept[i]][:count]] = False
    return new


def _above(scores: Array, ratio: float, kept: Array, *, equal: bool) -> Array:
    """Compare with the score of the last that goes, or that stays, instead of counting."""
    count = _wanted(scores, ratio)
    if not count:
        return kept.copy()
    places = np.sort(np.where(kept, scores, -np.inf))
    return kept & ((scores >= places[count]) if equal else (scores > places[count - 1]))


MASK = Exercise(
    id="13.4",
    title="The mask",
    stars=2,
    signature="mask(scores, ratio, kept)",
    returns=("mask",),
    given=_given_masks,
    expected=lambda scores, ratio, kept: prune.mask(scores, ratio, kept=kept),
    hints=(
        "Count how many are to be gone in all, subtract those already gone, and let that many of the others go.",
        "np.argsort(scores, kind='stable') lists the units, lowest first, ties by number; pass over those not kept.",
    ),
    equations=("prune-mask",),
    suspects=(
        Suspect(
            "Indices",
            "these are the numbers of units: a mask has one True or False for every unit",
            lambda scores, ratio, _kept: np.argsort(scores, kind="stable")[_wanted(scores, ratio) :],
        ),
        Suspect(
            "Indices",
            "these are the numbers of the units that go: a mask has one True or False for every unit",
            lambda scores, ratio, _kept: np.argsort(scores, kind="stable")[: _wanted(scores, ratio)],
        ),
        Suspect(
            "OrderForPlace",
            "argsort tells which unit stands at a place; which place a unit has, argsort of argsort tells",
            lambda scores, ratio, kept: (np.argsort(scores, kind="stable") >= _wanted(scores, ratio)) & kept,
        ),
        Suspect(
            "OrderForPlace",
            "argsort tells which unit stands at a place; which place a unit has, argsort of argsort tells",
            lambda scores, ratio, _kept: np.argsort(scores, kind="stable") >= _wanted(scores, ratio),
        ),
        Suspect(
            "Quantile",
            "a quantile is a score, not a count: it may lie between two scores, and ties fall on one side; count",
            lambda scores, ratio, kept: (scores >= np.quantile(scores, ratio)) & kept,
        ),
        Suspect(
            "Quantile",
            "a quantile is a score, not a count, and units that were gone come back; count, and look at kept",
            lambda scores, ratio, _kept: scores >= np.quantile(scores, ratio),
        ),
        Suspect(
            "GivenBack",
            "where more are gone already than the ratio asks for, some come back: what is gone stays gone",
            lambda scores, ratio, kept: _lowest_go(np.where(kept, scores, -np.inf), _wanted(scores, ratio)),
        ),
        Suspect(
            "PlacesAmongKept",
            "argsort(scores[kept]) numbers the kept units only: number 0 there need not be unit 0",
            lambda scores, ratio, kept: _among_kept(
                scores, kept, _wanted(scores, ratio) - int((~kept).sum())
            ),
        ),
        Suspect(
            "NegativeCount",
            "more are gone already than asked: a negative number in a slice counts from the end; take max(0, ...)",
            lambda scores, ratio, kept: _cut_slice(scores, kept, _wanted(scores, ratio) - int((~kept).sum())),
        ),
        Suspect(
            "Inverted",
            "True and False are swapped: True is a unit that stays",
            lambda scores, ratio, kept: ~_mask(scores, ratio, kept),
        ),
        Suspect(
            "GivenBack",
            "units that were gone come back: what is gone stays gone",
            lambda scores, ratio, kept: _cut(scores, np.ones_like(kept), _wanted(scores, ratio)),
        ),
        Suspect(
            "CountedTwice",
            "too many go: those already gone are among the ⌊ratio · q⌋, not beside them",
            lambda scores, ratio, kept: _cut(scores, kept, _wanted(scores, ratio)),
        ),
        Suspect(
            "CountedTwice",
            "too many go: the lowest of all are cut, and those already gone come on top",
            lambda scores, ratio, kept: _cut(scores, np.ones_like(kept), _wanted(scores, ratio)) & kept,
        ),
        Suspect(
            "OfTheKept",
            "the ratio is taken of those that are kept: it is a share of all q units",
            lambda scores, ratio, kept: _cut(scores, kept, int(ratio * kept.sum())),
        ),
        Suspect(
            "HighestGone",
            "the highest scores go: it is the lowest that may go",
            lambda scores, ratio, kept: _by_place(scores, kept, _wanted(scores, ratio) - int((~kept).sum())),
        ),
        Suspect(
            "Rounded",
            "one too many goes: ⌊ ⌋ cuts to the whole number below",
            lambda scores, ratio, kept: _cut(
                scores, kept, int(np.ceil(ratio * scores.size)) - int((~kept).sum())
            ),
        ),
        Suspect(
            "Rounded",
            "rounded to the nearest whole number: ⌊ ⌋ cuts to the whole number below",
            lambda scores, ratio, kept: _cut(scores, kept, round(ratio * scores.size) - int((~kept).sum())),
        ),
        Suspect(
            "TiesTogether",
            "equal scores all go together, so too many go: count, and let the lowest index go first",
            lambda scores, ratio, kept: _above(scores, ratio, kept, equal=False),
        ),
        Suspect(
            "TiesTogether",
            "equal scores all stay together, so too few go: count, and let the lowest index go first",
            lambda scores, ratio, kept: _above(scores, ratio, kept, equal=True),
        ),
        Suspect(
            "TiesBackwards",
            "among equal scores the highest index goes: it is the lowest that goes first",
            lambda scores, ratio, kept: _mask(scores[::-1], ratio, kept[::-1])[::-1],
        ),
        Suspect(
            "KeptShare",
            "the ratio is the share that stays here: it is the share that goes",
            lambda scores, ratio, kept: _cut(
                scores, kept, scores.size - _wanted(scores, ratio) - int((~kept).sum())
            ),
        ),
    ),
)


# ---- taking away: 13.5 ---------------------------------------------------------------------------------------


def _given_units(rng: np.random.Generator) -> Iterator[Given]:
    for k, h, c in ((1, 3, 2), (3, 4, 1), (4, 2, 5), (2, 6, 3), (5, 5, 4)):
        kept = rng.permutation(np.arange(h) < max(1, h - 2))
        yield {
            "W1": rng.normal(size=(h, k)),
            "b1": rng.normal(size=h),
            "W2": rng.normal(size=(c, h)),
            "kept": kept,
        }


def _expected_units(W1: Array, b1: Array, W2: Array, kept: Array) -> tuple[Array, Array, Array]:
    groups = channels(b1.size, producers=("W1",), consumers=("W2",))
    small = prune.shrink({"W1": (W1, b1), "W2": W2}, groups, kept)
    return (*small["W1"], small["W2"])


TAKE_AWAY = Exercise(
    id="13.5",
    title="Take it away",
    stars=2,
    signature="take_away(W1, b1, W2, kept)",
    returns=("W1", "b1", "W2"),
    given=_given_units,
    expected=_expected_units,
    hints=(
        "A unit is a row of W1, an entry of b1, and a column of W2. Index each with kept, along the right axis.",
        "An array of booleans picks rows as W1[kept]; to pick columns, write W2[:, kept].",
    ),
    equations=("prune-shrink",),
    suspects=(
        Suspect(
            "FirstUnits",
            "the first units stay, as many as are kept: which ones stay is what kept says",
            lambda W1, b1, W2, kept: (W1[: kept.sum()], b1[: kept.sum()], W2[:, : kept.sum()]),
        ),
        Suspect(
            "BiasMasked",
            "the bias is set to zero but keeps its length: index it, b1[kept]",
            lambda W1, b1, W2, kept: (W1[kept], b1 * kept, W2[:, kept]),
        ),
        Suspect(
            "MaskedOnly",
            "the units are set to zero but still there: take rows and columns away, so that the arrays are smaller",
            lambda W1, b1, W2, kept: (W1 * kept[:, None], b1 * kept, W2 * kept),
        ),
        Suspect(
            "Inverted",
            "the units that go are kept, and those that stay are gone: kept is True where a unit stays",
            lambda W1, b1, W2, kept: (W1[~kept], b1[~kept], W2[:, ~kept]),
        ),
        Suspect(
            "BiasForgotten",
            "the bias keeps its length: it loses the entries of the units that go",
            lambda W1, b1, W2, kept: (W1[kept], b1, W2[:, kept]),
        ),
        Suspect(
            "ReaderForgotten",
            "W2 still reads the units that went: it loses their columns",
            lambda W1, b1, W2, kept: (W1[kept], b1[kept], W2),
        ),
        Suspect(
            "MakerForgotten",
            "W1 still makes the units that went: it loses their rows",
            lambda W1, b1, W2, kept: (W1, b1[kept], W2[:, kept]),
        ),
        Suspect(
            "MaskAsIndex",
            "the mask became whole numbers 0 and 1, which pick unit 0 and unit 1 again and again: leave it boolean",
            lambda W1, b1, W2, kept: (W1[kept.astype(int)], b1[kept.astype(int)], W2[:, kept.astype(int)]),
        ),
        Suspect(
            "Transposed",
            "W2 is transposed: its rows are outputs, and it loses columns",
            lambda W1, b1, W2, kept: (W1[kept], b1[kept], W2.T[kept]),
        ),
    ),
)


QUIZ = Quiz(
    id="13.quiz",
    answers=("c4cf16682493", "8c87c36ade8e", "081125e31418", "53a4e7b2299c"),
    again=(
        "What it really is",
        "What it really is, the loss doubled",
        "Masked is not smaller",
        "Step by step",
    ),
)

EXERCISES = (ESTIMATE, SHADOW, ROW_SCORES, MASK, TAKE_AWAY, TEST_ESTIMATE, QUIZ)
