"""The derived bounds: their arithmetic by hand, and that they tell a planted error from rounding."""

import math

import numpy as np
import pytest

from lora_np import LoraParams
from lora_np.conformance import bounds


@pytest.mark.parametrize(
    ("dtype", "u"), [(np.float16, 2.0**-11), (np.float32, 2.0**-24), (np.float64, 2.0**-53)]
)
def test_the_unit_roundoff_is_half_the_spacing_at_one(dtype, u):
    assert bounds.unit_roundoff(dtype) == u
    assert dtype(1) + dtype(u) == dtype(1)
    assert dtype(1) + dtype(2 * u) > dtype(1)


def test_gamma_is_n_over_one_minus_nu():
    """[oracle-gamma]"""
    assert bounds.gamma_in_u(4, np.float16) == 4 / (1 - 4 * 2.0**-11)


def test_errors_count_in_units_of_u_times_s():
    """[oracle-error]"""
    one, S = np.array([1.0, 1.0]), np.array([1.0, 4.0])
    assert bounds.error_in_u(one + 2.0**-52, one, S) == 2.0  # the larger of 2 and 2/4
    assert bounds.error_in_u(np.float32([1.5]), np.array([1.0]), np.array([1.0])) == 2.0**23


@pytest.mark.parametrize(
    ("got", "want", "S", "error"),
    [
        ([1.0], [[1.0]], [1.0], math.inf),  # another shape
        ([1.0, 2.0], [1.0, 2.0], [1.0], math.inf),
        ([math.nan], [1.0], [1.0], math.inf),
        ([1.0], [math.nan], [1.0], math.inf),
        ([math.nan], [math.nan], [1.0], 0.0),
        ([math.inf], [math.inf], [1.0], 0.0),
        ([math.inf], [-math.inf], [1.0], math.inf),
        ([1.0], [0.0], [0.0], math.inf),  # no error is allowed where S is zero
        ([0.0], [-0.0], [0.0], 0.0),
        ([], [], [], 0.0),
    ],
)
def test_edges(got, want, S, error):
    assert bounds.error_in_u(np.array(got), np.array(want), np.array(S)) == error


def test_underflow_is_forgiven_only_where_it_is_declared():
    got, want, S = np.array([0.0]), np.array([5e-324]), np.array([5e-324])
    assert bounds.error_in_u(got, want, S) > 1e15
    assert bounds.error_in_u(got, want, S, roundings=1) == 0.0


def test_scales_and_counts_by_hand():
    """One number everywhere: X = −2, W0 = 3, B = −5, A = 7, gY = −11, s = −2, b = −1."""
    one = lambda x: np.array([[float(x)]])  # noqa: E731
    X, W0, p, gY = one(-2), one(3), LoraParams(one(-5), one(7)), one(-11)
    assert bounds.forward_scale(X, W0, p, -2.0) == (2 * 3 + 2 * 2 * 7 * 5, 1 + 1 + 4)
    assert bounds.forward_scale(X, W0, p, -2.0, np.array([-1.0]))[0] == 2 * 3 + 2 * 2 * 7 * 5 + 1
    assert bounds.gradient_scales(gY, X, W0, p, -2.0) == {
        "gX": (11 * 3 + 2 * 11 * 5 * 7, 1 + 1 + 4),
        "gB": (2 * 11 * 2 * 7, 1 + 1 + 3),
        "gA": (2 * 11 * 5 * 2, 1 + 1 + 3),
    }
    assert bounds.merge_scale(W0, p, -2.0) == (3 + 2 * 5 * 7, 4)
    assert bounds.unmerge_scale(W0, p, -2.0) == (3 + 2 * 2 * 5 * 7, 8)
    assert bounds.absolute(p) == LoraParams(one(5), one(7))
