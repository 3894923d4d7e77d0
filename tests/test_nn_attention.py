"""Self-attention and the one-block transformer: plain loops, autograd, finite differences, and what must not change."""

import math
from dataclasses import replace

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.errors import ConfigError, DTypeError, RankError, ShapeError
from lora_np.lora import LoraParams
from lora_np.nn import attention, transformer
from lora_np.nn.dense import Dense
from lora_np.nn.losses import cross_entropy, cross_entropy_gradient
from lora_np.nn.transformer import LAYERS, MATRICES, Transformer
from tests.naive import attention as naive
from tests.naive import nn as naive_nn

U = 2.0**-53
SIDES = {"tokens": 5, "pixels": 3, "width": 6, "hidden": 7, "classes": 4, "heads": 2}


def rounding(n):
    """n roundings in a row, each of half a unit in the last place of the largest entry.

    Attention on T tokens and d/h columns makes 2 (d/h) for a score, T for the softmax's sum, 2 T for the mixture, and a
    handful of exp, shift and division; softmax multiplies an error of a score by the score's size, here below 16.
    """
    return n * U


def drawn(seed, N=2, T=5, d=6):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(N, T, d)) for _ in range(4)]


def assert_close(got, want, tolerance):
    """Within a tolerance relative to the largest entry, which must not vanish."""
    got, want = np.asarray(got), np.asarray(want)
    size = np.abs(want).max()
    assert size > 1e-6, "a vanishing gradient would pass whatever the code"
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tolerance * size


# ---- attention alone -----------------------------------------------------------------------------------------


