"""The checks by themselves: what passes, and the edges that a call on the layer does not reach."""

import numpy as np
import pytest

from lora_np import checks
from lora_np.errors import ConfigError, DTypeError, NonFiniteError, ShapeError


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_every_real_floating_type_passes(dtype):
    checks.require_array("X", np.ones(3, dtype))


def test_nested_lists_that_are_not_ragged_are_named_as_lists():
    for rows in ([], [[1.0], [2.0]], [[[1.0]], [[2.0]]], (1.0, 2.0)):
        with pytest.raises(DTypeError, match=f"got {type(rows).__name__}"):
            checks.require_array("X", rows)
    for rows in ([[1.0], 2.0], [[[1.0]], [[2.0, 3.0]]]):
        with pytest.raises(ShapeError, match="ragged"):
            checks.require_array("X", rows)


def test_nonfinite_values_are_counted_and_the_first_is_shown(library):
    x = np.array([[1.0, np.inf], [np.nan, 2.0]])
    with pytest.raises(
        NonFiniteError, match=r"G holds 2 non-finite values, the first \(inf\) at index \[0, 1\]"
    ):
        checks.require_finite("G", library.asarray(x))
    with pytest.raises(
        NonFiniteError, match=r"loss holds 1 non-finite value, the first \(nan\) at index \[\]"
    ):
        checks.require_finite("loss", library.asarray(np.array(np.nan)))
    checks.require_finite("G", library.asarray(np.ones((0, 3))))


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "interval"),
    [
        ({"above": 0}, [1e-9, 3], [0, -1, 0.0], "(0, inf]"),
        ({"least": 0, "below": 1}, [0, 0.5], [1, -0.1], "[0, 1)"),
        ({"above": 0, "most": 1}, [1, np.float32(0.5)], [0, 1.5], "(0, 1]"),
        ({"least": -1, "most": 1}, [-1, 1], [2], "[-1, 1]"),
    ],
)
def test_numbers_are_held_to_their_interval(limits, inside, outside, interval):
    for value in inside:
        checks.require_number("ratio", value, **limits)
    for value in outside:
        with pytest.raises(ConfigError) as caught:
            checks.require_number("ratio", value, **limits)
        assert f"ratio must lie in {interval}, got {value}" in str(caught.value)


@pytest.mark.parametrize(
    ("minimum", "words"), [(0, "a non-negative int"), (1, "a positive int"), (2, "an int of at least 2")]
)
def test_whole_numbers_are_held_to_their_minimum(minimum, words):
    checks.require_int("steps", np.int32(minimum), minimum=minimum)
    with pytest.raises(ConfigError, match=f"steps must be {words}, got {minimum - 1}"):
        checks.require_int("steps", minimum - 1, minimum=minimum)


def test_a_word_is_held_to_a_list():
    checks.require_one_of("form", "qr", ["rref", "qr"])
    with pytest.raises(ConfigError, match=r"form must be one of 'rref', 'qr', got 'zzz' \["):
        checks.require_one_of("form", "zzz", ["rref", "qr"])
    with pytest.raises(ConfigError, match=r"got \[\]"):
        checks.require_one_of("form", [], {"rref", "qr"})


def test_factors_alone_make_a_layer_of_their_own():
    checks.require_factors((np.ones((5, 2)), np.ones((2, 6))))


def test_checking_a_layer_reads_no_data():
    """The hot path costs microseconds: an array that refuses to be read passes all checks of forward."""

    class Unreadable:
        dtype, ndim = np.dtype(float), 2

        def __init__(self, *shape):
            self.shape = shape

    checks.require_layer(Unreadable(4, 6), Unreadable(5, 6), (Unreadable(5, 2), Unreadable(2, 6)), 1.0)
