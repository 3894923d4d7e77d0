"""Ranks, factorizations three ways, singular values against LAPACK, and truncation.  Floor 6.

These are not sums of products of the input, so their errors are measured normwise: S is the Frobenius norm of
what is rebuilt, at every entry, which grows with the sides as the methods' own error bounds do.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.conformance.verify.check import Check, Reading
from lora_np.conformance.verify.implementation import Implementation

SHAPES = ((6, 9, 3), (9, 6, 6), (12, 5, 1), (20, 30, 4))  # (m, n, rank)
EXAMPLES = (([[1, 2, 3], [2, 4, 6], [3, 6, 9]], 1), ([[1, 1, 1], [1, 2, 3], [2, 4, 6]], 2))  # seed 004


def _matrices() -> Iterator[tuple[Array, int]]:
    """Products of whole numbers: exact in floating point, and of a rank that is known."""
    for m, n, r in SHAPES:
        rng = np.random.default_rng([m, n, r])
        B, C = rng.integers(-3, 4, size=(m, r)), rng.integers(-3, 4, size=(r, n))
        B[:r], C[:, :r] = np.eye(r), np.eye(r)  # so that no draw is of lower rank
        yield (B @ C).astype(float), r


def _norm(M: Array) -> float:
    return float(np.linalg.norm(M))


def _reading(got: Any, want: Array, S: float, M: Array) -> Reading:
    want = np.asarray(want, dtype=float)
    return Reading(error_in_u(np.asarray(got), want, np.full(want.shape, S)), GOLD, "float64", M.shape)


def _factored(method: str) -> Callable[[Implementation], Iterator[Reading]]:
    def measure(f: Implementation) -> Iterator[Reading]:
        for M, r in _matrices():
            B, C = f.rank_factorization(M, method)
            if (B.shape, C.shape) != ((M.shape[0], r), (r, M.shape[1])):
                yield Reading(float("inf"), GOLD, "float64", M.shape)
                continue
            yield _reading(B @ C, M, _norm(B) * _norm(C), M)

    return measure


def _exactly_factored(f: Implementation) -> Iterator[Reading]:
    for M, r in [*EXAMPLES, *((M.astype(int).tolist(), r) for M, r in _matrices())]:
        B, C = f.rank_factorization(M, "rref")
        same = bool((np.array(M, dtype=object) == B @ C).all()) and B.shape[1] == r == f.matrix_rank(M)
        kind = all(isinstance(x, (int, Fraction)) for x in (*B.flat, *C.flat))
        yield Reading(0.0 if same and kind else float("inf"), 0.0, "rational", np.shape(M))


def _rank(f: Implementation) -> Iterator[Reading]:
    for M, r in _matrices():
        right = r == f.matrix_rank(M) == np.linalg.matrix_rank(M)
        yield Reading(0.0 if right else float("inf"), 0.0, "float64", M.shape)


def _svd_rebuilds(f: Implementation) -> Iterator[Reading]:
    for M, _ in _matrices():
        U, sigma, Vt = f.svd(M)
        yield _reading((U * sigma) @ Vt, M, _norm(M), M)
        yield _reading(sigma, np.linalg.svd(M, compute_uv=False), _norm(M), M)
        for Q in (U.T @ U, Vt @ Vt.T):
            yield _reading(Q, np.eye(len(Q)), float(np.sqrt(len(Q))), M)


def _truncation(f: Implementation) -> Iterator[Reading]:
    for M, rank in _matrices():
        sigma = np.linalg.svd(M, compute_uv=False)
        for r in range(rank + 1):
            U, kept, Vt = f.truncate(M, r)
            error = np.linalg.norm(M - (U * kept) @ Vt)
            yield _reading(np.array(error), np.sqrt(np.sum(sigma[r:] ** 2)), _norm(M), M)


CHECKS: tuple[Check, ...] = (
    Check("rank-numerical", "matrix_rank of a known rank", ("matrix_rank",), _rank),
    Check(
        "rank-factorization",
        "exact over the rationals",
        ("rank_factorization", "matrix_rank"),
        _exactly_factored,
    ),
    *(
        Check(key, f"B C = M by {method}", ("rank_factorization",), _factored(method))
        for key, method in (("rank-rref", "rref"), ("rank-qr", "qr"), ("rank-factorization", "svd"))
    ),
    Check("rank-svd", "U Σ Vᵀ = M, orthonormal, Σ as LAPACK's", ("svd",), _svd_rebuilds),
    Check("rank-eckart-young", "error of truncate = root of the tail", ("truncate",), _truncation),
)
