"""Numerical rank and the three factorizations of floats; what factors hold, and what they cannot carry."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_np import forward, forward_via_weight
from lora_np.conformance.bounds import unit_roundoff
from lora_np.errors import RankWarning
from lora_np.lora import LoraParams
from lora_np.rank import (
    METHODS,
    break_even_rank,
    extract_increment,
    factored_size,
    is_full_rank,
    matrix_rank,
    rank_factorization,
    shortfall,
    svd,
    truncate,
)
from tests import rank_checks
from tests.naive import lora as naive_lora

shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=rank_checks.ROADS)
def kernels(request, monkeypatch):
    """The kernels of each road in turn."""
    return rank_checks.kernels_of(request.param, monkeypatch)


@st.composite
def products(draw):
    """M = B A of small integers, exactly representable, and the rank of its exact entries."""
    m, r, n = draw(st.integers(1, 12)), draw(st.integers(0, 5)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    M = rng.integers(-5, 6, size=(m, r)) @ rng.integers(-5, 6, size=(r, n))
    return M, draw(st.sampled_from([1.0, 2.0**-1000, 2.0**1000]))


@shared
@given(product=products(), method=st.sampled_from(METHODS))
def test_factors_have_the_exact_rank_and_rebuild_the_matrix(kernels, product, method):
    """Properties 37 and 39 in floats: the rank found is the exact rank, at any size.  [rank-product]

    |M - B C| <= K (u |B||C| + tol): what rounding leaves, and what elimination stopped at.
    """
    whole, size = product
    M = whole * size
    B, C = rank_factorization(M, method, kernels=kernels)
    r = matrix_rank(whole)
    assert (B.shape, C.shape) == ((M.shape[0], r), (r, M.shape[1]))
    assert matrix_rank(M, kernels=kernels) == r
    B, C = (np.asarray(x, dtype=np.longdouble) for x in (B, C))
    S = np.abs(B) @ np.abs(C) + np.abs(M).max() * max(M.shape)
    assert (np.abs(B @ C - M) <= rank_checks.roundings(M) * unit_roundoff(float) * S).all()
    assert is_full_rank(B.astype(float))
    assert is_full_rank(C.astype(float))


@shared
@given(M=rank_checks.matrices(), method=st.sampled_from(METHODS))
def test_any_matrix_of_floats_is_factored(kernels, M, method):
    """Every layout, element type, shape and size; B C = M up to K u and the stated tolerance.  [rank-factorization]"""
    before = M.tobytes()
    B, C = rank_factorization(M, method, kernels=kernels)
    assert M.tobytes() == before
    assert {B.dtype, C.dtype} == {M.dtype}
    unit, scaled_B, scaled_C = M, B, C
    if method == "svd":  # each factor carries half of the size
        product = B.astype(np.longdouble) @ C.astype(np.longdouble)
        unit, product = rank_checks.at_unit_size(M, product)
        S = np.full(M.shape, max(M.shape, default=1))
    else:
        small = {"rref": B, "qr": C}[method]
        unit, small = rank_checks.at_unit_size(M, small)
        scaled_B, scaled_C = (small, C) if method == "rref" else (B, small)
        product = np.asarray(scaled_B, np.longdouble) @ np.asarray(scaled_C, np.longdouble)
        S = np.abs(scaled_B) @ np.abs(scaled_C) + max(M.shape)
    floor = rank_checks.at_unit_size(M, float(np.finfo(M.dtype).smallest_subnormal))[1]
    bound = rank_checks.roundings(M) * (unit_roundoff(M.dtype) + (floor if M.any() else 0)) * S.astype(float)
    assert (np.abs(product - unit) <= bound).all()


def test_the_three_methods_keep_their_promises(kernels, rng):
    """Columns of M and an identity; an orthonormal B; factors as large as each other.  [rank-rref] [rank-qr]"""
    M = rng.normal(size=(8, 3)) @ rng.normal(size=(3, 6))
    u, K = unit_roundoff(float), rank_checks.roundings(M)
    B, C = rank_factorization(M, "rref", kernels=kernels)
    columns = [int(np.flatnonzero((b[:, None] == M).all(axis=0))[0]) for b in B.T]
    assert columns == sorted(columns)
    assert (C[:, columns] == np.eye(3)).all()
    rank_checks.assert_orthonormal_columns(rank_factorization(M, "qr", kernels=kernels)[0], K, u)
    B, C = rank_factorization(M, "svd", kernels=kernels)
    assert np.abs(B.T @ B - C @ C.T).max() <= K * u * np.linalg.norm(M)
    assert np.abs(np.diag(B.T @ B) - np.linalg.svd(M, compute_uv=False)[:3]).max() <= K * u * np.linalg.norm(
        M
    )


def test_the_numerical_rank_agrees_with_lapack(rng):
    """By default max(m, n) eps sigma_1, with eps of the matrix's own type; or the tolerance given.  [rank-numerical]"""
    for shape in [(5, 9), (9, 5), (30, 30)]:
        M = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
        for noise in (0.0, 1e-18, 1e-10):
            noisy = M + noise * rng.normal(size=shape)
            assert matrix_rank(noisy) == np.linalg.matrix_rank(noisy)
            assert matrix_rank(noisy, tol=1e-6) == np.linalg.matrix_rank(noisy, tol=1e-6) == 3
        single = M.astype(np.float32)
        assert matrix_rank(single) == np.linalg.matrix_rank(single) == 3
        assert matrix_rank(single.astype(float)) == min(shape)  # its rounding is noise to a wider type


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("second", "r"), [(50, 1), (80, 2)])
def test_the_default_tolerance_grows_with_the_longer_side(method, second, r):
    """A 2 x 64 matrix with sizes 1 and `second` eps: 64 eps lies between the two cases.  [rank-numerical]"""
    M = np.eye(2, 64) * np.array([[1.0], [second * np.finfo(float).eps]])
    for form in (M, np.ascontiguousarray(M.T)):
        assert matrix_rank(form) == np.linalg.matrix_rank(form) == r
        assert rank_factorization(form, method)[0].shape[1] == r