class TestAttention:
    def test_by_hand(self):
        """[net-attention]  One head, one column: scores log 3 and 0 give shares 3/4 and 1/4, so 0.75·8 + 0.25·4 = 7."""
        Q, K, V = (np.array([[[a], [b]]]) for a, b in ((1.0, 0.0), (math.log(3.0), 0.0), (8.0, 4.0)))
        Y, P = attention.forward(Q, K, V, heads=1)
        np.testing.assert_allclose(P[0, 0], [[0.75, 0.25], [0.5, 0.5]], rtol=4 * U)
        np.testing.assert_allclose(Y[0, :, 0], [7.0, 6.0], rtol=8 * U)

    @given(seed=st.integers(0, 10_000), heads=st.sampled_from([1, 2, 3, 6]))
    def test_equals_the_plain_loops(self, seed, heads):
        """[net-attention]  Token by token, head by head."""
        Q, K, V, _ = drawn(seed)
        want = [
            naive.attention(q, k, v, heads)
            for q, k, v in zip(Q.tolist(), K.tolist(), V.tolist(), strict=True)
        ]
        assert_close(attention.forward(Q, K, V, heads=heads)[0], want, rounding(16 * (12 + 3 * 5)))

    @pytest.mark.parametrize("heads", [1, 2, 3])
    def test_the_gradients_are_autograd_s(self, heads):
        """[net-attention-backward]  The formula written again with einsum, one head at a time, and differentiated."""
        Q, K, V, gY = drawn(1)
        width = 6 // heads

        def loss(Q, K, V):
            total = 0.0
            for h in range(heads):
                q, k, v, g = (M[:, :, h * width : (h + 1) * width] for M in (Q, K, V, gY))
                powers = anp.exp(anp.einsum("ntc,nuc->ntu", q, k) / math.sqrt(width))
                shares = powers / anp.sum(powers, axis=2, keepdims=True)
                total = total + anp.sum(g * anp.einsum("ntu,nuc->ntc", shares, v))
            return total

        _, P = attention.forward(Q, K, V, heads=heads)
        found = attention.backward(gY, Q, K, V, P, heads=heads)
        for argnum, got in enumerate(found):
            assert_close(got, autograd.grad(loss, argnum)(Q, K, V), rounding(16 * 60))

    def test_the_gradients_agree_with_finite_differences_of_the_loops(self, rng):
        """[net-attention-backward]  One direction through all three; central differences at 1e-6 are good to 1e-8."""
        Q, K, V, gY = drawn(2, N=1)
        moves = [rng.normal(size=Q.shape) for _ in range(3)]

        def loss(t):
            moved = [(M + t * v)[0].tolist() for M, v in zip((Q, K, V), moves, strict=True)]
            return float((gY[0] * np.array(naive.attention(*moved, 2))).sum())

        _, P = attention.forward(Q, K, V, heads=2)
        found = attention.backward(gY, Q, K, V, P, heads=2)
        got = sum(float((g * v).sum()) for g, v in zip(found, moves, strict=True))
        assert got == pytest.approx((loss(1e-6) - loss(-1e-6)) / 2e-6, rel=1e-7)

    def test_the_order_of_the_tokens_does_not_matter(self, rng):
        """[net-attention]  Tokens permuted before are tokens permuted after: only positions tell them apart."""
        Q, K, V, _ = drawn(3)
        order = rng.permutation(5)
        mixed = attention.forward(*(M[:, order] for M in (Q, K, V)), heads=2)[0]
        assert_close(mixed, attention.forward(Q, K, V, heads=2)[0][:, order], rounding(100))

    def test_one_vector_added_to_all_keys_changes_nothing(self):
        """[net-attention]  It adds the same to all scores of a query: so the bias of k has gradient 0."""
        Q, K, V, gY = drawn(4)
        Y, P = attention.forward(Q, K, V, heads=3)
        assert_close(attention.forward(Q, K + 1.5, V, heads=3)[0], Y, rounding(500))
        gK = attention.backward(gY, Q, K, V, P, heads=3)[1]
        assert np.abs(gK.sum(axis=1)).max() <= rounding(200) * np.abs(gK).max()

    def test_huge_scores_stay_finite(self):
        Q = K = np.full((1, 2, 2), 1e150) * np.array([[[1.0], [-1.0]]])
        Y, P = attention.forward(Q, K, np.array([[[1.0, 2.0], [3.0, 4.0]]]), heads=1)
        assert Y.tolist() == [[[1.0, 2.0], [3.0, 4.0]]]
        assert P.tolist() == [[[[1.0, 0.0], [0.0, 1.0]]]]

    def test_runs_on_every_library(self, library):
        Q, K, V, gY = drawn(5)
        to = library.asarray
        Y, P = attention.forward(to(Q), to(K), to(V), heads=2)
        there = attention.backward(to(gY), to(Q), to(K), to(V), P, heads=2)
        Y_here, P_here = attention.forward(Q, K, V, heads=2)
        here = attention.backward(gY, Q, K, V, P_here, heads=2)
        assert_close(library.to_numpy(Y), Y_here, rounding(100))
        for got, want in zip(there, here, strict=True):
            assert_close(library.to_numpy(got), want, rounding(200))

    def test_says_what_does_not_fit(self):
        Q = np.zeros((2, 3, 4))
        with pytest.raises(ConfigError, match="heads = 3 cannot share d = 4"):
            attention.forward(Q, Q, Q, heads=3)
        with pytest.raises(ShapeError, match="one shape"):
            attention.forward(Q, Q[:1], Q, heads=1)
        with pytest.raises(ShapeError, match="Q has 2 axes"):
            attention.forward(Q[0], Q, Q, heads=1)
        with pytest.raises(DTypeError, match="V is float32"):
            attention.forward(Q, Q, Q.astype(np.float32), heads=1)


# ---- the block -------------------------------------------------------------------------------------------------


def drawn_net(seed, targets=("q", "o", "1"), dtype=np.float64):
    """A transformer with non-zero biases, and adapters with both factors non-zero."""
    rng = np.random.default_rng(seed)
    net = transformer.init(rng, **SIDES)
    layers = {name: Dense(W, rng.normal(size=b.shape)) for name, (W, b) in net.layers.items()}
    adapters = {}
    for name in targets:
        d, k = layers[name].W.shape
        adapters[name] = LoraParams(rng.normal(size=(d, 2)), rng.normal(size=(2, k)))
    net = replace(net, layers=layers, adapters=adapters, scale=0.7)
    return net, rng.normal(size=(3, 5, 3)), rng.integers(0, 4, size=3), rng


