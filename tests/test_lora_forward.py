"""The layer's forward in both forms, against exact arithmetic and by its algebra.

[lora-fwd] [lora-1] [lora-2] [lora-z] [lora-delta] [lora-weight]
"""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lora_np
from lora_np import LoraParams, forward, forward_via_weight
from lora_np.conformance.bounds import GOLD, error_in_u, forward_scale, gamma_in_u, merge_scale
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import lora as naive
from tests.strategies import ALL_DTYPES, Layer, layers

SMALL = st.sampled_from([1, 2, 3, 5])
INTEGERS = st.just("integers")
FORWARDS = [forward, forward_via_weight]


def exact_layer(layer: Layer):
    """The layer's arrays as nested lists of Fractions: X, W0, B, A, s, bias."""
    return (*map(fractions_of, (layer.X, layer.W0, *layer.p, layer.scale, layer.bias)),)


def bound_in_u(K, dtype):
    """The gold level, or the certified bound where that is tighter."""
    return min(GOLD, gamma_in_u(K, dtype))


def in_c_order(layer: Layer):
    """X and p in one memory layout: the order of a sum may follow the layout, and these tests compare bits."""
    return np.ascontiguousarray(layer.X), LoraParams(*map(np.ascontiguousarray, layer.p))


def draw_layer(rng, N=4, d=5, k=6, r=2, dtype=np.float64) -> Layer:
    """A layer of normal numbers; its scale is no power of two."""

    def normal(*shape):
        return rng.normal(size=shape).astype(dtype)

    return Layer(
        normal(N, k), normal(d, k), LoraParams(normal(d, r), normal(r, k)), normal(N, d), normal(d), 16 / 7
    )


class TestAgainstExactArithmetic:
    @pytest.mark.parametrize("apply", FORWARDS)
    @given(layer=layers(dtypes=ALL_DTYPES, sizes=SMALL))
    def test_output_is_within_the_derived_bound(self, apply, layer):
        """Property 1: (W0 + sBA) x = W0 x + sB(Ax), each within the bound of the rational value.  [lora-fwd]"""
        Y, _ = apply(layer.X, layer.W0, layer.p, scale=layer.scale, bias=layer.bias)
        S, K = forward_scale(layer.X, layer.W0, layer.p, layer.scale, layer.bias)
        error = exact_error_in_u(Y, naive.forward(*exact_layer(layer)), S, roundings=layer.roundings(K))
        assert Y.dtype == layer.X.dtype
        assert error <= bound_in_u(K, Y.dtype)

    @given(layer=layers(dtypes=ALL_DTYPES, sizes=SMALL))
    def test_bottleneck_and_weight_are_what_they_say(self, layer):
        """Z = X Aᵀ and W = W0 + s B A, the second results of the two forms.  [lora-z] [lora-weight]"""
        X, W0, B, A, s, _ = exact_layer(layer)
        Z = forward(layer.X, layer.W0, layer.p, scale=layer.scale)[1]
        W = forward_via_weight(layer.X, layer.W0, layer.p, scale=layer.scale)[1]
        S_Z = np.abs(np.float64(layer.X)) @ np.abs(np.float64(layer.p.A)).T
        S_W, K = merge_scale(layer.W0, layer.p, layer.scale)
        k = layer.X.shape[1]
        assert exact_error_in_u(
            Z, naive.matmul(X, naive.transpose(A)), S_Z, roundings=layer.roundings(k)
        ) <= bound_in_u(k, Z.dtype)
        assert exact_error_in_u(
            W, naive.merged(W0, B, A, s), S_W, roundings=layer.roundings(K)
        ) <= bound_in_u(K, W.dtype)

    @pytest.mark.parametrize("apply", FORWARDS)
    @given(layer=layers(magnitudes=INTEGERS, sizes=SMALL))
    def test_small_integers_come_out_exactly(self, apply, layer):
        """Property 2: (BA) x = B (Ax) without rounding, so both forms give the same integers.  [lora-1] [lora-2]"""
        X, W0, B, A, _, bias = exact_layer(layer)
        Y, _ = apply(layer.X, layer.W0, layer.p, scale=0.5, bias=layer.bias)
        half = fractions_of(0.5)
        assert exact_error_in_u(Y, naive.forward(X, W0, B, A, half, bias), np.zeros(Y.shape)) == 0

    def test_one_worked_by_hand(self):
        """W0 = I, B = (1, 2)ᵀ, A = (3, −1), s = 1/2, x = (2, 4): A x = 2, s B A x = (1, 2), y = (3, 6).  [lora-2]"""
        p = LoraParams(B=np.array([[1.0], [2.0]]), A=np.array([[3.0, -1.0]]))
        for apply in FORWARDS:
            assert apply(np.array([[2.0, 4.0]]), np.eye(2), p, scale=0.5)[0].tolist() == [[3.0, 6.0]]


