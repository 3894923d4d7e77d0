"""A wrong scale on the increment: left out, squared, inverted, with another power of the rank, rounded.  Floor 6.

Each row replaces s in the method's formula, so that a base path beside the increment stays right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from lora_np.conformance.diagnose.guessing import Guess, Hypothesis, answer, has_model, true_scale
from lora_np.conformance.diagnose.question import Question
from lora_np.conformance.exact.rounding import nearest, unit

Rescaled = Callable[[float, int, float], float]
"""From the right scale, the rank and alpha to a wrong scale."""


def _instead(q: Question, wrong: float, words: str) -> Iterator[Guess]:
    s = true_scale(q)
    if wrong != s and math.isfinite(wrong):
        yield answer(q, scale=wrong), f"{words} (s = {wrong:.9g} for {s:.9g})"


def _rank(q: Question) -> int:
    return int(q.config.get("rank", 0))


def _row(flag: str, rescaled: Rescaled, words: str) -> Hypothesis:
    """Make a row from the wrong scale that it stands for."""

    def guesses(q: Question) -> Iterator[Guess]:
        r = _rank(q)
        if r > 0:
            yield from _instead(q, rescaled(true_scale(q), r, float(q.config.get("alpha", 1.0))), words)

    return Hypothesis(flag, has_model, guesses)


def _power_of_rank(q: Question) -> Iterator[Guess]:
    s, r = true_scale(q), _rank(q)
    if r > 1:
        root = math.sqrt(r)
        yield from _instead(q, s * root, "too large by sqrt(r): alpha / sqrt(r) for alpha / r?")
        yield from _instead(q, s / root, "too small by sqrt(r): alpha / r for alpha / sqrt(r)?")


def _rounded(dtype: str) -> Callable[[Question], Iterator[Guess]]:
    def guesses(q: Question) -> Iterator[Guess]:
        s = true_scale(q)
        if unit(dtype) > q.u:
            words = f"the scale is rounded to {dtype}"
            yield from _instead(q, _round(s, dtype), words)
            if "alpha" in q.config and _rank(q):
                inverse = _round(1 / _rank(q), dtype) * float(q.config["alpha"])
                yield from _instead(q, inverse, words)

    return guesses


def _round(x: float, dtype: str) -> float:
    from fractions import Fraction

    return nearest(Fraction(x), dtype) if math.isfinite(x) else x


def _another_size(q: Question) -> Iterator[Guess]:
    W0 = q.tensors.get("W0", np.zeros(()))
    if "alpha" in q.config and W0.ndim == 2:
        for size, what in zip(W0.shape, ("height of W0", "width of W0"), strict=True):
            for wrong in (q.config["alpha"] / size, q.config["alpha"] / math.sqrt(size)):
                yield from _instead(q, wrong, f"divided by {size}, the {what}, for the rank")


def _not_negative(x: float) -> float:
    return math.floor(x) if math.isfinite(x) else x


HYPOTHESES = (
    _row("BranchMissing", lambda _s, _r, _alpha: 0.0, "the increment is left out"),
    _row("MissingScale", lambda _s, _r, _alpha: 1.0, "off by 1/s in the increment: is the scale missing?"),
    _row("SquaredScale", lambda s, _r, _alpha: s * s, "off by s in the increment: is the scale squared?"),
    _row("SignFlipped", lambda s, _r, _alpha: -s, "the increment has the wrong sign"),
    _row("ScaleInverted", lambda s, _r, _alpha: 1 / s if s else s, "the scale is inverted: r / alpha?"),
    _row(
        "RankNotDivided",
        lambda _s, _r, alpha: alpha,
        "off by r in the increment: alpha is not divided by the rank",
    ),
    Hypothesis("SqrtRank", has_model, _power_of_rank),
    _row(
        "RankDivided",
        lambda s, r, _alpha: s / r,
        "off by 1/r in the increment: divided by the rank once too often",
    ),
    _row("RankMultiplied", lambda s, r, _alpha: s * r, "off by r in the increment: multiplied by the rank"),
    _row("AlphaIgnored", lambda _s, r, _alpha: 1 / r, "1 / r for alpha / r: alpha is left out"),
    _row(
        "AlphaIgnored",
        lambda _s, r, _alpha: 1 / math.sqrt(r),
        "1 / sqrt(r) for alpha / sqrt(r): alpha is left out",
    ),
    _row("BranchTwice", lambda s, _r, _alpha: 2 * s, "the increment is added twice"),
    _row("HalfBranch", lambda s, _r, _alpha: s / 2, "the increment is half of what it must be"),
    _row(
        "ScaleCubed",
        lambda s, _r, _alpha: s**3,
        "off by s² in the increment: is the scale applied three times?",
    ),
    _row(
        "ScaleTruncated",
        lambda s, _r, _alpha: float(_not_negative(s)),
        "the scale is cut to a whole number: alpha // r?",
    ),
    _row(
        "ScaleRootMissing",
        lambda s, _r, _alpha: math.sqrt(abs(s)),
        "sqrt(s) for s: each factor got a root of it, once?",
    ),
    _row("AlphaIsRank", lambda _s, r, _alpha: math.sqrt(r), "sqrt(r) for s"),
    Hypothesis(
        "RankPlusEpsilon",
        has_model,
        lambda q: (
            guess
            for s in [true_scale(q)]
            if _rank(q)
            for eps in (1e-5, 1e-8, 1e-6)
            for wrong in (s / (_rank(q) + eps), s * _rank(q) / (_rank(q) + eps))
            for guess in _instead(q, wrong, f"divided by r + {eps:g}")
        ),
    ),
    Hypothesis("AnotherSizeForRank", has_model, _another_size),
    Hypothesis("ScaleRoundedToFloat32", has_model, _rounded("float32")),
    Hypothesis("ScaleRoundedToFloat16", has_model, _rounded("float16")),
    Hypothesis("ScaleRoundedToBfloat16", has_model, _rounded("bfloat16")),
)
