"""The singular value decomposition and truncation: bounds in units of u, LAPACK and exact arithmetic as other roads.

Every test of a decomposition runs on the NumPy reference, on the compiled kernels, and on the compiled kernels'
own Python source.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from lora_np.conformance.bounds import unit_roundoff
from lora_np.errors import LoraNpError
from lora_np.rank import SVD, matrix_rank, svd, truncate, truncation_errors
from lora_np.rank import jacobi as jacobi_module
from lora_np.rank.householder import complete_columns, pivoted_qr
from lora_np.rank.jacobi import orthogonalize_rows
from lora_np.rank.kernels import REFERENCE
from tests import rank_checks
from tests.naive import rank as naive

shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=rank_checks.ROADS)
def kernels(request, monkeypatch):
    """The kernels of each road in turn."""
    return rank_checks.kernels_of(request.param, monkeypatch)


@shared
@given(M=rank_checks.matrices())
def test_any_matrix_is_two_orthonormal_factors_and_a_falling_spectrum(kernels, M):
    """Property 41, first half: U, V orthonormal, sigma sorted and non-negative, M rebuilt.  [rank-svd]"""
    before = M.tobytes()
    rank_checks.assert_is_svd(M, svd(M, kernels=kernels))
    assert M.tobytes() == before


@pytest.mark.parametrize("shape", [(40, 40), (64, 9), (9, 64), (33, 32), (1, 20), (20, 1)])
def test_larger_matrices_of_each_shape(kernels, shape, rng):
    """Enough rounds of rotations for a missed pair to show.  [rank-jacobi]"""
    rank_checks.assert_is_svd(M := rng.normal(size=shape), svd(M, kernels=kernels))


def test_hilbert_matrices_and_their_transposed_corners(kernels):
    """Singular values that fall by seventeen decades; those below u sigma_1 still count as right."""
    H = rank_checks.hilbert(12)
    for M in (H, H[:, :5], H[:5], H[::-1]):
        rank_checks.assert_is_svd(M, svd(M, kernels=kernels))


def test_small_singular_values_of_graded_columns_keep_their_digits(kernels):
    """Relative accuracy K u cond(unscaled), against exact arithmetic; LAPACK loses every digit here.  [rank-jacobi]

    Π sigma = |det M| exactly, and 1 / sigma_min is the norm of the exact inverse.
    """
    for M, condition in (rank_checks.graded(6, decades=60), rank_checks.graded(9, decades=25)):
        bound = rank_checks.roundings(M) * unit_roundoff(M.dtype) * condition
        sigma = svd(M, kernels=kernels).sigma
        lapack = np.linalg.svd(M, compute_uv=False)
        determinant = abs(float(naive.determinant(rank_checks.exact(M))))
        inverse = np.array(naive.inverse(rank_checks.exact(M)), dtype=float)
        least = 1 / np.linalg.norm(inverse, 2)
        assert abs(np.prod(sigma / sigma[0]) / (determinant / sigma[0] ** len(M)) - 1) <= len(M) * bound
        assert abs(sigma[-1] / least - 1) <= bound
        assert abs(lapack[-1] / least - 1) > 0.1  # what makes this test say something
        wide = svd(M.T[:, ::-1], kernels=kernels).sigma  # the same values by the other branch of shapes
        assert np.abs(wide[0] / sigma[0] - 1) <= bound


def test_powers_of_two_scale_the_spectrum_exactly(kernels, rng):
    """svd(2^e M) has 2^e sigma and the same directions, bit for bit, up to the ends of the range."""
    M = rng.normal(size=(7, 5))
    U, sigma, Vt = svd(M, kernels=kernels)
    for exponent in (-900, -300, 1, 300, 1000):
        scaled = svd(M * 2.0**exponent, kernels=kernels)
        assert (scaled.U == U).all()
        assert (scaled.sigma == sigma * 2.0**exponent).all()
        assert (scaled.Vt == Vt).all()


def test_known_spectra_come_out_exactly(kernels):
    """Diagonal, permuted, zero, single and repeated: no rounding is needed, so none is allowed."""
    for M, want in [
        (np.diag([1.0, 4.0, 2.0]), [4, 2, 1]),
        (np.eye(5)[::-1], [1, 1, 1, 1, 1]),
        (np.zeros((3, 2)), [0, 0]),
        (np.array([[-3.0]]), [3]),
        (np.array([[0.0, 0.0, -7.0]]), [7]),
        (np.diag([1e100, 1e-300, 1.0]), [1e100, 1, 0]),  # 400 decades apart: counts as zero
    ]:
        assert svd(M, kernels=kernels).sigma.tolist() == want


def test_a_spectrum_beyond_the_range_of_its_type_is_named(kernels):
    """Finite entries, but sigma_1 = 4e308 does not exist; the rank, which needs no such number, is still found."""
    M = np.full((4, 4), 1e308)
    with pytest.raises(LoraNpError, match="largest singular value exceeds the range of float64"):
        svd(M, kernels=kernels)
    assert matrix_rank(M, kernels=kernels) == 1
    assert matrix_rank(M, tol=1e308, kernels=kernels) == 1


def test_long_doubles_keep_their_precision(rng):
    """A wider type is decomposed in that type (where the machine has one)."""
    M = rng.normal(size=(6, 4)).astype(np.longdouble)
    U, sigma, Vt = svd(M)
    u = unit_roundoff(np.longdouble)
    assert U.dtype == np.longdouble
    assert np.abs((U * sigma) @ Vt - M).max() <= rank_checks.roundings(M) * u * np.linalg.norm(
        M.astype(float)
    )


def test_the_decomposition_runs_on_every_library(library, rng):
    """Same numbers, same library out as in, argument untouched."""
    M = rng.normal(size=(6, 4)).astype(np.float32)
    given_array = library.asarray(M)
    got = svd(given_array)
    assert all(type(x) is type(given_array) for x in got)
    rank_checks.assert_is_svd(M, SVD(*(library.to_numpy(x) for x in got)))
    assert (library.to_numpy(given_array) == M).all()


def test_rotations_that_do_not_settle_are_reported(kernels, monkeypatch, rng):
    """No silent half-result: with no sweeps allowed, the failure says so."""
    monkeypatch.setattr(jacobi_module, "SWEEPS", 0)
    if kernels is not REFERENCE:
        monkeypatch.setattr("lora_np.backends.numba_rank.SWEEPS", 0)
    with pytest.raises(LoraNpError, match="did not settle in 0 sweeps"):
        svd(rng.normal(size=(3, 3)), kernels=kernels)


# ---- the two halves, by themselves -------------------------------------------------------------------------


@shared
@given(M=rank_checks.matrices(dtypes=rank_checks.st.just(np.float64)))
def test_pivoted_qr_rebuilds_the_matrix_with_a_falling_diagonal(kernels, M):
    """M[:, order] = Q R, Q orthonormal, R triangular, |R_kk| falling.  [rank-qr] [rank-householder]"""
    M = np.asarray(rank_checks.at_unit_size(M)[0], dtype=float)
    Q, R, order = kernels.pivoted_qr(M, 0.0)
    K, u = rank_checks.roundings(M), unit_roundoff(float)
    assert sorted(order) == list(range(M.shape[1]))
    assert (np.tril(R, -1) == 0).all()
    rank_checks.assert_orthonormal_columns(Q, K, u)
    assert np.abs(Q @ R - M[:, order]).max(initial=0) <= K * u * np.linalg.norm(M)
    diagonal = np.abs(np.diag(R))
    assert (diagonal[1:] <= diagonal[:-1] * (1 + K * u) + K * u * np.linalg.norm(M)).all()


@shared
@given(G=rank_checks.matrices(dtypes=rank_checks.st.just(np.float64)))
def test_jacobi_makes_rows_orthogonal_by_an_orthogonal_matrix(kernels, G):
    """H = J G, J orthogonal, and |h_i · h_j| <= √c ε ‖h_i‖ ‖h_j‖ up to rounding.  [rank-jacobi]"""
    G = np.asarray(rank_checks.at_unit_size(G)[0], dtype=float)
    K, u = rank_checks.roundings(G), unit_roundoff(float)
    H, J = kernels.orthogonalize_rows(G)
    rank_checks.assert_orthonormal_columns(J, K, u)
    assert np.abs(J @ G - H).max(initial=0) <= K * u * np.linalg.norm(G)
    norms = np.linalg.norm(H, axis=1)
    cosines = np.abs(H @ H.T - np.diag(norms**2))
    assert (cosines <= K * u * np.outer(norms, norms) + 1e-290).all()


@pytest.mark.parametrize(("m", "r", "count"), [(5, 2, 5), (5, 0, 3), (4, 4, 4), (1, 1, 1), (6, 1, 4)])
def test_orthonormal_columns_are_completed(m, r, count, rng):
    """The given columns stay, bit for bit; the new ones are orthonormal to them.  [rank-householder]"""
    Q = np.linalg.qr(rng.normal(size=(m, max(r, 1))))[0][:, :r]
    whole = complete_columns(Q, count)
    assert whole.shape == (m, count)
    assert (whole[:, :r] == Q).all()
    rank_checks.assert_orthonormal_columns(whole, 10 * m + 50, unit_roundoff(float))


def test_the_kernels_do_not_write_into_their_argument(kernels, rng):
    """A backend gets the caller's own array where it has unit size already."""
    M = rng.uniform(0.5, 1, size=(4, 3))
    M.flags.writeable = False
    kernels.pivoted_qr(M, 0.0)
    kernels.orthogonalize_rows(M)
    kernels.eliminate(M, 0.0)


