"""Exact arithmetic for expected values: float arrays as nested lists of Fractions, and errors measured against them."""

from fractions import Fraction

import numpy as np


def fractions_of(array):
    """Nested lists of the exact values; every finite float is a dyadic rational."""
    if np.ndim(array) == 0:
        return Fraction(float(array))
    return [fractions_of(row) for row in array]


def exact_error_in_u(got, exact, S):
    """The worst |got − exact| / (u S) over all elements, with `exact` nested lists of Fractions.

    Where S is zero the two must be equal.  A shape that differs counts as infinite.
    """
    got = np.asarray(got)
    if not np.isfinite(got).all():
        return float("inf")
    u = Fraction(float(np.finfo(got.dtype).eps)) / 2
    want = np.empty(got.shape, dtype=object)
    flat = list(_flatten(exact))
    if len(flat) != got.size:
        return float("inf")
    want.reshape(-1)[:] = flat
    worst = Fraction(0)
    for index in np.ndindex(got.shape):
        gap = abs(Fraction(float(got[index])) - want[index])
        if gap:
            bound = u * Fraction(float(np.asarray(S)[index]))
            if bound == 0:
                return float("inf")
            worst = max(worst, gap / bound)
    return float(worst)


def _flatten(nested):
    for item in nested:
        if isinstance(item, list):
            yield from _flatten(item)
        else:
            yield item
