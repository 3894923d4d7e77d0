"""Lesson 10, LoRA as an optimizer: one step, its two orders, the mean of random steps, sums for products.  Floor 6."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lora_np.gradient_view import (
    AdditiveParams,
    additive_gradient,
    first_order_update,
    second_order_update,
    sgd_step,
)
from lora_np.lora import LoraParams
from lora_np.teach.exercise import Exercise, Given, Quiz, Suspect

# ---- what is given -------------------------------------------------------------------------------------------


def given_step(rng: np.random.Generator) -> Iterator[Given]:
    """Draw weights, factors and a gradient; the scale is never 1, and in the last case B is 0.

    The first case has different sides, so that matrices in a wrong place do not fit at once.
    """
    for d, k, r in ((2, 3, 1), (5, 4, 2), (1, 1, 1), (4, 7, 3), (6, 5, 2)):
        B = rng.normal(size=(d, r)) * (d != 6)
        yield {
            "W": rng.normal(size=(d, k)),
            "B": B,
            "A": rng.normal(size=(r, k)),
            "gW": rng.normal(size=(d, k)),
            "scale": float(rng.uniform(1.5, 3.0)),
            "lr": float(rng.uniform(0.05, 0.4)),
        }


def given_orders(rng: np.random.Generator) -> Iterator[Given]:
    """Draw the same without the weight."""
    for given in given_step(rng):
        yield {name: value for name, value in given.items() if name != "W"}


def given_draws(rng: np.random.Generator) -> Iterator[Given]:
    """Draw n pairs of factors: one, two, and more."""
    for n, d, k, r in ((1, 2, 1, 1), (2, 1, 3, 1), (3, 4, 2, 1), (5, 3, 4, 2), (8, 2, 6, 3)):
        yield {
            "gW": rng.normal(size=(d, k)),
            "Bs": rng.normal(size=(n, d, r)),
            "As": rng.normal(size=(n, r, k)),
            "lr": float(rng.uniform(0.1, 0.9)),
        }


def given_blocks(rng: np.random.Generator) -> Iterator[Given]:
    """Draw gradients whose sides the rank divides: one block, several, and rank 1."""
    for d, k, rank in ((2, 4, 2), (3, 5, 1), (6, 4, 2), (4, 8, 4), (6, 9, 3), (8, 6, 2)):
        yield {"gW": rng.normal(size=(d, k)), "rank": rank, "scale": float(rng.uniform(1.5, 3.0))}


# ---- what is right, and how large its terms are --------------------------------------------------------------


def step(W: Any, B: Any, A: Any, gW: Any, scale: float, lr: float) -> tuple[Any, Any, Any]:
    """Take the engine's step."""
    W_next, after = sgd_step(W, LoraParams(B, A), gW, scale=scale, lr=lr)
    return after.B, after.A, W_next


def step_size(given: Given) -> dict[str, Any]:
    """Add up the sizes of all terms of a step."""
    W, B, A, g = (np.abs(given[name]) for name in ("W", "B", "A", "gW"))
    rate, s = given["lr"] * given["scale"], given["scale"]
    B_next, A_next = B + rate * g @ A.T, A + rate * B.T @ g
    return {"B_next": B_next, "A_next": A_next, "W_next": W + s * (B_next @ A_next + B @ A)}


def orders(B: Any, A: Any, gW: Any, scale: float, lr: float) -> tuple[Any, Any]:
    """Compute both orders with the engine."""
    p = LoraParams(B, A)
    return first_order_update(gW, p, scale=scale, lr=lr), second_order_update(gW, p, scale=scale, lr=lr)


def orders_size(given: Given) -> dict[str, Any]:
    """Evaluate both orders at absolute values, without the sign."""
    found = orders(**{name: abs(value) for name, value in given.items()})
    return {"first": abs(found[0]), "second": abs(found[1])}


def mean_update(gW: Any, Bs: Any, As: Any, lr: float) -> Any:
    """Average the engine's updates."""
    updates = [
        first_order_update(gW, LoraParams(B, A), scale=1.0, lr=lr) for B, A in zip(Bs, As, strict=True)
    ]
    return np.mean(updates, axis=0)


def additive_gradients(gW: Any, rank: int, scale: float) -> Any:
    """Compute the engine's gradients of the additive form."""
    (d, k) = gW.shape
    zero = AdditiveParams(np.zeros((d, rank)), np.zeros((rank, k)))
    return tuple(additive_gradient(gW, zero, scale=scale))


