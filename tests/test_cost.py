"""The cost model against counted operations: numbers that count, and arrays that keep a ledger while the code runs."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraParams, backward, backward_via_weight, forward, forward_via_weight
from lora_np.cost import PROGRAMS, crossovers, limits, linear_costs, predicted_seconds
from lora_np.errors import ConfigError, DTypeError
from tests.counting import Ledger
from tests.naive.cost import operations

SHAPES = [
    (1, 1, 1, 1),
    (3, 5, 7, 2),
    (7, 5, 3, 2),
    (4, 6, 6, 5),
    (16, 12, 20, 4),
    (40, 8, 6, 3),
    (2, 3, 4, 9),
]
SIZES = st.integers(1, 40)


def ledgers(N, d, k, r, dtype=np.float64):
    """Run the real lora-1 and lora-2 on counting arrays: {variant: (forward's ledger, backward's ledger)}."""
    found = {}
    for variant, there, back in (
        ("lora-2", forward, backward),
        ("lora-1", forward_via_weight, backward_via_weight),
    ):
        books = []
        for direction in (there, back):
            ledger = Ledger()
            X, W0, gY, Z = (
                ledger.array(np.zeros(shape, dtype)) for shape in ((N, k), (d, k), (N, d), (N, r))
            )
            p = LoraParams(ledger.array(np.zeros((d, r), dtype)), ledger.array(np.zeros((r, k), dtype)))
            if direction is there:
                kept = there(X, W0, p, scale=0.5)
            elif variant == "lora-2":
                kept = back(gY, X, Z, W0, p, scale=0.5)
            else:
                kept = back(gY, X, W0, p, scale=0.5)
            books.append(ledger)
            del kept
            assert ledger.alive == 0
        found[variant] = tuple(books)
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_flops_are_those_that_counting_numbers_count(shape):
    """[cost-product] [cost-forward] [cost-backward]"""
    costs = linear_costs(*shape)
    counted = operations(*shape)
    assert counted.keys() == PROGRAMS.keys()
    for variant, (there, back) in counted.items():
        assert (costs[variant].forward.flops, costs[variant].backward.flops) == (there, back), variant


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_flops_bytes_and_peak_are_those_of_the_real_code_on_counting_arrays(shape, dtype):
    """[cost-product] [cost-peak]: the model without reuse of temporaries is what the code does, step by step."""
    costs = linear_costs(*shape, dtype, reuse_from=None)
    for variant, books in ledgers(*shape, dtype).items():
        for phase, ledger in zip((costs[variant].forward, costs[variant].backward), books, strict=True):
            assert phase.flops == ledger.flops
            assert phase.bytes_moved == ledger.bytes_moved
            assert phase.peak_bytes == ledger.peak
            assert [line.formula.split()[3] for line in phase] == ledger.operations


@given(SIZES, SIZES, SIZES, SIZES)
def test_flops_are_the_closed_formulas(N, d, k, r):
    """[cost-forward] [cost-backward]: the displayed formulas, written out again."""
    costs = linear_costs(N, d, k, r)
    base = 2 * N * d * k
    assert costs["frozen"].step_flops == 2 * base
    assert costs["full"].step_flops == 3 * base
    assert costs["lora-1"].forward.flops == base + 2 * d * k * (r + 1)
    assert costs["lora-2"].forward.flops == base + 2 * N * r * (d + k) + 2 * N * d
    assert costs["lora-1"].backward.flops == 2 * base + 4 * d * k * r + r * (d + k)
    assert costs["lora-2"].backward.flops == base + 4 * N * r * (d + k) + N * (r + k) + d * r
    assert costs["merged"].step_flops == costs["frozen"].step_flops
    assert costs["frozen"].step_bytes_moved == 8 * 2 * (N * d + d * k + N * k)
    assert costs["merged"].once.flops == 2 * d * k * (r + 1)


@given(SIZES, SIZES, SIZES, SIZES)
def test_peaks_are_the_closed_formulas_where_all_temporaries_are_reused(N, d, k, r):
    """[cost-peak]"""
    costs = linear_costs(N, d, k, r, "float64", reuse_from=0)
    one, two = costs["lora-1"], costs["lora-2"]
    assert one.kept_bytes + one.backward.peak_bytes == 8 * (2 * d * k + N * k + r * (d + k))
    assert two.kept_bytes + two.backward.peak_bytes == 8 * (2 * N * r + max(2 * N * k, N * k + r * (d + k)))
    assert two.forward.peak_bytes == 8 * (N * r + 2 * N * d)
    assert one.step_peak_bytes == 8 * max(d * k + N * d, 2 * d * k + N * k + r * (d + k))
    assert two.step_peak_bytes == 8 * max(N * r + 2 * N * d, 2 * N * r + N * k + max(N * k, r * (d + k)))
    assert one.forward.peak_bytes == 8 * (d * k + N * d)
    assert costs["frozen"].step_peak_bytes == 8 * N * max(d, k)


def test_lora_2_makes_no_array_of_the_weights_size_and_lora_1_does():
    """Property 3: nothing that lora-2 makes has d k numbers."""
    books = ledgers(8, 64, 48, 2)
    assert max(ledger.largest for ledger in books["lora-2"]) < 64 * 48
    assert min(ledger.largest for ledger in books["lora-1"]) == 64 * 48


def test_the_worked_example():
    """N = 2, d = 3, k = 4, r = 1, by hand.  [cost-forward]

    lora-2: Z is 2x4 by 4x1: 16; X W0ᵀ is 2x4 by 4x3: 48; Z Bᵀ is 2x1 by 1x3: 12; scaling and adding 6 each: 88.
    lora-1: B A is 3x1 by 1x4: 24; scaling and adding 12 each; X Wᵀ 48: 96.
    """
    costs = linear_costs(2, 3, 4, 1)
    assert costs["lora-2"].forward.flops == 88
    assert costs["lora-1"].forward.flops == 96


# ---- crossovers ----------------------------------------------------------------------------------------------


def first_rows_where_lora_1_wins(cost, d, k, r, limit=700):
    """The smallest N at which lora-1's cost is strictly less, by trying them; None up to `limit`."""
    for N in range(1, limit):
        costs = linear_costs(N, d, k, r, reuse_from=0)
        if cost(costs["lora-1"]) < cost(costs["lora-2"]):
            return N
    return None


