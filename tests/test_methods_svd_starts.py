"""PiSSA, MiLoRA and OLoRA: a weight split into a frozen base and factors, compared by products and projectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np import LoraParams
from lora_np.conformance.bounds import GOLD, error_in_u, merge_scale
from lora_np.errors import ConfigError, DTypeError, NonFiniteError, RankError, ShapeError
from lora_np.methods import milora, olora, pissa

STARTS = pytest.mark.parametrize("method", [pissa, milora, olora])
SHAPES = [(5, 7), (7, 5), (4, 4), (1, 3), (3, 1)]


def lapack_part(method, W0, r):
    """The part of the weight that the factors start with, from LAPACK."""
    W0 = W0.astype(float)
    if method is olora:
        Q, R = np.linalg.qr(W0)
        return Q[:, :r] @ R[:r]
    U, sigma, Vt = np.linalg.svd(W0, full_matrices=False)
    cut = slice(0, r) if method is pissa else slice(len(sigma) - r, None)
    return (U[:, cut] * sigma[cut]) @ Vt[cut]


@STARTS
@pytest.mark.parametrize("scale", [1.0, 2.0, 1 / 3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_start_is_the_weight(method, scale, shape, dtype, rng):
    """[pissa-start] [milora-start] [olora-start]  Property 80: W_base + s B A = W0, for every rank."""
    W0 = rng.normal(size=shape).astype(dtype)
    for r in range(1, min(shape) + 1):
        base, p = method.init(W0, r, scale=scale)
        assert base.dtype == p.B.dtype == p.A.dtype == dtype
        size, _ = merge_scale(W0, p, 2 * scale)
        assert error_in_u(method.merge(base, p, scale=scale), W0, size) <= GOLD


@STARTS
@pytest.mark.parametrize("shape", SHAPES)
def test_the_product_is_the_part_that_lapack_finds(method, shape, rng):
    """[pissa-start] [milora-start] [olora-start]  s B A, or B A for OLoRA; signs of columns are free, products not."""
    W0 = rng.normal(size=shape)
    largest = np.linalg.norm(W0, 2)
    for r in range(1, min(shape) + 1):
        _, p = method.init(W0, r, scale=3.0)
        product = (1.0 if method is olora else 3.0) * (p.B @ p.A)
        assert abs(product - lapack_part(method, W0, r)).max() <= 1e-13 * largest


@pytest.mark.parametrize("method", [pissa, milora])
def test_both_factors_carry_the_root_of_sigma_over_s(method, rng):
    """[pissa-start] [milora-start]  BᵀB = A Aᵀ = diag(sigma) / s: whatever the signs are."""
    W0, r = rng.normal(size=(6, 9)), 3
    sigma = np.linalg.svd(W0, compute_uv=False)
    part = sigma[:r] if method is pissa else sigma[-r:]
    _, p = method.init(W0, r, scale=4.0)
    for gram in (p.B.T @ p.B, p.A @ p.A.T):
        assert abs(gram - np.diag(part / 4)).max() < 1e-14 * sigma[0]


def test_olora_s_basis_is_orthonormal_and_spans_the_first_columns(rng):
    """[olora-start]  QᵀQ = I, A is upper triangular, and the projectors agree with LAPACK's; s divides nothing."""
    W0, r = rng.normal(size=(6, 5)), 3
    _, p = olora.init(W0, r, scale=2.0)
    Q = np.linalg.qr(W0)[0][:, :r]
    assert abs(p.B.T @ p.B - np.eye(r)).max() < 1e-14
    assert abs(p.B @ p.B.T - Q @ Q.T).max() < 1e-14
    assert (np.tril(p.A, -1) == 0).all()
    assert abs(p.B @ (p.B.T @ W0[:, :r]) - W0[:, :r]).max() < 1e-14 * abs(W0).max() * 10


def test_olora_of_dependent_columns_is_that_of_lapack():
    """[olora-start]  Where the direction is a choice it is the same as LAPACK's: the axis itself."""
    W0 = np.zeros((4, 3))
    W0[:, 2] = 1
    _, p = olora.init(W0, 2, scale=1.0)
    assert abs(p.B @ p.A - lapack_part(olora, W0, 2)).max() < 1e-15
    base, p = olora.init(np.zeros((2, 2)), 2, scale=1.0)
    assert (base == 0).all()
    assert (p.A == 0).all()


@STARTS
@pytest.mark.parametrize("size", [2.0**-600, 2.0**600])
def test_weights_of_any_size(method, size, rng):
    """[pissa-start] [milora-start] [olora-start]  A power of four, so that roots of it are exact too."""
    W0 = rng.normal(size=(4, 3))
    base, _ = method.init(W0, 2, scale=1.0)
    scaled, _ = method.init(size * W0, 2, scale=1.0)
    np.testing.assert_allclose(scaled / size, base, rtol=0, atol=1e-14)