@pytest.mark.parametrize("method", METHODS)
def test_a_tolerance_decides_what_counts_as_zero(kernels, method):
    """Absolute, whatever the size of the matrix; infinity is no tolerance, zero is."""
    for size in (1e-200, 1.0, 1e200):
        M = np.diag([1.0, 1e-3, 1e-6]) * size
        for tol, r in [(0.0, 3), (1e-7 * size, 3), (1e-4 * size, 2), (0.1 * size, 1), (2 * size, 0)]:
            assert rank_factorization(M, method, tol, kernels=kernels)[0].shape == (3, r)
            assert matrix_rank(M, tol, kernels=kernels) == r
    assert rank_factorization(np.zeros((2, 3)), method, 0.0, kernels=kernels)[1].shape == (0, 3)


@pytest.mark.parametrize("method", METHODS)
def test_the_factorizations_run_on_every_library(library, method, rng):
    """Same library out as in, and the same numbers as on NumPy."""
    M = rng.normal(size=(5, 2)) @ rng.normal(size=(2, 4))
    given_array = library.asarray(M)
    B, C = rank_factorization(given_array, method)
    assert type(B) is type(C) is type(given_array)
    assert np.abs(library.to_numpy(B) @ library.to_numpy(C) - M).max() < 1e-13
    assert matrix_rank(given_array) == 2
    assert not is_full_rank(given_array)


# ---- what factors hold and carry ---------------------------------------------------------------------------


def test_a_hundred_by_a_thousand_of_rank_ten_keeps_eleven_percent(rng):
    """Property 42: 100 x 10 + 10 x 1000 = 11,000 numbers of 100,000.  [rank-factored-size] [rank-low]"""
    X = rng.normal(size=(100, 10)) @ rng.normal(size=(10, 1000))
    for method in METHODS:
        Y, Z = rank_factorization(X, method)
        assert (Y.shape, Z.shape) == ((100, 10), (10, 1000))
        assert Y.size + Z.size == factored_size(100, 1000, 10) == 11_000 == 0.11 * X.size
        assert np.abs(Y @ Z - X).max() < 1e-10
        assert matrix_rank(Y) == matrix_rank(Z) == 10


