"""Exercises of lesson 04: the layer, its scale, the weight behind it, and who can move at the start.  Floor 6.

The mistakes of a lesson stand in one place, so the file is longer than most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from lora_np._typing import Array, Float
from lora_np.lora import LoraParams, forward, forward_via_weight, scaling
from lora_np.teach.exercise import Exercise, Given, Quiz, Suspect, digest

SHAPES = ((1, 3, 2, 1), (4, 3, 5, 2), (3, 6, 4, 2), (5, 7, 6, 3), (6, 4, 8, 5))  # N, d, k, r


def drawn(rng: np.random.Generator, *shape: int) -> Float[Array, "m n"]:
    """Draw an array of small numbers, short enough to read, that no formula makes equal by chance."""
    return np.round(rng.uniform(-2, 2, shape), 2)


def one(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw one number that is short enough to read."""
    return round(float(rng.uniform(low, high)), 2)


# ---- 04.1 --------------------------------------------------------------------------------------------------


def given_layer(rng: np.random.Generator) -> Iterator[Given]:
    """Draw layers; in one of them B is zero."""
    for N, d, k, r in SHAPES:
        B = drawn(rng, d, r)
        arrays = {"X": drawn(rng, N, k), "W0": drawn(rng, d, k), "B": B, "A": drawn(rng, r, k)}
        yield {**arrays, "scale": one(rng, 0.25, 0.75) if r % 2 else one(rng, 1.5, 4)}
    yield {**arrays, "B": 0 * B, "scale": 3.0}


def the_output(X: Array, W0: Array, B: Array, A: Array, scale: float) -> Any:
    """Compute the engine's output."""
    return forward(X, W0, LoraParams(B, A), scale=scale)[0]


FORWARD = (
    Suspect(
        "ScaleMissing",
        "the scale is missing: s multiplies what comes through B and A",
        lambda X, W0, B, A, scale: X @ W0.T + X @ A.T @ B.T,
    ),
    Suspect(
        "BaseScaled",
        "the scale multiplies the frozen part, too; only B and A's part is scaled",
        lambda X, W0, B, A, scale: scale * (X @ W0.T + X @ A.T @ B.T),
    ),
    Suspect(
        "BaseMissing",
        "only the new part is there: the frozen part X W₀ᵀ is missing",
        lambda X, W0, B, A, scale: scale * (X @ A.T @ B.T),
    ),
    Suspect(
        "BranchMissing",
        "only the frozen part is there: what goes through A and B is missing",
        lambda X, W0, B, A, scale: X @ W0.T,
    ),
    Suspect(
        "BranchSubtracted",
        "the new part is subtracted; it is added",
        lambda X, W0, B, A, scale: X @ W0.T - scale * (X @ A.T @ B.T),
    ),
    Suspect(
        "ScaleSquared",
        "the scale is applied twice, once in the bottleneck and once after it",
        lambda X, W0, B, A, scale: X @ W0.T + scale**2 * (X @ A.T @ B.T),
    ),
    Suspect(
        "ScaleDividedByRank",
        "the scale is divided by r once more; `scale` is s = α / r already",
        lambda X, W0, B, A, scale: X @ W0.T + scale / A.shape[0] * (X @ A.T @ B.T),
    ),
    Suspect(
        "Transposed",
        "Y is transposed: X holds one example in each row, and so must Y",
        lambda X, W0, B, A, scale: (X @ W0.T + scale * (X @ A.T @ B.T)).T,
    ),
)

# ---- 04.2 --------------------------------------------------------------------------------------------------


def given_scale(rng: np.random.Generator) -> Iterator[Given]:
    """Draw alphas and ranks; whole alphas are whole numbers, as people write them."""
    for rank, stabilized in ((1, False), (8, False), (3, True), (16, False), (16, True), (5, True)):
        alpha = int(rng.integers(1, 12)) * 2 + 1
        yield {"alpha": alpha, "rank": rank, "stabilized": stabilized}
    yield {"alpha": one(rng, 1, 9), "rank": 7, "stabilized": False}


