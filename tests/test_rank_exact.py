"""Exact rank and exact factors: over the rationals nothing is rounded, so every comparison is an equality."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from lora_np.rank import is_full_rank, matrix_rank, rank_factorization
from tests.naive import lora as naive_lora
from tests.naive import rank as naive

FIRST = [[1, 2, 3], [2, 4, 6], [3, 6, 9]]
SECOND = [[1, 1, 1], [1, 2, 3], [2, 4, 6]]
SIZES = st.integers(1, 6)


@st.composite
def rationals(draw, rows=SIZES, columns=SIZES, whole=False):
    """Nested lists of small integers, or of Fractions; often of low rank, because zeros and repeats are likely."""
    m, n = draw(rows), draw(columns)
    entry = st.integers(-2, 2) if whole else st.fractions(-2, 2, max_denominator=6)
    M = draw(st.lists(st.lists(entry, min_size=n, max_size=n), min_size=m, max_size=m))
    if m > 1 and draw(st.booleans()):
        M[-1] = [2 * v for v in M[0]]
    return M


@st.composite
def products(draw):
    """Factors B (m, r) and A (r, n) of integers."""
    m, r, n = (draw(st.integers(1, 5)) for _ in range(3))
    return (
        draw(rationals(rows=st.just(m), columns=st.just(r), whole=True)),
        draw(rationals(rows=st.just(r), columns=st.just(n), whole=True)),
    )


def test_the_two_example_matrices_have_rank_one_and_two():
    """Property 38.  [rank-example-1] [rank-example-2] [rank-full] [rank-low]"""
    for form in (list, np.array, lambda M: np.array(M, dtype=object)):
        assert matrix_rank(form(FIRST)) == 1
        assert matrix_rank(form(SECOND)) == 2
    assert matrix_rank(np.array(FIRST, dtype=float)) == 1
    assert matrix_rank(np.array(SECOND, dtype=float)) == 2
    assert not is_full_rank(FIRST)
    assert not is_full_rank(SECOND)
    assert is_full_rank([row[:2] for row in SECOND])


def test_the_example_factorization_is_a_column_times_a_row():
    """[rank-factorization-example] [rank-factorization]"""
    B, C = rank_factorization(FIRST)
    assert B.tolist() == [[1], [2], [3]]
    assert C.tolist() == [[1, 2, 3]]


@given(products())
def test_a_product_has_no_more_rank_than_either_factor(factors):
    """Property 37: rank(B A) <= min(rank B, rank A) <= r, exactly.  [rank-product] [rank-bound]"""
    B, A = factors
    product = naive_lora.matmul(B, A)
    ranks = matrix_rank(B), matrix_rank(A)
    assert matrix_rank(product) <= min(ranks) <= len(A)
    assert (matrix_rank(product), *ranks) == (naive.rank(product), naive.rank(B), naive.rank(A))
    assert ranks[0] <= min(len(B), len(B[0]))


@given(rationals(), rationals())
def test_rank_is_subadditive_and_blind_to_transposition(P, Q):
    """Property 40: rank(P + Q) <= rank P + rank Q; rank(Pᵀ) = rank P."""
    m, n = min(len(P), len(Q)), min(len(P[0]), len(Q[0]))
    P, Q = ([row[:n] for row in M[:m]] for M in (P, Q))
    total = [[p + q for p, q in zip(*rows, strict=True)] for rows in zip(P, Q, strict=True)]
    assert matrix_rank(total) <= matrix_rank(P) + matrix_rank(Q)
    assert matrix_rank(naive_lora.transpose(P)) == matrix_rank(P)


@given(rationals())
def test_the_exact_factors_reproduce_the_matrix_and_have_full_rank(M):
    """Property 39: A = B C over Q, B and C of full rank, C in echelon form.  [rank-factorization] [rank-rref]"""
    B, C = rank_factorization(M)
    r = naive.rank(M)
    assert B.shape == (len(M), r)
    assert C.shape == (r, len(M[0]))
    assert all(isinstance(v, Fraction) for v in [*B.flat, *C.flat])
    rows, columns = naive.reduced_row_echelon(M)
    assert C.tolist() == rows
    assert B.tolist() == [[row[j] for j in columns] for row in M]
    if r:
        assert naive_lora.matmul(B.tolist(), C.tolist()) == M
        assert is_full_rank(B)
        assert is_full_rank(C)


def test_numbers_beyond_every_float_stay_exact():
    """The ranks differ by one unit in a number of 60 digits, which no float can hold."""
    big = 10**60
    assert matrix_rank([[big, big + 1], [big, big + 1]]) == 1
    assert matrix_rank([[big, big + 1], [big + 1, big + 2]]) == 2
    M = [[Fraction(1, big), 1], [1, big]]
    B, C = rank_factorization(M)
    assert (B @ C).tolist() == M


def test_the_hilbert_matrix_has_full_rank_exactly_and_less_in_floats():
    """Exact and numerical rank are two questions.  [rank-numerical]"""
    hilbert = [[Fraction(1, i + j + 1) for j in range(14)] for i in range(14)]
    floats = np.array(hilbert, dtype=float)
    assert matrix_rank(hilbert) == 14
    assert matrix_rank(floats) == np.linalg.matrix_rank(floats) < 14


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 3)])
def test_empty_and_zero_matrices_have_rank_zero(shape):
    """0 x n, m x 0 and zero: factors of width 0 whose product is the matrix."""
    M = np.zeros(shape, dtype=np.int64)
    B, C = rank_factorization(M)
    assert matrix_rank(M) == 0
    assert (B.shape, C.shape) == ((shape[0], 0), (0, shape[1]))


def test_integer_arrays_of_every_library_are_exact_and_unchanged(library):
    """Integer arrays take the exact road whatever library made them."""
    M = library.asarray(np.array(SECOND))
    B, C = rank_factorization(M)
    assert matrix_rank(M) == 2
    assert (B @ C).tolist() == SECOND
    assert (library.to_numpy(M) == np.array(SECOND)).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64, np.int64])
def test_elimination_of_narrow_integers_does_not_wrap_around(dtype):
    """127 and 255 times anything would overflow in their own type."""
    M = np.array([[100, 101], [102, 103]], dtype=dtype)
    assert matrix_rank(M) == 2
    assert matrix_rank(np.array([[100, 50], [50, 25]], dtype=dtype)) == 1
