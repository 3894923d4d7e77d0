"""Lesson 08: merge, round, catch bad merges, put adapters side by side, serve many at once.  Floor 6."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lora_np import adapters, merging
from lora_np._typing import Array
from lora_np.adapters import LoraAdapter
from lora_np.lora import LoraParams
from lora_np.teach.exercise import Exercise, Given, Quiz, Reverse, Suspect

TYPES = {8: "bfloat16", 11: "float16"}


# ---- 08.1: merge -------------------------------------------------------------------------------------------------


def _short(x: float) -> float:
    """Keep three digits of a number, so that a student can read it."""
    return float(f"{x:.3g}")


def given_merge(rng: np.random.Generator) -> Iterator[Given]:
    """Draw a weight and its adapter; once, B is zero."""
    for case, (d, k, r) in enumerate(((1, 1, 1), (3, 4, 2), (5, 2, 1), (4, 4, 2), (2, 6, 2))):
        W0, B, A = rng.normal(size=(d, k)), rng.normal(size=(d, r)) * (case != 2), rng.normal(size=(r, k))
        yield {"W0": W0, "B": B, "A": A, "scale": _short(rng.uniform(0.3, 3))}


def merged(W0: Array, B: Array, A: Array, scale: float) -> Array:
    """Merge with the engine.  [lora-merge]"""
    return merging.merge(W0, LoraParams(B, A), scale=scale)


# ---- 08.2: round to a few digits ---------------------------------------------------------------------------------


def given_round(rng: np.random.Generator) -> Iterator[Given]:
    """Draw numbers of many sizes and both signs; ties to even and to odd, powers of two, numbers close below, zero."""
    for digits in (8, 11, 8, 11):
        spread = rng.normal(size=(3, 4)) * 2.0 ** rng.integers(-6, 9, size=(3, 4))
        yield {"x": spread, "digits": digits}
    for digits in (8, 11):
        whole = rng.integers(2 ** (digits - 1), 2**digits - 1, size=6)
        whole[:2] = whole[:2] // 2 * 2 + (0, 1)  # one even and one odd whole number of steps
        signs = rng.choice([-1.0, 1.0], size=6)
        ties = signs * (whole + 0.5) * 2.0 ** rng.integers(-8, 3, size=6)
        powers = 2.0 ** rng.integers(-6, 9, size=3)
        yield {"x": np.concatenate([ties, powers, powers * (1 - 2.0**-20), [0.0]]), "digits": digits}


def to_digits(x: Array, digits: int) -> Array:
    """Round with the engine, to the type that has so many digits.  [increment-rounded]"""
    return adapters.rounded(x, TYPES[digits])


def _round(x: Array, digits: int, how: Any = np.rint) -> Array:
    """Round in steps, in another way than to the nearest even one, or with other digits."""
    step = np.ldexp(1.0, np.frexp(x)[1] - digits)
    return how(x / step) * step


def _half_away(y: Array) -> Array:
    return np.copysign(np.floor(np.abs(y) + 0.5), y)


def _half_up(y: Array) -> Array:
    return np.floor(y + 0.5)


def _half_as_python(x: Array, digits: int) -> Array:
    return np.round(x, digits)


def _fixed(x: Array, digits: int) -> Array:
    return np.rint(x * 2.0**digits) / 2.0**digits


def _mantissa(x: Array, digits: int) -> Array:
    m, _ = np.frexp(x)
    return np.rint(m * 2.0**digits) / 2.0**digits


def _whole_number(x: Array, digits: int) -> Array:
    return np.rint(x / np.ldexp(1.0, np.frexp(x)[1] - digits))


def _as_float16(x: Array, digits: int) -> Array:
    return x.astype(np.float16).astype(np.float64)


def _one_step_for_all(x: Array, digits: int) -> Array:
    step = np.ldexp(1.0, np.frexp(np.max(np.abs(x)))[1] - digits)
    return np.rint(x / step) * step


def _decimal(x: Array, digits: int) -> Array:
    return np.array([float(f"{value:.{digits}g}") for value in x.ravel()]).reshape(x.shape)


def _logarithm(x: Array, digits: int) -> Array:
    step = 2.0 ** (np.floor(np.log2(np.abs(x))) - digits + 1)
    return np.rint(x / step) * step


# ---- 08.3: a test that catches bad merges ------------------------------------------------------------------------


def _right(W0: Array, B: Array, A: Array, scale: float) -> Any:
    return W0 + scale * (B @ A)


def _right_loops(W0: Array, B: Array, A: Array, scale: float) -> Any:
    W = np.array(W0, dtype=float)
    for q in range(A.shape[0]):
        W = W + np.outer(scale * B[:, q], A[q])
    return W


def _right_apart(W0: Array, B: Array, A: Array, scale: float) -> Any:
    return np.einsum("dr,rk->dk", B, scale * A) + W0


def _in_place(W0: Array, B: Array, A: Array, scale: float) -> Any:
    W0 += scale * (B @ A)
    return W0


def _no_scale(W0: Array, B: Array, A: Array, scale: float) -> Any:
    return W0 + B @ A


def _scale_squared(W0: Array, B: Array, A: Array, scale: float) -> Any:
    return W0 + scale**2 * (B @ A)


def _weight_scaled(W0: Array, B: Array, A: Array, scale: float) -> Any:
    return scale * (W0 + B @ A)


def _subtracted(W0: Array, B: Array, A: Array, scale: float) -> Any:
    return W0 - scale * (B @ A)


def _increment_alone(W0: Array, B: Array, A: Array, scale: float) -> Any:
    return scale * (B @ A)


def _transposed(W0: Array, B: Array, A: Array, scale: float) -> Any:
    delta = scale * (B @ A)
    return W0 + (delta.T if delta.shape[0] == delta.shape[1] else delta)


def _first_direction(W0: Array, B: Array, A: Array, scale: float) -> Any:
    return W0 + scale * np.outer(B[:, 0], A[0])


def _half_precision(W0: Array, B: Array, A: Array, scale: float) -> Any:
    return W0 + (scale * (B @ A)).astype(np.float16)


# ---- 08.4: side by side ------------------------------------------------------------------------------------------


def given_pair(rng: np.random.Generator) -> Iterator[Given]:
    """Draw two adapters of one weight, of different ranks."""
    for d, k, r1, r2 in ((3, 2, 1, 1), (4, 5, 2, 1), (5, 3, 1, 2), (6, 7, 3, 2)):
        B1, A1 = rng.normal(size=(d, r1)), rng.normal(size=(r1, k))
        B2, A2 = rng.normal(size=(d, r2)), rng.normal(size=(r2, k))
        s1, s2 = (_short(s) for s in rng.uniform(0.3, 3, size=2))
        yield {"B1": B1, "A1": A1, "s1": s1, "B2": B2, "A2": A2, "s2": s2}


def together(B1: Array, A1: Array, s1: float, B2: Array, A2: Array, s2: float) -> tuple[Array, Array]:
    """Concatenate with the engine.  [combine-cat]"""
    both = adapters.combine_cat([LoraAdapter(LoraParams(B1, A1), s1), LoraAdapter(LoraParams(B2, A2), s2)])
    return both.p.B, both.p.A


def product_and_shapes(answer: Any, given: Given) -> Mapping[str, Any]:
    """Look at the product and at the shapes, by zeros that have them: where a scale stands is free."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise ValueError("two arrays are expected, B and A")
    B, A = (np.asarray(factor) for factor in answer)
    fit = B.ndim == A.ndim == 2 and B.shape[1] == A.shape[0]
    product = B @ A if fit else np.zeros((0, 0))
    return {"B": np.zeros(B.shape), "A": np.zeros(A.shape), "B @ A": product}


