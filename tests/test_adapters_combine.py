"""Combining adapters: the exact sum, its truncation, factor by factor, and by TIES, DARE and magnitude.

Expected values are Fractions and plain loops over lists; with small integers, and powers of two for the scales, float
arithmetic is exact and so are the comparisons.
"""

import itertools
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraConfig, LoraParams, scaling
from lora_np.adapters import (
    LoraAdapter,
    combine_cat,
    combine_dare,
    combine_dare_ties,
    combine_linear,
    combine_magnitude,
    combine_svd,
    combine_ties,
    combined_config,
    cross_terms,
    draw_keep,
    drop_and_rescale,
    elect_sign,
    factor_increment,
    increments,
    kept_count,
    total_increment,
    trim,
)
from lora_np.conformance.bounds import GOLD, error_in_u
from tests.exact import exact_error_in_u, floats_of, fractions_of
from tests.naive import adapters as naive

DYADIC = st.sampled_from([1.0, 0.5, -2.0, 4.0, 0.25])
ANY_SCALE = st.sampled_from([1.0, 1 / 3, -0.7, 16 / 7])
SMALL = st.sampled_from([1, 2, 3, 5])


@st.composite
def families(draw, exact=True, same_rank=False, dtype=np.float64):
    """Adapters of one weight, of mixed ranks and scales, and a weight for each: (adapters, weights)."""
    d, k, r = draw(SMALL), draw(SMALL), draw(SMALL)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    numbers = DYADIC if exact else ANY_SCALE

    def fill(*shape):
        return (rng.integers(-4, 5, size=shape) if exact else rng.normal(size=shape)).astype(dtype)

    adapters, weights = [], []
    for _ in range(draw(st.integers(1, 4))):
        rank = r if same_rank else draw(SMALL)
        adapters.append(LoraAdapter(LoraParams(fill(d, rank), fill(rank, k)), draw(numbers)))
        weights.append(draw(numbers))
    return adapters, weights


def exact_form(adapters, weights):
    """Nested lists of Fractions for the plain loops."""
    triples = [(fractions_of(p.B), fractions_of(p.A), Fraction(s)) for p, s in adapters]
    return triples, [Fraction(w) for w in weights]


def sum_size(adapters, weights):
    """S of the sum: Σ |w s| |B| |A|."""
    return sum(
        abs(w * s) * (abs(p.B).astype(float) @ abs(p.A).astype(float))
        for (p, s), w in zip(adapters, weights, strict=True)
    )


class TestSum:
    @given(family=families())
    def test_concatenation_is_the_exact_sum(self, family):
        """Property 32: [w1 s1 B1, w2 s2 B2] [A1; A2] is Σ w s B A, to the bit.  [combine-cat] [combine-sum]"""
        adapters, weights = family
        want = floats_of(naive.add(naive.increments(*exact_form(*family))))
        combined = combine_cat(adapters, weights=weights)
        assert combined.scale == 1.0
        assert combined.p.A.shape[0] == sum(p.A.shape[0] for p, _ in adapters)
        np.testing.assert_array_equal(combined.delta(), want)
        np.testing.assert_array_equal(total_increment(adapters, weights=weights), want)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @given(data=st.data())
    def test_the_sum_is_within_its_bound(self, dtype, data):
        """|got − Σ w s B A| <= 16 u Σ |w s| |B| |A|, with scales that are no powers of two.  [combine-cat]"""
        adapters, weights = data.draw(families(exact=False, dtype=dtype))
        want = naive.add(naive.increments(*exact_form(adapters, weights)))
        for got in (
            combine_cat(adapters, weights=weights).delta(),
            total_increment(adapters, weights=weights),
        ):
            assert got.dtype == dtype
            assert exact_error_in_u(got, want, sum_size(adapters, weights)) <= GOLD

    def test_without_weights_all_count_once(self, rng):
        """The default is the plain sum of the increments, each with its own scale."""
        p, q = (
            LoraParams(rng.integers(-4, 5, (3, 2)) * 1.0, rng.integers(-4, 5, (2, 4)) * 1.0) for _ in range(2)
        )
        got = combine_cat([LoraAdapter(p, 0.5), LoraAdapter(q, 4.0)]).delta()
        np.testing.assert_array_equal(got, 0.5 * p.B @ p.A + 4.0 * q.B @ q.A)

    def test_adapters_of_different_scalings_bring_their_own_number(self, rng):
        """alpha / r of one and alpha / sqrt(r) of another: PEFT keeps the first one's flag for all."""
        p = LoraParams(rng.integers(-4, 5, (3, 4)) * 1.0, rng.integers(-4, 5, (4, 5)) * 1.0)
        plain, stabilized = scaling(8, 4), scaling(8, 4, use_rslora=True)
        combined = combine_cat([LoraAdapter(p, plain), LoraAdapter(p, stabilized)])
        np.testing.assert_array_equal(combined.delta(), 6.0 * p.B @ p.A)

    @pytest.mark.parametrize("rank", [1, 2, 4, 5, 8, 1000])
    def test_the_config_of_a_combination_has_scale_one(self, rank):
        """alpha = r, or sqrt(r) for the rank-stabilized: the increment keeps its size.  [lora-scale-rs]"""
        for flag in (False, True):
            config = combined_config([LoraConfig(4, 8, use_rslora=flag)] * 2, rank=rank)
            assert (config.rank, config.use_rslora, config.scale) == (rank, flag, 1.0)


