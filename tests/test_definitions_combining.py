"""The definitions of combined adapters and mixed batches against arithmetic by hand."""

from __future__ import annotations

from fractions import Fraction as F

import pytest

from lora_np.conformance.definitions import definition
from lora_np.conformance.definitions.combine_mixed import mixed
from lora_np.conformance.definitions.combine_parts import agreed, kept_count, trimmed
from lora_np.conformance.exact.functions import precision
from lora_np.conformance.exact.loops import each
from lora_np.conformance.exact.number import Exact

TWO = {"B.0": [[1], [0]], "A.0": [[4, -1]], "B.1": [[1], [2]], "A.1": [[2, 3]]}


def combined(kind: str, tensors, **config):
    """The combined increment, as rationals."""
    exact = {name: x if name.startswith("keep") else each(Exact.of, x) for name, x in tensors.items()}
    numbers = {"weights": [1, 1], "scales": [1, 1], **config}
    known = {
        name: x if isinstance(x, int) else each(Exact.of, x) if isinstance(x, list) else Exact.of(x)
        for name, x in numbers.items()
    }
    delta = definition(f"combine-{kind}").operation("combine")(exact, known)["delta"]
    return each(lambda x: x.value if isinstance(x, Exact) else x, delta)


def test_concatenation_is_the_weighted_sum():
    assert combined("cat", TWO) == [[6, 2], [4, 6]]
    assert combined("cat", TWO, weights=[F(1, 2), -1], scales=[2, 3]) == [[-2, -10], [-12, -18]]


def test_adding_factors_brings_cross_terms_in():
    assert combined("linear", TWO) == [[12, 4], [12, 4]]
    only_one = combined("linear", TWO, weights=[4, 0])
    assert only_one == [[16, -4], [0, 0]]


def test_a_negative_weight_puts_its_sign_on_one_factor():
    assert combined("linear", TWO, weights=[-4, 0]) == [[-16, 4], [0, 0]]


def test_trimming_keeps_the_first_of_equals_row_by_row():
    assert trimmed([[1.0, -3.0], [3.0, 1.0]], 0.25) == [[0, -3.0], [0, 0]]
    assert trimmed([[1.0, -3.0], [3.0, 1.0]], 0.75) == [[1.0, -3.0], [3.0, 0]]


@pytest.mark.parametrize(
    ("entries", "density", "count"), [(100, 0.29, 29), (10, 0.3, 3), (3, 0.5, 1), (4, 0.0, 0)]
)
def test_a_density_counts_as_the_decimal_it_prints_as(entries, density, count):
    assert kept_count(entries, density) == count


def test_only_those_of_the_elected_sign_are_averaged():
    assert combined("ties", TWO, density=1.0) == [[3, 3], [4, 6]]
    assert combined("magnitude", TWO, density=0.25) == [[4, 0], [0, 6]]


def test_without_a_majority_nothing_is_elected():
    assert agreed([[[1.0, 2.0]], [[-1.0, -1.0]]]) == [[0, 2.0]]


def test_what_is_dropped_is_made_up_for():
    keep = {"keep.0": [[1, 0], [1, 1]], "keep.1": [[0, 1], [1, 0]]}
    assert combined("dare", {**TWO, **keep}, density=0.5) == [[8, 6], [8, 0]]
    assert combined("dare-ties", {**TWO, **keep}, density=0.5) == [[8, 6], [8, 0]]


def test_truncation_keeps_the_largest_part_and_bounds_by_the_gap():
    diagonal = {"B.0": [[4], [0]], "A.0": [[1, 0]], "B.1": [[0], [3]], "A.1": [[0, 1]]}
    with precision():
        assert each(float, combined("svd", diagonal, svd_rank=1)) == [[4.0, 0.0], [0.0, 0.0]]
        exact = {name: each(Exact.of, x) for name, x in diagonal.items()}
        config = {"weights": [Exact.of(1)] * 2, "scales": [Exact.of(1)] * 2, "svd_rank": 1}
        delta = definition("combine-svd").operation("combine")(exact, config)["delta"]
    assert delta[0][1].size == pytest.approx(5 * (1 + 4))


def test_truncation_runs_on_floats_too():
    floats = {name: each(float, x) for name, x in TWO.items()}
    config = {"weights": [1.0, 1.0], "scales": [1.0, 1.0], "svd_rank": 2}
    delta = definition("combine-svd").operation("combine")(floats, config)["delta"]
    assert delta[0] == pytest.approx([6, 2])


def test_each_row_has_its_own_adapter_or_none():
    t = {
        "W0": [[1, 0], [0, 1]],
        "X": [[1, 1], [1, 1], [2, 0]],
        "gY": [[1, 0], [1, 1], [1, 1]],
        "rows": [-1, 1, 0],
    }
    found = mixed({**TWO, **t}, {"scales": [2, 1]})
    assert found["Y"] == [[1, 1], [6, 11], [18, 0]]
    assert found["gB.1"] == [[5], [5]]
    assert found["gA.0"] == [[4, 0]]
    assert found["gX"] == [[1, 0], [7, 10], [9, -1]]