MEASURES = {
    "forward_counted": lambda variant: variant.forward.flops,
    "forward_memory": lambda variant: variant.forward.peak_bytes,
    "backward_counted": lambda variant: variant.backward.flops,
    "backward_memory": lambda variant: variant.kept_bytes + variant.backward.peak_bytes,
    "step_counted": lambda variant: variant.step_flops,
}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("shape", [(12, 12, 3), (12, 12, 8), (8, 20, 2), (20, 8, 6), (5, 7, 5), (9, 9, 1)])
def test_lora_1_wins_exactly_above_each_crossover(name, shape):
    """[cost-crossover]: the solved fraction against trying every N."""
    where = getattr(crossovers(*shape), name)
    found = first_rows_where_lora_1_wins(MEASURES[name], *shape)
    if found is None:
        assert where >= 700 - 1
    else:
        assert found == where // 1 + 1


@given(SIZES, SIZES, SIZES, st.integers(1, 400))
def test_the_forward_crossover_of_products_does_not_depend_on_the_rank(d, k, r, N):
    """[cost-crossover]: with products alone, lora-1 takes fewer FLOPs exactly where N > d k / (d + k)."""
    costs = linear_costs(N, d, k, r)

    def products(variant):
        return sum(line.flops for line in costs[variant].forward if "@" in line.formula)

    where = crossovers(d, k, r).forward_rows
    assert where == Fraction(d * k, d + k)
    assert (products("lora-1") < products("lora-2")) == (where < N)
    assert (products("lora-1") == products("lora-2")) == (where == N)


def products_of_factor_gradients(N, d, k, r):
    """Multiplications and additions of gA and gB alone, as grad-1 and as grad-2 have them; Z is at hand."""
    grad_1 = 2 * N * d * k + 2 * d * k * r + 2 * d * k * r  # gYᵀX, gW Aᵀ, Bᵀ gW
    grad_2 = 2 * N * d * r + 2 * N * r * k + 2 * N * d * r  # gY B, gZᵀ X, gYᵀ Z
    return grad_1, grad_2


@given(SIZES, SIZES, st.integers(1, 10**6))
def test_the_gradients_through_the_bottleneck_are_cheaper_up_to_a_third_of_the_width(d, k, N):
    """Property 21, sharpened: at every N for r ≤ d k / (2 d + k), which is at least min(d, k) / 3.  [cost-rank]"""
    where = crossovers(d, k, 1).gradient_rank
    assert where >= Fraction(min(d, k), 3)
    for r in range(1, int(where) + 1):
        grad_1, grad_2 = products_of_factor_gradients(N, d, k, r)
        assert grad_2 < grad_1