def logits_in_loops(X, net):
    """Picture by picture, with the increment multiplied out."""
    layers = {name: (W.tolist(), b.tolist()) for name, (W, b) in net.layers.items()}
    adapters = {name: (p.B.tolist(), p.A.tolist()) for name, p in net.adapters.items()}
    rest = (net.position.tolist(), adapters, net.scale, net.heads)
    return [naive.transformer(picture, layers, *rest) for picture in np.asarray(X).tolist()]


def arrays_of(net):
    """Every array of a network, flat, and the function that puts such a list back."""
    flat = [*(a for layer in net.layers.values() for a in layer), net.position]
    flat += [a for p in net.adapters.values() for a in p]

    def put(values):
        L = 2 * len(LAYERS)
        layers = {name: Dense(*values[2 * i : 2 * i + 2]) for i, name in enumerate(LAYERS)}
        adapters = {
            name: LoraParams(*values[L + 1 + 2 * i : L + 3 + 2 * i]) for i, name in enumerate(net.adapters)
        }
        return replace(net, layers=layers, position=values[L], adapters=adapters)

    return flat, put


def our_gradients(net, X, y):
    """The input's gradient, and every array's, in the order of `arrays_of`."""
    trace = transformer.forward(X, net)
    signals = transformer.backward(cross_entropy_gradient(trace.logits, y), trace, net)
    own = [a for name in LAYERS for a in transformer.gradient(name, trace, signals)]
    assert list(signals.adapters) == list(net.adapters)
    return [signals.gX, *own, signals.position, *(a for p in signals.adapters.values() for a in p)]


TARGETS = [(), MATRICES, ("v",), ("2", "q"), ("o", "k", "1")]