def pair_size(given: Given) -> dict[str, Array]:
    """Add the sizes of all terms."""
    B1, A1, B2, A2 = (np.abs(given[name]) for name in ("B1", "A1", "B2", "A2"))
    return {"B @ A": given["s1"] * (B1 @ A1) + given["s2"] * (B2 @ A2)}


def _side(B1: Array, A1: Array, s1: float, B2: Array, A2: Array, s2: float) -> Any:
    return np.concatenate([s1 * B1, s2 * B2], axis=1), np.concatenate([A1, A2], axis=0)


def _no_scales(B1: Array, A1: Array, s1: float, B2: Array, A2: Array, s2: float) -> Any:
    return _side(B1, A1, 1.0, B2, A2, 1.0)


def _scales_twice(B1: Array, A1: Array, s1: float, B2: Array, A2: Array, s2: float) -> Any:
    return _side(B1, A1, s1**2, B2, A2, s2**2)


def _scales_crossed(B1: Array, A1: Array, s1: float, B2: Array, A2: Array, s2: float) -> Any:
    return _side(B1, A1, s2, B2, A2, s1)


def _scale_across(B1: Array, A1: Array, s1: float, B2: Array, A2: Array, s2: float) -> Any:
    return _side(B1, A1, s1 * s2, B2, A2, s1 * s2)


