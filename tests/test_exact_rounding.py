"""Correct rounding against NumPy's casts for all four types: ties, subnormals, overflow; and text without loss."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.conformance.exact.functions import precision
from lora_np.conformance.exact.number import Exact
from lora_np.conformance.exact.rounding import (
    FLOAT_TYPES,
    UnsafeRoundingError,
    fraction_of,
    from_bits,
    nearest,
    nearest_certain,
    rounded_up,
    smallest,
    to_bits,
    to_hex,
    unit,
)
from lora_np.errors import ConfigError

NUMPY = {"float64": np.float64, "float32": np.float32, "float16": np.float16}


def bfloat16(x: float) -> float:
    """Round a float32 to bfloat16 by its bits: the well-known addition of 0x7fff plus the last bit kept."""
    bits = int(np.float32(x).view(np.uint32))
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return float(np.uint32(bits).view(np.float32))


@given(st.sampled_from(["float32", "float16"]), st.floats(allow_nan=False, allow_infinity=False))
def test_rounding_doubles_is_what_numpy_casts_do(dtype, x):
    with np.errstate(over="ignore"):
        assert nearest(Fraction(x), dtype) == float(NUMPY[dtype](x))


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_rounding_to_bfloat16_is_what_its_bits_say(x):
    assert nearest(Fraction(x), "bfloat16") == bfloat16(x)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_is_its_own_nearest_double(x):
    assert nearest(Fraction(x)) == x


@given(st.fractions(max_denominator=10**9))
def test_rounding_a_rational_is_python_s_own_division(x):
    """CPython divides integers with correct rounding."""
    assert nearest(x) == x.numerator / x.denominator


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_ties_go_to_the_even_neighbour(dtype):
    u = Fraction(unit(dtype))
    assert nearest(1 + u, dtype) == 1
    assert nearest(1 + 3 * u, dtype) == 1 + 4 * u
    assert nearest(1 + u + Fraction(1, 10**60), dtype) == 1 + 2 * u
    assert nearest(-1 - u, dtype) == -1


@pytest.mark.parametrize("dtype", FLOAT_TYPES)
def test_subnormal_numbers_and_both_ends_of_the_range(dtype):
    kind, least = FLOAT_TYPES[dtype], Fraction(smallest(dtype))
    assert nearest(least, dtype) == least
    assert nearest(least / 2, dtype) == 0  # a tie: even
    assert nearest(least * Fraction(3, 2), dtype) == 2 * least
    assert nearest(least * Fraction(51, 100), dtype) == least
    largest = (2 - Fraction(2) ** (1 - kind.precision)) * Fraction(2) ** kind.most
    half = Fraction(2) ** (kind.most - kind.precision)
    assert nearest(largest, dtype) == largest
    assert nearest(largest + half * Fraction(99, 100), dtype) == largest
    assert nearest(largest + half, dtype) == math.inf
    assert nearest(-largest - half, dtype) == -math.inf


def test_the_units_and_smallest_numbers_are_numpy_s():
    for dtype, kind in NUMPY.items():
        assert unit(dtype) == np.finfo(kind).eps / 2
        assert smallest(dtype) == np.finfo(kind).smallest_subnormal
    with pytest.raises(ConfigError, match="dtype must be one of"):
        unit("float8")


# ---- with doubt ---------------------------------------------------------------------------------------------


def test_a_high_precision_number_rounds_where_it_is_known_well_enough():
    with precision(320):
        assert nearest_certain(Exact(mpmath.sqrt(2), 1.5)) == math.sqrt(2)
        assert nearest_certain(Exact(mpmath.mpf(0.5), 0.5)) == 0.5
        assert nearest_certain(Exact(Fraction(1, 3), 1.0)) == 1 / 3


def test_a_number_at_a_rounding_boundary_is_refused():
    with precision(100):
        tie = 1 + mpmath.mpf(2) ** -53
        with pytest.raises(UnsafeRoundingError, match="too close"):
            nearest_certain(Exact(tie, 1.0))
        with pytest.raises(UnsafeRoundingError):
            nearest_certain(Exact(mpmath.sqrt(2), 2.0**30))  # known, but only to its size


def test_what_may_be_zero_becomes_zero_once_the_doubt_is_below_the_smallest_number():
    with precision(320), pytest.raises(UnsafeRoundingError):
        nearest_certain(Exact(mpmath.mpf(2) ** -300, 1.0))
    with precision(1280):
        zero = nearest_certain(Exact(-(mpmath.mpf(2) ** -1279), 1.0))
        assert (zero, math.copysign(1, zero)) == (0.0, 1.0)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_an_mpmath_number_is_the_rational_that_it_is(x):
    assert fraction_of(mpmath.mpf(x)) == Fraction(x)


# ---- text ---------------------------------------------------------------------------------------------------


@given(st.floats(allow_nan=False))
def test_hexadecimal_text_loses_nothing_and_has_no_idle_zeros(x):
    text = to_hex(x)
    assert float.fromhex(text) == x
    assert math.copysign(1, float.fromhex(text)) == math.copysign(1, x)
    assert ".0p" not in text or "0x0." in text
    assert to_hex(math.nan) == "nan"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@given(bits=st.integers(0, 0xFFFF))
def test_bits_of_sixteen_bit_numbers_come_back(dtype, bits):
    x = from_bits(bits, dtype)
    if not math.isnan(x):
        assert to_bits(x, dtype) == bits
    if dtype == "float16" and not math.isnan(x):
        assert x == float(np.uint16(bits).view(np.float16))


@given(st.floats(0, 1e300), st.integers(4, 30))
def test_a_bound_is_rounded_up_by_little(size, bits):
    up = rounded_up(size, bits)
    assert size <= up <= size * (1 + 2.0 ** (2 - bits)) + 1e-320
    assert rounded_up(math.inf) == math.inf