# ---- what students write -------------------------------------------------------------------------------------


def _stepped(W: Any, B: Any, A: Any, gW: Any, lr: float, *, inner: float, outer: float) -> Any:
    B_next, A_next = B - lr * inner * gW @ A.T, A - lr * inner * B.T @ gW
    return B_next, A_next, W + outer * (B_next @ A_next - B @ A)


def _new_B_used(W: Any, B: Any, A: Any, gW: Any, scale: float, lr: float) -> Any:
    B_next = B - lr * scale * gW @ A.T
    A_next = A - lr * scale * B_next.T @ gW
    return B_next, A_next, W + scale * (B_next @ A_next - B @ A)


def _new_A_used(W: Any, B: Any, A: Any, gW: Any, scale: float, lr: float) -> Any:
    A_next = A - lr * scale * B.T @ gW
    B_next = B - lr * scale * gW @ A_next.T
    return B_next, A_next, W + scale * (B_next @ A_next - B @ A)


def _with_weight(weight: Any) -> Any:
    def wrong(W: Any, B: Any, A: Any, gW: Any, scale: float, lr: float) -> Any:
        B_next, A_next, _ = step(W, B, A, gW, scale, lr)
        return B_next, A_next, weight(W, B, A, B_next, A_next, gW, scale, lr)

    return wrong


def _orders(first_power: int, second_power: int, *, sign: int = 1, rate: int = 2) -> Any:
    def wrong(B: Any, A: Any, gW: Any, scale: float, lr: float) -> Any:
        first = -lr * scale**first_power * ((gW @ A.T) @ A + B @ (B.T @ gW))
        return first, sign * lr**rate * scale**second_power * ((gW @ A.T) @ (B.T @ gW))

    return wrong


def _moved(B: Any, A: Any, gW: Any, scale: float, lr: float) -> Any:
    B_next, A_next = B - lr * scale * gW @ A.T, A - lr * scale * B.T @ gW
    return scale * (B_next @ A_next - B @ A)


_SCALE = "the scale s"
STEP_SUSPECTS = (
    Suspect(
        "ScaleMissing",
        f"{_SCALE} is missing in the gradients: gB = s gW Aᵀ and gA = s Bᵀ gW",
        lambda W, B, A, gW, scale, lr: _stepped(W, B, A, gW, lr, inner=1, outer=scale),
    ),
    Suspect(
        "ScaleMissing",
        f"{_SCALE} is missing in the weight's move: W + s (B' A' − B A)",
        lambda W, B, A, gW, scale, lr: _stepped(W, B, A, gW, lr, inner=scale, outer=1),
    ),
    Suspect(
        "ScaleMissing",
        f"{_SCALE} is missing everywhere: it stands in both gradients and in the weight's move",
        lambda W, B, A, gW, scale, lr: _stepped(W, B, A, gW, lr, inner=1, outer=1),
    ),
    Suspect(
        "NewFactorUsed",
        "A's gradient was taken with the new B; both gradients need the old factors",
        _new_B_used,
    ),
    Suspect(
        "NewFactorUsed",
        "B's gradient was taken with the new A; both gradients need the old factors",
        _new_A_used,
    ),
    Suspect(
        "OldIncrementKept",
        "the old increment is in W already: add s (B' A' − B A), not s B' A'",
        _with_weight(lambda W, B, A, B2, A2, gW, s, lr: W + s * B2 @ A2),
    ),
    Suspect(
        "WeightLost",
        "W_next is the change of the weight alone: it begins with W + …",
        _with_weight(lambda W, B, A, B2, A2, gW, s, lr: s * (B2 @ A2 - B @ A)),
    ),
    Suspect(
        "IncrementOnly",
        "this is s B' A', the increment alone; W holds the frozen weight as well",
        _with_weight(lambda W, B, A, B2, A2, gW, s, lr: s * B2 @ A2),
    ),
    Suspect(
        "ChangesMultiplied",
        "the change of a product is not the product of the changes: B' A' − B A, not (B' − B)(A' − A)",
        _with_weight(lambda W, B, A, B2, A2, gW, s, lr: W + s * (B2 - B) @ (A2 - A)),
    ),
    Suspect(
        "BracketMissing",
        "the scale multiplies the whole change: s (B' A' − B A), not s B' A' − B A",
        _with_weight(lambda W, B, A, B2, A2, gW, s, lr: W + s * B2 @ A2 - B @ A),
    ),
    Suspect(
        "SignFlipped",
        "W_next moves the wrong way: add the change of the increment, new product minus old",
        _with_weight(lambda W, B, A, B2, A2, gW, s, lr: W - s * (B2 @ A2 - B @ A)),
    ),
    Suspect(
        "OutputsSwapped",
        "the weight comes last: return B_next, A_next, W_next in this order",
        lambda W, B, A, gW, scale, lr: (lambda found: (found[2], found[0], found[1]))(
            step(W, B, A, gW, scale, lr)
        ),
    ),
    Suspect(
        "FullStep",
        "W_next is the step of full fine-tuning, W − lr gW; LoRA moves W by the change of its increment",
        _with_weight(lambda W, B, A, B2, A2, gW, s, lr: W - lr * gW),
    ),
    Suspect(
        "SecondOrderMissing",
        "W_next lacks the term of second order: take the change of the whole product, B' A' − B A",
        _with_weight(lambda W, B, A, B2, A2, gW, s, lr: W - lr * s**2 * (gW @ A.T @ A + B @ B.T @ gW)),
    ),
    Suspect(
        "SignFlipped",
        "the step goes uphill: a step of descent subtracts lr times the gradient",
        lambda W, B, A, gW, scale, lr: step(W, B, A, -gW, scale, lr),
    ),
    Suspect(
        "RateMissing",
        "the learning rate lr is missing",
        lambda W, B, A, gW, scale, lr: step(W, B, A, gW, scale, 1.0),
    ),
    Suspect(
        "GradientsReturned",
        "B_next and A_next are the gradients; the step subtracts lr times them from the factors",
        lambda W, B, A, gW, scale, lr: (
            scale * gW @ A.T,
            scale * B.T @ gW,
            step(W, B, A, gW, scale, lr)[2],
        ),
    ),
)