class TestTruncation:
    @given(family=families(exact=False), data=st.data())
    def test_the_error_is_the_tail_and_nothing_of_that_rank_is_nearer(self, family, data):
        """Property 41: ‖ΔW − B A‖ = √(σ²_{r+1} + ...), LAPACK's tail; random factors do worse.  [combine-svd]"""
        adapters, weights = family
        delta = total_increment(adapters, weights=weights)
        rank = data.draw(st.integers(1, min(delta.shape)))
        adapter, error = combine_svd(adapters, rank=rank, weights=weights)
        tail = np.linalg.norm(np.linalg.svd(delta, compute_uv=False)[rank:])
        size = np.linalg.norm(delta) + 1e-300
        assert adapter.p.A.shape == (rank, delta.shape[1])
        assert adapter.scale == 1.0
        assert abs(error - tail) <= 1e-13 * size
        assert abs(np.linalg.norm(delta - adapter.delta()) - tail) <= 1e-13 * size
        rng = np.random.default_rng(0)
        B = rng.normal(size=(delta.shape[0], rank))
        rival = B @ np.linalg.lstsq(B, delta, rcond=None)[0]
        assert np.linalg.norm(delta - rival) >= tail - 1e-13 * size

    def test_the_sum_of_the_ranks_is_enough(self, rng):
        """Two of rank 2: rank 4 gives the sum, rank 2 (the default elsewhere) loses a third of it.  [combine-svd]"""
        two = [
            LoraAdapter(LoraParams(rng.normal(size=(6, 2)), rng.normal(size=(2, 7))), 1.5) for _ in range(2)
        ]
        delta = total_increment(two)
        assert combine_svd(two, rank=4).error <= 1e-14 * np.linalg.norm(delta)
        lost = combine_svd(two, rank=2).error / np.linalg.norm(delta)
        assert 0.2 < lost < 0.7

    def test_any_increment_can_be_made_factors_again(self, rng):
        """TIES makes a full matrix; the nearest adapter of a rank stands for it, with its error."""
        two = [
            LoraAdapter(LoraParams(rng.normal(size=(4, 2)), rng.normal(size=(2, 5))), 1.0) for _ in range(2)
        ]
        delta = combine_ties(two, density=0.5)
        errors = [factor_increment(delta, rank=r).error for r in (1, 2, 3, 4)]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] == 0.0
        np.testing.assert_allclose(factor_increment(delta, rank=4).adapter.delta(), delta, rtol=0, atol=1e-14)


