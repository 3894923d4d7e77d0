"""When two factors hold fewer numbers than their product.  Floor 2."""

from __future__ import annotations

from fractions import Fraction

from lora_np import checks


def factored_count(d: int, k: int, rank: int) -> int:
    """Count the numbers of B (d, r) and A (r, k) together: r (d + k).  [count-lora]

    >>> factored_count(100, 1000, 10), 100 * 1000  # seed 004: 11 %
    (11000, 100000)
    """
    for name, value in (("d", d), ("k", k), ("rank", rank)):
        checks.require_int(name, value, minimum=0)
    return rank * (d + k)


def break_even_rank(d: int, k: int) -> Fraction:
    """Find the rank at which two factors hold as many numbers as the (d, k) matrix.  [count-break-even]

    r* = d k / (d + k).  Below it factoring saves; it is never above min(d, k), and half of that for a square matrix.

    >>> break_even_rank(768, 768), break_even_rank(100, 1000)
    (Fraction(384, 1), Fraction(1000, 11))
    """
    checks.require_int("d", d, minimum=1)
    checks.require_int("k", k, minimum=1)
    return Fraction(d * k, d + k)