ORDERS_SUSPECTS = (
    Suspect("ScalePower", "the scale is missing: the first order has s², the second s³", _orders(0, 0)),
    Suspect(
        "ScalePower", "the scale enters too few times: s² in the first order, s³ in the second", _orders(1, 1)
    ),
    Suspect(
        "ScalePower", "the first order needs s²: one s of the gradients, one of W = W₀ + s B A", _orders(1, 2)
    ),
    Suspect(
        "ScalePower", "the first order needs s²: one s of the gradients, one of W = W₀ + s B A", _orders(1, 3)
    ),
    Suspect(
        "ScalePower",
        "the second order needs s³: two s of two gradients, one of W = W₀ + s B A",
        _orders(2, 2),
    ),
    Suspect("ScalePower", "the second order needs s³, not s⁴", _orders(2, 4)),
    Suspect("RateNotSquared", "the second order has lr²: both factors took a step", _orders(2, 3, rate=1)),
    Suspect("SignFlipped", "the second order is positive: minus times minus", _orders(2, 3, sign=-1)),
    Suspect(
        "SignFlipped",
        "the first order has the sign of descent: −lr",
        lambda B, A, gW, scale, lr: (-orders(B, A, gW, scale, lr)[0], orders(B, A, gW, scale, lr)[1]),
    ),
    Suspect(
        "TermMissing",
        "the first order lacks B Bᵀ gW, what A's step does",
        lambda B, A, gW, scale, lr: (
            -lr * scale**2 * gW @ A.T @ A,
            orders(B, A, gW, scale, lr)[1],
        ),
    ),
    Suspect(
        "TermMissing",
        "the first order lacks gW AᵀA, what B's step does",
        lambda B, A, gW, scale, lr: (
            -lr * scale**2 * B @ B.T @ gW,
            orders(B, A, gW, scale, lr)[1],
        ),
    ),
    Suspect(
        "SquareOfFirst",
        "the second order is not the square of the first: it is the product of both factors' steps, times s",
        lambda B, A, gW, scale, lr: (
            orders(B, A, gW, scale, lr)[0],
            orders(B, A, gW, scale, lr)[0] ** 2,
        ),
    ),
    Suspect(
        "RateMissing",
        "the learning rate is missing in both: lr in the first order, lr² in the second",
        lambda B, A, gW, scale, lr: orders(B, A, gW, scale, 1.0),
    ),
    Suspect(
        "SumReturned",
        "second is the whole change of the weight; return the part in lr² alone",
        lambda B, A, gW, scale, lr: (orders(B, A, gW, scale, lr)[0], _moved(B, A, gW, scale, lr)),
    ),
    Suspect(
        "OutputsSwapped",
        "the two parts stand in each other's place: the part in lr comes first",
        lambda B, A, gW, scale, lr: orders(B, A, gW, scale, lr)[::-1],
    ),
)


