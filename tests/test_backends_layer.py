"""The compiled layer and the rank-r update against exact sums, plain Python and the reference."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given

from lora_np import lora
from lora_np.backends import REFERENCE, get_backend
from lora_np.conformance.bounds import GOLD, error_in_u, forward_scale, gradient_scales, merge_scale
from lora_np.errors import BufferError_, ConfigError, DTypeError, LoraNpError, RankError, ShapeError
from lora_np.lora import LoraParams
from tests.backend_kernels import as_python
from tests.strategies import layers

pytest.importorskip("numba")
NUMBA = get_backend("numba")
WIDE = np.longdouble
both_ways = pytest.mark.parametrize("plain", [False, True], ids=["compiled", "py_func"])


def wide(*arrays):
    return [np.asarray(x, dtype=WIDE) for x in arrays]


def check_layer(backend, layer, roundings=lambda K: 0):
    """Hold forward and backward in both forms to the weight written out in extended precision."""
    X, W0, p, gY, bias, s = layer
    x, w, b, a, g, c = wide(X, W0, *p, gY, bias)
    W = w + WIDE(s) * (b @ a)
    Y, Z = backend.forward(X, W0, p, scale=s, bias=bias)
    Y1, W1 = backend.forward_via_weight(X, W0, p, scale=s, bias=bias)
    gX, gp = backend.backward(gY, X, Z, W0, p, scale=s)
    gW = g.T @ x
    forward, gradients = forward_scale(X, W0, p, s, bias), gradient_scales(gY, X, W0, p, s)
    for name, got, want, (S, K) in (
        ("Y", Y, x @ W.T + c, forward),
        ("Y by the weight", Y1, x @ W.T + c, forward),
        ("W", W1, W, merge_scale(W0, p, s)),
        ("gX", gX, g @ W, gradients["gX"]),
        ("gB", gp.B, WIDE(s) * (gW @ a.T), gradients["gB"]),
        ("gA", gp.A, WIDE(s) * (b.T @ gW), gradients["gA"]),
    ):
        assert got.dtype == X.dtype
        assert error_in_u(got, want, S, roundings=roundings(3 * K)) <= GOLD, name


@both_ways
@given(layer=layers())
def test_every_layout_magnitude_and_shape_is_within_the_bound(plain, layer):
    """[lora-2] [grad-2] [lora-1]: as the reference, also uncompiled."""
    with as_python(plain):
        check_layer(NUMBA, layer, layer.roundings)


def large_layer(rng, N=37, d=1500, k=1101, r=7, dtype=np.float32):
    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    return draw(N, k), draw(d, k), LoraParams(draw(d, r), draw(r, k)), draw(N, d), draw(d), 0.3


@pytest.mark.parametrize("r", [1, 4, 7, 31, 32, 33])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sizes_that_cross_tiles_threads_and_the_rank_of_blas(rng, r, dtype):
    check_layer(NUMBA, large_layer(rng, r=r, dtype=dtype))


def test_the_check_notices_a_kernel_that_is_wrong_by_a_thousandth(rng):
    def wrong(*args, **kwargs):
        Y, Z = NUMBA.forward(*args, **kwargs)
        return Y * np.float32(1.001), Z

    with pytest.raises(AssertionError):
        check_layer(NUMBA._replace(forward=wrong), large_layer(rng))


def test_the_check_notices_a_missing_scale(rng):
    def wrong(gY, X, Z, W0, p, *, scale):
        return NUMBA.backward(gY, X, Z, W0, p, scale=1.0)

    with pytest.raises(AssertionError):
        check_layer(NUMBA._replace(backward=wrong), large_layer(rng))


@pytest.mark.parametrize("shape", [(2, 3, 4), (4,), (0, 4), (2, 0, 4)])
def test_leading_axes_are_those_of_the_reference(rng, shape):
    X, W0, p = rng.normal(size=shape), rng.normal(size=(5, 4)), LoraParams(np.ones((5, 2)), np.ones((2, 4)))
    for got, want in zip(NUMBA.forward(X, W0, p, scale=1.0), lora.forward(X, W0, p, scale=1.0), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-13)
    Z = X @ p.A.T
    gX, g = NUMBA.backward(np.ones((*shape[:-1], 5)), X, Z, W0, p, scale=1.0)
    assert gX.shape == X.shape
    assert [x.shape for x in g] == [x.shape for x in p]


def test_a_zero_adapter_leaves_the_frozen_output_exactly(rng):
    """Properties 4 and 5: B = 0, or A = 0."""
    X, W0, p, *_ = large_layer(rng)
    for zero in (p._replace(B=0 * p.B), p._replace(A=0 * p.A)):
        assert (NUMBA.forward(X, W0, zero, scale=2.0)[0] == X @ W0.T).all()


@both_ways
def test_a_nan_that_enters_comes_out_and_stays_in_its_row(rng, plain):
    X, W0, p, gY, _, s = large_layer(rng, N=5, d=9, k=6, r=3)
    X[3, 2] = np.nan
    with as_python(plain):
        Y, Z = NUMBA.forward(X, W0, p, scale=s)
        gX, g = NUMBA.backward(gY, X, Z, W0, p, scale=s)
    assert np.isnan(Y[3]).all()
    assert np.isfinite(np.delete(Y, 3, axis=0)).all()
    assert np.isfinite(gX).all()
    assert np.isnan(g.B).all()
    assert np.isnan(g.A[:, 2]).all()


def test_nothing_as_large_as_the_output_is_made_besides_it(rng):
    """Property 3, and leaner than the reference: beside the result, O((N + d + k) r)."""
    X, W0, p, gY, _, s = large_layer(rng, N=600, d=700, k=800, r=4)
    Y, Z = NUMBA.forward(X, W0, p, scale=s)
    tracemalloc.start()
    try:
        NUMBA.forward(X, W0, p, scale=s)
        forward = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        NUMBA.backward(gY, X, Z, W0, p, scale=s)
        backward = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    factors = 4 * (600 + 700 + 800) * X.itemsize
    assert forward < Y.nbytes + Z.nbytes + 4 * factors
    assert backward < X.nbytes + 5 * factors


def test_inputs_are_never_written(rng):
    X, W0, p, gY, bias, s = large_layer(rng, N=8, d=12, k=9)
    before = [x.tobytes() for x in (X, W0, *p, gY, bias)]
    for x in (X, W0, *p, gY, bias):
        x.flags.writeable = False
    _, Z = NUMBA.forward(X, W0, p, scale=s, bias=bias)
    NUMBA.forward_via_weight(X, W0, p, scale=s, bias=bias)
    NUMBA.backward(gY, X, Z, W0, p, scale=s)
    assert before == [x.tobytes() for x in (X, W0, *p, gY, bias)]


BAD = {
    "X too wide": lambda a: a | {"X": np.ones((2, 7))},
    "rank": lambda a: a | {"p": LoraParams(np.ones((5, 2)), np.ones((3, 4)))},
    "mixed types": lambda a: a | {"W0": np.ones((5, 4), np.float32)},
    "integers": lambda a: a | {"X": np.ones((2, 4), int)},
    "swapped": lambda a: a | {"p": LoraParams(np.ones((2, 4)), np.ones((5, 2)))},
    "NaN scale": lambda a: a | {"scale": float("nan")},
    "one axis": lambda a: a | {"W0": np.ones(4)},
    "a list": lambda a: a | {"X": [[1.0, 2.0, 3.0, 4.0]]},
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
@pytest.mark.parametrize("form", ["forward", "forward_via_weight", "backward"])
def test_errors_are_those_of_the_reference(spoil, form):
    good = {"X": np.ones((2, 4)), "W0": np.ones((5, 4)), "p": LoraParams(np.ones((5, 2)), np.ones((2, 4)))}
    arguments = spoil(good | {"scale": 1.0})
    if form == "backward":
        arguments |= {"gY": np.ones((2, 5)), "Z": np.ones((2, 2))}
    with pytest.raises(LoraNpError) as want:
        getattr(REFERENCE, form)(**arguments)
    with pytest.raises(LoraNpError) as got:
        getattr(NUMBA, form)(**arguments)
    assert type(got.value) is type(want.value)
    assert str(got.value) == str(want.value)


@pytest.mark.parametrize(
    ("gY", "Z"),
    [
        (np.ones((2, 4)), np.ones((2, 2))),
        (np.ones((3, 5)), np.ones((2, 2))),
        (np.ones((2, 5)), np.ones((2, 3))),
    ],
)
def test_backward_refuses_activations_of_another_shape(gY, Z):
    layer = np.ones((2, 4)), Z, np.ones((5, 4)), LoraParams(np.ones((5, 2)), np.ones((2, 4)))
    for backend in (REFERENCE, NUMBA):
        with pytest.raises(ShapeError):
            backend.backward(gY, *layer, scale=1.0)


def test_half_precision_and_subclasses_go_to_the_reference(rng):
    X, W0, p, *_ = large_layer(rng, N=3, d=4, k=5, r=2, dtype=np.float16)
    assert NUMBA.forward(X, W0, p, scale=1.0)[0].dtype == np.float16
    assert NUMBA.forward_via_weight(X, W0, p, scale=1.0)[0].dtype == np.float16
    gX, _ = NUMBA.backward(np.ones((3, 4), np.float16), X, X @ p.A.T, W0, p, scale=1.0)
    assert gX.dtype == np.float16


# ---- the update in place -----------------------------------------------------------------------------------

BACKENDS = pytest.mark.parametrize("backend", [REFERENCE, NUMBA], ids=lambda b: b.name)


@BACKENDS
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (5, 3, 2), (0, 3, 2), (3, 0, 2), (3, 2, 0), (64, 2048, 8), (300, 1025, 33)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_update_is_in_place_and_exact_on_small_integers(rng, backend, shape, dtype):
    """Integers and a power of two: every order of summation is exact.  [lora-2]"""
    N, d, r = shape
    Y, Z, B = (rng.integers(-4, 5, size=s).astype(dtype) for s in ((N, d), (N, r), (d, r)))
    want = Y + Z @ B.T / 2
    assert backend.add_low_rank(Y, Z, B, scale=0.5) is Y
    assert not (Y - want).any()


@BACKENDS
@pytest.mark.parametrize("step", [(1, 2), (2, 1), (1, -1)])
def test_a_strided_buffer_is_written_and_its_gaps_are_not(rng, backend, step):
    room = np.zeros((6, 8))
    Y = room[:: step[0], :: step[1]]
    Z, B = rng.integers(-3, 4, size=(Y.shape[0], 2)) * 1.0, rng.integers(-3, 4, size=(Y.shape[1], 2)) * 1.0
    backend.add_low_rank(Y, Z, B, scale=1.0)
    assert (Y == Z @ B.T).all()
    assert abs(room).sum() == abs(Z @ B.T).sum()


@BACKENDS
def test_a_read_only_buffer_is_refused_by_name(backend):
    """Bad input, row 42."""
    Y = np.ones((2, 3))
    Y.flags.writeable = False
    with pytest.raises(BufferError_, match="Y is read-only"):
        backend.add_low_rank(Y, np.ones((2, 1)), np.ones((3, 1)), scale=1.0)
    assert (Y == 1).all()


@BACKENDS
@pytest.mark.parametrize("which", ["Z", "B"])
def test_a_buffer_that_is_also_an_input_is_refused_by_name(backend, which):
    """Bad input, row 42."""
    room = np.ones((4, 4))
    inputs = {"Z": np.ones((4, 2)), "B": np.ones((4, 2))} | {which: room[:, 1:3]}
    with pytest.raises(BufferError_, match=f"Y shares memory with the input {which}"):
        backend.add_low_rank(room, *inputs.values(), scale=1.0)
    assert (room == 1).all()


@BACKENDS
def test_views_that_interleave_without_meeting_are_allowed(backend):
    room = np.ones((4, 6))
    backend.add_low_rank(room[:, :4], room[:, 4:], np.ones((4, 2)), scale=1.0)
    assert (room[:, :4] == 3).all()


@BACKENDS
@pytest.mark.parametrize(
    ("Z", "B", "scale", "error"),
    [
        (np.ones((3, 2)), np.ones((3, 2)), 1.0, ShapeError),
        (np.ones((2, 2)), np.ones((4, 2)), 1.0, ShapeError),
        (np.ones((2, 2)), np.ones((3, 3)), 1.0, (ShapeError, RankError)),
        (np.ones((2, 2), np.float32), np.ones((3, 2)), 1.0, DTypeError),
        (np.ones((2, 2)), np.ones((3, 2)), "1", ConfigError),
    ],
)
def test_what_does_not_fit_the_buffer_is_refused_and_nothing_written(backend, Z, B, scale, error):
    Y = np.ones((2, 3))
    with pytest.raises(error):
        backend.add_low_rank(Y, Z, B, scale=scale)
    assert (Y == 1).all()
