"""Exercises of lesson 05: the gradient of B, the whole backward, differences, and a test to write.  Floor 6.

The mistakes of a lesson stand in one place, so the file is longer than most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lora_np import lora
from lora_np._typing import Array, Float
from lora_np.lora import LoraParams
from lora_np.teach.exercise import Exercise, Given, Quiz, Reverse, Suspect, digest

SHAPES = ((1, 3, 2, 1), (4, 3, 5, 2), (3, 6, 4, 2), (5, 7, 6, 3), (6, 4, 8, 5))  # N, d, k, r
Gradients = tuple[Array, Array, Array]


def drawn(rng: np.random.Generator, *shape: int) -> Float[Array, "m n"]:
    """Draw an array of small numbers, short enough to read, that no formula makes equal by chance."""
    return np.round(rng.uniform(-2, 2, shape), 2)


def drawn_layer(rng: np.random.Generator, N: int, d: int, k: int, r: int) -> Given:
    """Draw everything that a backward takes, with a scale that is not 1, nor a size."""
    X, A = drawn(rng, N, k), drawn(rng, r, k)
    known = {
        "gY": drawn(rng, N, d),
        "X": X,
        "Z": X @ A.T,
        "W0": drawn(rng, d, k),
        "B": drawn(rng, d, r),
        "A": A,
    }
    return {**known, "scale": round(float(rng.uniform(0.25, 0.75) if r % 2 else rng.uniform(1.5, 4)), 2)}


# ---- 05.1 --------------------------------------------------------------------------------------------------


def given_for_B(rng: np.random.Generator) -> Iterator[Given]:
    """Draw layers, without what the gradient of B does not need."""
    for shape in SHAPES:
        layer = drawn_layer(rng, *shape)
        yield {name: layer[name] for name in ("gY", "X", "A", "scale")}


def the_gradient_of_B(gY: Array, X: Array, A: Array, scale: float) -> Any:
    """Compute the engine's gradient; it does not depend on W0 and B."""
    d, k, r = gY.shape[1], X.shape[1], A.shape[0]
    p = LoraParams(np.zeros((d, r)), A)
    return lora.backward(gY, X, X @ A.T, np.zeros((d, k)), p, scale=scale)[1].B


GRADIENT_OF_B = (
    Suspect("ScaleMissing", "the scale s is missing in gB", lambda gY, X, A, scale: gY.T @ (X @ A.T)),
    Suspect(
        "MeanForSum",
        "it is divided by N: the shares of the rows are added, not averaged",
        lambda gY, X, A, scale: scale * gY.T @ (X @ A.T) / len(X),
    ),
    Suspect(
        "Transposed",
        "gB is transposed: it has the shape of B, (d, r)",
        lambda gY, X, A, scale: scale * (gY.T @ (X @ A.T)).T,
    ),
    Suspect(
        "FullGradient",
        "this is s gW, the gradient of the whole weight: it still has to go through Aᵀ",
        lambda gY, X, A, scale: scale * gY.T @ X,
    ),
    Suspect(
        "SignWrong",
        "the sign is wrong: a gradient says how the loss grows; the minus belongs to the step",
        lambda gY, X, A, scale: -scale * gY.T @ (X @ A.T),
    ),
    Suspect(
        "ScaleSquared",
        "the scale is applied twice",
        lambda gY, X, A, scale: scale**2 * gY.T @ (X @ A.T),
    ),
    Suspect(
        "ScaleDivided",
        "it is divided by the scale; the scale multiplies",
        lambda gY, X, A, scale: gY.T @ (X @ A.T) / scale,
    ),
    Suspect(
        "OneRowOnly",
        "only the first row of the batch counts here; add up the shares of all rows",
        lambda gY, X, A, scale: scale * np.outer(gY[0], A @ X[0]),
    ),
    Suspect(
        "OneRowOnly",
        "only the last row of the batch counts here: are the shares added, or does each replace the one before?",
        lambda gY, X, A, scale: scale * np.outer(gY[-1], A @ X[-1]),
    ),
)

# ---- 05.2 --------------------------------------------------------------------------------------------------


def given_backward(rng: np.random.Generator) -> Iterator[Given]:
    """Draw layers; in one of them B is zero."""
    for shape in SHAPES:
        yield drawn_layer(rng, *shape)
    last = drawn_layer(rng, 3, 4, 5, 2)
    yield last | {"B": 0 * last["B"]}


def the_backward(gY: Array, X: Array, Z: Array, W0: Array, B: Array, A: Array, scale: float) -> Gradients:
    """Compute the engine's gradients, in the order of the exercise."""
    gX, g = lora.backward(gY, X, Z, W0, LoraParams(B, A), scale=scale)
    return gX, g.B, g.A