SCALE = (
    Suspect(
        "ScaleTruncated",
        "the scale is cut to a whole number: // drops what stands behind the point",
        lambda alpha, rank, stabilized: float(alpha // (math.sqrt(rank) if stabilized else rank)),
    ),
    Suspect(
        "ScaleTruncated",
        "the scale is cut to a whole number: // drops what stands behind the point",
        lambda alpha, rank, stabilized: alpha / math.sqrt(rank) if stabilized else float(alpha // rank),
    ),
    Suspect(
        "RootMissing",
        "`stabilized` changes nothing: where it is True, divide by the root of r",
        lambda alpha, rank, stabilized: alpha / rank,
    ),
    Suspect(
        "RootAlways",
        "it divides by the root of r always; that is right only where `stabilized` is True",
        lambda alpha, rank, stabilized: alpha / math.sqrt(rank),
    ),
    Suspect(
        "RulesSwapped",
        "the two rules are swapped: the root belongs to `stabilized`",
        lambda alpha, rank, stabilized: alpha / rank if stabilized else alpha / math.sqrt(rank),
    ),
    Suspect(
        "BothRules",
        "it divides by r and by the root of r; where `stabilized` is True, only the root divides",
        lambda alpha, rank, stabilized: alpha / rank / (math.sqrt(rank) if stabilized else 1),
    ),
    Suspect(
        "Precedence",
        "r ** 1/2 is r divided by 2, not its root: write r ** 0.5 or np.sqrt(r)",
        lambda alpha, rank, stabilized: alpha / rank / 2 if stabilized else alpha / rank,
    ),
    Suspect(
        "Precedence",
        "r ** 1/2 is r divided by 2, not its root: write r ** 0.5 or np.sqrt(r)",
        lambda alpha, rank, stabilized: alpha / (rank / 2) if stabilized else alpha / rank,
    ),
    Suspect(
        "Inverted",
        "it is upside down: α is divided by r, not r by α",
        lambda alpha, rank, stabilized: (math.sqrt(rank) if stabilized else rank) / alpha,
    ),
    Suspect(
        "RootOfAll",
        "the root is taken of α / r; only r stands under the root",
        lambda alpha, rank, stabilized: math.sqrt(alpha / rank) if stabilized else alpha / rank,
    ),
    Suspect(
        "RankNotDivided",
        "α itself is returned: it is not divided by r",
        lambda alpha, rank, stabilized: float(alpha),
    ),
    Suspect(
        "Multiplied",
        "α is multiplied by r; it is divided",
        lambda alpha, rank, stabilized: alpha * (math.sqrt(rank) if stabilized else rank),
    ),
)

# ---- 04.3 --------------------------------------------------------------------------------------------------


def given_weight(rng: np.random.Generator) -> Iterator[Given]:
    """Draw a weight and its factors with an alpha; never is the rank a side of the weight."""
    for _, d, k, r in SHAPES:
        arrays = {"W0": drawn(rng, d, k), "B": drawn(rng, d, r), "A": drawn(rng, r, k)}
        yield {**arrays, "alpha": one(rng, 1, 9)}
    arrays["A"][1] = 2 * arrays["A"][0]  # dependent rows: the rank of this matrix is less than r
    yield {**arrays, "alpha": one(rng, 1, 9)}


def the_weight(W0: Array, B: Array, A: Array, alpha: float) -> Any:
    """Compute the engine's weight."""
    X, scale = np.zeros((1, W0.shape[1])), scaling(alpha, A.shape[0])
    return forward_via_weight(X, W0, LoraParams(B, A), scale=scale)[1]


WEIGHT = (
    Suspect(
        "RankNotDivided",
        "alpha itself is the scale here; divide it by r, the number of rows of A",
        lambda W0, B, A, alpha: W0 + alpha * (B @ A),
    ),
    Suspect(
        "ScaleMissing",
        "the scale is missing: B A is multiplied by alpha over r",
        lambda W0, B, A, alpha: W0 + B @ A,
    ),
    Suspect(
        "AnotherSizeForRank",
        "a side of the weight is taken for r; r is the number of rows of A",
        lambda W0, B, A, alpha: W0 + alpha / A.shape[1] * (B @ A),
    ),
    Suspect(
        "AnotherSizeForRank",
        "a side of the weight is taken for r; r is the number of columns of B",
        lambda W0, B, A, alpha: W0 + alpha / B.shape[0] * (B @ A),
    ),
    Suspect(
        "AnotherSizeForRank",
        "the number of entries of A is taken for r; r is its number of rows",
        lambda W0, B, A, alpha: W0 + alpha / A.size * (B @ A),
    ),
    Suspect(
        "RankOfMatrix",
        "the rank of A as a matrix is taken for r; r is how many rows A has, even where they depend on each other",
        lambda W0, B, A, alpha: W0 + alpha / np.linalg.matrix_rank(A) * (B @ A),
    ),
    Suspect(
        "RootForRank",
        "this is rsLoRA's scale; LoRA divides by r, without a root",
        lambda W0, B, A, alpha: W0 + alpha / math.sqrt(A.shape[0]) * (B @ A),
    ),
    Suspect(
        "BaseMissing",
        "this is only the increment; the frozen weight W0 is missing",
        lambda W0, B, A, alpha: alpha / A.shape[0] * (B @ A),
    ),
    Suspect(
        "BaseScaled",
        "the scale multiplies W0, too; only the increment is scaled",
        lambda W0, B, A, alpha: alpha / A.shape[0] * (W0 + B @ A),
    ),
    Suspect(
        "Subtracted",
        "the increment is subtracted; it is added",
        lambda W0, B, A, alpha: W0 - alpha / A.shape[0] * (B @ A),
    ),
    Suspect(
        "Transposed",
        "W is transposed: it has the shape of W0, (d, k)",
        lambda W0, B, A, alpha: (W0 + alpha / A.shape[0] * (B @ A)).T,
    ),
)

# ---- 04.4 --------------------------------------------------------------------------------------------------


def given_start(rng: np.random.Generator) -> Iterator[Given]:
    """Draw starts: each factor zero, random, or random in one entry only."""
    for d, k, r, of_B, of_A in (
        (3, 2, 1, 0, 1),
        (2, 3, 1, 1, 0),
        (3, 2, 1, 0, 0),
        (5, 7, 3, 1, 1),
        (7, 6, 3, 0, 2),
        (4, 8, 2, 2, 0),
        (8, 5, 4, 2, 1),
        (4, 6, 3, 3, 0),
    ):
        yield {"B": _start(rng, (d, r), of_B), "A": _start(rng, (r, k), of_A)}


def _start(rng: np.random.Generator, shape: tuple[int, int], kind: int) -> Float[Array, "m n"]:
    """Make a factor: 0 all zero, 1 random, 2 zero but for one negative entry, 3 for a positive one."""
    made = drawn(rng, *shape) if kind == 1 else np.zeros(shape)
    if kind >= 2:
        sign = -1 if kind == 2 else 1
        made[tuple(rng.integers(0, side) for side in shape)] = sign * one(rng, 0.5, 2)
    return made


MOVES = (
    Suspect(
        "Swapped",
        "it is the other way round: the gradient of B contains A, and the gradient of A contains B",
        lambda B, A: (bool(B.any()), bool(A.any())),
    ),
    Suspect(
        "AllForAny",
        "every entry is asked to be different from zero; one is enough",
        lambda B, A: (bool(A.all()), bool(B.all())),
    ),
    Suspect(
        "BothZero",
        "it answers yes where both are zero; there neither can move",
        lambda B, A: (bool(A.any() or not B.any()), bool(B.any() or not A.any())),
    ),
    Suspect(
        "OneFactorOnly",
        "it looks at B only; which of the two can move depends on both factors",
        lambda B, A: (False, True) if B.any() else (True, False),
    ),
    Suspect(
        "AlwaysBoth",
        "it lets both move always; where one factor is all zero, the other one cannot move",
        lambda B, A: (True, True),
    ),
    Suspect(
        "Inverted",
        "yes and no are exchanged: a factor moves where the other one is NOT zero",
        lambda B, A: (not A.any(), not B.any()),
    ),
    Suspect(
        "OwnZeros",
        "it asks whether the factor itself is zero; the gradient does not contain it, but the other one",
        lambda B, A: (not B.any(), not A.any()),
    ),
    Suspect(
        "BothNeeded",
        "it asks for both factors at once; each gradient contains one of them only",
        lambda B, A: (bool(A.any() and B.any()), bool(A.any() and B.any())),
    ),
    Suspect(
        "SumForAny",
        "it asks whether a sum is above zero; a factor with negative entries is not zero either",
        lambda B, A: (bool(A.sum() > 0), bool(B.sum() > 0)),
    ),
    Suspect(
        "SumForAny",
        "it asks whether an entry is above zero; a factor with negative entries is not zero either",
        lambda B, A: (bool((A > 0).any()), bool((B > 0).any())),
    ),
)

# ---- 04.5 --------------------------------------------------------------------------------------------------


def given_tiny(rng: np.random.Generator) -> Iterator[Given]:
    """Draw layers of one number each, and a few steps."""
    for steps, b, a in (
        (1, 0.0, 1.0),
        (1, 1.0, 1.0),
        (2, 0.0, 1.0),
        (3, 1.0, 0.0),
        (4, 0.5, 1.0),
        (0, 0.5, 1.0),
    ):
        start = {
            "w0": one(rng, 0.5, 1.5),
            "b": b * one(rng, 0.5, 1),
            "a": a * one(rng, 0.5, 1),
            "x": one(rng, 0.5, 1.5),
        }
        rest = {"t": one(rng, 1.5, 3), "scale": one(rng, 1.5, 2.5), "lr": one(rng, 0.05, 0.1), "steps": steps}
        yield start | rest


def trained(
    w0: float, b: float, a: float, x: float, t: float, scale: float, lr: float, steps: int
) -> tuple[float, float]:
    """Take the steps, both numbers at once."""
    for _ in range(steps):
        g = w0 * x + scale * b * a * x - t
        b, a = b - lr * g * scale * a * x, a - lr * g * scale * b * x
    return b, a


def size_of_tiny(given: Given) -> float:
    """Bound all sums by following the steps with every sign positive."""
    w0, b, a, x, t, scale, lr, steps = (abs(given[name]) for name in given)
    for _ in range(steps):
        g = w0 * x + scale * b * a * x + t
        b, a = b + lr * g * scale * a * x, a + lr * g * scale * b * x
    return float(max(a, b))


def _with(change: str) -> Any:
    """Make the loop with one mistake."""

    def wrong(
        w0: float, b: float, a: float, x: float, t: float, scale: float, lr: float, steps: int
    ) -> tuple[float, float]:
        for _ in range(steps + (change == "OffByOne") - (change == "OneTooFew")):
            g = w0 * x + scale * b * a * x - t
            g = {"SignWrong": -g, "FactorTwo": 2 * g, "HalfLoss": g * g / 2, "HalfLossAfter": g * g / 2}.get(
                change, g
            )
            s = 1 if change == "ScaleMissing" else scale
            u = 1 if change == "InputMissing" else x
            gb, ga = g * s * a * u, g * s * b * u
            if change == "OwnFactor":
                gb, ga = g * s * b * u, g * s * a * u
            b = b - lr * gb
            if change in ("OneAfterTheOther", "HalfLossAfter"):
                ga = g * s * b * u
            if change == "OneAfterTheOtherAnew":
                ga = (w0 * x + scale * b * a * x - t) * s * b * u
            a = a - lr * ga
            if change == "OneStepOnly":
                break
        return (a, b) if change == "ResultsSwapped" else (b, a)

    return wrong


TINY = tuple(
    Suspect(name, words, _with(change))
    for change, name, words in (
        (
            "OneAfterTheOther",
            "OneAfterTheOther",
            "a's gradient is taken with the b that has just moved; take both gradients before either number moves",
        ),
        (
            "OneAfterTheOtherAnew",
            "OneAfterTheOther",
            "a's gradient is taken with the b that has just moved; take both gradients before either number moves",
        ),
        ("SignWrong", "SignWrong", "it walks uphill: the gradient is subtracted, and g is y − t"),
        ("ScaleMissing", "ScaleMissing", "the scale is missing in the gradients: moving b moves y by s a x"),
        (
            "InputMissing",
            "InputMissing",
            "the input x is missing in the gradients: moving b moves y by s a x",
        ),
        (
            "OwnFactor",
            "FactorsSwapped",
            "b's gradient contains a, and a's contains b; here each contains itself",
        ),
        (
            "FactorTwo",
            "FactorTwo",
            "the steps are twice as large: the loss is ½ (y − t)², its gradient y − t",
        ),
        ("HalfLoss", "LossForGradient", "it multiplies by the loss; the gradient of the loss is g = y − t"),
        (
            "HalfLossAfter",
            "LossForGradient",
            "it multiplies by the loss; the gradient is g = y − t. And take both gradients before either moves",
        ),
        ("OneStepOnly", "OneStepOnly", "it returns after the first step: is the return inside the loop?"),
        ("OffByOne", "OffByOne", "it takes one step too many"),
        ("OneTooFew", "OffByOne", "it takes one step too few: range(1, steps) has steps − 1 numbers"),
        ("ResultsSwapped", "ResultsSwapped", "b comes first, then a"),
    )
)

QUIZ = "04.quiz"

EXERCISES = (
    Exercise(
        id="04.1",
        title="The layer",
        stars=1,
        signature="lora_forward(X, W0, B, A, scale)",
        returns=("Y",),
        given=given_layer,
        expected=the_output,
        hints=(
            "Send every row of X two ways: through the frozen weight, and through A and then B. Add the two results.",
            "Rows stand on the left, so weights are transposed. First X @ A.T of shape (N, r), then @ B.T. "
            "The scale belongs to this part only.",
        ),
        equations=("lora-2", "lora-z"),
        suspects=FORWARD,
        oracle="lora.forward",
    ),
    Exercise(
        id="04.2",
        title="From alpha to the scale",
        stars=1,
        signature="scale_of(alpha, rank, stabilized)",
        returns=("s",),
        given=given_scale,
        expected=lambda alpha, rank, stabilized: scaling(alpha, rank, use_rslora=stabilized),
        hints=(
            "Two rules, and `stabilized` says which: look at section 4 for both.",
            "LoRA divides alpha by r. rsLoRA divides alpha by the square root of r. Use / and not //.",
        ),
        equations=("lora-scale", "lora-scale-rs"),
        suspects=SCALE,
    ),
    Exercise(
        id="04.3",
        title="The weight behind the layer",
        stars=2,
        signature="adapted_weight(W0, B, A, alpha)",
        returns=("W",),
        given=given_weight,
        expected=the_weight,
        hints=(
            "One matrix W, so that X @ W.T is the whole layer: the frozen weight plus the scaled increment.",
            "The rank can be read off the shape of A or of B: which side of each is r? Then s = alpha / r.",
        ),
        equations=("lora-weight", "lora-scale"),
        suspects=WEIGHT,
    ),
    Exercise(
        id="04.4",
        title="Who can move?",
        stars=2,
        signature="can_move(B, A)",
        returns=("B can move", "A can move"),
        given=given_start,
        expected=lambda B, A: (bool(A.any()), bool(B.any())),
        hints=(
            "A factor moves if its gradient is not zero. Which factor stands in the gradient of B?",
            "The gradient of B contains A, the gradient of A contains B. Ask whether any entry is not zero: np.any.",
        ),
        equations=("lora-grad-b", "lora-grad-a"),
        suspects=MOVES,
    ),
    Exercise(
        id="04.5",
        title="Train the smallest layer",
        stars=3,
        signature="train_tiny(w0, b, a, x, t, scale, lr, steps)",
        returns=("b", "a"),
        given=given_tiny,
        expected=trained,
        size=size_of_tiny,
        hints=(
            "Repeat: compute y, then how far it is off, then both gradients, then move both numbers downhill.",
            "g = y − t. The gradient of b is g s a x, that of a is g s b x. Compute both before you change b or a.",
        ),
        equations=("lora-grad-b", "lora-grad-a"),
        suspects=TINY,
    ),
    Quiz(
        id=QUIZ,
        answers=tuple(digest(QUIZ, n, letter) for n, letter in enumerate("cadbc", 1)),
        again=("section 2", "section 4", "section 5", "section 6", "section 3"),
    ),
)