def _first_scale_only(B1: Array, A1: Array, s1: float, B2: Array, A2: Array, s2: float) -> Any:
    return _side(B1, A1, s1, B2, A2, 1.0)


def _first_scale_for_both(B1: Array, A1: Array, s1: float, B2: Array, A2: Array, s2: float) -> Any:
    return _side(B1, A1, s1, B2, A2, s1)


def _a_first(B1: Array, A1: Array, s1: float, B2: Array, A2: Array, s2: float) -> Any:
    return _side(B1, A1, s1, B2, A2, s2)[::-1]


ADDED = "the factors are added: the rank must grow to r1 + r2, and B1 A2 and B2 A1 came in"


def _second_first(B1: Array, A1: Array, s1: float, B2: Array, A2: Array, s2: float) -> Any:
    return np.concatenate([s2 * B2, s1 * B1], axis=1), np.concatenate([A1, A2], axis=0)


# ---- 08.5: serve many --------------------------------------------------------------------------------------------


def given_batch(rng: np.random.Generator) -> Iterator[Given]:
    """Draw adapters and a batch that mixes them, out of order; some rows use none, once all of them, once no row."""
    shapes = ((2, 2, 3, 1, 1), (6, 4, 5, 2, 3), (5, 3, 7, 1, 2), (7, 5, 2, 2, 4), (3, 2, 4, 3, 2))
    for case, (N, d, k, r, T) in enumerate(shapes):
        which = rng.integers(-1, T, size=N)
        which[0], which[-1] = (T - 1, -1) if case != 4 else (0, T - 1)
        yield {
            "X": rng.normal(size=(N, k)),
            "W0": rng.normal(size=(d, k)),
            "B": rng.normal(size=(T, d, r)),
            "A": rng.normal(size=(T, r, k)),
            "scale": rng.uniform(0.3, 3, size=T),
            "which": which,
        }


