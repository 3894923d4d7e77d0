"""(IA)³: outputs or inputs multiplied by trained numbers, and taking them out of a merged weight again."""

import numpy as np
import pytest
from autograd import grad
from hypothesis import given
from hypothesis import strategies as st

from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.errors import (
    ConfigError,
    DTypeError,
    NonFiniteError,
    NotInvertibleError,
    OverflowInMergeError,
    ShapeError,
)
from lora_np.methods import ia3
from lora_np.methods.ia3 import Ia3Params
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import methods_products as naive

BOTH = pytest.mark.parametrize("feedforward", [False, True])
SIZE = st.sampled_from([1, 2, 5])


@st.composite
def layers(draw, kinds=("integers", "normal")):
    """X, W0, p, gY, bias and where l stands."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind, dtype = draw(st.sampled_from(kinds)), draw(st.sampled_from([np.float64, np.float32]))
    N, d, k, feedforward = draw(st.sampled_from([0, 1, 3])), draw(SIZE), draw(SIZE), draw(st.booleans())

    def fill(*shape):
        x = rng.integers(-4, 5, size=shape) if kind == "integers" else rng.normal(size=shape)
        return x.astype(dtype)

    p = Ia3Params(fill(k if feedforward else d))
    return fill(N, k), fill(d, k), p, fill(N, d), fill(d), feedforward


def gradients(X, W0, p, gY, bias, feedforward):
    _, H = ia3.forward(X, W0, p, feedforward=feedforward, bias=bias)
    gX, g = ia3.backward(gY, X, H, W0, p, feedforward=feedforward)
    return {"X": gX, "l": g.l}


class TestAgainstLoops:
    @given(layers())
    def test_every_number(self, layer):
        """[ia3-output] [ia3-input] [ia3-grad]  Property 78: exact on small integers, within 16 u on others.

        The loss is linear in each factor, so a difference of two exact values is the gradient.
        """
        X, W0, p, gY, bias, feedforward = layer
        exact = {"X": fractions_of(X), "l": fractions_of(p.l)}
        base, upstream, b = fractions_of(W0), fractions_of(gY), fractions_of(bias)
        level = 0 if all((x == np.rint(x)).all() for x in (X, W0, p.l, gY, bias)) else GOLD
        aX, aW0, q, agY, abias = abs(X), abs(W0), Ia3Params(abs(p.l)), abs(gY), abs(bias)
        Y, _ = ia3.forward(X, W0, p, feedforward=feedforward, bias=bias)
        assert Y.dtype == X.dtype
        assert Y.shape == gY.shape
        if not len(X):
            return

        def output(t):
            return naive.ia3(t["X"], base, t["l"], b, feedforward=feedforward)

        size, _ = ia3.forward(aX, aW0, q, feedforward=feedforward, bias=abias)
        assert exact_error_in_u(Y, output(exact), size) <= level
        got = gradients(X, W0, p, gY, bias, feedforward)
        bounds = gradients(aX, aW0, q, agY, abias, feedforward)
        for name, x in exact.items():
            want = naive.linear_gradient(lambda t, n=name: naive.loss(upstream, output({**exact, n: t})), x)
            assert exact_error_in_u(got[name], want, bounds[name]) <= level, name

    @given(layers())
    def test_the_merged_layer_is_the_layer(self, layer):
        """[ia3-merge]  Weight and bias together; the weight's entries are correctly rounded products."""
        X, W0, p, _, bias, feedforward = layer
        W = ia3.merge(W0, p, feedforward=feedforward)
        b = ia3.merge_bias(bias, p, feedforward=feedforward)
        place = (lambda i, j: p.l[j]) if feedforward else (lambda i, j: p.l[i])
        assert all(W[i, j] == place(i, j) * W0[i, j] for i, j in np.ndindex(W.shape))
        Y, _ = ia3.forward(X, W0, p, feedforward=feedforward, bias=bias)
        size, _ = ia3.forward(abs(X), abs(W0), Ia3Params(abs(p.l)), feedforward=feedforward, bias=abs(bias))
        assert error_in_u(X @ W.T + b, Y, size) <= GOLD