def test_half_the_width_is_too_much_for_large_batches():
    """Property 21 says r < min(d, k) / 2; with d = k = 12, r = 5 < 6 and N = 41 grad-2 takes more."""
    grad_1, grad_2 = products_of_factor_gradients(39, 12, 12, 5)
    assert grad_2 < grad_1
    grad_1, grad_2 = products_of_factor_gradients(41, 12, 12, 5)
    assert grad_2 > grad_1
    assert crossovers(12, 12, 5).gradient_rank == 4


@given(SIZES, SIZES, st.integers(1, 10**6))
def test_all_of_backward_is_cheaper_through_the_bottleneck_up_to_a_quarter_of_the_width(d, k, N):
    """Property 21 with gX: products of backward, at every N for r ≤ d k / (2 (d + k)).  [cost-rank]"""
    where = crossovers(d, k, 1).backward_rank
    assert where >= Fraction(min(d, k), 4)
    for r in range(1, int(where) + 1):
        costs = linear_costs(N, d, k, r)
        one, two = (
            sum(line.flops for line in costs[name].backward if "@" in line.formula)
            for name in ("lora-1", "lora-2")
        )
        assert two < one


# ---- predicted time ------------------------------------------------------------------------------------------


@given(SIZES, SIZES, SIZES, SIZES, st.floats(1e6, 1e15), st.floats(1e6, 1e15))
def test_the_roofline_takes_the_slower_of_two_rates_line_by_line(N, d, k, r, rate, bandwidth):
    """[cost-roofline]: in exact arithmetic, and no less than either rate alone allows."""
    phase = linear_costs(N, d, k, r)["lora-2"].backward
    exact = sum(
        max(Fraction(line.flops) / Fraction(rate), Fraction(line.bytes_moved) / Fraction(bandwidth))
        for line in phase
    )
    got = predicted_seconds(phase, flops_per_second=rate, bytes_per_second=bandwidth)
    assert abs(Fraction(got) - exact) <= exact * Fraction(2) ** -49
    assert got >= max(phase.flops / rate, phase.bytes_moved / bandwidth) * (1 - 2**-49)
    named = limits(phase, flops_per_second=rate, bytes_per_second=bandwidth)
    assert [name == "memory" for name in named] == [
        Fraction(line.bytes_moved) / Fraction(bandwidth) > Fraction(line.flops) / Fraction(rate)
        or line.flops / rate < line.bytes_moved / bandwidth
        for line in phase
    ]


# ---- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("position", "bad"), list(product(range(4), [-1, 2.0, "4", True, None])))
def test_sizes_must_be_whole_numbers(position, bad):
    sizes = [4, 4, 4, 2]
    sizes[position] = bad
    with pytest.raises(ConfigError, match="int"):
        linear_costs(*sizes)


def test_other_mistakes_are_named():
    with pytest.raises(DTypeError, match="floating type, got 'int32'"):
        linear_costs(4, 4, 4, 2, "int32")
    with pytest.raises(DTypeError, match="floating type, got 'floaty'"):
        linear_costs(4, 4, 4, 2, "floaty")
    with pytest.raises(ConfigError, match="did you mean 'lora-1'"):
        linear_costs(4, 4, 4, 2)["lora1"]
    with pytest.raises(ConfigError, match="reuse_from"):
        linear_costs(4, 4, 4, 2, reuse_from=-1)
    with pytest.raises(ConfigError, match="d must be a positive int, got 0"):
        crossovers(0, 4, 2)
    phase = linear_costs(4, 4, 4, 2)["frozen"].forward
    with pytest.raises(ConfigError, match="flops_per_second must be finite"):
        predicted_seconds(phase, flops_per_second=float("inf"), bytes_per_second=1e9)
    with pytest.raises(ConfigError, match="bytes_per_second must lie in"):
        limits(phase, flops_per_second=1e9, bytes_per_second=0.0)


def test_an_empty_batch_costs_only_what_does_not_depend_on_rows():
    costs = linear_costs(0, 5, 7, 2)
    assert costs["frozen"].step_flops == 0
    assert costs["lora-2"].forward.flops == 0
    assert costs["lora-1"].forward.flops == 2 * 5 * 7 * 3
