"""Seeded layers to measure on, the same in wider arithmetic, and the distance between two results.  Floor 6.

Small layers are compared with exact rational arithmetic: every float is a rational number, and all formulas here are
polynomials, so their values are known without any rounding.  The large ones are compared with extended precision,
against whose rounding a result in single or double precision has 11 bits or more to err.  Where the platform's
`longdouble` is a double, the two roundings add up and still stay below the bound.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from lora_np._typing import Array, Float
from lora_np.conformance.bounds import error_in_u, unit_roundoff
from lora_np.conformance.verify.check import Reading
from lora_np.lora import LoraParams

SCALE = 16 / 7  # no power of two, so a scale applied twice or not at all shows
SMALL = (
    (7, 5, 6, 2),
    (1, 1, 9, 3),
    (4, 6, 6, 6),
    (3, 12, 4, 1),
)  # (N, d, k, r): wide, tall, square, r > min(d, k)
LARGE = ((64, 48, 96, 8),)
FLOATS = (np.float64, np.float32)


class Case:
    """A layer with its batch: X (N, k), W0 (d, k), p, gY (N, d), bias (d,), all of one element type."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: Any, exact: bool) -> None:
        N, d, k, r = shape
        rng = np.random.default_rng([*shape, np.dtype(dtype).itemsize])

        def normal(*size: int) -> Array:
            return rng.normal(size=size).astype(dtype)

        self.shape, self.dtype, self._exact = shape, np.dtype(dtype), exact
        self.X, self.W0, self.gY = normal(N, k), normal(d, k), normal(N, d)
        self.p, self.bias = LoraParams(normal(d, r), normal(r, k)), normal(d)
        self.scale = SCALE

    @functools.cached_property
    def wide(self) -> Wide:
        """The same numbers in wider arithmetic."""
        return Wide(self, exactly if self._exact else np.longdouble)


class Wide:
    """A case in wider arithmetic, and the written-out formulas on it.

    W = W0 + s B A and gW = gYᵀ X are formed, because in exact arithmetic no association is better than another.
    """

    def __init__(self, case: Case, widen: Any) -> None:
        self.X, self.W0, self.gY, self.bias = map(widen, (case.X, case.W0, case.gY, case.bias))
        self.B, self.A, self.s = widen(case.p.B), widen(case.p.A), widen(case.scale)

    @functools.cached_property
    def W(self) -> Float[Array, "d k"]:
        """The adapted weight."""
        return self.W0 + self.s * (self.B @ self.A)

    @functools.cached_property
    def gW(self) -> Float[Array, "d k"]:
        """The weight's full gradient."""
        return self.gY.T @ self.X


class Letters(NamedTuple):
    """What a formula may name: a case's arrays, its gW = gYᵀ X as rounded, a rate, and the sign of a difference.

    On exact values with `minus` −1 a formula gives the true value; on absolute values with `minus` +1, its scale S.
    """

    gY: Any  # noqa: N815 (the letter of the formula)
    X: Any
    W0: Any
    B: Any
    A: Any
    gW: Any  # noqa: N815
    s: Any
    lr: Any
    minus: int


Formula = Callable[[Letters], Array]


def true_value_and_scale(formula: Formula, c: Case, lr: float = 1 / 3) -> tuple[Array, Array]:
    """Evaluate a formula in exact arithmetic, and its S on absolute values."""
    numbers = (c.gY, c.X, c.W0, *c.p, c.gY.T @ c.X, c.scale, lr)
    true = Letters._make((*map(exactly, numbers), -1))
    absolute = Letters._make((*map(positive, numbers), 1))
    return formula(true), formula(absolute)


@functools.cache
def small_cases() -> tuple[Case, ...]:
    """Draw the layers whose true values are known as rational numbers."""
    return tuple(Case(shape, dtype, exact=True) for shape in SMALL for dtype in FLOATS)


@functools.cache
def cases() -> tuple[Case, ...]:
    """Draw all layers, large ones last."""
    return (*small_cases(), *(Case(shape, dtype, exact=False) for shape in LARGE for dtype in FLOATS))


def exactly(x: Any) -> Any:
    """Turn a float, or an array of floats, into Fractions of equal value.

    >>> exactly(0.1) == 0.1, exactly(np.array([0.5]))
    (True, array([Fraction(1, 2)], dtype=object))
    """
    if np.ndim(x) == 0:
        return Fraction(float(x))
    out = np.empty(np.shape(x), dtype=object)
    out.reshape(-1)[:] = [Fraction(value) for value in np.asarray(x).ravel().tolist()]
    return out


def positive(x: Any) -> Any:
    """Take absolute values, in double precision."""
    return np.abs(np.float64(x))


def distance_in_u(got: Array, want: Array, S: Array) -> float:
    """Measure |got − want| / (u S), in rational arithmetic where `want` is rational; a wrong shape is infinitely far.

    >>> distance_in_u(
    ...     np.array([0.1 + 0.2]), exactly(np.array([0.1])) + exactly(np.array([0.2])), np.array([0.3])
    ... )
    0.83...
    """
    got, want = np.asarray(got), np.asarray(want)
    if want.dtype != object:
        return error_in_u(got, want, S)
    if got.shape != want.shape or not np.isfinite(got).all():
        return float("inf")
    gap, u = abs(exactly(got) - want), Fraction(unit_roundoff(got.dtype))
    allowed = u * exactly(np.broadcast_to(S, got.shape))
    if any(g and not a for g, a in zip(gap.flat, allowed.flat, strict=True)):
        return float("inf")
    return float(max((g / a for g, a in zip(gap.flat, allowed.flat, strict=True) if g), default=0))


def reading(case: Case, got: Array, want: Array, S: Array, bound_u: float) -> Reading:
    """Compare one result with its true value, or with another result.

    A result of another element type is infinitely far; so is a narrower one to compare with.
    """
    got, want = np.asarray(got), np.asarray(want)
    as_wide = want.dtype == object or want.dtype.itemsize >= case.dtype.itemsize
    error = distance_in_u(got, want, S) if got.dtype == case.dtype and as_wide else float("inf")
    return Reading(error, bound_u, case.dtype.name, case.shape)