class TestBlock:
    @given(seed=st.integers(0, 10_000), targets=st.sampled_from(TARGETS))
    def test_equals_the_plain_loops(self, seed, targets):
        """[net-block] [net-attention] [net-lora-distributed]  About 200 roundings in a row."""
        net, X, _, _ = drawn_net(seed, targets)
        assert_close(transformer.forward(X, net).logits, logits_in_loops(X, net), 1e-12)

    @pytest.mark.parametrize("targets", TARGETS)
    def test_the_gradients_are_autograd_s(self, targets):
        """[net-block-backward] [net-attention-backward]  Property 13.  Autograd's own rules."""
        net, X, y, _ = drawn_net(11, targets)
        flat, put = arrays_of(net)

        def loss(*values):
            return cross_entropy(transformer.forward(values[0], put(values[1:])).logits, y)

        k_bias = 2 * LAYERS.index("k") + 2
        for argnum, got in enumerate(our_gradients(net, X, y)):
            if argnum == k_bias:  # one vector added to all keys changes nothing
                assert np.abs(got).max() < 1e-15
            else:
                assert_close(got, autograd.grad(loss, argnum)(X, *flat), 1e-12)

    @pytest.mark.parametrize("targets", TARGETS)
    def test_the_gradients_agree_with_finite_differences_of_the_loops(self, targets):
        """[net-block-backward]  One random direction through all arrays; central differences at 1e-6: 1e-6."""
        net, X, y, rng = drawn_net(12, targets)
        flat, put = arrays_of(net)
        direction = [rng.normal(size=a.shape) for a in (X, *flat)]

        def loss(t):
            moved = [a + t * v for a, v in zip((X, *flat), direction, strict=True)]
            return naive_nn.cross_entropy(logits_in_loops(moved[0], put(moved[1:])), y.tolist())

        got = sum(float((g * v).sum()) for g, v in zip(our_gradients(net, X, y), direction, strict=True))
        want = (loss(1e-6) - loss(-1e-6)) / 2e-6
        assert abs(want) > 1e-3
        assert got == pytest.approx(want, rel=1e-6)

    def test_runs_on_every_library(self, library):
        net, X, y, _ = drawn_net(13)
        to = library.asarray
        there = Transformer(
            {name: Dense(*map(to, layer)) for name, layer in net.layers.items()},
            to(net.position),
            {name: LoraParams(*map(to, p)) for name, p in net.adapters.items()},
            net.scale,
            net.heads,
        )
        for got, want in zip(our_gradients(there, to(X), to(y)), our_gradients(net, X, y), strict=True):
            assert np.abs(library.to_numpy(got) - want).max() <= 1e-13 * max(1.0, np.abs(want).max())

    def test_fresh_adapters_change_nothing_to_the_bit(self, rng):
        """[net-lora]  B = 0: the outputs are the frozen network's."""
        net, X, _, _ = drawn_net(14, ())
        for targets in TARGETS[1:]:
            adapted = transformer.with_adapters(net, rng, targets, rank=2, alpha=8)
            assert tuple(adapted.adapters) == tuple(targets)
            assert adapted.scale == 4.0
            assert (
                transformer.forward(X, adapted).logits.tolist() == transformer.forward(X, net).logits.tolist()
            )

    def test_single_precision_stays_single(self):
        rng = np.random.default_rng(0)
        net = transformer.init(rng, **SIDES, dtype=np.float32)
        net = transformer.with_adapters(net, rng, ("q", "2"), rank=1, alpha=2)
        X, y = rng.normal(size=(2, 5, 3)).astype(np.float32), np.array([0, 3])
        assert {g.dtype for g in our_gradients(net, X, y)} == {np.dtype(np.float32)}

    def test_a_network_cannot_be_changed_through_what_it_was_made_of(self):
        net, _, _, _ = drawn_net(15)
        layers, adapters = dict(net.layers), dict(net.adapters)
        other = replace(net, layers=layers, adapters=adapters)
        layers.clear()
        adapters.clear()
        assert tuple(other.layers) == LAYERS
        assert tuple(other.adapters) == ("q", "o", "1")
        with pytest.raises(TypeError):
            other.layers["q"] = None  # type: ignore[index]

    def test_says_what_does_not_fit(self, rng):
        net, X, _, _ = drawn_net(16)
        with pytest.raises(ConfigError, match="layers must be embed, q"):
            replace(net, layers={"q": net.layers["q"]})
        with pytest.raises(ShapeError, match="o has W"):
            replace(net, layers={**net.layers, "o": Dense(np.zeros((6, 5)), np.zeros(6))})
        with pytest.raises(ShapeError, match="2 has W"):
            replace(net, layers={**net.layers, "1": Dense(np.zeros((9, 6)), np.zeros(9))})
        with pytest.raises(ShapeError, match="as high as W"):
            replace(net, layers={**net.layers, "head": Dense(np.zeros((4, 6)), np.zeros(5))})
        with pytest.raises(ShapeError):
            replace(net, adapters={"q": LoraParams(np.zeros((6, 1)), np.zeros((1, 5)))})
        with pytest.raises(ConfigError, match="adapter's name"):
            replace(net, adapters={"embed": LoraParams(np.zeros((6, 1)), np.zeros((1, 3)))})
        with pytest.raises(ConfigError, match="targets"):
            transformer.with_adapters(net, rng, ("head",), rank=1, alpha=1)
        with pytest.raises((ConfigError, RankError)):
            transformer.with_adapters(net, rng, ("q",), rank=0, alpha=1)
        with pytest.raises(ShapeError, match="X has 2 axes"):
            transformer.forward(X[0], net)
        with pytest.raises(ShapeError, match="X has"):
            transformer.forward(X[:, :, :2], net)
        trace = transformer.forward(X, net)
        with pytest.raises(ShapeError, match="gL has shape"):
            transformer.backward(np.zeros((3, 5)), trace, net)
