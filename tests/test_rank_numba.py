"""Rank with compiled loops: the backend's own functions, beside the reference's.

That the kernels are right is held by `test_rank_svd` and `test_rank_factorization`, which run on both.
"""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest

from lora_np import rank
from lora_np.errors import LoraNpError
from tests import rank_checks

numba_rank = pytest.importorskip("lora_np.backends.numba_rank", reason="Numba is not installed")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_every_element_type_is_decomposed_in_its_own_type(dtype, rng):
    """Narrow types are computed wide and rounded once; long doubles take the reference.  [rank-svd]"""
    M = rng.normal(size=(7, 4)).astype(dtype)
    got, want = numba_rank.svd(M), rank.svd(M)
    assert {x.dtype for x in got} == {np.dtype(dtype)}
    bound = rank_checks.roundings(M) * float(np.finfo(dtype).eps) * float(want.sigma[0])
    assert np.abs(got.sigma - want.sigma).max() <= bound
    assert np.abs(got.matrix() - M).max() <= bound


def test_other_libraries_arrays_pass_through(library, rng):
    """What is not NumPy's goes to the reference, and comes back as it came."""
    M = library.asarray(rng.normal(size=(4, 2)) @ rng.normal(size=(2, 3)))
    assert type(numba_rank.svd(M).sigma) is type(M)
    assert numba_rank.matrix_rank(M) == 2
    assert all(type(x) is type(M) for x in numba_rank.rank_factorization(M, "qr"))


def test_exact_numbers_stay_exact():
    """Nothing is compiled for Fractions, and nothing is rounded.  [rank-rref]"""
    M = [[Fraction(1, 3), 1], [1, 3]]
    B, C = numba_rank.rank_factorization(M)
    assert numba_rank.matrix_rank(M) == 1
    assert (B @ C).tolist() == M


@pytest.mark.parametrize("method", rank.METHODS)
def test_both_roads_choose_the_same_factors(method, rng):
    """Pivots are chosen alike, so the factors agree, not only their product.  [rank-qr] [rank-rref]"""
    M = rng.normal(size=(9, 3)) @ rng.normal(size=(3, 8))
    for got, want in zip(
        numba_rank.rank_factorization(M, method), rank.rank_factorization(M, method), strict=True
    ):
        signs = (
            np.sign(np.sum(got * want, axis=int(got.shape[0] < 9), keepdims=True)) if method == "svd" else 1
        )
        assert np.abs(got - signs * want).max() < 1e-12 * np.abs(want).max()


@pytest.mark.parametrize(
    "call",
    [
        lambda module: module.svd(np.ones(3)),
        lambda module: module.svd(np.array([[np.nan]])),
        lambda module: module.svd([[1, 2]]),
        lambda module: module.matrix_rank(np.eye(2), tol=-1.0),
        lambda module: module.rank_factorization(np.eye(2), "lu"),
        lambda module: module.rank_factorization(np.ones((2, 2), complex)),
    ],
)
def test_mistakes_are_told_as_by_the_reference(call):
    """One message, whichever backend computes."""
    with pytest.raises(LoraNpError) as ours:
        call(numba_rank)
    with pytest.raises(LoraNpError) as reference:
        call(rank)
    assert (type(ours.value), str(ours.value)) == (type(reference.value), str(reference.value))


def test_threads_may_decompose_at_once(rng):
    """Every call works on its own copies: eight at once give what one gives."""
    matrices = [rng.normal(size=(24, 16)) for _ in range(8)]
    want = [numba_rank.svd(M) for M in matrices]
    with ThreadPoolExecutor(4) as pool:
        for alone, together in zip(want, pool.map(numba_rank.svd, matrices), strict=True):
            assert all((a == b).all() for a, b in zip(alone, together, strict=True))
