"""What combining refuses, and in which words: rows 30 to 35 of the table of bad input."""

from typing import NamedTuple

import numpy as np
import pytest

from lora_np import LoraConfig, LoraParams
from lora_np.adapters import (
    LoraAdapter,
    combine_cat,
    combine_dare,
    combine_linear,
    combine_magnitude,
    combine_svd,
    combine_ties,
    combined_config,
    disjoint_mean,
    draw_keep,
    drop_and_rescale,
    elect_sign,
    factor_increment,
    increments,
    kept_count,
    merge_several,
    swap_merged,
    trim,
)
from lora_np.errors import (
    ConfigError,
    DTypeError,
    LoraNpError,
    NonFiniteError,
    OverflowInMergeError,
    RankError,
    ShapeError,
    UnsupportedCombinationError,
)


class Dora(NamedTuple):
    B: np.ndarray
    A: np.ndarray
    m: np.ndarray


class WithBias(NamedTuple):
    B: np.ndarray
    A: np.ndarray
    bias: np.ndarray


def pair(r=2, d=3, k=4, fill=1.0, dtype=np.float64):
    return LoraParams(np.full((d, r), fill, dtype), np.full((r, k), fill, dtype))


ONE = LoraAdapter(pair(), 0.5)
TWO = [ONE, ONE]
DELTA = np.ones((3, 4))

