"""From an exact value to the nearest number of a floating type, ties to even, and to text that loses nothing.  Floor 6.

A type is its precision p (bits of the significand) and its range.  An mpmath value is rounded only if every value
within its own error rounds the same way; otherwise `UnsafeRoundingError` asks for more bits.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

from lora_np.conformance.exact.number import Exact
from lora_np.errors import ConfigError


class FloatType(NamedTuple):
    """A binary floating type: bits of the significand, smallest normal exponent, largest exponent."""

    precision: int
    least: int  # 2**least is the smallest normal number
    most: int  # below 2**(most + 1)


FLOAT_TYPES = {
    "float64": FloatType(53, -1022, 1023),
    "float32": FloatType(24, -126, 127),
    "float16": FloatType(11, -14, 15),
    "bfloat16": FloatType(8, -126, 127),
}


class UnsafeRoundingError(ArithmeticError):
    """The value is known too roughly to tell which number is nearest."""


def unit(dtype: str) -> float:
    """Return u of a floating type: half the distance from 1 to the next number.

    >>> unit("bfloat16")
    0.00390625
    """
    if dtype not in FLOAT_TYPES:
        raise ConfigError(f"dtype must be one of {', '.join(FLOAT_TYPES)}, got {dtype!r}")
    return 2.0 ** -FLOAT_TYPES[dtype].precision


def smallest(dtype: str) -> float:
    """Return the smallest positive number of a floating type, a subnormal one."""
    kind = FLOAT_TYPES[dtype]
    return math.ldexp(1.0, kind.least - kind.precision + 1)


def nearest(value: Fraction, dtype: str = "float64") -> float:
    """Round a rational to the nearest number of a floating type, ties to even; beyond the range, to infinity.

    >>> nearest(Fraction(1, 3), "float16").hex()
    '0x1.5540000000000p-2'
    """
    if value == 0:
        return 0.0
    kind = FLOAT_TYPES[dtype]
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > magnitude:
        exponent -= 1  # now 2**exponent <= magnitude < 2**(exponent + 1)
    step = Fraction(2) ** (max(exponent, kind.least) - kind.precision + 1)
    rounded = round(magnitude / step) * step  # Fraction rounds ties to even
    if rounded >= Fraction(2) ** (kind.most + 1):
        return math.inf if value > 0 else -math.inf
    return math.copysign(float(rounded), value)


def nearest_certain(x: Exact, dtype: str = "float64") -> float:
    """Round an exact number to the nearest number of a floating type.

    A Fraction is exact.  An mpmath number was computed with the working precision of now and may err by its size
    S times 2**(40 − bits), a million million times its roundings; raises `UnsafeRoundingError` where that reaches a
    rounding boundary.

    >>> nearest_certain(Exact.of(1) / 3, "bfloat16")
    0.333984375
    """
    if isinstance(x.value, Fraction):
        return nearest(x.value, dtype)
    import mpmath

    exact = fraction_of(x.value)
    doubt = Fraction(x.size) * Fraction(2) ** (40 - mpmath.mp.prec)
    low, high = nearest(exact - doubt, dtype), nearest(exact + doubt, dtype)
    if low != high:
        raise UnsafeRoundingError(f"{float(exact)!r} lies too close to a rounding boundary of {dtype}")
    return low + 0.0  # no negative zero


def fraction_of(value: Any) -> Fraction:
    """Return an mpmath number as the rational that it is."""
    if isinstance(value, Fraction):
        return value
    sign, mantissa, exponent, _ = value._mpf_
    return Fraction(-int(mantissa) if sign else int(mantissa)) * Fraction(2) ** int(exponent)


def rounded_up(size: float, bits: int = 10) -> float:
    """Round a bound up to few bits: short to write, never smaller.

    >>> rounded_up(1.0), rounded_up(1.0001).hex()
    (1.0, '0x1.0080000000000p+0')
    """
    if size == 0 or not math.isfinite(size):
        return size
    mantissa, exponent = math.frexp(size)
    return math.ldexp(math.ceil(mantissa * 2**bits) / 2**bits, exponent)


# ---- text ---------------------------------------------------------------------------------------------------


def to_hex(x: float) -> str:
    """Write a float in C99 hexadecimal, without trailing zeros.

    >>> to_hex(0.75), to_hex(-0.0), to_hex(5e-324)
    ('0x1.8p-1', '-0x0p+0', '0x0.0000000000001p-1022')
    """
    if not math.isfinite(x):
        return "nan" if math.isnan(x) else ("inf" if x > 0 else "-inf")
    mantissa, exponent = x.hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}"


def to_bits(x: float, dtype: str) -> int:
    """Write a number of a 16-bit floating type as the integer with its bits.

    >>> to_bits(1.0, "float16") == 0x3C00, to_bits(-2.0, "bfloat16") == 0xC000
    (True, True)
    """
    import struct

    if dtype == "bfloat16":
        return int(struct.unpack("<I", struct.pack("<f", x))[0]) >> 16
    return int(struct.unpack("<H", struct.pack("<e", x))[0])


def from_bits(bits: int, dtype: str) -> float:
    """Read a number of a 16-bit floating type from the integer with its bits.

    >>> from_bits(0x3C00, "float16"), from_bits(0x3F80, "bfloat16")
    (1.0, 1.0)
    """
    import struct

    if dtype == "bfloat16":
        return float(struct.unpack("<f", struct.pack("<I", bits << 16))[0])
    return float(struct.unpack("<e", struct.pack("<H", bits))[0])
