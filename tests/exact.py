"""Exact arithmetic for expected values: float arrays as nested lists of Fractions, and errors measured against them."""

from fractions import Fraction

import numpy as np


def fractions_of(array):
    """Nested lists of the exact values; every finite float is a dyadic rational."""
    if np.ndim(array) == 0:
        return Fraction(float(array))
    return [fractions_of(row) for row in array]


def exact_error_in_u(got, exact, S, *, roundings=0):
    """The worst |got − exact| / (u S) over all elements, with `exact` nested lists of Fractions.

    Where S is zero the two must be equal.  A shape that differs counts as infinite.  Each of `roundings` operations
    may also underflow, which costs the smallest subnormal number each.
    """
    got, S = np.asarray(got), np.asarray(S)
    want = np.array(exact, dtype=object)
    if not np.isfinite(got).all() or got.size != want.size or (got.size and got.shape != want.shape):
        return float("inf")
    info = np.finfo(got.dtype)
    u, lost = Fraction(float(info.eps)) / 2, Fraction(roundings) * Fraction(float(info.smallest_subnormal))
    worst = Fraction(0)
    for index in np.ndindex(got.shape):
        gap = abs(Fraction(float(got[index])) - want[index]) - lost
        if gap > 0:
            bound = u * Fraction(float(S[index]))
            if bound == 0:
                return float("inf")
            worst = max(worst, gap / bound)
    return float(worst)


def floats_of(exact):
    """Nested lists of Fractions as a float64 array, each entry rounded once."""
    return np.array(exact, dtype=object).astype(float)