REFUSED = {
    # row 30 and 31: weights
    "a weight too few": (lambda: combine_cat(TWO, weights=[1]), ConfigError, "1 weights for 2 adapters"),
    "a weight too many": (
        lambda: combine_ties([ONE], density=1, weights=[1, 99]),
        ConfigError,
        "2 weights for 1",
    ),
    "weights as a number": (lambda: combine_cat(TWO, weights=1.0), ConfigError, "got float for 2 adapters"),
    "weights as text": (lambda: combine_cat(TWO, weights="12"), ConfigError, "for 2 adapters"),
    "a weight of NaN": (
        lambda: combine_linear(TWO, weights=[1, np.nan]),
        ConfigError,
        r"weights\[1\] must be finite",
    ),
    "an infinite weight": (
        lambda: increments(TWO, weights=[np.inf, 1]),
        ConfigError,
        r"weights\[0\] must be finite",
    ),
    "a weight that overflows": (
        lambda: increments([LoraAdapter(pair(), 1e300)], weights=[1e300]),
        ConfigError,
        "times",
    ),
    # row 32: density
    "density None": (
        lambda: combine_ties(TWO, density=None),
        ConfigError,
        r"density .* in \[0, 1\].*got None",
    ),
    "density below": (
        lambda: trim(DELTA, density=-0.1),
        ConfigError,
        r"\[0, 1\] \(0 keeps nothing\), got -0.1",
    ),
    "density above": (lambda: combine_magnitude(TWO, density=1.1), ConfigError, r"\[0, 1\]"),
    "density NaN": (lambda: kept_count(4, float("nan")), ConfigError, "got nan"),
    "density of text": (lambda: kept_count(4, "0.5"), ConfigError, "got str '0.5'"),
    "density True": (lambda: kept_count(4, True), ConfigError, "got bool True"),
    "DARE of density 0": (
        lambda: drop_and_rescale(DELTA, DELTA, density=0),
        ConfigError,
        r"\(0, 1\] .*divided by it",
    ),
    "drawing of density 0": (
        lambda: draw_keep(np.random.default_rng(0), 2, 2, density=0.0),
        ConfigError,
        r"\(0, 1\]",
    ),
    # row 33: the rank of an SVD
    "rank 0": (lambda: combine_svd(TWO, rank=0), RankError, r"between 1 and min\(d, k\) = 3.*got 0"),
    "rank too high": (lambda: combine_svd(TWO, rank=4), RankError, r"min\(d, k\) = 3.*got 4"),
    "rank negative": (lambda: factor_increment(DELTA, rank=-1), RankError, "got -1"),
    "rank of text": (
        lambda: factor_increment(DELTA, rank="2"),
        ConfigError,
        "rank must be a positive int, got str",
    ),
    "rank True": (lambda: factor_increment(DELTA, rank=True), ConfigError, "got bool True"),
    # row 34: different ranks
    "linear of ranks": (
        lambda: combine_linear([ONE, LoraAdapter(pair(3), 1.0)]),
        RankError,
        r"ranks \[2, 3\]; use cat or svd",
    ),
    # row 35: what factors cannot carry
    "DoRA": (
        lambda: combine_cat([ONE, LoraAdapter(Dora(*pair(), np.ones(3)), 1.0)]),
        UnsupportedCombinationError,
        r"adapters\[1\] is Dora, not plain LoRA: its m would be lost",
    ),
    "a bias of its own": (
        lambda: combine_svd([LoraAdapter(WithBias(*pair(), np.ones(3)), 1.0)], rank=1),
        UnsupportedCombinationError,
        "its bias would be lost",
    ),
    "mixed scalings": (
        lambda: combined_config([LoraConfig(4, 8), LoraConfig(4, 8, use_rslora=True)], rank=8),
        UnsupportedCombinationError,
        r"field use_rslora of some would be lost.*LoraConfig\(rank=8, alpha=8\)",
    ),
    # what is no adapter at all, or belongs elsewhere
    "nothing to combine": (lambda: combine_cat([]), ConfigError, "adapters is empty"),
    "no configs": (lambda: combined_config([], rank=1), ConfigError, "configs is empty"),
    "not a config": (lambda: combined_config([8], rank=1), ConfigError, r"configs\[0\] must be a LoraConfig"),
    "one adapter, not a list": (
        lambda: combine_cat(ONE),
        ConfigError,
        "list of LoraAdapter, got LoraAdapter",
    ),
    "factors without a scale": (lambda: combine_cat([pair()]), ConfigError, r"adapters\[0\].*got LoraParams"),
    "a scale of NaN": (
        lambda: combine_cat([LoraAdapter(pair(), np.nan)]),
        ConfigError,
        r"scale of adapters\[0\]",
    ),
    "other sizes": (
        lambda: combine_cat([ONE, LoraAdapter(pair(d=5), 1.0)]),
        ShapeError,
        r"\[\(3, 4\), \(5, 4\)\]",
    ),
    "other types": (
        lambda: combine_cat([ONE, LoraAdapter(pair(dtype=np.float32), 1.0)]),
        DTypeError,
        r"adapters\[1\].B is float32",
    ),
    "ranks of B and A": (
        lambda: combine_cat([LoraAdapter(LoraParams(pair(2).B, pair(3).A), 1.0)]),
        RankError,
        "B has rank 2",
    ),
    "NaN in a factor": (
        lambda: combine_ties([ONE, LoraAdapter(pair(fill=np.nan), 1.0)], density=1),
        NonFiniteError,
        r"the B of adapters\[1\]",
    ),
    "NaN in an increment": (lambda: trim(DELTA * np.nan, density=1), NonFiniteError, "delta holds 12"),
    "nothing to swap": (
        lambda: swap_merged(DELTA, None, TWO),
        ConfigError,
        "list of LoraAdapter, got NoneType",
    ),
    # masks and votes
    "a mask too few": (lambda: combine_dare(TWO, [DELTA], density=0.5), ConfigError, "2 masks.*got 1 masks"),
    "no masks": (lambda: combine_dare(TWO, None, density=0.5), ConfigError, "got NoneType"),
    "a mask of another shape": (
        lambda: combine_dare([ONE], [np.ones((4, 3))], density=0.5),
        ShapeError,
        r"\(3, 4\), got \(4, 3\)",
    ),
    "a mask that is none": (lambda: drop_and_rescale(DELTA, True, density=0.5), ShapeError, "got bool"),
    "a mask of text": (
        lambda: drop_and_rescale(DELTA, np.full((3, 4), "x"), density=0.5),
        DTypeError,
        "expected booleans",
    ),
    "no votes": (lambda: elect_sign([]), ConfigError, "at least one increment"),
    "votes of two shapes": (lambda: elect_sign([DELTA, DELTA.T]), ShapeError, r"\[\(3, 4\), \(4, 3\)\]"),
    "no votes to average": (lambda: disjoint_mean([], DELTA), ConfigError, "at least one increment"),
    "a result of another shape": (lambda: disjoint_mean([DELTA], DELTA.T), ShapeError, "differ in shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_each_is_refused_by_name(name):
    act, error, message = REFUSED[name]
    with pytest.raises(LoraNpError, match=message) as caught:
        act()
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "act",
    [
        lambda big: combine_cat([LoraAdapter(big, 4.0)]),
        lambda big: combine_linear([LoraAdapter(big, 16.0)]),
        lambda big: combine_magnitude(
            [LoraAdapter(pair(1, fill=200.0, dtype=np.float16), 1.0)] * 2, density=1.0
        ),
        lambda big: drop_and_rescale(np.full((3, 4), 4e4, np.float16), np.ones((3, 4)), density=0.5),
        lambda big: merge_several(np.zeros((3, 4), np.float16), [LoraAdapter(big, 1.0)]),
    ],
    ids=["cat", "linear", "sum", "rescale", "merge"],
)
def test_an_overflow_is_named_not_warned_of(act):
    """Row 22, where adapters are combined in half precision."""
    with pytest.raises(OverflowInMergeError, match=r"overflows float16 to inf \(not NaN\)"):
        act(pair(fill=3e4, dtype=np.float16))


def test_a_density_of_zero_keeps_nothing_where_nothing_is_divided():
    """Row 32: the policy is the zero increment; PEFT's DARE makes NaN of it."""
    for combine in (combine_magnitude, combine_ties):
        got = combine(TWO, density=0)
        assert got.shape == (3, 4)
        assert not got.any()