@BOTH
def test_gradients_agree_with_autograd(feedforward, rng):
    """[ia3-grad]  On sizes that are all different."""
    X, W0, gY, bias = (rng.normal(size=s) for s in ((7, 5), (4, 5), (7, 4), (4,)))
    p = Ia3Params(rng.normal(size=5 if feedforward else 4))

    def loss(X, factors):
        return (gY * ((X * factors) @ W0.T + bias if feedforward else factors * (X @ W0.T + bias))).sum()

    bounds = gradients(abs(X), abs(W0), Ia3Params(abs(p.l)), abs(gY), abs(bias), feedforward)
    wants = dict(zip(("X", "l"), grad(loss, argnum=(0, 1))(X, p.l), strict=True))
    for name, got in gradients(X, W0, p, gY, bias, feedforward).items():
        assert error_in_u(got, wants[name], bounds[name]) <= 2 * GOLD


class TestIdentities:
    @BOTH
    def test_ones_change_nothing(self, feedforward, rng):
        """[ia3-output] [ia3-input]  Property 78: bit for bit."""
        X, W0, bias = rng.normal(size=(3, 5)), rng.normal(size=(4, 5)), rng.normal(size=4)
        p = ia3.init(4, 5, feedforward=feedforward)
        assert p.l.shape == (5 if feedforward else 4,)
        assert (ia3.forward(X, W0, p, feedforward=feedforward, bias=bias)[0] == X @ W0.T + bias).all()
        assert (ia3.merge(W0, p, feedforward=feedforward) == W0).all()
        assert ia3.init(2, 2, feedforward=feedforward, dtype=np.float32).l.dtype == np.float32

    def test_the_bias_is_scaled_with_the_output_only(self):
        """[ia3-output] [ia3-input] [ia3-merge]  Property 78: at x = 0 the output is l b, or b."""
        p, b = Ia3Params(np.array([3.0, 5.0])), np.array([1.0, 2.0])
        zero, W0 = np.zeros((1, 2)), np.eye(2)
        assert (ia3.forward(zero, W0, p, feedforward=False, bias=b)[0] == [[3.0, 10.0]]).all()
        assert (ia3.forward(zero, W0, p, feedforward=True, bias=b)[0] == [[1.0, 2.0]]).all()
        assert ia3.merge_bias(b, p, feedforward=True) is b

    @BOTH
    def test_leading_axes_are_batch_axes(self, feedforward, rng):
        """[ia3-grad]"""
        X, W0, gY = (rng.integers(-4, 5, size=s).astype(float) for s in ((6, 3), (3, 3), (6, 3)))
        p = Ia3Params(np.array([1.0, 2.0, 3.0]))
        deep = gradients(X.reshape(2, 3, 3), W0, p, gY.reshape(2, 3, 3), None, feedforward)
        flat = gradients(X, W0, p, gY, None, feedforward)
        assert (deep["X"].reshape(6, 3) == flat["X"]).all()
        assert (deep["l"] == flat["l"]).all()


class TestComingBack:
    @BOTH
    @pytest.mark.parametrize("size", [1.0, 1e-3, 1e-8, -1e-8])
    def test_dividing_costs_one_rounding_each_way(self, feedforward, size, rng):
        """[ia3-merge]  Within 4 u for factors of any size and sign; adding 1e-8 to them would be 100 % off."""
        W0, bias = rng.normal(size=(4, 5)), rng.normal(size=4)
        p = Ia3Params(size * rng.uniform(0.5, 2, size=5 if feedforward else 4))
        back = ia3.unmerge(ia3.merge(W0, p, feedforward=feedforward), p, feedforward=feedforward)
        assert error_in_u(back, W0, abs(W0)) <= 4
        b = ia3.unmerge_bias(ia3.merge_bias(bias, p, feedforward=feedforward), p, feedforward=feedforward)
        assert error_in_u(b, bias, abs(bias)) <= 4

    @BOTH
    def test_a_zero_factor_cannot_be_undone(self, feedforward):
        """[ia3-merge]  It says where, and what to do."""
        p, W = Ia3Params(np.array([1.0, 0.0, -0.0])), np.ones((3, 3))
        with pytest.raises(NotInvertibleError, match=r"index 1 \(2 of 3.*keep a snapshot"):
            ia3.unmerge(W, p, feedforward=feedforward)
        if not feedforward:
            with pytest.raises(NotInvertibleError, match="keep a snapshot"):
                ia3.unmerge_bias(W[0], p, feedforward=False)


