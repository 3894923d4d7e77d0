"""One neuron, one dense layer, activations and losses, each against plain loops and a second derivation."""

import math
from fractions import Fraction

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.conformance.bounds import GOLD
from lora_np.errors import ConfigError, DTypeError, ShapeError
from lora_np.nn import activations, dense, losses
from lora_np.nn.dense import Dense
from tests import exact
from tests.naive import nn as naive
from tests.strategies import LAYOUTS, SIZES, lay_out


@st.composite
def dense_layers(draw):
    """X (N, k), W (d, k), b (d,), gY (N, d), in any layout and either precision."""
    N, d, k = draw(SIZES), draw(SIZES), draw(SIZES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float64, np.float32]))

    def array(*shape):
        return lay_out(rng.normal(size=shape).astype(dtype), draw(LAYOUTS))

    return array(N, k), Dense(array(d, k), array(d)), array(N, d)


class TestNeuronAndLayer:
    def test_a_neuron_by_hand(self):
        """[net-neuron] [net-neuron-dot]: 2·1 + (−1)·2 + 0.5·4 + 3 = 5."""
        x, w = np.array([1.0, 2.0, 4.0]), np.array([2.0, -1.0, 0.5])
        assert dense.neuron(x, w, 3.0) == naive.neuron(x.tolist(), w.tolist(), 3.0) == 5.0

    def test_a_layer_is_its_neurons_side_by_side(self):
        """[net-linear-matrix]: the seed's (1, 3) input and 6 neurons; small integers, so equality is exact."""
        rng = np.random.default_rng(1)
        X, W, b = (rng.integers(-9, 9, size=shape).astype(float) for shape in ((1, 3), (6, 3), (6,)))
        Y = dense.forward(X, Dense(W, b))
        assert Y.shape == (1, 6)
        assert Y[0].tolist() == [dense.neuron(X[0], w, bias) for w, bias in zip(W, b, strict=True)]

    def test_the_row_form_is_the_transpose(self):
        """[net-linear]: Y = X W + b with the seed's W (3, 6), neurons in columns."""
        rng = np.random.default_rng(2)
        X, W, b = rng.normal(size=(5, 3)), rng.normal(size=(3, 6)), rng.normal(size=6)
        assert dense.forward(X, Dense(W.T, b)).tolist() == (X @ W + b).tolist()

    @given(dense_layers())
    def test_forward_and_backward_are_exact_to_rounding(self, drawn):
        """Property 12.  [net-linear] [net-backward]: against Fractions, in units of u, within the gold level."""
        X, layer, gY = drawn
        F = exact.fractions_of
        Y = dense.forward(X, layer)
        gX, g = dense.backward(gY, X, layer)
        aX, aW, ab, ag = (np.abs(np.asarray(x, float)) for x in (X, *layer, gY))
        wants = naive.dense_backward(F(gY), F(X), F(layer.W))
        pairs = [
            (Y, naive.dense(F(X), F(layer.W), F(layer.b)), aX @ aW.T + ab),
            (gX, wants[0], ag @ aW),
            (g.W, wants[1], ag.T @ aX),
            (g.b, wants[2], ag.sum(axis=0)),
        ]
        for got, want, S in pairs:
            assert got.dtype == X.dtype
            assert exact.exact_error_in_u(got, want, S) <= GOLD

    def test_the_bias_is_added_to_every_row(self):
        """Property 12: Y − X Wᵀ is b, row by row; powers of two, so exact."""
        Y = dense.forward(np.zeros((4, 2)), Dense(np.ones((3, 2)), np.array([0.5, -2.0, 8.0])))
        assert Y.tolist() == [[0.5, -2.0, 8.0]] * 4

    def test_runs_on_every_library(self, library):
        X, W, b = (
            library.asarray(np.arange(n, dtype=float).reshape(s))
            for n, s in ((6, (2, 3)), (12, (4, 3)), (4, (4,)))
        )
        Y = dense.forward(X, Dense(W, b))
        gX, g = dense.backward(Y, X, Dense(W, b))
        want = naive.dense(*(library.to_numpy(a).tolist() for a in (X, W, b)))
        assert library.to_numpy(Y).tolist() == want
        wants = naive.dense_backward(want, library.to_numpy(X).tolist(), library.to_numpy(W).tolist())
        for got, expected in zip((gX, *g), wants, strict=True):
            assert library.to_numpy(got).tolist() == expected

    def test_starts_with_the_spread_it_promises(self):
        """W ~ N(0, gain²/k): 64 000 draws have a standard deviation within 5 of its own, 1/√(2n), of that."""
        W, b = dense.init(np.random.default_rng(0), 640, 100, gain=3.0)
        assert not b.any()
        assert abs(W.std() / 0.3 - 1) < 5 / math.sqrt(2 * W.size)
        assert abs(W.mean()) < 5 * 0.3 / math.sqrt(W.size)
        assert dense.init(np.random.default_rng(0), 2, 2, dtype=np.float32).W.dtype == np.float32

    def test_says_what_does_not_fit(self):
        layer = Dense(np.zeros((3, 2)), np.zeros(3))
        with pytest.raises(ShapeError, match=r"X has shape \(1, 5\).*k, the width of W"):
            dense.forward(np.zeros((1, 5)), layer)
        with pytest.raises(ShapeError, match="X has 1 axes"):
            dense.forward(np.zeros(2), layer)
        with pytest.raises(ShapeError, match=r"b has shape \(2,\)"):
            dense.forward(np.zeros((1, 2)), Dense(np.zeros((3, 2)), np.zeros(2)))
        with pytest.raises(DTypeError, match="promote"):
            dense.forward(np.zeros((1, 2), np.float32), layer)
        with pytest.raises(ShapeError, match=r"gY has shape \(1, 2\).*d = 3"):
            dense.backward(np.zeros((1, 2)), np.zeros((1, 2)), layer)
        with pytest.raises(ShapeError, match="batch axes differ"):
            dense.backward(np.zeros((2, 3)), np.zeros((1, 2)), layer)
        with pytest.raises(ShapeError, match="3 inputs and w has 2"):
            dense.neuron(np.zeros(3), np.zeros(2), 0.0)
        with pytest.raises(ConfigError, match="d must be"):
            dense.init(np.random.default_rng(0), 0, 2)