def test_pissa_and_milora_share_the_weight_out(rng):
    """[pissa-start] [milora-start]  The r largest and the q − r smallest parts are the whole."""
    W0 = rng.normal(size=(5, 6))
    large, _ = pissa.init(W0, 2, scale=1.0)
    small, _ = milora.init(W0, 3, scale=1.0)
    np.testing.assert_allclose(large + small, W0, rtol=0, atol=1e-14)


class TestTheIncrement:
    @given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
    def test_it_is_one_lora_of_twice_the_rank(self, seed, r, d, k):
        """[start-increment]  s (B A − B0 A0), exactly on small integers; not s B A."""
        rng = np.random.default_rng(seed)
        B, B0 = rng.integers(-4, 5, size=(2, d, r)).astype(float)
        A, A0 = rng.integers(-4, 5, size=(2, r, k)).astype(float)
        both = pissa.as_lora(LoraParams(B, A), LoraParams(B0, A0))
        assert both.A.shape == (2 * r, k)
        assert (both.B @ both.A == B @ A - B0 @ A0).all()

    @STARTS
    def test_a_trained_layer_is_the_original_with_it(self, method, rng):
        """[start-increment]  Base and factors, or the original weight and the increment: the same weight."""
        W0, s = rng.normal(size=(5, 4)), 2.0
        base, p0 = method.init(W0, 2, scale=s)
        p = LoraParams(p0.B + rng.normal(size=p0.B.shape), p0.A + rng.normal(size=p0.A.shape))
        both = method.as_lora(p, p0)
        here, there = method.merge(base, p, scale=s), method.merge(W0, both, scale=s)
        np.testing.assert_allclose(here, there, rtol=0, atol=1e-13)
        assert (
            np.linalg.norm(here - method.merge(W0, p, scale=s)) > 1
        )  # on W0 the factors alone are another weight
        assert method.scaling(8, 4) == method.scaling(16, 8)

    def test_factors_that_do_not_belong_together_are_refused(self, rng):
        """[start-increment]"""
        p = LoraParams(np.ones((3, 1)), np.ones((1, 2)))
        with pytest.raises(ShapeError, match="do not fit"):
            pissa.as_lora(p, LoraParams(np.ones((2, 1)), np.ones((1, 2))))
        with pytest.raises(DTypeError, match="B0"):
            pissa.as_lora(p, LoraParams(*(x.astype("f4") for x in p)))


@STARTS
def test_the_layer_is_lora_on_the_base(method, rng):
    """[pissa-start] [milora-start] [olora-start]  Forward through the factors is forward through W0, both gradients."""
    X, W0, gY = rng.normal(size=(3, 6)), rng.normal(size=(5, 6)), rng.normal(size=(3, 5))
    base, p = method.init(W0, 2, scale=0.5)
    Y, Z = method.forward(X, base, p, scale=0.5)
    np.testing.assert_allclose(Y, X @ W0.T, rtol=0, atol=1e-13)
    gX, g = method.backward(gY, X, Z, base, p, scale=0.5)
    np.testing.assert_allclose(gX, gY @ W0, rtol=0, atol=1e-13)
    assert all(abs(x).max() > 1e-3 for x in g)  # unlike LoRA's zero start, both factors are pulled
    back = method.unmerge(method.merge(base, p, scale=0.5), p, scale=0.5)
    np.testing.assert_allclose(back, base, rtol=0, atol=1e-14)


@STARTS
def test_every_library_gives_the_same_numbers(method, library, rng):
    """[pissa-start] [milora-start] [olora-start] [start-increment]  Same library out, argument untouched."""
    W0 = rng.normal(size=(4, 5))
    theirs = library.asarray(W0)
    base, p = method.init(theirs, 2, scale=2.0)
    both = method.as_lora(p, p)
    want, q = method.init(W0, 2, scale=2.0)
    for x in (base, *p, *both):
        assert type(x) is type(theirs)
    np.testing.assert_allclose(library.to_numpy(base), want, atol=1e-14)
    np.testing.assert_allclose(library.to_numpy(p.B @ p.A), q.B @ q.A, atol=1e-14)
    assert (library.to_numpy(theirs) == W0).all()


@STARTS
def test_bad_input_is_named(method):
    """[pissa-start] [milora-start] [olora-start]"""
    W0 = np.ones((3, 4))
    cases = [
        (RankError, "exceeds min", lambda: method.init(W0, 4, scale=1.0)),
        (ConfigError, "rank r", lambda: method.init(W0, 0, scale=1.0)),
        (ConfigError, "scale", lambda: method.init(W0, 1, scale=0.0)),
        (ConfigError, "scale", lambda: method.init(W0, 1, scale=-1.0)),
        (ShapeError, "W0 has 1", lambda: method.init(W0[0], 1, scale=1.0)),
        (NonFiniteError, "NaN|non-finite", lambda: method.init(W0 * np.nan, 1, scale=1.0)),
    ]
    for error, words, call in cases:
        with pytest.raises(error, match=words):
            call()