def backward_with(change: str) -> Callable[..., Any]:
    """Make a backward with one mistake; without any where the word is unknown."""

    def wrong(gY: Array, X: Array, Z: Array, W0: Array, B: Array, A: Array, scale: float) -> Any:
        s, N = scale, len(X)
        gZ = (1 if change in ("s missing in gZ", "s missing") else s) * (gY @ B)
        gX = gY @ W0 + gZ @ A
        gB = (1 if change in ("s missing in gB", "s missing") else s) * (gY.T @ Z)
        gA = gZ.T @ X
        mean, end = (gX, gB / N, gA / N), len(X) - 1
        return {
            "s missing in gA": (gX, gB, (gY @ B).T @ X),
            "s missing in gX": (gY @ W0 + (gY @ B) @ A, gB, gA),
            "s twice in gA": (gX, gB, s * gA),
            "s twice in gX": (gY @ W0 + s * gZ @ A, gB, gA),
            "s twice": (gY @ W0 + s * gZ @ A, s * gB, s * gA),
            "s on the frozen part": (s * gY @ W0 + gZ @ A, gB, gA),
            "mean": mean,
            "mean of all": (gX / N, gB / N, gA / N),
            "frozen part missing": (gZ @ A, gB, gA),
            "thin part missing": (gY @ W0, gB, gA),
            "minus": (-gX, -gB, -gA),
            "factors swapped": (gX, gA, gB),
            "factors first": (gB, gA, gX),
            "A before B": (gA, gB, gX),
            "transposed": (gX, gB.T, gA.T),
            "Z for gZ": (gX, gB, Z.T @ X),
            "gZ for Z": (gX, s * (gY.T @ gZ), gA),
            "first row only": (gX, s * np.outer(gY[0], Z[0]), np.outer(gZ[0], X[0])),
            "last row only": (gX, gB, np.outer(gZ[end], X[end])),
            "zeros": (0 * gX, 0 * gB, 0 * gA),
            "a per mille": (gX, gB, 1.001 * gA),
            "first column only": (gX, gB, np.outer(np.eye(len(A))[0], gA[0])),
        }.get(change, (gX, gB, gA))

    return wrong


BACKWARD = tuple(
    Suspect(name, words, backward_with(change))
    for change, name, words in (
        ("s missing", "ScaleMissing", "the scale s is missing in everything that went through B and A"),
        (
            "s missing in gZ",
            "ScaleMissing",
            "the scale s is missing in gZ, and so in gA and in gX: it stands between B and the output",
        ),
        ("s missing in gB", "ScaleMissing", "the scale s is missing in gB"),
        ("s missing in gA", "ScaleMissing", "the scale s is missing in gA"),
        ("s missing in gX", "ScaleMissing", "the scale s is missing in the part of gX that comes through A"),
        ("s twice in gA", "ScaleSquared", "the scale is applied twice in gA: gZ contains it already"),
        ("s twice in gX", "ScaleSquared", "the scale is applied twice in gX: gZ contains it already"),
        ("s twice", "ScaleSquared", "the scale is applied twice"),
        (
            "s on the frozen part",
            "BaseScaled",
            "the scale multiplies gY W₀, too; the frozen part has no scale",
        ),
        (
            "mean",
            "MeanForSum",
            "gB and gA are divided by N: shares of rows are added; a mean is in gY already",
        ),
        ("mean of all", "MeanForSum", "all is divided by N; if the loss is a mean, the 1/N is in gY already"),
        (
            "frozen part missing",
            "FrozenPathMissing",
            "gX lacks gY W₀: the weight is frozen, but the gradient of X passes through it",
        ),
        ("thin part missing", "ThinPathMissing", "gX lacks gZ A: X reaches the output through A and B, too"),
        ("minus", "SignWrong", "every sign is wrong: the minus belongs to the step, not to the gradient"),
        ("factors swapped", "OrderSwapped", "gB and gA are in each other's place: return gX, gB, gA"),
        ("factors first", "OrderSwapped", "gX comes first: return gX, gB, gA"),
        ("A before B", "OrderSwapped", "gX comes first, then gB, then gA: this is another order"),
        ("transposed", "Transposed", "gB and gA are transposed: each has the shape of its factor"),
        ("Z for gZ", "ForwardForBackward", "gA is made with Z; it needs gZ, the gradient of the bottleneck"),
        ("gZ for Z", "BackwardForForward", "gB is made with gZ; it needs Z, the bottleneck itself"),
        ("first row only", "OneRowOnly", "only the first row of the batch counts in gB and gA"),
    )
)

