"""Networks of dense layers: every gradient against autograd and finite differences, adapters, masks, merging."""

from dataclasses import replace

import autograd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.errors import ConfigError, DTypeError, RankError, ShapeError
from lora_np.lora import LoraParams
from lora_np.lora import init as lora_init
from lora_np.nn import network
from lora_np.nn.dense import Dense
from lora_np.nn.losses import cross_entropy, cross_entropy_gradient
from lora_np.nn.network import Network, backward, forward
from tests.naive import nn as naive

WIDTHS = (5, 7, 6, 3)
ACTIVATIONS = ("relu", "gelu", "tanh")


def drawn_network(seed, *, activation="tanh", adapted=(0, 2), masked=(1,), scale=0.7):
    """A network with non-zero biases, adapters with both factors non-zero on some layers, and masks on some."""
    rng = np.random.default_rng(seed)
    net = network.init(rng, WIDTHS, activation=activation)
    layers = tuple(Dense(layer.W, rng.normal(size=layer.b.shape)) for layer in net.layers)
    adapters = [None] * 3
    for index in adapted:
        d, k = layers[index].W.shape
        adapters[index] = LoraParams(rng.normal(size=(d, 2)), rng.normal(size=(2, k)))
    masks = [rng.random(width) > 0.4 if h in masked else None for h, width in enumerate(WIDTHS[1:-1])]
    net = Network(layers, tuple(adapters), tuple(masks), scale=scale, activation=activation)
    return net, rng.normal(size=(4, WIDTHS[0])), rng.integers(0, 3, size=4), rng


def arrays_of(net):
    """Every parameter, flat, and the function that puts such a list back."""
    adapters = [index for index, p in enumerate(net.adapters) if p is not None]
    flat = [a for layer in net.layers for a in layer] + [a for index in adapters for a in net.adapters[index]]

    def put(values):
        L, found = len(net.layers), [None] * len(net.layers)
        for place, index in enumerate(adapters):
            found[index] = LoraParams(*values[2 * L + 2 * place : 2 * L + 2 * place + 2])
        layers = tuple(Dense(*values[2 * i : 2 * i + 2]) for i in range(L))
        return replace(net, layers=layers, adapters=tuple(found))

    return flat, put


def our_gradients(net, X, y):
    """The input's gradient and every parameter's, in the order of `arrays_of`."""
    trace = forward(X, net)
    signals = backward(cross_entropy_gradient(trace.logits, y), trace, net)
    dense = [a for X_l, gY in zip(trace.X, signals.gY, strict=True) for a in (gY.T @ X_l, gY.sum(axis=0))]
    return [signals.gX[0], *dense, *(a for g in signals.adapters if g is not None for a in g)]


def assert_close(got, want, tolerance):
    """Within a tolerance relative to the largest entry, which must not vanish."""
    size = np.abs(want).max()
    assert size > 1e-4, "a vanishing gradient would pass whatever the code"
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= tolerance * size


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("adapted", "masked"), [((), ()), ((0, 1, 2), ()), ((0, 2), (1,)), ((1,), (0, 1))])
class TestGradients:
    """[net-backward] [net-mask]; property 13.  With an adapter on any layer, and a mask on any hidden one."""

    def test_are_autograd_s(self, activation, adapted, masked):
        """Autograd differentiates the loss through its own rules; only products of the same sizes differ: 1e-12."""
        net, X, y, _ = drawn_network(3, activation=activation, adapted=adapted, masked=masked)
        flat, put = arrays_of(net)

        def loss(*values):
            return cross_entropy(forward(values[0], put(values[1:])).logits, y)

        wants = [autograd.grad(loss, argnum=i)(X, *flat) for i in range(len(flat) + 1)]
        for got, want in zip(our_gradients(net, X, y), wants, strict=True):
            assert_close(got, want, 1e-12)

    def test_agree_with_finite_differences_of_the_plain_loops(self, activation, adapted, masked):
        """One random direction through all parameters at once; central differences at 1e-6 are good to 1e-7."""
        net, X, y, rng = drawn_network(4, activation=activation, adapted=adapted, masked=masked)
        flat, put = arrays_of(net)
        direction = [rng.normal(size=a.shape) for a in (X, *flat)]

        def loss(t):
            moved = [a + t * v for a, v in zip((X, *flat), direction, strict=True)]
            return naive.cross_entropy(logits_in_loops(moved[0], put(moved[1:])), y.tolist())

        got = sum(float((g * v).sum()) for g, v in zip(our_gradients(net, X, y), direction, strict=True))
        want = (loss(1e-6) - loss(-1e-6)) / 2e-6
        assert abs(want) > 1e-3
        assert got == pytest.approx(want, rel=1e-6)