NAIVE = {"relu": naive.relu, "gelu": naive.gelu_tanh, "tanh": math.tanh}


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
class TestActivations:
    """[net-tanh] [net-relu] [net-gelu]"""

    def test_equals_the_scalar_formula(self, name, library):
        """A handful of operations on one number; tanh of two libraries may differ in the last place or two."""
        H = np.array([[-30.0, -3.0, -1.0, -1e-3, 0.0], [1e-9, 0.5, 1.0, 2.5, 30.0]])
        got = library.to_numpy(activations.activation(name).apply(library.asarray(H)))
        want = np.array([[NAIVE[name](h) for h in row] for row in H.tolist()])
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15)

    def test_pullback_is_the_derivative(self, name, library, rng):
        """Property 13, entry by entry: against autograd on the formula written with its own functions."""
        formula = {
            "relu": lambda h: anp.where(h > 0, h, 0.0),
            "gelu": lambda h: 0.5 * h * (1 + anp.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3))),
            "tanh": anp.tanh,
        }[name]
        H, gA = rng.normal(size=(7, 5)) * 3, rng.normal(size=(7, 5))
        want = autograd.grad(lambda h: anp.sum(gA * formula(h)))(H)
        got = activations.activation(name).pullback(library.asarray(gA), library.asarray(H))
        np.testing.assert_allclose(library.to_numpy(got), want, rtol=1e-12, atol=1e-14)

    def test_pullback_agrees_with_finite_differences(self, name, rng):
        """Central differences of step h err by h² f'''/6 + u/h: 1e-9 at h = 1e-5, away from the kink of ReLU."""
        H = rng.normal(size=200)
        H, h = H[np.abs(H) > 1e-3], 1e-5
        apply, pullback, _ = activations.activation(name)
        np.testing.assert_allclose(
            pullback(np.ones_like(H), H), (apply(H + h) - apply(H - h)) / (2 * h), rtol=0, atol=1e-9
        )

    def test_what_is_zero_stays_zero_and_nan_comes_out(self, name):
        """Zero units stay silent, which is why masking an output removes it."""
        apply = activations.activation(name).apply
        assert apply(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]
        assert np.isnan(apply(np.array([np.nan]))).all()
        assert apply(np.ones(2, np.float32)).dtype == np.float32


def test_the_tanh_form_of_gelu_is_within_5e_4_of_the_exact_one():
    """[net-gelu]: the largest difference, 4.73e-4, is a known figure of the approximation."""
    H = np.linspace(-8, 8, 4001)
    gap = np.abs(activations.gelu(H) - [naive.gelu_exact(h) for h in H.tolist()])
    assert 4.6e-4 < gap.max() < 4.8e-4


