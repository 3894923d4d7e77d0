"""Where a layer starts: scale, draws of the factors, the symmetric start.

[lora-scale] [lora-scale-rs] [lora-init] [lora-symmetric]
"""

import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraConfig, LoraParams, backward, forward, init, scaling, symmetric_base
from lora_np.conformance.bounds import GOLD, error_in_u, forward_scale, unmerge_scale
from lora_np.errors import RankWarning
from lora_np.lora import INIT_SCHEMES
from tests.strategies import layers


class TestScale:
    @given(alpha=st.integers(-64, 64), rank=st.integers(1, 256))
    def test_alpha_over_rank_is_rounded_once(self, alpha, rank):
        """s = alpha / r is the double nearest to the rational number.  [lora-scale]"""
        assert scaling(alpha, rank) == float(Fraction(alpha, rank))

    @given(alpha=st.integers(1, 64), root=st.integers(1, 32))
    def test_the_stabilized_scale_divides_by_the_root(self, alpha, root):
        """s = alpha / √r, exact where r is a square; √r times the plain scale.  [lora-scale-rs]"""
        assert scaling(alpha, root**2, use_rslora=True) == alpha / root
        assert abs(scaling(alpha, root, use_rslora=True) ** 2 * root / alpha**2 - 1) <= 8 * 2.0**-53

    @pytest.mark.parametrize(("rslora", "want"), [(False, 0.5), (True, 2.0)])
    def test_a_config_carries_it(self, rslora, want):
        """alpha = 8, r = 16: 8/16 and 8/4."""
        assert LoraConfig(rank=16, alpha=8, use_rslora=rslora).scale == want


class TestInit:
    @pytest.mark.parametrize("scheme", INIT_SCHEMES)
    @pytest.mark.parametrize("dtype", [np.float64, "float32", np.float16])
    def test_shapes_types_and_which_factor_is_zero(self, scheme, dtype, rng):
        """Each scheme draws what its name says; the same seed draws the same bits.  [lora-init]"""
        p = init(rng, 7, 5, 3, scheme=scheme, dtype=dtype)
        again = init(np.random.default_rng(20230613), 7, 5, 3, scheme=scheme, dtype=dtype)
        assert (p.B.shape, p.A.shape) == ((7, 3), (3, 5))
        assert {x.dtype for x in p} == {np.dtype(dtype)}
        assert [x.tobytes() for x in p] == [x.tobytes() for x in again]
        zero = {"kaiming": "B", "gaussian": "B", "zero-A": "A", "both-zero": "BA", "symmetric": ""}[scheme]
        assert "".join(name for name in "BA" if not getattr(p, name).any()) == zero

    @pytest.mark.parametrize(
        ("scheme", "name", "bound", "variance"),
        [
            ("kaiming", "A", 1 / 20, 1 / 1200),  # U(±1/√400): variance bound²/3
            ("gaussian", "A", np.inf, 1 / 64),  # N(0, 1/8²)
            ("zero-A", "B", 1 / 10, 1 / 300),  # U(±1/√100)
            ("symmetric", "A", 1 / 20, 1 / 1200),
            ("symmetric", "B", 1 / 10, 1 / 300),
        ],
    )
    def test_draws_have_the_stated_spread(self, scheme, name, bound, variance, rng):
        """Support and variance of d = 100, k = 400, r = 8, the variance within 5 standard errors.  [lora-init]"""
        x = getattr(init(rng, 100, 400, 8, scheme=scheme), name)
        fourth = 3 if bound == np.inf else 9 / 5  # E x⁴ / (E x²)² of a normal and of a uniform draw
        assert abs(x).max() <= bound
        assert abs((x**2).mean() / variance - 1) <= 5 * np.sqrt((fourth - 1) / x.size)

    @pytest.mark.parametrize(("d", "k"), [(0, 4), (4, 0), (0, 0)])
    def test_a_layer_without_inputs_or_outputs_is_allowed(self, d, k, rng):
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            p = init(rng, d, k, 2, scheme="symmetric")
        assert (p.B.shape, p.A.shape) == ((d, 2), (2, k))

    def test_a_rank_above_min_d_k_warns_at_the_callers_line(self, rng):
        """Row 4: allowed, with r and min(d, k) in the warning."""
        with pytest.warns(
            RankWarning, match=r"rank r = 5 exceeds min\(d, k\) = min\(3, 4\) = 3: no extra rank"
        ) as seen:
            init(rng, 3, 4, 5)
        assert seen[0].filename == __file__

    @pytest.mark.parametrize("scheme", [s for s in INIT_SCHEMES if s != "symmetric"])
    def test_every_asymmetric_scheme_starts_at_the_frozen_layer(self, scheme, rng):
        """The increment is zero at the start, bit for bit."""
        X, W0 = rng.normal(size=(4, 6)), rng.normal(size=(5, 6))
        assert np.array_equal(forward(X, W0, init(rng, 5, 6, 2, scheme=scheme), scale=2.0)[0], X @ W0.T)

    def test_both_zero_can_never_leave(self, rng):
        """Why one factor must be random: with B = A = 0 both gradients vanish."""
        X, W0, p = rng.normal(size=(4, 6)), rng.normal(size=(5, 6)), init(rng, 5, 6, 2, scheme="both-zero")
        Y, Z = forward(X, W0, p, scale=2.0)
        _, g = backward(Y, X, Z, W0, p, scale=2.0)
        assert not g.B.any()
        assert not g.A.any()