@BOTH
def test_every_library_gives_the_same_bits(library, feedforward, rng):
    """[ia3-output] [ia3-input] [ia3-grad] [ia3-merge]  Same library out, arguments untouched."""
    X, W0, gY, bias = (rng.integers(-4, 5, size=s).astype(float) for s in ((4, 3), (2, 3), (4, 2), (2,)))
    p = Ia3Params(2.0 ** np.arange(3 if feedforward else 2))

    def everything(X, W0, p, gY, bias):
        word = {"feedforward": feedforward}
        Y, H = ia3.forward(X, W0, p, bias=bias, **word)
        gX, g = ia3.backward(gY, X, H, W0, p, **word)
        W, b = ia3.merge(W0, p, **word), ia3.merge_bias(bias, p, **word)
        return [Y, gX, *g, W, b, ia3.unmerge(W, p, **word), ia3.unmerge_bias(b, p, **word)]

    theirs = [library.asarray(x) for x in (X, W0, p.l, gY, bias)]
    got = everything(theirs[0], theirs[1], Ia3Params(theirs[2]), theirs[3], theirs[4])
    for one, other in zip(everything(X, W0, p, gY, bias), got, strict=True):
        assert type(other) is type(theirs[0])
        assert (library.to_numpy(other) == one).all()
    assert (library.to_numpy(theirs[1]) == W0).all()


def test_bad_input_is_named(rng):
    """[ia3-output] [ia3-input]"""
    X, W0, gY, p = np.ones((2, 3)), np.ones((4, 3)), np.ones((2, 4)), Ia3Params(np.ones(4))
    cases = [
        (ConfigError, r"tensors \(l\)", lambda: ia3.forward(X, W0, (), feedforward=False)),
        (ConfigError, "bool required", lambda: ia3.forward(X, W0, p, feedforward="false")),
        (ShapeError, "l has shape", lambda: ia3.forward(X, W0, p, feedforward=True)),
        (ShapeError, "H has shape", lambda: ia3.backward(gY, X, X, W0, p, feedforward=False)),
        (ShapeError, "batch axes", lambda: ia3.backward(gY, X, gY[:1], W0, p, feedforward=False)),
        (DTypeError, "l is float32", lambda: ia3.merge(W0, Ia3Params(p.l.astype("f4")), feedforward=False)),
        (ShapeError, "l has shape", lambda: ia3.merge_bias(gY[0][:2], p, feedforward=False)),
        (ShapeError, "bias has 2", lambda: ia3.merge_bias(gY, p, feedforward=True)),
        (NonFiniteError, "adapter's l", lambda: ia3.merge(W0, Ia3Params(p.l * np.nan), feedforward=False)),
        (
            OverflowInMergeError,
            "merging",
            lambda: ia3.merge(W0 * 1e200, Ia3Params(p.l * 1e200), feedforward=False),
        ),
        (
            OverflowInMergeError,
            "unmerging",
            lambda: ia3.unmerge(W0, Ia3Params(p.l * 1e-320), feedforward=False),
        ),
        (
            OverflowInMergeError,
            "merging",
            lambda: ia3.merge_bias(p.l * 1e200, Ia3Params(p.l * 1e200), feedforward=False),
        ),
        (ConfigError, "d must be", lambda: ia3.init(-1, 2, feedforward=True)),
    ]
    for error, words, call in cases:
        with pytest.raises(error, match=words):
            call()
