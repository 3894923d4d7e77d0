"""Input numbers from a seed, the same on every machine and easy to repeat in any language.  Floor 6.

The stream is SplitMix64 (Steele, Lea, Flood 2014): state ← state + 0x9E3779B97F4A7C15, then two rounds of xor-shift
and multiply.  The seed is the 64-bit FNV-1a hash of a text that names the case.  Never
NumPy's own stream, which may change.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lora_np.conformance.exact.rounding import FLOAT_TYPES

MASK = (1 << 64) - 1
SHORT_BITS = 8
"""Significant bits of most inputs: they fit every floating type, and their hexadecimal text is short."""

TINY, HUGE = 2.0**-100, 2.0**100
"""About 1e-30 and 1e30: products with ordinary numbers stay inside float32."""


def seed_of(text: str) -> int:
    """Hash a text with 64-bit FNV-1a.

    >>> hex(seed_of(""))
    '0xcbf29ce484222325'
    """
    state = 0xCBF29CE484222325
    for byte in text.encode():
        state = (state ^ byte) * 0x100000001B3 & MASK
    return state


class Draws:
    """Numbers drawn one after the other.

    >>> [hex(x) for x in (lambda draws: [draws.bits(), draws.bits()])(Draws(0))]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """

    def __init__(self, seed: int | str) -> None:
        self.state = seed_of(seed) if isinstance(seed, str) else seed

    def bits(self) -> int:
        """Draw 64 bits: one step of SplitMix64."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
        return z ^ (z >> 31)

    def below(self, n: int) -> int:
        """Draw an integer from 0 to n − 1 (the tiny bias of the remainder does no harm here)."""
        return self.bits() % n

    def number(self, significant: int, exponents: tuple[int, int] = (-2, 1)) -> float:
        """Draw ± a number of exactly so many significant bits, 2**e ≤ |x| < 2**(e + 1), e within `exponents`."""
        mantissa = (1 << (significant - 1)) | (self.bits() >> (65 - significant)) | 1
        exponent = exponents[0] + self.below(exponents[1] - exponents[0] + 1)
        sign = -1 if self.bits() & 1 else 1
        return sign * math.ldexp(mantissa, exponent - significant + 1)

    def array(self, draw: Callable[[], float], shape: tuple[int, ...]) -> np.ndarray:
        """Fill a shape row by row."""
        return np.array([draw() for _ in range(math.prod(shape))], dtype=np.float64).reshape(shape)

    def values(self, kind: str, shape: tuple[int, ...], dtype: str = "float64") -> np.ndarray:
        """Draw an array of one kind: "short", "full", "integers" or "wide".

        short     8 significant bits, 1/4 ≤ |x| < 4
        full      every bit of the element type in use, the last one set, 1/4 ≤ |x| < 4
        integers  ±1, ..., ±4
        wide      8 significant bits, about 1e-3 ≤ |x| < 1e3
        """
        kinds: dict[str, Callable[[], float]] = {
            "short": lambda: self.number(SHORT_BITS),
            "full": lambda: self.number(FLOAT_TYPES[dtype].precision),
            "integers": lambda: float((1 + self.below(4)) * (-1 if self.bits() & 1 else 1)),
            "wide": lambda: self.number(SHORT_BITS, (-10, 9)),
        }
        return self.array(kinds[kind], shape)