class TestFactorwise:
    @given(family=families(same_rank=True))
    def test_linear_is_the_sum_and_its_cross_terms(self, family):
        """(Σ a B)(Σ ± a A) = Σ w s B A + cross terms, exactly.  [combine-linear] [combine-linear-cross]"""
        adapters, weights = family
        weights = [  # every w s is ±1/4, ±1 or ±4, whose root is exact
            np.copysign(4.0 ** (i % 3 - 1), w) / s
            for i, (w, (_, s)) in enumerate(zip(weights, adapters, strict=True))
        ]
        triples, shares = exact_form(adapters, weights)
        want = floats_of(naive.linear(triples, shares, root=lambda c: Fraction(float(c) ** 0.5)))
        combined = combine_linear(adapters, weights=weights)
        np.testing.assert_array_equal(combined.delta(), want)
        excess = cross_terms(adapters, weights=weights)
        np.testing.assert_array_equal(total_increment(adapters, weights=weights) + excess, want)
        assert combined.p.A.shape == adapters[0].p.A.shape

    @given(family=families(exact=False, same_rank=True))
    def test_linear_is_within_its_bound(self, family):
        """Where roots round: 16 u of the sum over all pairs a_i a_j |B_i| |A_j|.  [combine-linear]"""
        adapters, weights = family
        roots = [abs(w * s) ** 0.5 for (_, s), w in zip(adapters, weights, strict=True)]
        S = sum(a * abs(p.B) for a, (p, _) in zip(roots, adapters, strict=True)) @ sum(
            a * abs(p.A) for a, (p, _) in zip(roots, adapters, strict=True)
        )
        got = combine_linear(adapters, weights=weights).delta()
        want = total_increment(adapters, weights=weights) + cross_terms(adapters, weights=weights)
        assert error_in_u(got, want, S) <= 2 * GOLD

    def test_one_adapter_has_no_cross_terms_and_two_have_many(self, rng):
        """One: the increment itself, whatever the sign.  Two equal ones: four times, not twice."""
        p = LoraParams(rng.integers(-4, 5, (3, 2)) * 1.0, rng.integers(-4, 5, (2, 4)) * 1.0)
        one = LoraAdapter(p, 0.25)
        for weight in (4.0, -4.0, 0.0):
            np.testing.assert_array_equal(
                combine_linear([one], weights=[weight]).delta(), weight * one.delta()
            )
            assert not cross_terms([one], weights=[weight]).any()
        np.testing.assert_array_equal(combine_linear([one, one]).delta(), 4 * one.delta())

    def test_the_sign_stands_on_a(self, rng):
        """With signs on B instead, the cross terms of a sum and a difference would change theirs."""
        p, q = (
            LoraParams(rng.integers(1, 5, (2, 1)) * 1.0, rng.integers(1, 5, (1, 2)) * 1.0) for _ in range(2)
        )
        excess = cross_terms([LoraAdapter(p, 1.0), LoraAdapter(q, -1.0)])
        np.testing.assert_array_equal(excess, q.B @ p.A - p.B @ q.A)


class TestMagnitude:
    @given(
        M=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=4),
        tenths=st.integers(0, 10),
    )
    def test_trimming_keeps_the_largest_and_the_first_of_equals(self, M, tenths):
        """Many equal sizes: the plain loop sorts by size, then by place.  [combine-trim]"""
        count = len(M) * 3 * tenths // 10
        assert kept_count(len(M) * 3, tenths / 10) == count
        got = trim(np.array(M, dtype=float), density=tenths / 10)
        np.testing.assert_array_equal(got, np.array(naive.trim(M, count)))

    def test_the_density_is_read_as_a_decimal(self):
        """0.29 of 100 is 29 though 0.29 * 100 is 28.999...; all 101 percentages come out."""
        assert [kept_count(100, c / 100) for c in range(101)] == list(range(101))
        assert kept_count(10, np.float32(0.3)) == 3
        assert int(0.29 * 100) == 28

    def test_density_one_keeps_every_bit_and_density_zero_nothing(self, rng):
        delta = rng.normal(size=(4, 3))
        assert trim(delta, density=1).tobytes() == delta.tobytes()
        assert not trim(delta, density=0.0).any()
        assert trim(np.zeros((0, 3)), density=0.5).shape == (0, 3)

    @given(family=families(), tenths=st.integers(0, 10))
    def test_magnitude_adds_what_is_trimmed(self, family, tenths):
        """Σ trim(w s B A), increment by increment.  [combine-magnitude]"""
        adapters, weights = family
        taus = naive.increments(*exact_form(*family))
        count = len(taus[0]) * len(taus[0][0]) * tenths // 10
        want = floats_of(naive.add([naive.trim(tau, count) for tau in taus]))
        np.testing.assert_array_equal(combine_magnitude(adapters, density=tenths / 10, weights=weights), want)


def rows_as_adapters(*rows):
    """One adapter of scale 1 for each row, whose increment is that row."""
    return [LoraAdapter(LoraParams(np.ones((1, 1)), np.array([row], dtype=float)), 1.0) for row in rows]