def _drawn(gW: Any, Bs: Any, As: Any, lr: float, *, left: bool = True, right: bool = True) -> Any:
    updates = [left * (gW @ A.T @ A) + right * (B @ B.T @ gW) for B, A in zip(Bs, As, strict=True)]
    return -lr * np.mean(updates, axis=0)


MEAN_SUSPECTS = (
    Suspect(
        "MeanOfFactors",
        "the factors were averaged before they were multiplied; the mean of a product is not the product of the "
        "means: average the updates",
        lambda gW, Bs, As, lr: mean_update(gW, Bs.mean(axis=0)[None], As.mean(axis=0)[None], lr),
    ),
    Suspect(
        "SumForMean",
        "this is the sum of the updates: divide by their number n",
        lambda gW, Bs, As, lr: len(Bs) * mean_update(gW, Bs, As, lr),
    ),
    Suspect(
        "ExpectationForMean",
        "−2 r lr gW is the mean over all draws there could be; asked is the mean of the n draws that are given",
        lambda gW, Bs, As, lr: -2 * As.shape[1] * lr * gW,
    ),
    Suspect(
        "TermMissing",
        "the term B Bᵀ gW is missing",
        lambda gW, Bs, As, lr: _drawn(gW, Bs, As, lr, right=False),
    ),
    Suspect(
        "TermMissing", "the term gW AᵀA is missing", lambda gW, Bs, As, lr: _drawn(gW, Bs, As, lr, left=False)
    ),
    Suspect(
        "SignFlipped", "a step of descent has a minus", lambda gW, Bs, As, lr: -mean_update(gW, Bs, As, lr)
    ),
    Suspect(
        "RateMissing",
        "the learning rate lr is missing",
        lambda gW, Bs, As, lr: mean_update(gW, Bs, As, 1.0),
    ),
    Suspect(
        "OnlyOneDraw",
        "this is the update of the last draw alone; collect them all",
        lambda gW, Bs, As, lr: mean_update(gW, Bs[-1:], As[-1:], lr),
    ),
    Suspect(
        "OnlyOneDraw",
        "this is the update of the first draw alone; is the return inside the loop?",
        lambda gW, Bs, As, lr: mean_update(gW, Bs[:1], As[:1], lr),
    ),
    Suspect(
        "DividedByTwo",
        "this is the sum of all updates divided by 2; divide by n, the number of draws",
        lambda gW, Bs, As, lr: len(Bs) / 2 * mean_update(gW, Bs, As, lr),
    ),
    Suspect(
        "DividedByRank",
        "the mean is divided by the rank as well; only n, the number of draws, divides",
        lambda gW, Bs, As, lr: mean_update(gW, Bs, As, lr) / As.shape[1],
    ),
    Suspect(
        "DividedTwice",
        "the mean was divided by n once more",
        lambda gW, Bs, As, lr: mean_update(gW, Bs, As, lr) / len(Bs),
    ),
    Suspect(
        "LastDrawDivided",
        "the last update divided by n: add up the updates of all draws first",
        lambda gW, Bs, As, lr: mean_update(gW, Bs[-1:], As[-1:], lr) / len(Bs),
    ),
)