def test_an_unknown_activation_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'relu'"):
        activations.activation("rel")


class TestLosses:
    """[net-softmax] [net-cross-entropy]"""

    def test_softmax_by_hand(self):
        """Logits log 1, log 3: probabilities 1/4 and 3/4; the surprise at the first class is log 4."""
        L = np.array([[0.0, math.log(3.0)]])
        np.testing.assert_allclose(losses.softmax(L), [[0.25, 0.75]], rtol=1e-15)
        assert float(losses.cross_entropy(L, np.array([0]))) == pytest.approx(math.log(4), rel=1e-15)

    @given(
        st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=6),
        st.integers(0, 99),
    )
    def test_equal_the_plain_loops(self, rows, seed):
        """exp and log of two libraries, three terms: within a few units of the largest logit's size, 50 u."""
        L, y = np.array(rows), np.random.default_rng(seed).integers(0, 3, size=len(rows))
        np.testing.assert_allclose(
            losses.softmax(L), [naive.softmax(row) for row in rows], rtol=1e-13, atol=1e-300
        )
        want = naive.cross_entropy(rows, y.tolist())
        assert float(losses.cross_entropy(L, y)) == pytest.approx(want, rel=1e-13, abs=1e-13)

    def test_gradient_is_autograd_s(self, rng):
        L, y = rng.normal(size=(6, 4)) * 5, np.array([0, 1, 2, 3, 0, 0])

        def loss(L):
            return sum(anp.log(anp.sum(anp.exp(L[n]))) - L[n, y[n]] for n in range(6)) / 6

        np.testing.assert_allclose(
            losses.cross_entropy_gradient(L, y), autograd.grad(loss)(L), rtol=1e-12, atol=1e-15
        )
        np.testing.assert_allclose(
            losses.cross_entropy_gradient(L, y),
            autograd.grad(losses.cross_entropy)(L, y),
            rtol=1e-12,
            atol=1e-15,
        )

    def test_huge_logits_stay_finite_and_a_shift_changes_nothing(self):
        L = np.array([[1e300, -1e300, 0.0], [800.0, 800.0, -800.0]])
        assert losses.softmax(L).tolist() == [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]
        assert float(losses.cross_entropy(L, np.array([0, 0]))) == pytest.approx(math.log(2) / 2)
        small = np.array([[1.0, 2.0, 4.0]])
        assert losses.softmax(small + 1024.0).tolist() == losses.softmax(small).tolist()

    def test_runs_on_every_library(self, library):
        L, y = library.asarray(np.array([[1.0, 2.0], [3.0, 0.0]])), library.asarray(np.array([1, 1]))
        assert float(losses.cross_entropy(L, y)) == pytest.approx(
            naive.cross_entropy([[1.0, 2.0], [3.0, 0.0]], [1, 1]), rel=1e-14
        )
        gL = library.to_numpy(losses.cross_entropy_gradient(L, y))
        assert gL.sum(axis=1) == pytest.approx([0.0, 0.0], abs=1e-15)
        assert losses.accuracy(L, y) == 0.5

    def test_nan_comes_out(self):
        assert math.isnan(float(losses.cross_entropy(np.array([[np.nan, 0.0]]), np.array([1]))))

    def test_says_what_does_not_fit(self):
        L = np.zeros((2, 3))
        with pytest.raises(ShapeError, match="2 rows and y has 3"):
            losses.cross_entropy(L, np.array([0, 1, 2]))
        with pytest.raises(ConfigError, match="from 0 to 3, expected 0 to 2"):
            losses.cross_entropy(L, np.array([0, 3]))
        with pytest.raises(ConfigError, match="from -1"):
            losses.accuracy(L, np.array([0, -1]))
        with pytest.raises(DTypeError, match="one-hot"):
            losses.cross_entropy(L, np.zeros(2))
        with pytest.raises(ShapeError, match="at least one"):
            losses.accuracy(np.zeros((0, 3)), np.zeros(0, int))
        with pytest.raises(ShapeError, match="L has 1 axes"):
            losses.softmax(np.zeros(3))


def test_fractions_show_the_layer_without_rounding():
    """The loops that the layer is held to, by hand: [1/3 · 3 + 1/2] = 3/2."""
    assert naive.dense([[Fraction(3)]], [[Fraction(1, 3)]], [Fraction(1, 2)]) == [[Fraction(3, 2)]]