class TestSymmetricStart:
    @given(layer=layers())
    def test_starts_as_the_frozen_layer(self, layer):
        """Property 46: X (W0 − s B0 A0)ᵀ + s (X A0ᵀ) B0ᵀ = X W0ᵀ within the bound.  [lora-symmetric]"""
        base = symmetric_base(layer.W0, layer.p, scale=layer.scale)
        Y, _ = forward(layer.X, base, layer.p, scale=layer.scale)
        S, K = forward_scale(layer.X, base, layer.p, layer.scale)
        S_base, _ = unmerge_scale(layer.W0, layer.p, layer.scale)
        S = S + np.abs(np.float64(layer.X)) @ S_base.T
        assert error_in_u(Y, layer.X @ layer.W0.T, S, roundings=layer.roundings(3 * K)) <= GOLD

    def test_both_factors_learn_from_the_first_step(self, rng):
        """Property 46: unlike the usual start, neither gradient vanishes."""
        X, W0 = rng.normal(size=(4, 6)), rng.normal(size=(5, 6))
        p = init(rng, 5, 6, 2, scheme="symmetric")
        base = symmetric_base(W0, p, scale=2.0)
        Y, Z = forward(X, base, p, scale=2.0)
        _, g = backward(Y, X, Z, base, p, scale=2.0)
        assert np.linalg.norm(g.B) > 1e-3
        assert np.linalg.norm(g.A) > 1e-3

    def test_one_worked_by_hand(self):
        """W0 = 3 I, B0 = (1, 2)ᵀ, A0 = (4, 5), s = 1/2: the base is 3 I − [[2, 2.5], [4, 5]]."""
        p0 = LoraParams(np.array([[1.0], [2.0]]), np.array([[4.0, 5.0]]))
        assert symmetric_base(3 * np.eye(2), p0, scale=0.5).tolist() == [[1.0, -2.5], [-4.0, -2.0]]


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("d", [1, 5])
def test_factors_are_the_generator_s_own_draws_scaled_to_the_last_bit(d, k):
    """[lora-init]: the same stream, read by hand: centred draws, of width 1/r, 1/√k and 1/√d."""
    r, seed = 3, 11
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankWarning)  # a rank above min(d, k) is one of the cases
        gaussian = init(np.random.default_rng(seed), d, k, r, scheme="gaussian")
        both = init(np.random.default_rng(seed), d, k, r, scheme="symmetric")
    by_hand = np.random.default_rng(seed).standard_normal((r, k)) / r
    np.testing.assert_array_max_ulp(gaussian.A, by_hand, maxulp=1)
    stream = np.random.default_rng(seed)
    np.testing.assert_array_max_ulp(both.A, (2 * stream.random((r, k)) - 1) / np.sqrt(k), maxulp=2)
    np.testing.assert_array_max_ulp(both.B, (2 * stream.random((d, r)) - 1) / np.sqrt(d), maxulp=2)
