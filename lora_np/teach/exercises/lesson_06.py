"""Exercises of lesson 06: what each form pays, where they cross, lora-1's backward, the bill of a step.  Floor 6.

The mistakes of a lesson stand in one place, so the file is longer than most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lora_np import lora
from lora_np._typing import Array, Float
from lora_np.cost import crossovers, linear_costs
from lora_np.lora import LoraParams
from lora_np.teach.exercise import Exercise, Given, Quiz, Suspect, digest

SHAPES = ((1, 3, 2, 1), (4, 3, 5, 2), (3, 6, 4, 2), (5, 7, 6, 3), (6, 4, 8, 5))  # N, d, k, r
Gradients = tuple[Array, Array, Array]


def drawn(rng: np.random.Generator, *shape: int) -> Float[Array, "m n"]:
    """Draw an array of small numbers, short enough to read, that no formula makes equal by chance."""
    return np.round(rng.uniform(-2, 2, shape), 2)


def given_sizes(rng: np.random.Generator) -> Iterator[Given]:
    """Draw sizes that all differ, with few rows and with many; the first are small enough for paper."""
    for N, d, k, r in ((2, 4, 3, 1), (7, 3, 5, 2)):
        yield {"N": N, "d": d, "k": k, "r": r}
    for rows in (1, 30, 400, 5000):
        d, k = (int(n) for n in rng.permutation(np.arange(8, 60))[:2])
        yield {"N": rows + int(rng.integers(0, rows)) // 2, "d": d, "k": k, "r": int(rng.integers(2, 8))}


def products(N: int, d: int, k: int, r: int, variant: str, *phases: str) -> int:
    """Add up the FLOPs of the engine's products in some phases of a variant."""
    cost = linear_costs(N, d, k, r)[variant]
    return sum(line.flops for phase in phases for line in getattr(cost, phase) if " @ " in line.formula)


# ---- 06.1 --------------------------------------------------------------------------------------------------


def counted_on_top(N: int, d: int, k: int, r: int) -> tuple[int, int]:
    """Count what each form has beside the frozen layer's product."""
    frozen = products(N, d, k, r, "frozen", "forward")
    one, two = (products(N, d, k, r, form, "forward") - frozen for form in ("lora-1", "lora-2"))
    return one, two


ON_TOP = (
    Suspect(
        "FactorTwo",
        "half of it is missing: a product does a multiplication and an addition for each term, so 2 m n p",
        lambda N, d, k, r: (d * k * r, N * r * (d + k)),
    ),
    Suspect(
        "FrozenCounted",
        "the frozen product X W₀ᵀ is counted, too; only what comes on top is asked",
        lambda N, d, k, r: (2 * N * d * k + 2 * d * k * r, 2 * N * d * k + 2 * N * r * (d + k)),
    ),
    Suspect(
        "OrderSwapped",
        "the two counts are in each other's place: lora-1 comes first",
        lambda N, d, k, r: (2 * N * r * (d + k), 2 * d * k * r),
    ),
    Suspect(
        "OnceForEachRow",
        "lora-1 is charged for each row; B A is made once for the whole batch",
        lambda N, d, k, r: (2 * N * d * k * r, 2 * N * r * (d + k)),
    ),
    Suspect(
        "RowsMissing",
        "lora-2's products have N rows: N is missing",
        lambda N, d, k, r: (2 * d * k * r, 2 * r * (d + k)),
    ),
    Suspect(
        "OneProductOnly",
        "lora-2 has two thin products; here is only X Aᵀ",
        lambda N, d, k, r: (2 * d * k * r, 2 * N * k * r),
    ),
    Suspect(
        "OneProductOnly",
        "lora-2 has two thin products; here is only Z Bᵀ",
        lambda N, d, k, r: (2 * d * k * r, 2 * N * d * r),
    ),
    *(
        Suspect(
            "ElementsCounted",
            "scaling or adding is counted, too; count products only",
            lambda N, d, k, r, one=one, two=two: (
                2 * d * k * r + one * d * k,
                2 * N * r * (d + k) + two * N * d,
            ),
        )
        for one in (0, 1, 2)
        for two in (0, 1, 2)
        if one or two
    ),
    Suspect(
        "ParametersCounted",
        "these are the trained numbers, r (d + k), and not the work",
        lambda N, d, k, r: (r * (d + k), r * (d + k)),
    ),
    Suspect(
        "BracketsMissing",
        "brackets are missing: r multiplies both sides, 2 N r (d + k)",
        lambda N, d, k, r: (2 * d * k * r, 2 * N * r * d + k),
    ),
    Suspect(
        "SizesMultiplied",
        "lora-2's two products are added, not multiplied: N r d and N r k",
        lambda N, d, k, r: (2 * d * k * r, 2 * N * r * d * k),
    ),
)