class TestMemory:
    def test_no_array_of_the_weights_size_is_made(self, rng):
        """Property 3: the peak of forward and backward stays below d k numbers.  [lora-2]"""
        d = k = 2048
        X, W0 = rng.normal(size=(8, k)), np.zeros((d, k))
        p = LoraParams(rng.normal(size=(d, 4)), rng.normal(size=(4, k)))

        def peak(work):
            tracemalloc.start()
            work()
            _, top = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return top

        def step():
            Y, Z = forward(X, W0, p, scale=2.0)
            lora_np.backward(Y, X, Z, W0, p, scale=2.0)

        assert peak(step) < W0.nbytes / 10
        assert peak(lambda: forward_via_weight(X, W0, p, scale=2.0)) >= W0.nbytes  # the meter sees one


class TestAlgebra:
    @pytest.mark.parametrize("vanishing", ["B", "A", "scale"])
    @given(layer=layers(dtypes=ALL_DTYPES))
    def test_a_vanishing_increment_leaves_the_frozen_output(self, vanishing, layer):
        """Properties 4, 5, 6: with B = 0, A = 0 or s = 0 the output equals the frozen layer's, number for number.

        The sign of a zero may change (−0 + 0 = 0), which equality of numbers does not see.
        """
        p, scale = layer.p, layer.scale
        if vanishing == "scale":
            scale = 0.0
        else:
            p = p._replace(**{vanishing: np.zeros_like(getattr(p, vanishing))})
        Y, _ = forward(layer.X, layer.W0, p, scale=scale)
        assert np.array_equal(Y, layer.X @ layer.W0.T)

    @given(layer=layers(magnitudes=INTEGERS), a=st.integers(-3, 3), b=st.integers(-3, 3))
    def test_linear_in_the_rows(self, layer, a, b):
        """Property 7: f(aX + bX') − bias = a (f(X) − bias) + b (f(X') − bias); integers, so exactly."""
        other = layer.X[::-1] + 1
        f = lambda X: forward(X, layer.W0, layer.p, scale=2.0, bias=layer.bias)[0] - layer.bias  # noqa: E731
        assert np.array_equal(f(a * layer.X + b * other), a * f(layer.X) + b * f(other))

    @given(layer=layers(magnitudes=st.just("normal")))
    def test_a_power_of_two_moves_freely_between_scale_and_factors(self, layer):
        """Property 8: s B A = (sB) A = B (sA), and s → 2s doubles the branch, bit for bit.  [lora-delta]"""
        X, (B, A) = in_c_order(layer)
        still = np.zeros_like(layer.W0)
        f = lambda p, scale: forward(X, still, p, scale=scale)[0]  # noqa: E731
        branch = f(LoraParams(B, A), 1.0)
        for p, scale in [(LoraParams(B, A), 2.0), (LoraParams(2 * B, A), 1.0), (LoraParams(B, 2 * A), 1.0)]:
            assert np.array_equal(f(p, scale), 2 * branch)

    @given(
        layer=layers(magnitudes=st.just("normal")),
        powers=st.lists(st.integers(-3, 3), min_size=12, max_size=12),
    )
    def test_rescaling_the_bottleneck_changes_nothing(self, layer, powers):
        """Property 9: (B M⁻¹, M A) is the same layer; with M a diagonal of powers of two, bit for bit."""
        X, p = in_c_order(layer)
        m = 2.0 ** np.array(powers[: len(p.A)], dtype=X.dtype)
        turned = LoraParams(p.B / m, m[:, None] * p.A)
        Y, Y2 = (forward(X, layer.W0, q, scale=layer.scale)[0] for q in (p, turned))
        assert np.array_equal(Y, Y2)

    def test_any_invertible_mixing_is_the_same_layer_up_to_rounding(self, rng):
        """Property 9, for a general M."""
        layer = draw_layer(rng, r=3)
        M = np.array([[2.0, 1, 0], [0, 1, 1], [1, 0, 1]])
        turned = LoraParams(layer.p.B @ np.linalg.inv(M), M @ layer.p.A)
        Y, Y2 = (forward(layer.X, layer.W0, p, scale=layer.scale)[0] for p in (layer.p, turned))
        S, _ = forward_scale(layer.X, layer.W0, turned, layer.scale)
        assert error_in_u(Y2, Y, S) <= 4 * GOLD

    @given(layer=layers(magnitudes=INTEGERS), order=st.randoms(use_true_random=False))
    def test_rows_are_independent(self, layer, order):
        """Property 11: permuting, splitting and joining the batch does the same to the output."""
        N = layer.X.shape[0]
        rows = order.sample(range(N), N)
        f = lambda X: forward(X, layer.W0, layer.p, scale=0.5, bias=layer.bias)[0]  # noqa: E731
        Y = f(layer.X)
        assert np.array_equal(f(layer.X[rows]), Y[rows])
        assert np.array_equal(np.concatenate([f(layer.X[: N // 2]), f(layer.X[N // 2 :])]), Y)

    @pytest.mark.parametrize("apply", FORWARDS)
    @pytest.mark.parametrize("leading", [(), (0,), (1,), (2, 3), (2, 1, 3), (3, 0)])
    def test_leading_axes_are_one_flattened_batch(self, apply, leading, rng):
        """Property 11: extra leading axes equal a reshape, and N = 0 gives (0, d) of the right type."""
        layer = draw_layer(rng, dtype=np.float32)
        X = rng.integers(-4, 5, size=(*leading, 6)).astype(np.float32)
        p, W0 = LoraParams(*map(np.round, layer.p)), np.round(layer.W0)
        Y, _ = apply(X, W0, p, scale=0.5)
        assert Y.shape == (*leading, 5)
        assert Y.dtype == np.float32
        assert np.array_equal(Y.reshape(-1, 5), apply(X.reshape(-1, 6), W0, p, scale=0.5)[0])

    @given(layer=layers(magnitudes=INTEGERS))
    def test_the_bias_is_added_to_every_row(self, layer):
        """Property 12: Y = X Wᵀ + b and Y = X W0ᵀ + s X Aᵀ Bᵀ + b, the bias broadcast over rows."""
        for apply in FORWARDS:
            with_bias, without = (
                apply(layer.X, layer.W0, layer.p, scale=2.0, bias=b)[0] for b in (layer.bias, None)
            )
            assert np.array_equal(with_bias, without + np.tile(layer.bias, (len(without), 1)))

    @pytest.mark.parametrize(("d", "k"), [(4, 7), (7, 4), (5, 5), (1, 6)])
    def test_full_rank_factors_reach_any_increment(self, d, k, rng):
        """Property 16: with r = min(d, k) the factors of an SVD make any ΔW: LoRA then is full fine-tuning."""
        W0, delta, X = rng.normal(size=(d, k)), rng.normal(size=(d, k)), rng.normal(size=(3, k))
        U, sigma, Vt = np.linalg.svd(delta, full_matrices=False)
        p = LoraParams(B=U * sigma, A=Vt)
        assert p.A.shape[0] == min(d, k)
        got = forward(X, W0, p, scale=1.0)[0]
        S, _ = forward_scale(X, W0, p, 1.0)
        assert error_in_u(got, X @ (W0 + delta).T, S) <= GOLD

    def test_a_nan_that_enters_comes_out(self, rng):
        """Nothing hides a NaN: in a row of X it reaches that row of the output, and no other."""
        layer = draw_layer(rng)
        X = layer.X.copy()
        X[1, 2] = np.nan
        for apply in FORWARDS:
            assert np.isnan(apply(X, layer.W0, layer.p, scale=1.0)[0]).all(axis=1).tolist() == [0, 1, 0, 0]


@given(layer=layers())
def test_the_two_forms_agree(layer):
    """Property 1 for the two forms against each other: within the sum of their bounds.  [lora-1] [lora-2]"""
    Y2, Y1 = (f(layer.X, layer.W0, layer.p, scale=layer.scale, bias=layer.bias)[0] for f in FORWARDS)
    S, K = forward_scale(layer.X, layer.W0, layer.p, layer.scale, layer.bias)
    assert error_in_u(Y1, Y2, S, roundings=layer.roundings(2 * K)) <= 2 * bound_in_u(K, Y1.dtype)


@pytest.mark.parametrize("apply", FORWARDS)
@pytest.mark.parametrize("shape", [(64, 96, 128, 8), (16, 64, 4096, 4)])
def test_single_precision_stays_gold_at_large_sizes(apply, shape, rng):
    """16 u also where the theory allows k + r + 4 of them; double precision is the judge."""
    layer = draw_layer(rng, *shape, dtype=np.float32)
    wide = Layer(*(np.float64(x) for x in layer[:2]), LoraParams(*map(np.float64, layer.p)), *layer[3:])
    Y, _ = apply(layer.X, layer.W0, layer.p, scale=2.0)
    want = wide.X @ (wide.W0 + 2.0 * wide.p.B @ wide.p.A).T
    S, _ = forward_scale(layer.X, layer.W0, layer.p, 2.0)
    assert error_in_u(Y, want, S) <= GOLD