def logits_in_loops(X, net):
    """The network's logits by plain loops."""
    layers = [(layer.W.tolist(), layer.b.tolist()) for layer in net.layers]
    adapters = [None if p is None else (p.B.tolist(), p.A.tolist()) for p in net.adapters]
    masks = [None if m is None else [int(v) for v in m] for m in net.masks]
    return naive.network(np.asarray(X).tolist(), layers, adapters, masks, net.scale, net.activation)


class TestForward:
    @given(seed=st.integers(0, 10_000), activation=st.sampled_from(ACTIVATIONS))
    def test_equals_the_plain_loops(self, seed, activation):
        """Properties 12 and 13.  [net-lora-distributed] [net-mask] [net-tanh]: rounding only, 1e-12 of the largest."""
        net, X, _, _ = drawn_network(seed, activation=activation)
        want = np.array(logits_in_loops(X, net))
        assert np.abs(forward(X, net).logits - want).max() <= 1e-12 * np.abs(want).max()

    def test_one_tanh_layer_is_the_seed_s_formula(self):
        """Property 13.  [net-tanh]: Y = tanh(X W + b) with the seed's W, the transpose of ours."""
        net, X, _, _ = drawn_network(5, adapted=(), masked=())
        trace = forward(X, net)
        W, b = net.layers[0].W.T, net.layers[0].b
        assert trace.X[1].tolist() == np.tanh(X @ W + b).tolist()

    def test_names_every_activation(self):
        net, X, _, _ = drawn_network(6)
        trace = forward(X, net)
        assert [x.shape for x in trace.X] == [(4, 5), (4, 7), (4, 6)]
        assert [None if z is None else z.shape for z in trace.Z] == [(4, 2), None, (4, 2)]
        assert [h.shape for h in trace.H] == [(4, 7), (4, 6), (4, 3)]
        assert trace.logits is trace.H[-1]

    def test_a_masked_unit_is_as_if_its_weights_were_zero(self):
        """[net-mask] Zeroing its row, bias and B row gives the same numbers."""
        net, X, _, _ = drawn_network(7, masked=(0,))
        (W, b), (B, A), m = net.layers[0], net.adapters[0], net.masks[0][:, None]
        zeroed = replace(
            net,
            layers=(Dense(W * m, b * m[:, 0]), *net.layers[1:]),
            adapters=(LoraParams(B * m, A), *net.adapters[1:]),
            masks=(),
        )
        assert forward(X, net).logits.tolist() == forward(X, zeroed).logits.tolist()
        assert not forward(X, net).H[0][:, ~net.masks[0]].any()

    def test_runs_on_every_library(self, library):
        """Forward and backward, with adapter and mask, equal to NumPy's to rounding (1e-13 of the largest)."""
        net, X, y, _ = drawn_network(8)
        to = library.asarray
        there = Network(
            tuple(Dense(to(W), to(b)) for W, b in net.layers),
            tuple(None if p is None else LoraParams(to(p.B), to(p.A)) for p in net.adapters),
            tuple(None if m is None else to(m) for m in net.masks),
            net.scale,
            net.activation,
        )
        trace = forward(to(X), there)
        signals = backward(cross_entropy_gradient(trace.logits, to(y)), trace, there)
        want = our_gradients(net, X, y)
        assert_close(library.to_numpy(trace.logits), forward(X, net).logits, 1e-13)
        assert_close(library.to_numpy(signals.gX[0]), want[0], 1e-13)
        assert_close(library.to_numpy(signals.adapters[2].A), want[-1], 1e-13)

    def test_element_types_stay(self):
        net, X, y, rng = drawn_network(9, adapted=(), masked=())
        single = Network(tuple(Dense(*(a.astype(np.float32) for a in layer)) for layer in net.layers))
        single = network.with_adapters(single, rng, rank=2, alpha=4)
        trace = forward(X.astype(np.float32), single)
        signals = backward(cross_entropy_gradient(trace.logits, y), trace, single)
        found = {a.dtype for a in (*trace.X, *trace.H, *signals.gX, *signals.gY, *signals.adapters[0])}
        assert found == {np.dtype(np.float32)}