def _blocks(gW: Any, rank: int, scale: float, how: str) -> Any:
    d, k = gW.shape
    columns, rows = gW.reshape(d, k // rank, rank), gW.reshape(d // rank, rank, k)
    if how == "mean":
        return scale * columns.mean(axis=1), scale * rows.mean(axis=0)
    if how == "first":
        return scale * columns[:, 0], scale * rows[0]
    return (
        scale * gW.reshape(d, rank, k // rank).sum(axis=2),
        scale * gW.reshape(rank, d // rank, k).sum(axis=1),
    )


ADDITIVE_SUSPECTS = (
    Suspect(
        "NeighboursForBlocks",
        "neighbouring columns were summed; column q takes q, q + r, q + 2r, …: every r-th column",
        lambda gW, rank, scale: _blocks(gW, rank, scale, "neighbours"),
    ),
    Suspect(
        "MeanForSum",
        "a mean for a sum: what was copied into every block is summed over the blocks",
        lambda gW, rank, scale: _blocks(gW, rank, scale, "mean"),
    ),
    Suspect(
        "FirstBlockOnly",
        "only the first block counts here; sum over all blocks",
        lambda gW, rank, scale: _blocks(gW, rank, scale, "first"),
    ),
    Suspect(
        "ScaleMissing",
        "the scale is missing in both gradients",
        lambda gW, rank, scale: additive_gradients(gW, rank, 1.0),
    ),
    Suspect(
        "ScaleMissing",
        "the scale is missing in gA",
        lambda gW, rank, scale: (
            additive_gradients(gW, rank, scale)[0],
            additive_gradients(gW, rank, 1.0)[1],
        ),
    ),
    Suspect(
        "FactorsSwapped",
        "gB and gA stand in each other's place: gB (d, r) comes first",
        lambda gW, rank, scale: additive_gradients(gW, rank, scale)[::-1],
    ),
    Suspect(
        "Transposed",
        "gB is transposed: it is (d, r), one column for each q; np.stack(…, axis=1) sets columns side by side",
        lambda gW, rank, scale: (
            additive_gradients(gW, rank, scale)[0].T,
            additive_gradients(gW, rank, scale)[1],
        ),
    ),
    Suspect(
        "RankOneOnly",
        "this is the rule for r = 1, the sums of whole rows and columns; for r > 1 there are r sums each",
        lambda gW, rank, scale: (
            scale * gW.sum(axis=1, keepdims=True),
            scale * gW.sum(axis=0, keepdims=True),
        ),
    ),
    Suspect(
        "RankOneOnly",
        "every column of gB is the whole row sum; for r > 1 column q sums every r-th column only",
        lambda gW, rank, scale: (
            scale * np.repeat(gW.sum(axis=1, keepdims=True), rank, axis=1),
            scale * np.repeat(gW.sum(axis=0, keepdims=True), rank, axis=0),
        ),
    ),
)

EXERCISES = (
    Exercise(
        id="10.1",
        title="One step of the optimizer",
        stars=1,
        signature="step(W, B, A, gW, scale, lr)",
        returns=("B_next", "A_next", "W_next"),
        given=given_step,
        expected=step,
        size=step_size,
        suspects=STEP_SUSPECTS,
        hints=(
            "Three results, in this order: the stepped B, the stepped A, and the weight moved by the change of the "
            "increment.",
            "gB = scale · gW Aᵀ has the shape of B, gA = scale · Bᵀ gW that of A; both with the old factors. Then "
            "W + scale · (new product − old product).",
        ),
        equations=("view-sgd", "view-weight-step"),
    ),
    Exercise(
        id="10.2",
        title="Both orders, apart",
        stars=2,
        signature="orders(B, A, gW, scale, lr)",
        returns=("first", "second"),
        given=given_orders,
        expected=orders,
        size=orders_size,
        suspects=ORDERS_SUSPECTS,
        hints=(
            "Multiply out the product of the stepped factors and sort the terms by powers of lr.",
            "The first order has two terms, one for each factor's step, and the factor −lr s². The second is the "
            "product of both steps: lr² s³.",
        ),
        equations=("view-update", "view-first-order"),
    ),
    Exercise(
        id="10.3",
        title="The mean of many draws",
        stars=2,
        signature="mean_update(gW, Bs, As, lr)",
        returns=("update",),
        given=given_draws,
        expected=mean_update,
        size=lambda given: {"update": abs(mean_update(*(abs(value) for value in given.values())))},
        suspects=MEAN_SUSPECTS,
        hints=(
            "For each of the n draws one update, (d, k); then their mean.",
            "Bs[i] is (d, r) and As[i] is (r, k). Multiply first, average afterwards: the mean of A is of no use here.",
        ),
        equations=("view-random", "view-random-mean"),
    ),
    Exercise(
        id="10.4",
        title="Gradients of the additive form",
        stars=3,
        signature="additive_gradients(gW, rank, scale)",
        returns=("gB", "gA"),
        given=given_blocks,
        expected=additive_gradients,
        suspects=ADDITIVE_SUSPECTS,
        hints=(
            "gB (d, r) sums blocks of columns of gW; gA (r, k) sums blocks of rows; both times the scale.",
            "Column q of gB sums gW[:, q::rank]. With reshape: (d, k // rank, rank) has the block on the middle axis.",
        ),
        equations=("additive-blocks-grad",),
    ),
    Quiz(
        id="10.quiz",
        answers=("7ced4cb86bbb", "715c44f47756", "4a6c1c334764", "64ef08614c9a", "774d5d26f2c5"),
        again=(
            "What one step does to the weight",
            "What stands in the gradient's place",
            "Lose something each time, lose nothing on average",
            "What stands in the gradient's place",
            "Is α the learning rate?",
        ),
    ),
)