def test_the_checks_catch_planted_errors(rng):
    """A wrong sign, a scale, a swapped pair and one float32 rounding are all beyond the bound."""
    M = rng.normal(size=(6, 5))
    U, sigma, Vt = svd(M)
    rank_checks.assert_is_svd(M, SVD(U, sigma, Vt))
    flipped = U.copy()
    flipped[:, 0] *= -1
    for wrong in [
        SVD(flipped, sigma, Vt),
        SVD(U, sigma * 1.001, Vt),
        SVD(U, sigma[::-1], Vt),
        SVD(U.astype(np.float32).astype(float), sigma, Vt),
        SVD(U, sigma, Vt[::-1]),
    ]:
        with pytest.raises(AssertionError):
            rank_checks.assert_is_svd(M, wrong)
    H, J = orthogonalize_rows(M)
    Q, R, order = pivoted_qr(M, 0.0)
    assert H.shape == M.shape
    assert (J.shape, Q.shape, R.shape, sorted(order)) == ((6, 6), (6, 5), (5, 5), [0, 1, 2, 3, 4])


# ---- truncation --------------------------------------------------------------------------------------------


@given(M=rank_checks.matrices(dtypes=rank_checks.st.just(np.float64)), data=rank_checks.st.data())
def test_truncation_errs_by_exactly_the_tail(M, data):
    """Property 41: ‖M - M_r‖_F = √(Σ tail²) and ‖M - M_r‖_2 = sigma_{r+1}.  [rank-truncation] [rank-eckart-young]"""
    M = np.asarray(rank_checks.at_unit_size(M)[0], dtype=float)
    q = min(M.shape)
    r = data.draw(rank_checks.st.integers(0, q))
    found = svd(M)
    cut = truncate(found, r)
    tolerance = rank_checks.roundings(M) * unit_roundoff(float) * np.linalg.norm(M)
    gap = M - cut.matrix()
    want = np.sqrt(np.sum(np.linalg.svd(M, compute_uv=False)[r:] ** 2))
    assert abs(np.linalg.norm(gap) - want) <= tolerance
    assert abs(truncation_errors(found.sigma)[r] - want) <= tolerance
    spectral = np.linalg.norm(gap, 2) if gap.size else 0.0
    assert abs(spectral - (found.sigma[r] if r < q else 0)) <= tolerance
    B, C = cut.factors()
    assert (B.shape, C.shape) == ((M.shape[0], r), (r, M.shape[1]))
    assert np.abs(B @ C - cut.matrix()).max(initial=0) <= tolerance
    assert abs(np.linalg.norm(B) - np.linalg.norm(C)) <= tolerance + 1e-15


def test_no_matrix_of_the_rank_comes_closer(rng):
    """Property 41: random factors, and small moves of the best ones, are all farther.  [rank-eckart-young]"""
    M = rng.normal(size=(9, 7))
    for r in (1, 3, 6):
        best = truncate(M, r)
        least = np.linalg.norm(M - best.matrix())
        B, C = best.factors()
        for size in (1e-3, 0.1, 1.0):
            for _ in range(20):
                near = (B + size * rng.normal(size=B.shape)) @ (C + size * rng.normal(size=C.shape))
                assert np.linalg.norm(M - near) > least
        for _ in range(20):
            B = rng.normal(size=(9, r))
            fitted = B @ np.linalg.lstsq(B, M, rcond=None)[0]  # the best C for a random B
            assert np.linalg.norm(M - fitted) >= least
