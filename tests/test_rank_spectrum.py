"""What singular values say: error, energy, effective and stable rank; and what a wrong argument is told."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.errors import ConfigError, DTypeError, NonFiniteError, RankError, ShapeError
from lora_np.rank import (
    break_even_rank,
    effective_rank,
    energy_kept,
    extract_increment,
    factored_size,
    matrix_rank,
    rank_factorization,
    shortfall,
    spectrum_report,
    stable_rank,
    svd,
    truncate,
    truncation_errors,
)
from tests.naive import rank as naive

spectra = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8).map(
    lambda s: np.array(sorted(s, reverse=True))
)
sizes = st.sampled_from([2.0**-1000, 1.0, 2.0**900])


@given(spectra, sizes)
def test_errors_and_energies_are_sums_over_the_tail_and_the_head(sigma, size):
    """[rank-energy] [rank-eckart-young]: one entry at a time, in high precision; any size."""
    errors, energies = truncation_errors(sigma * size), energy_kept(sigma * size)
    total = math.fsum(s * s for s in sigma)
    for r in range(len(sigma) + 1):
        assert errors[r] / size == pytest.approx(math.sqrt(math.fsum(s * s for s in sigma[r:])), rel=1e-14)
        assert energies[r] == pytest.approx(math.fsum(s * s for s in sigma[:r]) / total, rel=1e-14)
    assert errors[-1] == 0.0
    assert (energies[0], energies[-1]) == (0.0, 1.0)
    assert (np.diff(energies) >= 0).all()
    assert (np.diff(errors) <= 0).all()


@given(spectra, sizes)
def test_effective_and_stable_rank_lie_between_one_and_the_rank(sigma, size):
    """exp of the entropy and the energy in units of the largest; blind to scale.  [rank-effective] [rank-stable]"""
    effective, stable = effective_rank(sigma * size), stable_rank(sigma * size)
    assert effective == pytest.approx(naive.effective_rank(sigma.tolist()), rel=1e-13)
    assert stable == pytest.approx(math.fsum((s / sigma[0]) ** 2 for s in sigma), rel=1e-14)
    slack = 1 + 1e-14
    assert effective * slack >= 1
    assert stable <= effective * slack <= len(sigma) * slack**2


def test_the_stable_and_effective_ranks_of_known_spectra():
    """Equal values count fully, a lone one counts once, zeros not at all.  [rank-effective] [rank-stable]"""
    for q in (1, 2, 7):
        assert effective_rank(np.full(q, 3.0)) == pytest.approx(q, rel=1e-14)
        assert stable_rank(np.full(q, 3.0)) == q
    lone = np.array([1e200, 0.0, 0.0])
    assert effective_rank(lone) == stable_rank(lone) == 1.0
    for nothing in (np.zeros(3), np.zeros(0)):
        assert effective_rank(nothing) == stable_rank(nothing) == 0.0
        assert energy_kept(nothing).tolist() == [1.0] * (nothing.size + 1)
        assert truncation_errors(nothing).tolist() == [0.0] * (nothing.size + 1)
    # shares 3/4 and 1/4: exp(H) = 4 / 3^(3/4)
    assert effective_rank(np.array([3.0, 1.0])) == pytest.approx(4 / 3**0.75, rel=1e-15)


def test_a_report_gathers_all_of_it(library, rng):
    """One decomposition, every figure; a report of an SVD equals the report of its matrix.  [rank-svd]"""
    M = library.asarray(rng.normal(size=(8, 3)) @ rng.normal(size=(3, 5)))
    report = spectrum_report(M)
    assert (report.shape, report.rank, report.break_even) == ((8, 5), 3, 40 / 13)
    sigma = library.to_numpy(report.sigma)
    assert report.tol == 8 * np.finfo(float).eps * sigma[0]
    assert report.effective_rank == effective_rank(report.sigma)
    assert report.stable_rank == stable_rank(report.sigma)
    energies, errors = library.to_numpy(report.energies), library.to_numpy(report.errors)
    assert errors.tolist() == library.to_numpy(truncation_errors(report.sigma)).tolist()
    assert np.abs(1 - (errors / errors[0]) ** 2 - energies).max() < 1e-14
    again = spectrum_report(svd(M))
    assert library.to_numpy(again.sigma).tolist() == sigma.tolist()
    assert (again.rank, again.tol, again.shape) == (report.rank, report.tol, report.shape)
    for share in (0.0, 0.5, float(energies[1]), 1.0):
        r = report.smallest_rank(energy=share)
        assert energies[r] >= share
        assert r == 0 or energies[r - 1] < share


def test_a_report_of_an_empty_matrix():
    """No singular values, no rank, nothing lost."""
    report = spectrum_report(np.zeros((0, 4)))
    assert (report.rank, report.tol, report.effective_rank, report.smallest_rank(energy=1.0)) == (
        0,
        0.0,
        0.0,
        0,
    )
    assert report.errors.tolist() == [0.0]


# ---- what a user can get wrong -----------------------------------------------------------------------------

NAN = np.array([[1.0, 2.0], [np.nan, 4.0]])
INF = np.array([[1.0, -np.inf]])
EYE = np.eye(3)
BAD_MATRICES = [
    (np.ones(3), ShapeError, r"M has 1 axes \(shape \(3,\)\), expected 2"),
    (np.ones((2, 2, 2)), ShapeError, "M has 3 axes"),
    (np.float64(3.0), ShapeError, "M has 0 axes"),
    (NAN, NonFiniteError, r"M holds 1 non-finite value, the first \(nan\) at index \[1, 0\]"),
    (INF, NonFiniteError, r"\(-inf\) at index \[0, 1\]"),
    (np.array([["a", "b"]]), DTypeError, "M has dtype"),
    (np.ones((2, 2), dtype=complex), DTypeError, "M has dtype complex128"),
    (np.ones((2, 2), dtype=bool), DTypeError, "M has dtype bool"),
    (np.zeros((1, 1), dtype="datetime64[s]"), DTypeError, "M has dtype datetime64"),
    (None, DTypeError, "M must be an array of floats, got NoneType"),
    ("matrix", DTypeError, "got str"),
]
EXACT_ONLY = [
    ([[1, 2], [3]], ShapeError, "ragged list: rows of 1 and of 2 entries"),
    ([1, 2], ShapeError, "M must be a list of rows, got a list of int"),
    ([], ShapeError, r"np.zeros\(\(0, n\), dtype=int\)"),
    ([[1, 2], 3], ShapeError, "list of rows"),
    ([[1, 0.5]], DTypeError, r"M\[0, 1\] is float 0.5; exact elimination takes int or Fraction"),
    ([[1, True]], DTypeError, r"M\[0, 1\] is bool True"),
    ([[1], ["2"]], DTypeError, r"M\[1, 0\] is str '2'"),
    ([[np.float64(2.0)]], DTypeError, r"M\[0, 0\] is float64"),
    (np.array([[1, None]], dtype=object), DTypeError, r"M\[0, 1\] is NoneType None"),
    (np.array([1, 2]), ShapeError, r"M has 1 axes \(shape \(2,\)\), expected 2: \(m, n\)"),
    (np.ones((1, 1, 1), dtype=int), ShapeError, "M has 3 axes"),
]


@pytest.mark.parametrize(("M", "error", "message"), BAD_MATRICES)
@pytest.mark.parametrize(
    "function", [svd, matrix_rank, rank_factorization, spectrum_report, lambda M: truncate(M, 0)]
)
def test_what_is_not_a_matrix_of_finite_floats_is_named(function, M, error, message):
    """Rows 16, 17, 19 and 23 of the bad inputs: which argument, what came, what was expected."""
    kept = copy.deepcopy(M)
    with pytest.raises(error, match=message):
        function(M)
    assert np.asarray(kept).tobytes() == np.asarray(M).tobytes()


@pytest.mark.parametrize(("M", "error", "message"), EXACT_ONLY)
@pytest.mark.parametrize("function", [matrix_rank, rank_factorization])
def test_what_is_not_an_exact_matrix_is_named(function, M, error, message):
    """Rows 17 and 19 for nested lists, integer and object arrays."""
    with pytest.raises(error, match=message):
        function(M)


@pytest.mark.parametrize("function", [svd, spectrum_report])
def test_functions_that_need_roots_refuse_exact_numbers(function):
    """Row 18: integers are cast by the caller, in the open."""
    with pytest.raises(DTypeError, match=r"M has dtype int64.*cast to float"):
        function(np.eye(2, dtype=np.int64))
    with pytest.raises(DTypeError, match=r"np.asarray\(M, dtype=float\)"):
        function([[1, 2]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: truncate(EYE, 4), RankError, "r = 4 exceeds 3, the number of singular values"),
        (lambda: truncate(svd(EYE), 4), RankError, "choose r <= 3"),
        (lambda: truncate(EYE, -1), ConfigError, "r must be a non-negative int, got -1"),
        (lambda: truncate(EYE, 2.0), ConfigError, "got float 2.0"),
        (lambda: truncate(EYE, True), ConfigError, "got bool True"),
        (lambda: rank_factorization(EYE, "qrr"), ConfigError, "did you mean 'qr'"),
        (
            lambda: rank_factorization(EYE, None),
            ConfigError,
            "method must be one of 'rref', 'qr', 'svd', got None",
        ),
        (lambda: rank_factorization([[1]], "svd"), DTypeError, "method 'svd' needs roots, and M holds exact"),
        (
            lambda: rank_factorization([[1]], tol=0.1),
            ConfigError,
            "tol must be None for exact numbers, got 0.1",
        ),
        (lambda: matrix_rank([[1]], 0.0), ConfigError, "tol must be None"),
        (lambda: matrix_rank(EYE, -1e-3), ConfigError, "tol must lie in"),
        (lambda: matrix_rank(EYE, math.nan), ConfigError, "tol must be finite, got nan"),
        (lambda: matrix_rank(EYE, math.inf), ConfigError, "tol must be finite"),
        (lambda: rank_factorization(EYE, "qr", "1e-3"), ConfigError, "tol must be a real number, got str"),
        (lambda: effective_rank(np.ones((2, 2))), ShapeError, "sigma has 2 axes"),
        (lambda: stable_rank(np.array([1.0, np.nan])), NonFiniteError, "sigma holds 1 non-finite"),
        (lambda: energy_kept(np.array([1.0, -1.0])), ConfigError, "sigma holds the negative value -1"),
        (lambda: truncation_errors(np.array([1.0, 2.0])), RankError, "sigma must fall"),
        (lambda: spectrum_report(EYE).smallest_rank(energy=1.5), ConfigError, "energy must lie in"),
        (lambda: factored_size(100, -1, 4), ConfigError, "n must be a non-negative int, got -1"),
        (lambda: factored_size(100, 10, 4.0), ConfigError, "r must be a non-negative int, got float"),
        (lambda: break_even_rank("3", 4), ConfigError, "m must be a non-negative int, got str '3'"),
        (lambda: break_even_rank(3, None), ConfigError, "n must be"),
        (lambda: shortfall(EYE, rank=-2), ConfigError, "rank must be a non-negative int"),
        (lambda: extract_increment(EYE, np.eye(2), rank=1), ShapeError, r"W0 \(3, 3\) and W \(2, 2\)"),
        (lambda: extract_increment(EYE, EYE[0], rank=1), ShapeError, "W has 1 axes"),
        (lambda: extract_increment(EYE, EYE.astype(np.float32), rank=1), DTypeError, "mix element types"),
        (lambda: extract_increment(EYE, EYE, rank=0), ConfigError, "positive int, got 0"),
        (lambda: extract_increment(EYE, NAN, rank=1), ShapeError, "must have one shape"),
        (lambda: extract_increment(EYE[:2, :2], NAN, rank=1), NonFiniteError, "non-finite"),
        (lambda: extract_increment(-1e308 * EYE, 1e308 * EYE, rank=1), NonFiniteError, "non-finite"),
    ],
)
def test_options_out_of_range_are_named(call, error, message):
    """Rows 1 to 3, 12, 20 and 33 of the bad inputs."""
    with pytest.raises(error, match=message):
        call()