class TestAdapters:
    """[net-update] [net-update-low-rank] [net-lora] [net-lora-distributed]"""

    def test_fresh_ones_change_no_output(self, rng):
        """B = 0, so the increment is exactly 0."""
        net, X, _, _ = drawn_network(10, adapted=(), masked=())
        adapted = network.with_adapters(net, rng, rank=2, alpha=4)
        assert adapted.scale == 2.0
        assert forward(X, adapted).logits.tolist() == forward(X, net).logits.tolist()

    def test_go_where_they_are_wanted_and_no_wider_than_the_layer(self, rng):
        net = network.init(rng, WIDTHS)
        adapters = network.with_adapters(net, rng, rank=4, alpha=4, layers=[1, 2]).adapters
        assert adapters[0] is None
        assert [p.B.shape for p in adapters[1:]] == [(6, 4), (3, 3)]
        with pytest.raises(ConfigError, match="layers 0 to 2, got 3"):
            network.with_adapters(net, rng, rank=1, alpha=1, layers=[3])

    @pytest.mark.parametrize("adapted", [(0,), (1,), (2,), (0, 1, 2)])
    def test_merged_they_give_the_same_outputs(self, adapted):
        """Property 12.  Y = X W + X M N + b in the seed's letters; both roads within rounding, 1e-12 of the largest."""
        net, X, _, _ = drawn_network(11, adapted=adapted)
        flat = network.merged(net)
        assert flat.adapters == (None,) * 3
        assert_close(forward(X, flat).logits, forward(X, net).logits, 1e-12)
        for index in adapted:
            W, (B, A) = net.layers[index].W, net.adapters[index]
            assert np.linalg.matrix_rank(flat.layers[index].W - W) == 2
            assert_close(flat.layers[index].W - W, net.scale * (B @ A), 1e-12)

    def test_one_adapter_s_gradient_is_the_layer_s_own(self):
        """The first layer, alone: gB = s gYᵀ X Aᵀ by hand."""
        net, X, y, _ = drawn_network(12, adapted=(0,), masked=())
        trace = forward(X, net)
        signals = backward(cross_entropy_gradient(trace.logits, y), trace, net)
        assert_close(signals.adapters[0].B, net.scale * signals.gY[0].T @ (X @ net.adapters[0].A.T), 1e-13)

    def test_frozen_arrays_are_never_written(self):
        """Property 27: the bytes of everything that went in are as before."""
        net, X, y, _ = drawn_network(13)
        flat, _ = arrays_of(net)
        before = [a.tobytes() for a in (X, y, *flat)]
        our_gradients(net, X, y)
        network.merged(net)
        assert [a.tobytes() for a in (X, y, *flat)] == before


class TestRefusals:
    def test_layers_that_do_not_chain(self, rng):
        a, b = Dense(np.zeros((4, 2)), np.zeros(4)), Dense(np.zeros((3, 5)), np.zeros(3))
        with pytest.raises(ShapeError, match=r"layer 1 has W \(3, 5\).*expected W \(d, 4\)"):
            Network((a, b))
        with pytest.raises(ConfigError, match="at least one layer"):
            Network(())
        with pytest.raises(ConfigError, match="widths"):
            network.init(rng, (4,))

    def test_adapters_and_masks_that_do_not_belong(self, rng):
        net = network.init(rng, (2, 4, 3))
        with pytest.raises(ShapeError, match="write None"):
            replace(net, adapters=(None,))
        with pytest.raises(ShapeError, match="do not fit a weight"):
            replace(net, adapters=(lora_init(rng, 5, 2, 1), None))
        with pytest.raises(RankError, match="rank"):
            replace(net, adapters=(LoraParams(np.zeros((4, 1)), np.zeros((2, 2))), None))
        with pytest.raises(ShapeError, match=r"mask 0 has shape \(3,\), expected \(d,\) = \(4,\)"):
            replace(net, masks=(np.ones(3, bool),))
        with pytest.raises(ConfigError, match="scale must be finite"):
            replace(net, scale=float("nan"))
        with pytest.raises(ConfigError, match="activation"):
            network.init(rng, (2, 4, 3), activation="sine")

    def test_inputs_and_gradients_of_another_shape_or_type(self, rng):
        net = network.init(rng, (2, 4, 3))
        with pytest.raises(ShapeError, match=r"X has shape \(1, 3\)"):
            forward(np.zeros((1, 3)), net)
        with pytest.raises(DTypeError, match="int64"):
            forward(np.zeros((1, 2), int), net)
        with pytest.raises(ShapeError, match=r"expected \(1, 3\), the logits'"):
            backward(np.zeros((1, 4)), forward(np.zeros((1, 2)), net), net)