# ---- 06.2 --------------------------------------------------------------------------------------------------


def given_sides(rng: np.random.Generator) -> Iterator[Given]:
    """Draw sides: even at a whole number of rows, and between two, nearer to the one or to the other."""
    yield {"d": 6, "k": 3}
    for _ in range(2):
        side = 2 * int(rng.integers(4, 100))
        yield {"d": side, "k": side}
    for high, upper in ((20, True), (20, False), (90, True), (900, False)):
        d = k = 2
        while d == k or (d * k / (d + k) % 1 > 0.5) != upper or d * k % (d + k) == 0:
            d, k = (int(n) for n in rng.integers(high // 4, high, 2))
        yield {"d": d, "k": k}
    yield {"d": 1, "k": 1}


def first_row(d: int, k: int) -> int:
    """Find the first whole number of rows beyond the engine's crossover."""
    return math.floor(crossovers(d, k, 1).forward_rows) + 1


FIRST_ROW = (
    Suspect(
        "OffByOne",
        "at a draw it answers one too early: with N* rows lora-1 does not take fewer, but as many",
        lambda d, k: math.ceil(d * k / (d + k)),
    ),
    Suspect(
        "OffByOne",
        "one too early: it is cut downward, and with so few rows lora-2 is still cheaper or even",
        lambda d, k: d * k // (d + k),
    ),
    Suspect(
        "OffByOne",
        "one too late where the forms are not even at a whole number of rows",
        lambda d, k: math.ceil(d * k / (d + k)) + 1,
    ),
    Suspect(
        "NotWhole",
        "it is not a whole number: batches have whole rows. Which is the first one beyond N*?",
        lambda d, k: d * k / (d + k),
    ),
    Suspect(
        "NotWhole",
        "it is not a whole number: cut N* downward first, then add 1",
        lambda d, k: d * k / (d + k) + 1,
    ),
    Suspect(
        "Rounded",
        "it rounds to the nearest whole number; take the first one beyond N*",
        lambda d, k: round(d * k / (d + k)),
    ),
    Suspect(
        "Rounded",
        "it rounds to the nearest whole number; cut downward, then add 1",
        lambda d, k: round(d * k / (d + k)) + 1,
    ),
    Suspect("SquareOnly", "half the width is right for square layers only", lambda d, k: d // 2 + 1),
    Suspect("SquareOnly", "half the width is right for square layers only", lambda d, k: k // 2 + 1),
    Suspect(
        "Inverted",
        "it is upside down: d k stands above, d + k below",
        lambda d, k: (d + k) // (d * k) + 1,
    ),
)

# ---- 06.3 --------------------------------------------------------------------------------------------------


def given_backward(rng: np.random.Generator) -> Iterator[Given]:
    """Draw layers with their adapted weight."""
    for N, d, k, r in SHAPES:
        W0, B, A = drawn(rng, d, k), drawn(rng, d, r), drawn(rng, r, k)
        scale = round(float(rng.uniform(0.25, 0.75) if r % 2 else rng.uniform(1.5, 4)), 2)
        known = {"gY": drawn(rng, N, d), "X": drawn(rng, N, k), "W": W0 + scale * (B @ A)}
        yield {**known, "B": B, "A": A, "scale": scale}


def the_backward(gY: Array, X: Array, W: Array, B: Array, A: Array, scale: float) -> Gradients:
    """Compute the engine's gradients, in the order of the exercise."""
    gX, g = lora.backward_via_weight(gY, X, W, LoraParams(B, A), scale=scale)
    return gX, g.B, g.A


def backward_with(change: str) -> Callable[..., Any]:
    """Make lora-1's backward with one mistake."""

    def wrong(gY: Array, X: Array, W: Array, B: Array, A: Array, scale: float) -> Any:
        gW, s, N = gY.T @ X, scale, len(X)
        gX, gB, gA = gY @ W, s * (gW @ A.T), s * (B.T @ gW)
        return {
            "s missing": (gX, gW @ A.T, B.T @ gW),
            "s missing in gB": (gX, gW @ A.T, gA),
            "s missing in gA": (gX, gB, B.T @ gW),
            "s on gX": (s * gX, gB, gA),
            "s twice": (gX, s * gB, s * gA),
            "increment again": (gY @ (W + s * (B @ A)), gB, gA),
            "increment taken off": (gY @ (W - s * (B @ A)), gB, gA),
            "thin part again": (gX + s * (gY @ B) @ A, gB, gA),
            "mean": (gX, gB / N, gA / N),
            "factors swapped": (gX, gA, gB),
            "transposed": (gX, gB.T, gA.T),
            "minus": (-gX, -gB, -gA),
            "gW returned": (gW, gB, gA),
        }[change]

    return wrong


BACKWARD = tuple(
    Suspect(name, words, backward_with(change))
    for change, name, words in (
        ("s missing", "ScaleMissing", "the scale s is missing in gB and gA: in W it multiplies B A"),
        ("s missing in gB", "ScaleMissing", "the scale s is missing in gB"),
        ("s missing in gA", "ScaleMissing", "the scale s is missing in gA"),
        ("s on gX", "BaseScaled", "the scale multiplies gX; W contains it already where it belongs"),
        ("s twice", "ScaleSquared", "the scale is applied twice in gB and gA"),
        (
            "increment again",
            "BranchTwice",
            "the increment counts twice in gX: W is W₀ + s B A already",
        ),
        ("thin part again", "BranchTwice", "the increment counts twice in gX: W is W₀ + s B A already"),
        (
            "increment taken off",
            "ThinPathMissing",
            "gX lacks the way through B and A: use W as it is given",
        ),
        (
            "mean",
            "MeanForSum",
            "gB and gA are divided by N: shares of rows are added; a mean is in gY already",
        ),
        ("factors swapped", "OrderSwapped", "gB and gA are in each other's place: return gX, gB, gA"),
        ("transposed", "Transposed", "gB and gA are transposed: each has the shape of its factor"),
        ("minus", "SignWrong", "every sign is wrong: the minus belongs to the step, not to the gradient"),
        ("gW returned", "AnotherGradient", "gW stands in the place of gX: return gX, gB, gA"),
    )
)

# ---- 06.4 --------------------------------------------------------------------------------------------------


def counted_step(N: int, d: int, k: int, r: int) -> tuple[int, int, int]:
    """Count the engine's products in a step of full fine-tuning, lora-1 and lora-2."""
    full, one, two = (
        products(N, d, k, r, form, "forward", "backward") for form in ("full", "lora-1", "lora-2")
    )
    return full, one, two


def bill(full: float, one: tuple[float, float], two: tuple[float, float]) -> Callable[..., Any]:
    """Make a bill from how many large products each form has, and how many times its increment or thin pair."""

    def made(N: int, d: int, k: int, r: int) -> Any:
        large, once, thin = 2 * N * d * k, 2 * d * k * r, 2 * N * r * (d + k)
        return tuple(
            int(n) for n in (full * large, one[0] * large + one[1] * once, two[0] * large + two[1] * thin)
        )

    return made


Slip = tuple[str, str, tuple[float, float]]
"""A mistake in one form's bill: its name, its words, and how many large and how many thin or small terms it has."""

SLIPS_1: tuple[Slip, ...] = (
    ("", "", (3, 3)),
    (
        "FullGradientMissing",
        "lora-1's backward forms gW = gYᵀ X first: 2 N d k FLOPs that are missing",
        (2, 3),
    ),
    ("InputGradientMissing", "in lora-1 gX and gW are missing", (1, 3)),
    ("IncrementMissing", "lora-1 lacks 2 d k r: it makes B A, and then gB and gA out of gW", (3, 2)),
    ("ProjectionMissing", "lora-1's backward makes both factors' gradients out of gW: 2 d k r each", (3, 1)),
    ("IncrementMissing", "lora-1 lacks three products of 2 d k r: B A, and gB and gA out of gW", (3, 0)),
)
SLIPS_2: tuple[Slip, ...] = (
    ("", "", (2, 3)),
    ("FullGradientInLora2", "lora-2 is charged for gW; it never makes the gradient of the weight", (3, 3)),
    (
        "InputGradientMissing",
        "lora-2 lacks gY W₀: W₀ is frozen, but the gradient of X passes through it",
        (1, 3),
    ),
    (
        "ThinProductMissing",
        "lora-2's backward has four thin products, gY B, gZ A, gYᵀ Z, gZᵀ X; here are two",
        (2, 2),
    ),
    ("ThinProductMissing", "lora-2 has two thin products in forward and four in backward", (2, 1)),
    ("ThinProductMissing", "lora-2's thin products in forward are missing", (2, 0)),
)


def slips() -> Iterator[Suspect]:
    """Pair every mistake in lora-1's bill with every one in lora-2's; the name is that of the first."""
    for first, said, one in SLIPS_1:
        for second, told, two in SLIPS_2:
            if first or second:
                yield Suspect(first or second, "; ".join(filter(None, (said, told))), bill(3, one, two))


STEP = (
    *slips(),
    Suspect(
        "InputGradientMissing",
        "gX is missing: every backward computes it, and for that it goes through W₀ or W",
        bill(2, (2, 3), (1, 3)),
    ),
    Suspect(
        "InputGradientMissing",
        "gX is missing: every backward computes it, and for that it goes through W₀ or W",
        lambda N, d, k, r: (
            4 * N * d * k,
            4 * N * d * k + 6 * d * k * r,
            2 * N * d * k + N * r * (6 * d + 4 * k),
        ),
    ),
    Suspect(
        "FullLacksGradient",
        "full fine-tuning lacks a product: Y, gX and gW are three",
        bill(2, (3, 3), (2, 3)),
    ),
    Suspect("ForwardOnly", "this is the forward pass; a step has a backward, too", bill(1, (1, 1), (1, 1))),
    Suspect(
        "FactorTwo",
        "half of it is missing: an (m, n) by (n, p) product takes 2 m n p",
        bill(1.5, (1.5, 1.5), (1, 1.5)),
    ),
    Suspect(
        "ForwardTwice",
        "backward is counted like forward once more; it has other products",
        bill(2, (2, 2), (2, 2)),
    ),
    Suspect(
        "OrderSwapped",
        "lora-1 and lora-2 are in each other's place: return full, lora-1, lora-2",
        lambda N, d, k, r: (counted_step(N, d, k, r)[0], *counted_step(N, d, k, r)[:0:-1]),
    ),
)

QUIZ = "06.quiz"

EXERCISES = (
    Exercise(
        id="06.1",
        title="What comes on top",
        stars=1,
        signature="on_top(N, d, k, r)",
        returns=("lora-1", "lora-2"),
        given=given_sizes,
        expected=counted_on_top,
        hints=(
            "lora-1 makes one product that the frozen layer does not have, lora-2 makes two. Count 2 m n p for each.",
            "lora-1: B (d, r) by A (r, k). lora-2: X (N, k) by Aᵀ (k, r), and then Z (N, r) by Bᵀ (r, d).",
        ),
        equations=("cost-product", "cost-crossover"),
        suspects=ON_TOP,
    ),
    Exercise(
        id="06.2",
        title="From which row on?",
        stars=2,
        signature="first_row_to_build(d, k)",
        returns=("rows",),
        given=given_sides,
        expected=first_row,
        hints=(
            "Above N* = d k / (d + k) rows lora-1 takes fewer FLOPs. Which is the first whole number above N*?",
            "If N* is whole it is a draw, so the answer is N* + 1. If not, the next whole number. `//` divides and "
            "cuts.",
        ),
        equations=("cost-crossover",),
        suspects=FIRST_ROW,
    ),
    Exercise(
        id="06.3",
        title="Backward through the weight",
        stars=2,
        signature="backward_via_weight(gY, X, W, B, A, scale)",
        returns=("gX", "gB", "gA"),
        given=given_backward,
        expected=the_backward,
        hints=(
            "First gW, the gradient of the whole weight. Then gB and gA are made of gW and the other factor.",
            "gW = gYᵀ X is (d, k). gB = s gW Aᵀ is (d, r), gA = s Bᵀ gW is (r, k). W contains the increment already.",
        ),
        equations=("grad-1",),
        suspects=BACKWARD,
        oracle="lora.backward",
    ),
    Exercise(
        id="06.4",
        title="The bill of a training step",
        stars=3,
        signature="step_flops(N, d, k, r)",
        returns=("full", "lora-1", "lora-2"),
        given=given_sizes,
        expected=counted_step,
        hints=(
            "For each form list all products of forward and backward with their shapes, and add up 2 m n p.",
            "lora-1 has B A and Y, then gW, gX, gB, gA. lora-2 has X W₀ᵀ, X Aᵀ, Z Bᵀ, then gY B, gY W₀, gZ A, gYᵀ Z, "
            "gZᵀ X.",
        ),
        equations=("cost-product", "cost-forward", "cost-backward"),
        suspects=STEP,
    ),
    Quiz(
        id=QUIZ,
        answers=tuple(digest(QUIZ, n, letter) for n, letter in enumerate("cadba", 1)),
        again=("section 2", "section 3", "section 4", "section 4", "section 3"),
    ),
)