# ---- 05.3 --------------------------------------------------------------------------------------------------


def given_losses(rng: np.random.Generator) -> Iterator[Given]:
    """Make losses of degree 3 with whole numbers: with these steps nothing is rounded, so the answer is exact."""
    for shape, h in (((1,), 0.5), ((3,), 0.5), ((2, 3), 0.25), ((4, 2), 0.125), ((2, 3, 2), 0.5)):
        cubic, square, mixed = (rng.integers(1, 6, shape).astype(float) for _ in range(3))
        yield {"L": _loss(cubic, square, mixed), "P": rng.integers(-4, 5, shape).astype(float), "h": h}


def _loss(cubic: Array, square: Array, mixed: Array) -> Callable[[Array], float]:
    """Make L = Σ c P³ + Σ q P² + (Σ m P)²: every cell has another slope, and cells feel each other."""

    def L(P: Array) -> float:
        return float(np.sum(cubic * P**3) + np.sum(square * P**2) + np.sum(mixed * P) ** 2)

    return L


def differences(L: Callable[[Array], float], P: Array, h: float, *, change: str = "") -> Any:
    """Take central differences, or differences with one mistake."""
    slopes, moving = np.zeros(P.shape), P.copy()
    for place in np.ndindex(P.shape):
        up, down = P.copy(), P.copy()
        if change == "not restored":
            up = moving
            up[place] += h
            down = up.copy()
            down[place] -= 2 * h
        elif change == "all at once":
            up, down = P + h, P - h
        else:
            up[place] += h
            down[place] -= h
        high, low, here = L(up), L(down), L(P)
        slopes[place] = {
            "one-sided": (high - here) / h,
            "backward": (here - low) / h,
            "one-sided halved": (high - here) / (2 * h),
            "not divided": high - low,
            "not doubled": (high - low) / h,
            "halved": (high - low) / 2,
            "minus": (low - high) / (2 * h),
            "precedence": (high - low) / 2 * h,
            "low halved": high - low / (2 * h),
            "low halved twice": high - low / 2 * h,
            "magnitude": abs(high - low) / (2 * h),
        }.get(change, (high - low) / (2 * h))
    return slopes


def _differing(change: str) -> Callable[..., Any]:
    return lambda L, P, h: differences(L, P, h, change=change)


DIFFERENCES = (
    *(
        Suspect(name, words, _differing(change))
        for change, name, words in (
            ("one-sided", "OneSided", "this is the forward difference; the central one moves to both sides"),
            (
                "backward",
                "OneSided",
                "this is the difference to the other side; the central one moves to both",
            ),
            ("one-sided halved", "OneSided", "L at P itself is subtracted; subtract L at p − h"),
            ("not doubled", "FactorTwo", "twice too large: the two points are 2h apart, not h"),
            ("not divided", "StepMissing", "the difference of the losses is not divided by the distance 2h"),
            ("halved", "StepMissing", "divided by 2 only; the distance of the two points is 2h"),
            ("minus", "SignWrong", "the sign is wrong: L at p + h comes first, then L at p − h"),
            ("precedence", "Precedence", "/ 2 * h divides by 2 and then multiplies by h: write / (2 * h)"),
            ("low halved", "Precedence", "only L at p − h is divided: write (… − …) / (2 * h)"),
            (
                "low halved twice",
                "Precedence",
                "only L at p − h is divided, and by 2: write (… − …) / (2 * h)",
            ),
            ("all at once", "AllAtOnce", "it moves all cells at once; move one cell, and leave the others"),
            (
                "not restored",
                "NotRestored",
                "cells that were moved stay moved: begin each cell with P as it was",
            ),
            ("magnitude", "SignLost", "the signs are lost: a slope may be negative"),
        )
    ),
    Suspect(
        "NumberForArray",
        "L is called with one number; it takes a whole array, with one of its cells moved",
        lambda L, P, h: np.array([(L(p + h) - L(p - h)) / (2 * h) for p in P.flat]).reshape(P.shape),
    ),
    Suspect(
        "OneNumber",
        "it returns one number; each cell of P has a slope of its own",
        lambda L, P, h: (L(P + h) - L(P - h)) / (2 * h),
    ),
)

# ---- 05.4 --------------------------------------------------------------------------------------------------


def through_the_weight(
    gY: Array, X: Array, Z: Array, W0: Array, B: Array, A: Array, scale: float
) -> Gradients:
    """Compute the same gradients in the other form, equal up to rounding; whole numbers may come in."""
    gW = gY.T @ X
    return gY @ (W0 + scale * (B @ A)), scale * (gW @ A.T), scale * (B.T @ gW)


