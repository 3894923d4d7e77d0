"""Levels and the comparison in units of u."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.conformance.bounds import error_in_u
from lora_np.conformance.exact.rounding import unit
from lora_np.conformance.runner.comparing import compare, errors_in_u
from lora_np.conformance.runner.levels import LEVELS, limit_in_u, runs
from lora_np.conformance.vectors.format import Output
from lora_np.errors import ConfigError
from tests.planted_adapters import lora_case


@pytest.mark.parametrize("method", ["lora", "dora"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("K", [0, 1, 3, 16, 17, 40, 300, 5000, 100_000])
def test_a_lower_level_is_never_stricter(method, dtype, K):
    bronze, silver, gold = (limit_in_u(level, K, dtype, method) for level in LEVELS)
    assert bronze >= silver >= gold
    assert gold == (0 if K == 0 else 64 if method == "dora" else 16)


def test_the_limits_are_those_that_were_derived():
    """γ(K) = K / (1 − K u) at bronze, min(γ(K), 6 √K) at silver: for K = 10,000 in float32 10,005.96..., and 600."""
    u = 2.0**-24
    assert limit_in_u("bronze", 10_000, "float32", "lora") == pytest.approx(
        10_000 / (1 - 10_000 * u), rel=1e-15
    )
    assert limit_in_u("silver", 10_000, "float32", "lora") == 600
    assert limit_in_u("silver", 20, "float64", "lora") == pytest.approx(20, rel=1e-14)  # γ(20) < 6 √20 = 26.8


def test_levels_run_what_they_say():
    operations = ("forward", "merge", "backward", "unmerge", "step", "state", "train")
    cases = [replace(lora_case(), operation=operation) for operation in operations]
    bad = replace(lora_case(), result="invalid")
    assert [[runs(level, case) for case in [*cases, bad]] for level in LEVELS] == [
        [True, True, False, False, False, False, False, False],
        [True, True, True, True, True, False, False, True],
        [True] * 8,
    ]


def want(values, sizes=None, K=5):
    values = np.asarray(values, dtype=np.float64)
    return Output(values, np.abs(values) if sizes is None else np.asarray(sizes, dtype=np.float64), K)


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6),
    st.lists(st.floats(-1e3, 1e3), min_size=6, max_size=6),
    st.sampled_from(["float64", "float32"]),
)
def test_the_worst_element_is_the_error_of_the_engine(got, other, dtype):
    """The same number by another road: the bounds that the tests of the engine use."""
    got = np.array(got, dtype=dtype)
    expected = want(other[: len(got)], sizes=np.abs(other[: len(got)]) + 1)
    mine = errors_in_u(got, expected, dtype).max()
    assert mine == error_in_u(got, expected.want, expected.size, roundings=5)


def test_an_error_is_counted_in_u_of_the_element_type():
    got = np.array([1 + 2.0**-20], dtype=np.float32)
    assert errors_in_u(got, want([1.0]), "float32") == [16.0]
    assert errors_in_u(got.astype(np.float64), want([1.0]), "float64") == [2.0**33]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_storing_in_16_bits_may_cost_half_a_unit_of_its_own_and_the_sum_is_counted_in_float32(dtype):
    store, u32 = unit(dtype), 2.0**-24
    value = 1.0 + store  # halfway between two numbers of the type: storing costs all that is allowed, |y| u
    assert errors_in_u(np.array([1.0]), want([value]), dtype) == [0.0]
    beyond = 1.0 - store**2 - 40 * u32
    assert errors_in_u(np.array([beyond]), want([value]), dtype)[0] == pytest.approx(40, rel=0.03)
    assert errors_in_u(np.array([1.0 + 4 * store]), want([1.0]), dtype)[0] > 1e4


def test_each_rounding_may_underflow_once():
    tiny = 5e-324
    assert errors_in_u(np.array([3 * tiny]), want([0.0], sizes=[1e-300], K=3), "float64") == [0.0]
    assert errors_in_u(np.array([4 * tiny]), want([0.0], sizes=[0.0], K=3), "float64") == [math.inf]


def test_nan_and_infinity_agree_only_with_themselves():
    got = np.array([np.nan, np.nan, np.inf, -np.inf, np.inf, 1.0])
    expected = Output(np.array([np.nan, 1.0, np.inf, np.inf, 1.0, np.nan]), np.ones(6), 3)
    assert [math.isinf(e) for e in errors_in_u(got, expected, "float64")] == [
        False,
        True,
        False,
        True,
        True,
        True,
    ]


def test_what_takes_no_rounding_must_be_equal_and_may_be_of_any_type():
    case = replace(lora_case(), outputs={"mask": want([1.0, 0.0], K=0)})
    for dtype in (np.float64, np.float32, np.int64, bool):
        (found,) = compare(case, {"mask": np.array([1, 0], dtype=dtype)}, "bronze")
        assert found.ok
        assert found.percent == 0
    (found,) = compare(case, {"mask": np.array([1 + 1e-15, 0])}, "bronze")
    assert not found.ok
    assert found.percent == math.inf


def test_the_first_wrong_element_is_named_with_the_count_of_all():
    case = lora_case()
    Y = case.outputs["Y"].want.copy()
    Y[0, 1] += 1e-3
    Y[1, 1] += 1e-3
    (found,) = compare(case, {"Y": Y}, "gold")
    assert (found.index, found.got, found.want, found.wrong, found.elements) == ((0, 1), Y[0, 1], 32.0, 2, 4)
    assert found.percent == pytest.approx(100 * found.error_u / 16)


def test_an_empty_output_needs_only_its_shape():
    case = replace(lora_case(), outputs={"Y": Output(np.zeros((0, 2)), np.zeros((0, 2)), 4)})
    assert compare(case, {"Y": np.zeros((0, 2))}, "gold")[0].ok
    assert not compare(case, {"Y": np.zeros((2, 0))}, "gold")[0].ok


def test_an_unknown_level_is_refused():
    from lora_np.conformance.runner.levels import require_level

    with pytest.raises(ConfigError, match="level"):
        require_level("brass")
