"""The GPU's backend against the reference on the host; skipped where there is no CUDA device."""

import numpy as np
import pytest

from lora_np.backends import REFERENCE, get_backend
from lora_np.conformance.bounds import GOLD, error_in_u, forward_scale
from lora_np.errors import BufferError_, NonFiniteError
from lora_np.lora import LoraParams
from lora_np.optim import adam_init
from lora_np.prune import Adapted, Product

pytestmark = pytest.mark.gpu
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture
def cupy():
    module = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not module.cuda.is_available():
        pytest.skip("no CUDA device")
    return module


def draw(rng, dtype, *shapes):
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@DTYPES
@pytest.mark.parametrize("r", [1, 8, 33])
def test_forward_is_within_the_bound(cupy, rng, dtype, r):
    """[lora-2]"""
    X, W0, B, A, bias = draw(rng, dtype, (65, 130), (70, 130), (70, r), (r, 130), (70,))
    on_gpu = LoraParams(cupy.asarray(B), cupy.asarray(A))
    Y, Z = get_backend("cupy").forward(
        cupy.asarray(X), cupy.asarray(W0), on_gpu, scale=0.5, bias=cupy.asarray(bias)
    )
    x, w, b, a, c = (np.asarray(m, dtype=np.longdouble) for m in (X, W0, B, A, bias))
    S, _ = forward_scale(X, W0, LoraParams(B, A), 0.5, bias)
    assert error_in_u(cupy.asnumpy(Y), x @ (w + b @ a / 2).T + c, S) <= GOLD
    assert Z.shape == (65, r)


@DTYPES
def test_the_update_is_in_place_and_refuses_an_input_as_buffer(cupy, rng, dtype):
    """Bad input, row 42."""
    Y, Z, B = (cupy.asarray(rng.integers(-4, 5, size=s).astype(dtype)) for s in ((7, 5), (7, 3), (5, 3)))
    want = cupy.asnumpy(Y + Z @ B.T / 2)
    assert get_backend("cupy").add_low_rank(Y, Z, B, scale=0.5) is Y
    assert (cupy.asnumpy(Y) == want).all()
    room = cupy.ones((4, 4))
    with pytest.raises(BufferError_):
        get_backend("cupy").add_low_rank(room, room[:, :2], cupy.ones((4, 2)), scale=1.0)


@DTYPES
@pytest.mark.parametrize("form", ["sum-squared", "sum-abs", "dot-squared"])
def test_row_sums_equal_the_reference(cupy, rng, dtype, form):
    """[prune-importance]"""
    W0, B, A, U, V = draw(rng, dtype, (33, 301), (33, 4), (4, 301), (33, 8), (8, 301))
    on_gpu = [cupy.asarray(x) for x in (W0, B, A, U, V)]
    W, G = Adapted(on_gpu[0], LoraParams(*on_gpu[1:3]), 0.5), Product(*on_gpu[3:])
    got = get_backend("cupy").line_sums(W, G, axis=0, form=form)
    host = Adapted(W0.astype(float), LoraParams(B.astype(float), A.astype(float)), 0.5)
    want = REFERENCE.line_sums(host, Product(U.astype(float), V.astype(float)), axis=0, form=form)
    scale = ((abs(U) @ abs(V)) * (abs(W0) + 0.5 * abs(B) @ abs(A))).astype(float)
    S = (scale**2 if form == "sum-squared" else scale).sum(axis=1)
    assert error_in_u(cupy.asnumpy(got), want, S) <= 2 * GOLD


@DTYPES
def test_group_dot_and_adam_equal_the_reference(cupy, rng, dtype):
    """[prune-group-dot] [optim-adam]"""
    gY, Y, bias = draw(rng, dtype, (129, 17), (129, 17), (17,))
    got = get_backend("cupy").group_dot(*(cupy.asarray(x) for x in (gY, Y)), bias=cupy.asarray(bias))
    want = (gY.astype(float) * (Y.astype(float) - bias)).sum(axis=0)
    assert error_in_u(cupy.asnumpy(got), want, (abs(gY) * (abs(Y) + abs(bias))).sum(axis=0)) <= GOLD
    p, g = (cupy.asarray(Y),), (cupy.asarray(gY),)
    moved, state = get_backend("cupy").adam_step(p, g, adam_init(p), lr=0.1)
    plain, _ = REFERENCE.adam_step((Y,), (gY,), adam_init((Y,)), lr=0.1)
    np.testing.assert_allclose(cupy.asnumpy(moved[0]), plain[0], rtol=1e-5, atol=1e-6)
    assert state.step == 1
    with pytest.raises(NonFiniteError):
        get_backend("cupy").adam_step(p, (g[0] * np.nan,), adam_init(p), lr=0.1)