@given(st.integers(1, 400), st.integers(1, 400))
def test_factoring_saves_exactly_below_the_break_even_rank(m, n):
    """Property 42: r (m + n) < m n if and only if r < r*.  [rank-break-even] [rank-bound]"""
    star = break_even_rank(m, n)
    saving = [r for r in range(min(m, n) + 1) if factored_size(m, n, r) < m * n]
    assert saving == [r for r in range(min(m, n) + 1) if r < star]
    assert break_even_rank(0, 0) == 0.0


def test_the_increment_of_a_layer_may_be_added_before_or_beside():
    """Y = X (W + ΔW) + b = X (W + M N) + b = X W + X M N + b, exactly on whole numbers.

    [rank-layer-increment] [rank-layer-mn] [rank-layer-split] [rank-increment-mn]
    """
    rng = np.random.default_rng(4)
    X, W, M, N = (rng.integers(-5, 6, size=s).astype(float) for s in [(4, 3), (3, 6), (3, 2), (2, 6)])
    b = rng.integers(-5, 6, size=6).astype(float)
    tuned = [
        [w + v for w, v in zip(*rows, strict=True)] for rows in zip(W, naive_lora.matmul(M, N), strict=True)
    ]
    want = [[v + c for v, c in zip(row, b, strict=True)] for row in naive_lora.matmul(X, tuned)]
    p = LoraParams(B=N.T, A=M.T)
    assert forward(X, W.T, p, scale=1.0, bias=b)[0].tolist() == want
    assert forward_via_weight(X, W.T, p, scale=1.0, bias=b)[0].tolist() == want


def test_a_fine_tuned_weight_gives_back_its_low_rank_increment(library, rng):
    """Property 16: at r >= rank(ΔW) the factors are the increment; below, the best of their rank.

    [rank-increment] [rank-increment-mn] [rank-eckart-young]
    """
    W0, delta_W = rng.normal(size=(6, 5)), rng.normal(size=(6, 2)) @ rng.normal(size=(2, 5))
    sigma = np.linalg.svd(delta_W, compute_uv=False)
    for rank in (1, 2, 3, 5):
        p = extract_increment(library.asarray(W0), library.asarray(W0 + delta_W), rank=rank)
        B, A = library.to_numpy(p.B), library.to_numpy(p.A)
        assert (B.shape, A.shape) == ((6, rank), (rank, 5))
        left = np.linalg.norm(W0 + B @ A - (W0 + delta_W))
        assert abs(left - np.sqrt(np.sum(sigma[rank:] ** 2))) < 1e-13
    with pytest.warns(RankWarning, match="no extra rank"):
        p = extract_increment(W0, W0 + delta_W, rank=8)
    assert p.B.shape == (6, 8)
    assert (p.B[:, 5:] == 0).all()
    assert np.abs(p.B @ p.A - delta_W).max() < 1e-13


def test_too_low_a_rank_loses_the_tail_and_too_high_a_rank_loses_nothing(library, rng):
    """Property 44: r_LoRA < r_opt leaves the tail's energy, r_LoRA >= r_opt leaves nothing.

    [rank-too-low] [rank-too-high] [rank-tradeoff] [rank-truncation]
    """
    U, V = (np.linalg.qr(rng.normal(size=(n, 4)))[0] for n in (9, 7))
    strengths = np.array([8.0, 4.0, 2.0, 1.0])  # r_opt = 4
    delta_W = library.asarray((U * strengths) @ V.T)
    size = np.linalg.norm(strengths)
    for rank in range(9):
        lost = shortfall(delta_W, rank=rank)
        tail = float(np.sqrt(np.sum(strengths[rank:] ** 2)))
        assert abs(lost - tail) <= rank_checks.roundings(np.zeros((9, 7))) * unit_roundoff(float) * size
        assert (lost > 0.5) == (rank < 4)
    assert shortfall(svd(delta_W), rank=2) == shortfall(delta_W, rank=2)
    cut = library.to_numpy(truncate(delta_W, 2).matrix())
    assert abs(np.linalg.norm(library.to_numpy(delta_W) - cut) - shortfall(delta_W, rank=2)) < 1e-13
    assert shortfall(np.zeros((2, 2)), rank=0) == shortfall(np.zeros((0, 2)), rank=0) == 0.0