class TestTies:
    @given(family=families(), tenths=st.integers(0, 10))
    def test_ties_is_the_plain_loop(self, family, tenths):
        """Trim, elect by mass, mean of those who agree, against Fractions rounded once.  [combine-ties]"""
        adapters, weights = family
        taus = naive.increments(*exact_form(*family))
        count = len(taus[0]) * len(taus[0][0]) * tenths // 10
        want = floats_of(naive.elect_and_average([naive.trim(tau, count) for tau in taus]))
        np.testing.assert_array_equal(combine_ties(adapters, density=tenths / 10, weights=weights), want)

    def test_by_hand(self):
        """Three rows, density 2/3 of 6 = 4 entries: trimmed, elected and averaged on paper.  [combine-ties-elect]

        (5, -1, 4, -3, 2, 1) keeps 5, 4, -3, 2; (-2, 6, 1, -5, 3, -1) keeps -2, 6, -5, 3; (-2, -4, 7, 5, 0, 3) keeps
        -4, 7, 5, 3.  Sums 3, 2, 11, -3, 5, 3 elect + + + - + +.  Means 5/1, 6/1, 11/2, -8/2, 5/2, 3/1.
        """
        three = rows_as_adapters((5, -1, 4, -3, 2, 1), (-2, 6, 1, -5, 3, -1), (-2, -4, 7, 5, 0, 3))
        got = combine_ties(three, density=0.67)
        np.testing.assert_array_equal(got, [[5.0, 6.0, 5.5, -4.0, 2.5, 3.0]])

    def test_mass_elects_not_the_count(self):
        """One strong vote beats two weak ones; and an even vote elects nothing, so the entry is zero."""
        np.testing.assert_array_equal(
            combine_ties(rows_as_adapters((5, 2), (-1, -2), (-2, 0)), density=1.0), [[5, 0]]
        )
        np.testing.assert_array_equal(
            elect_sign([np.array([[5.0, 2.0]]), np.array([[-3.0, -2.0]])]), [[1, 0]]
        )

    def test_an_adapter_of_negative_weight_votes_for_what_it_does(self):
        """−1 times (3) against (2): the sum is negative, so −3 stands; electing before weighing would keep 2."""
        np.testing.assert_array_equal(
            combine_ties(rows_as_adapters((3,), (2,)), density=1.0, weights=[-1, 1]), [[-3]]
        )

    @given(family=families(), copies=st.integers(1, 4))
    def test_agreement_changes_nothing(self, family, copies):
        """One adapter, or several equal ones: the trimmed increment, not a multiple of it."""
        adapter = family[0][0]
        got = combine_ties([adapter] * copies, density=0.5)
        np.testing.assert_array_equal(got, trim(adapter.delta(), density=0.5))

    @given(family=families(), tenths=st.integers(1, 10))
    def test_order_does_not_matter_and_signs_turn_with_the_adapters(self, family, tenths):
        adapters, weights = family
        got = combine_ties(adapters, density=tenths / 10, weights=weights)
        backwards = combine_ties(adapters[::-1], density=tenths / 10, weights=weights[::-1])
        turned = combine_ties(adapters, density=tenths / 10, weights=[-w for w in weights])
        np.testing.assert_array_equal(got, backwards)
        np.testing.assert_array_equal(got, -turned)


