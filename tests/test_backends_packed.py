"""The packed layer computes what the layer does.  [lora-packed]"""

import numpy as np
import pytest
from hypothesis import given

from lora_np import lora
from lora_np.backends import packed
from lora_np.conformance.bounds import GOLD, error_in_u, forward_scale, gradient_scales
from lora_np.errors import ConfigError, DTypeError, LoraNpError, RankError, ShapeError
from lora_np.lora import LoraParams
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import lora as naive
from tests.strategies import layers


def run(layer_arrays):
    """Y, gX, gB, gA of the packed layer."""
    X, W0, p, gY, bias, scale = layer_arrays
    layer = packed.pack(W0, p, scale=scale)
    Y, XZ = packed.forward(X, layer, bias=bias)
    gX, g = packed.backward(gY, XZ, layer)
    return Y, gX, g.B, g.A


@given(layers())
def test_equals_exact_arithmetic(case):
    X, W0, p, gY, bias, scale = case
    exact = [fractions_of(x) for x in (X, W0, p.B, p.A, gY, bias, scale)]
    Y, gX, gB, gA = run(case)
    S, K = forward_scale(X, W0, p, scale, bias)
    want_Y = naive.forward(*exact[:4], exact[6], exact[5])
    assert exact_error_in_u(Y, want_Y, S, roundings=case.roundings(K)) <= GOLD
    want = naive.backward(exact[4], exact[0], exact[1], exact[2], exact[3], exact[6])
    scales = gradient_scales(gY, X, W0, p, scale)
    for name, got, true in zip(("gX", "gB", "gA"), (gX, gB, gA), want, strict=True):
        S, K = scales[name]
        assert exact_error_in_u(got, true, S, roundings=case.roundings(K)) <= GOLD, name


def example(rng, *leading):
    p = LoraParams(rng.normal(size=(7, 3)), rng.normal(size=(3, 5)))
    return rng.normal(size=(*leading, 5)), rng.normal(size=(7, 5)), p, rng.normal(size=(*leading, 7))


def test_leading_axes_are_kept_and_equal_to_the_reference(rng):
    X, W0, p, gY = example(rng, 2, 4)
    layer = packed.pack(W0, p, scale=0.7)
    Y, XZ = packed.forward(X, layer)
    gX, g = packed.backward(gY, XZ, layer)
    want, Z = lora.forward(X, W0, p, scale=0.7)
    gX_want, g_want = lora.backward(gY, X, Z, W0, p, scale=0.7)
    S, _ = forward_scale(X.reshape(8, 5), W0, p, 0.7)
    assert Y.shape == (2, 4, 7)
    assert gX.shape == (2, 4, 5)
    assert error_in_u(Y.reshape(8, 7), want.reshape(8, 7), S) <= 2 * GOLD
    scales = gradient_scales(gY.reshape(8, 7), X.reshape(8, 5), W0, p, 0.7)
    assert error_in_u(gX.reshape(8, 5), gX_want.reshape(8, 5), scales["gX"][0]) <= 2 * GOLD
    assert error_in_u(g.B, g_want.B, scales["gB"][0]) <= 2 * GOLD
    assert error_in_u(g.A, g_want.A, scales["gA"][0]) <= 2 * GOLD


def test_new_factors_replace_the_old_ones_and_the_weight_stays(rng):
    _, W0, p, _ = example(rng, 4)
    other = LoraParams(p.B + 1, p.A - 1)
    layer = packed.pack(W0, p, scale=0.7)
    assert packed.repack(layer, other) is layer
    assert (layer.M == packed.pack(W0, other, scale=0.7).M).all()
    assert (layer.M[:7, :5] == W0).all()


def test_float32_stays_float32(rng):
    X, W0, p, gY = (np.float32(x) if not isinstance(x, tuple) else x for x in example(rng, 4))
    p = LoraParams(np.float32(p.B), np.float32(p.A))
    Y, gX, gB, gA = run((X, W0, p, gY, None, 1 / 3))
    assert {x.dtype for x in (Y, gX, gB, gA)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda p: LoraParams(p.B[:, :2], p.A[:2]), ShapeError),
        (lambda p: LoraParams(p.B[:, :2], p.A), RankError),
        (lambda p: LoraParams(p.A.T, p.B.T), ShapeError),
        (lambda p: LoraParams(np.float32(p.B), np.float32(p.A)), DTypeError),
        (lambda p: None, ConfigError),
    ],
)
def test_factors_that_do_not_fit_are_refused_and_nothing_is_written(rng, spoil, error):
    _, W0, p, _ = example(rng, 4)
    layer = packed.pack(W0, p, scale=0.7)
    before = layer.M.tobytes()
    with pytest.raises(error):
        packed.repack(layer, spoil(p))
    assert layer.M.tobytes() == before


def test_rows_that_do_not_fit_are_refused(rng):
    X, W0, p, gY = example(rng, 4)
    layer = packed.pack(W0, p, scale=0.7)
    _, XZ = packed.forward(X, layer)
    for call in (
        lambda: packed.forward(gY, layer),
        lambda: packed.forward(np.float32(X), layer),
        lambda: packed.forward(X, layer, bias=np.zeros(6)),
        lambda: packed.backward(X, XZ, layer),
        lambda: packed.backward(gY, X, layer),
        lambda: packed.backward(gY[:2], XZ, layer),
        lambda: packed.pack(W0, p, scale=float("nan")),
    ):
        with pytest.raises(LoraNpError):
            call()