def served(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Array:
    """Serve with the engine.  [adapters-mixed]"""
    named = {str(t): LoraAdapter(LoraParams(B[t], A[t]), float(scale[t])) for t in range(len(scale))}
    Y, _ = adapters.forward_mixed(X, W0, named, [None if t < 0 else str(t) for t in which])
    return Y


def served_size(given: Given) -> Array:
    """Add the sizes of all terms."""
    absolute = {name: np.abs(given[name]) for name in ("X", "W0", "B", "A", "scale")}
    return served(**absolute, which=given["which"])


def _serve(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array, *, base: Any = True) -> Any:
    parts = [
        np.zeros(W0.shape[0]) if t < 0 else scale[t] * (B[t] @ (A[t] @ x))
        for x, t in zip(X, which, strict=True)
    ]
    return (X @ W0.T if base else 0.0) + np.array(parts)


def _none_is_last(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    return _serve(X, W0, B, A, scale, which % len(scale))


def _none_is_first(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    return _serve(X, W0, B, A, scale, np.maximum(which, 0))


def _none_gets_nothing(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    return np.where(which[:, None] < 0, 0.0, _serve(X, W0, B, A, scale, which))


def _adapters_alone(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    return _serve(X, W0, B, A, scale, which, base=False)


def _base_twice(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    return _serve(X, W0, B, A, scale, which) + np.where(which[:, None] < 0, 0.0, X @ W0.T)


def _no_scale_served(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    return _serve(X, W0, B, A, np.ones_like(scale), which)


def _first_scale(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    return _serve(X, W0, B, A, np.full_like(scale, scale[0]), which)


def _first_rows_adapter(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    return _serve(X, W0, B, A, scale, np.full_like(which, which[0]))


def _all_adapters(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    Y = X @ W0.T
    return Y + sum(scale[t] * (X @ A[t].T @ B[t].T) for t in range(len(scale)))


def _zero_is_none(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    return _serve(X, W0, B, A, scale, np.where(which == 0, -1, which))


def _one_before(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    return _serve(X, W0, B, A, scale, np.where(which < 0, -1, (which - 1) % len(scale)))


def _by_place(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    return _serve(X, W0, B, A, scale, np.arange(len(X)) % len(scale))


def _sorted_rows(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    order = np.argsort(which, kind="stable")
    return _serve(X, W0, B, A, scale, which)[order]


def _none_first_then_sorted(X: Array, W0: Array, B: Array, A: Array, scale: Array, which: Array) -> Any:
    rows = [n for t in range(len(scale)) for n in np.flatnonzero(which == t)]
    return _serve(X, W0, B, A, scale, which)[[*rows, *np.flatnonzero(which < 0)]]


# ---- the lesson --------------------------------------------------------------------------------------------------

EXERCISES = (
    Exercise(
        id="08.1",
        title="Merge",
        stars=1,
        signature="merge(W0, B, A, scale)",
        returns=("W",),
        given=given_merge,
        expected=merged,
        oracle="lora.merge",
        hints=(
            "Multiply the factors to one matrix of the weight's shape, scale it, and add it to the weight.",
            "B @ A has the shape of W0. Make a new array: W0 + ..., and never W0 += ...",
        ),
        equations=("lora-merge",),
        suspects=(
            Suspect("ScaleMissing", "the scale s is missing: W0 + s B A", _no_scale),
            Suspect(
                "WeightScaled", "the scale multiplies the weight too; it belongs to B A alone", _weight_scaled
            ),
            Suspect("SignWrong", "the increment is subtracted: that is unmerging", _subtracted),
            Suspect("FrozenMissing", "this is the increment alone: add it to W0", _increment_alone),
            Suspect("ScaleSquared", "the scale is there twice: multiply B A by it once", _scale_squared),
        ),
    ),
    Exercise(
        id="08.2",
        title="Round to a few digits",
        stars=2,
        signature="round_to(x, digits)",
        returns=("rounded",),
        given=given_round,
        expected=to_digits,
        size=lambda given: np.abs(given["x"]),
        hints=(
            "Each number has a step of its own. Divide by the step, round to a whole number, multiply by the step.",
            "np.frexp(x)[1] is e + 1, so the step is 2 ** (np.frexp(x)[1] - digits). np.rint rounds ties to even.",
        ),
        equations=("increment-rounded", "increment-unchanged"),
        suspects=(
            Suspect(
                "Truncated",
                "digits are cut off, not rounded: take the nearest step, with np.rint",
                lambda x, digits: _round(x, digits, np.trunc),
            ),
            Suspect(
                "RoundedDown",
                "np.floor always goes down: take the nearest step, with np.rint",
                lambda x, digits: _round(x, digits, np.floor),
            ),
            Suspect(
                "RoundedUp",
                "np.ceil always goes up: take the nearest step, with np.rint",
                lambda x, digits: _round(x, digits, np.ceil),
            ),
            Suspect(
                "TiesAway",
                "only ties are wrong: they go away from zero here, and must go to the even step",
                lambda x, digits: _round(x, digits, _half_away),
            ),
            Suspect(
                "TiesUp",
                "only ties are wrong: they go up here, and must go to the even step",
                lambda x, digits: _round(x, digits, _half_up),
            ),
            Suspect(
                "OneDigitMore",
                "one binary digit too many is kept: frexp's power is e + 1",
                lambda x, digits: _round(x, digits + 1),
            ),
            Suspect(
                "OneDigitLess",
                "one binary digit too few is kept: p digits, the first of them at 2 to the power e",
                lambda x, digits: _round(x, digits - 1),
            ),
            Suspect(
                "DecimalPlaces", "np.round counts decimal places; these are binary digits", _half_as_python
            ),
            Suspect(
                "FixedStep",
                "every number is rounded with the same step; the step grows with the size of the number",
                _fixed,
            ),
            Suspect(
                "PowerMissing", "the power of two is not put back: multiply by 2 to the power", _mantissa
            ),
            Suspect(
                "StepMissing", "these are whole numbers of steps: multiply by the step again", _whole_number
            ),
            Suspect(
                "TypeForDigits",
                "a cast to float16 always keeps 11 digits; the number of digits is given",
                _as_float16,
            ),
            Suspect(
                "OneStepForAll",
                "one step, of the largest number, is used for all; each number has its own",
                _one_step_for_all,
            ),
            Suspect("DecimalPlaces", "these are decimal digits; binary ones are asked for", _decimal),
            Suspect(
                "NegativeWrong",
                "negative numbers are wrong: adding a half and cutting off rounds them up; use np.rint",
                lambda x, digits: _round(x, digits, lambda y: np.trunc(y + 0.5)),
            ),
            Suspect("ZeroLost", "zero becomes NaN: it has no logarithm; frexp takes zeros", _logarithm),
        ),
    ),
    Reverse(
        id="08.3",
        title="Catch the bad merges",
        stars=3,
        signature="test_merge(merge)",
        right=(_right, _right_loops, _right_apart),
        mutants=(
            Suspect("ScaleMissing", "it leaves the scale out", _no_scale),
            Suspect("ScaleSquared", "it multiplies by the scale twice", _scale_squared),
            Suspect("WeightScaled", "it scales the weight too", _weight_scaled),
            Suspect("SignWrong", "it subtracts", _subtracted),
            Suspect("FrozenMissing", "it returns the increment without W0", _increment_alone),
            Suspect("Transposed", "it transposes the increment where W0 is square", _transposed),
            Suspect("OneDirection", "it uses the first of the r directions alone", _first_direction),
            Suspect("HalfPrecision", "it rounds the increment to float16", _half_precision),
            Suspect("InPlace", "it writes into the W0 that it is given", _in_place),
        ),
        hints=(
            "Draw one W0, B and A with a scale, call merge, and compare with W0 + s B A that you make yourself.",
            "Take W0 square and not zero, rank 2 or more, a scale that is neither 0 nor 1. Compare with np.allclose "
            "and a small rtol and atol. Keep a copy of W0, and look whether W0 is still the same afterwards.",
        ),
        equations=("lora-merge",),
    ),
    Exercise(
        id="08.4",
        title="Side by side",
        stars=2,
        signature="side_by_side(B1, A1, s1, B2, A2, s2)",
        returns=("B", "A"),
        given=given_pair,
        expected=together,
        seen=product_and_shapes,
        size=pair_size,
        hints=(
            "The new B has the columns of both B, and the new A has the rows of both A.",
            "np.concatenate with axis=1 for B and axis=0 for A. Each scale multiplies one factor of its own adapter.",
        ),
        equations=("combine-cat",),
        suspects=(
            Suspect(
                "ScaleMissing", "both scales are missing: the new scale is 1, so put them in", _no_scales
            ),
            Suspect("ScaleMissing", "the second scale is missing", _first_scale_only),
            Suspect(
                "ScaleTwice", "each scale is there twice: put it on B or on A, not on both", _scales_twice
            ),
            Suspect("ScaleTwice", "each adapter has both scales: it needs its own alone", _scale_across),
            Suspect("ScalesCrossed", "the scales are exchanged: s1 belongs to B1 A1", _scales_crossed),
            Suspect(
                "ScalesCrossed",
                "both adapters have the scale s1; the second has its own",
                _first_scale_for_both,
            ),
            Suspect("CrossTerms", ADDED, lambda B1, A1, s1, B2, A2, s2: (s1 * B1 + s2 * B2, A1 + A2)),
            Suspect("CrossTerms", ADDED, lambda B1, A1, s1, B2, A2, s2: (B1 + B2, s1 * A1 + s2 * A2)),
            Suspect("CrossTerms", ADDED, lambda B1, A1, s1, B2, A2, s2: (B1 + B2, A1 + A2)),
            Suspect("OutputsSwapped", "A comes first: return B, A in this order", _a_first),
            Suspect(
                "OrderMixed", "B starts with B2 but A with A1: keep the same order in both", _second_first
            ),
        ),
    ),
    Exercise(
        id="08.5",
        title="A batch of many users",
        stars=2,
        signature="serve(X, W0, B, A, scale, which)",
        returns=("Y",),
        given=given_batch,
        expected=served,
        size=served_size,
        config=lambda given: {},  # the scales are many
        hints=(
            "All rows go through W0. Then each row gets the increment of its own adapter, if it has one.",
            "For each t take the rows with which == t: X[rows] @ A[t].T @ B[t].T, times scale[t]. -1 is no adapter; as "
            "an index it would be the last one.",
        ),
        equations=("adapters-mixed",),
        suspects=(
            Suspect(
                "NoneIsLast", "rows with -1 use the last adapter: that is what index -1 means", _none_is_last
            ),
            Suspect("NoneIsFirst", "rows with -1 use the first adapter; they use none", _none_is_first),
            Suspect(
                "NoneGetsNothing", "rows with -1 are zero: they still go through the base", _none_gets_nothing
            ),
            Suspect("FrozenMissing", "the base is missing: add X W0ᵀ", _adapters_alone),
            Suspect("BaseTwice", "rows with an adapter go through the base twice", _base_twice),
            Suspect("ScaleMissing", "the scales are missing", _no_scale_served),
            Suspect("ScalesCrossed", "all adapters use scale[0]; each has its own", _first_scale),
            Suspect("FirstRowsAdapter", "all rows use the adapter of the first row", _first_rows_adapter),
            Suspect("AllAdapters", "every row gets all adapters; it uses its own alone", _all_adapters),
            Suspect(
                "ZeroIsNone",
                "rows with 0 get no adapter; 0 is the first one, and only -1 is none",
                _zero_is_none,
            ),
            Suspect("OffByOne", "each row uses the adapter before its own: which counts from 0", _one_before),
            Suspect("WrongAdapter", "row n uses adapter n: look it up in which[n]", _by_place),
            Suspect(
                "OrderLost",
                "the rows come back sorted by adapter: put them back in their order",
                _sorted_rows,
            ),
            Suspect(
                "OrderLost",
                "the rows come back sorted by adapter: put them back in their order",
                _none_first_then_sorted,
            ),
        ),
    ),
    Quiz(
        id="08.quiz",
        title="Exit quiz",
        answers=("2af5f1a93338", "66050da2f8e0", "00238184c9b3", "a9ba8fad75f9"),
        again=("section 3", "section 2", "section 5", "section 6"),
    ),
)