def row_by_row(gY: Array, X: Array, Z: Array, W0: Array, B: Array, A: Array, scale: float) -> Gradients:
    """Compute the same gradients, one row of the batch after the other."""
    gX, gB, gA = np.zeros(X.shape), np.zeros(B.shape), np.zeros(A.shape)
    for n in range(len(X)):
        pull = scale * (B.T @ gY[n])
        gX[n] = W0.T @ gY[n] + A.T @ pull
        gB += scale * np.outer(gY[n], Z[n])
        gA += np.outer(pull, X[n])
    return gX, gB, gA


MUTANTS = tuple(
    Suspect(name, words, backward_with(change))
    for change, name, words in (
        (
            "zeros",
            "AllZero",
            "it returns zeros of the right shapes (does your test compare numbers, and say False?)",
        ),
        (
            "s missing in gA",
            "ScaleMissing",
            "it forgets the scale in gA (do you look at gA? is your s 1, or your B zero?)",
        ),
        ("s missing in gB", "ScaleMissing", "it forgets the scale in gB (do you look at gB? is your s 1?)"),
        ("s twice in gX", "ScaleSquared", "it applies the scale twice in gX (do you look at gX?)"),
        ("mean", "MeanForSum", "it divides by the number of rows (is your N 1?)"),
        ("last row only", "OneRowOnly", "it takes only the last row for gA (is your N 1?)"),
        ("first column only", "RankOneOnly", "it is right for r = 1 only (is your r 1?)"),
        ("frozen part missing", "FrozenPathMissing", "it leaves W₀ out of gX (do you look at gX?)"),
        ("thin part missing", "ThinPathMissing", "it leaves A out of gX (is your B zero?)"),
        ("minus", "SignWrong", "every sign is turned round (do you take an absolute value?)"),
        ("a per mille", "AThousandth", "its gA is larger by a thousandth (how near is near enough?)"),
    )
)

QUIZ = "05.quiz"

EXERCISES = (
    Exercise(
        id="05.1",
        title="The gradient of B",
        stars=1,
        signature="gradient_of_B(gY, X, A, scale)",
        returns=("gB",),
        given=given_for_B,
        expected=the_gradient_of_B,
        hints=(
            "For each cell of B: s times how much its output counts times what came through the bottleneck. Add up all "
            "rows.",
            "First make the bottleneck Z = X Aᵀ, of shape (N, r). Then gYᵀ Z is (d, N)·(N, r): it adds up the rows by "
            "itself.",
        ),
        equations=("grad-2", "lora-z"),
        suspects=GRADIENT_OF_B,
    ),
    Exercise(
        id="05.2",
        title="The whole backward",
        stars=2,
        signature="backward(gY, X, Z, W0, B, A, scale)",
        returns=("gX", "gB", "gA"),
        given=given_backward,
        expected=the_backward,
        hints=(
            "Four lines: gZ, gB, gA, gX. Return the last three, gX first.",
            "gZ = s gY B is (N, r). gB is made of gY and Z, gA of gZ and X. gX has two shares, one through W₀ and one "
            "through A.",
        ),
        equations=("lora-2", "grad-2", "lora-grad-x"),
        suspects=BACKWARD,
        oracle="lora.backward",
    ),
    Exercise(
        id="05.3",
        title="Central differences",
        stars=2,
        signature="by_differences(L, P, h)",
        returns=("slopes",),
        given=given_losses,
        expected=differences,
        size=lambda given: 1.0,
        hints=(
            "For every cell: a copy of P with this cell moved up by h, another with it moved down. Call L on both.",
            "The two points are 2h apart, so divide by (2 * h). Begin each cell with fresh copies: P.copy().",
        ),
        equations=("lora-2",),
        suspects=DIFFERENCES,
    ),
    Reverse(
        id="05.4",
        title="The reverse: write the test",
        stars=3,
        signature="test_backward(backward)",
        right=(backward_with("nothing"), through_the_weight, row_by_row),
        mutants=MUTANTS,
        hints=(
            "Draw a layer, call `backward` on it, and compare each cell of gX, gB and gA with a difference of L. "
            "Return True only if all agree.",
            "Take N, d, k, r all different and larger than 1, s not 1, and no factor zero. Allow an error like 1e-9: "
            "right functions differ in the last digits, mutants by far more.",
        ),
        equations=("lora-2", "grad-1", "grad-2", "lora-grad-x"),
    ),
    Quiz(
        id=QUIZ,
        answers=tuple(digest(QUIZ, n, letter) for n, letter in enumerate("dbacb", 1)),
        again=("section 2", "section 2", "section 2", "section 3", "section 5"),
    ),
)