class TestDare:
    def masks(self, adapters, seed, density):
        rng = np.random.default_rng(seed)
        d, k = adapters[0].p.B.shape[0], adapters[0].p.A.shape[1]
        return [draw_keep(rng, d, k, density=density) for _ in adapters]

    @given(family=families(), seed=st.integers(0, 99), density=st.sampled_from([0.25, 0.5, 1.0]))
    def test_dare_is_the_plain_loop(self, family, seed, density):
        """Drop, divide by the density, then add or go on with TIES.  [combine-dare]"""
        adapters, weights = family
        keep = self.masks(adapters, seed, density)
        taus = naive.increments(*exact_form(*family))
        dropped = [naive.drop(tau, mask, Fraction(density)) for tau, mask in zip(taus, keep, strict=True)]
        options = {"density": density, "weights": weights}
        np.testing.assert_array_equal(combine_dare(adapters, keep, **options), floats_of(naive.add(dropped)))
        want = floats_of(naive.elect_and_average(dropped))
        np.testing.assert_array_equal(combine_dare_ties(adapters, keep, **options), want)

    def test_the_mean_over_all_masks_is_the_increment(self):
        """E[M τ / ρ] = τ exactly: all 16 masks of a 2 x 2 increment, each with its probability.  [combine-dare]"""
        delta, density = np.array([[1.0, -2.0], [3.0, 4.0]]), 0.25
        mean = np.zeros((2, 2))
        for bits in itertools.product([False, True], repeat=4):
            chance = density ** sum(bits) * (1 - density) ** (4 - sum(bits))
            mean += chance * drop_and_rescale(delta, np.array(bits).reshape(2, 2), density=density)
        np.testing.assert_array_equal(mean, delta)

    def test_draws_come_from_the_generator_alone_and_keep_their_share(self):
        """The same seed, the same mask; 40,000 draws of density 0.3 lie within five standard deviations."""
        draws = [draw_keep(np.random.default_rng(7), 200, 200, density=0.3) for _ in range(2)]
        np.testing.assert_array_equal(*draws)
        assert abs(draws[0].mean() - 0.3) < 5 * (0.3 * 0.7 / 40_000) ** 0.5
        assert draw_keep(np.random.default_rng(7), 3, 4, density=1.0).all()

    def test_masks_may_be_numbers(self):
        """0 and 1 in any type keep as booleans do: a file of tensors may have no other."""
        delta = np.array([[1.0, 2.0]])
        for dtype in (bool, int, np.float32):
            got = drop_and_rescale(delta, np.array([[1, 0]], dtype=dtype), density=0.5)
            np.testing.assert_array_equal(got, [[2.0, 0.0]])


KEEP = [
    np.array([[True, False, True], [False, True, True]]),
    np.array([[False, True, True], [True, True, False]]),
]
COMBINATIONS = {
    "cat": lambda two, lib: combine_cat(two, weights=[1, -2]).delta(),
    "svd": lambda two, lib: combine_svd(two, rank=2, weights=[1, -2]).adapter.delta(),
    "linear": lambda two, lib: combine_linear(two, weights=[1, -2]).delta(),
    "cross": lambda two, lib: cross_terms(two, weights=[1, -2]),
    "magnitude": lambda two, lib: combine_magnitude(two, density=0.5, weights=[1, -2]),
    "ties": lambda two, lib: combine_ties(two, density=0.5, weights=[1, -2]),
    "dare": lambda two, lib: combine_dare(two, [lib.asarray(M) for M in KEEP], density=0.5),
    "dare ties": lambda two, lib: combine_dare_ties(two, [lib.asarray(M) for M in KEEP], density=0.5),
    "increments": lambda two, lib: increments(two)[1],
}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_library_gives_the_same_and_no_argument_is_written(name, library, rng):
    """NumPy, read-only NumPy and the strict namespace; float32 stays float32."""
    plain = [
        LoraParams(rng.normal(size=(2, 2)).astype("f4"), rng.normal(size=(2, 3)).astype("f4"))
        for _ in range(2)
    ]
    before = [factor.tobytes() for p in plain for factor in p]
    combine = COMBINATIONS[name]
    numpy_only = type(library)("numpy", np.asarray, np.asarray)
    want = combine([LoraAdapter(p, 0.7) for p in plain], numpy_only)
    two = [LoraAdapter(LoraParams(*map(library.asarray, p)), 0.7) for p in plain]
    got = library.to_numpy(combine(two, library))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    assert [factor.tobytes() for p in plain for factor in p] == before
    assert [np.array(library.to_numpy(f)).tobytes() for p, _ in two for f in p] == before


@pytest.mark.parametrize("combine", [combine_cat, combine_linear, partial(combine_ties, density=1.0)])
def test_layouts_make_no_difference(combine, rng):
    """Transposed, strided and reversed factors are the same factors."""
    B, A = rng.integers(-4, 5, (3, 2)) * 1.0, rng.integers(-4, 5, (2, 4)) * 1.0
    odd = LoraParams(np.asfortranarray(B), np.repeat(A[:, ::-1], 2, axis=1)[:, ::-2])
    assert not odd.A.flags.c_contiguous
    results = [combine([LoraAdapter(p, 0.5)] * 2) for p in (LoraParams(B, A), odd)]
    np.testing.assert_array_equal(*[x.delta() if isinstance(x, LoraAdapter) else x for x in results])
