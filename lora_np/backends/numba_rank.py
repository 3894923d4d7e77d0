"""Compiled loops of rank and its factorizations: elimination, Householder QR, Jacobi rotations.  Floor 3.

The mathematics stays in `lora_np.rank`; these are its three kernels, one thread each, and `svd`, `matrix_rank`
and `rank_factorization` with them.  Other libraries' arrays and long doubles are passed on to the reference.
"""

import math
from typing import Any

import numpy as np

from lora_np._typing import Array, Float
from lora_np.backends.numba_threads import summing_kernel
from lora_np.errors import LoraNpError
from lora_np.rank import factorization
from lora_np.rank.decomposition import SVD
from lora_np.rank.decomposition import svd as svd_with
from lora_np.rank.jacobi import FLOOR, SWEEPS
from lora_np.rank.kernels import REFERENCE, Kernels


def svd(M: Float[Array, "m n"]) -> SVD:
    """Decompose a matrix, with compiled loops.  [rank-svd]

    The same as `lora_np.rank.svd`, and with the same errors.

    >>> svd(np.array([[0.0, 2.0], [3.0, 0.0]])).sigma
    array([3., 2.])
    """
    return svd_with(M, kernels=_kernels_for(M))


def matrix_rank(M: Array, tol: float | None = None) -> int:
    """Count the linearly independent rows, with compiled loops.  [rank-numerical]

    The same as `lora_np.rank.matrix_rank`; exact input takes the exact road.

    >>> matrix_rank(np.ones((3, 3))), matrix_rank([[1, 2], [2, 4]])
    (1, 1)
    """
    return factorization.matrix_rank(M, tol, kernels=_kernels_for(M))


def rank_factorization(
    M: Array, method: str = "rref", tol: float | None = None
) -> tuple[Float[Array, "m r"], Float[Array, "r n"]]:
    """Write M as a product of two factors of its own rank, with compiled loops.  [rank-factorization]

    The same as `lora_np.rank.rank_factorization`; exact input takes the exact road.

    >>> rank_factorization(np.array([[1.0, 2.0], [2.0, 4.0]]))
    (array([[2.], [4.]]), array([[0.5, 1. ]]))
    """
    return factorization.rank_factorization(M, method, tol, kernels=_kernels_for(M))


def _kernels_for(M: Any) -> Kernels:
    """Take the compiled kernels where M is a NumPy array of a type that is compiled, else the reference."""
    return KERNELS if isinstance(M, np.ndarray) and M.dtype != np.longdouble else REFERENCE


# ---- the kernels, with the signatures of the reference -----------------------------------------------------


def pivoted_qr(
    M: Float[Array, "m n"], stop: float
) -> tuple[Float[Array, "m r"], Float[Array, "r n"], list[int]]:
    """Factor M[:, order] = Q R by reflections, the longest column first.  [rank-qr] [rank-householder]"""
    m, n = M.shape
    most = min(m, n)
    T, V, tau, order = np.array(M.T, order="C"), np.zeros((most, m)), np.zeros(most), np.arange(n)
    r = _reduce_columns(T, V, tau, order, stop)
    Q = np.eye(r, m)
    _reflect_back(Q, V, tau)
    return Q.T, np.ascontiguousarray(T.T[:r]), order.tolist()


def orthogonalize_rows(G: Float[Array, "q c"]) -> tuple[Float[Array, "q c"], Float[Array, "q q"]]:
    """Find an orthogonal J such that the rows of H = J G are orthogonal; return H and J.  [rank-jacobi]"""
    q, c = G.shape
    rows, squares = np.concatenate([G, np.eye(q)], axis=1), np.empty(q)
    tol = math.sqrt(c) * float(np.finfo(np.float64).eps)
    for _ in range(SWEEPS):
        if _sweep(rows, c, squares, tol):
            return rows[:, :c], rows[:, c:]
    raise LoraNpError(f"the Jacobi rotations did not settle in {SWEEPS} sweeps", fix="is M finite?")


def eliminate(M: Float[Array, "m n"], stop: float) -> tuple[Float[Array, "r n"], list[int]]:
    """Reduce M to r rows that hold the identity in their pivot columns.  [rank-rref]"""
    rows, columns = np.array(M, order="C"), np.empty(min(M.shape), dtype=np.int64)
    r = _reduce_rows(rows, columns, stop)
    order = np.argsort(columns[:r])
    return rows[order], columns[order].tolist()


KERNELS = Kernels(pivoted_qr, orthogonalize_rows, eliminate)


# ---- compiled: each works in place on the copy that its wrapper made ---------------------------------------
# Loops over single numbers throughout: array expressions run no faster here and compile ten times as long.


@summing_kernel
def _dot(p: Array, q: Array) -> float:
    """Σ p_i q_i, in any order: so that it vectorizes."""
    total = 0.0
    for i in range(p.shape[0]):
        total += p[i] * q[i]
    return total


@summing_kernel
def _swap(p: Array, q: Array) -> None:
    """Exchange two rows."""
    for i in range(p.shape[0]):
        p[i], q[i] = q[i], p[i]


@summing_kernel
def _longest(squares: Array, start: int) -> int:
    """Find the largest entry from `start` on."""
    found = start
    for i in range(start + 1, squares.shape[0]):
        if squares[i] > squares[found]:
            found = i
    return found


@summing_kernel
def _reflect(row: Array, v: Array, tau: float) -> None:
    """Reflect in place: row - τ (row · v) v."""
    factor = tau * _dot(row, v)
    for i in range(row.shape[0]):
        row[i] -= factor * v[i]


@summing_kernel
def _lay_onto_axis(x: Array, v: Array) -> float:
    """Lay x onto its first axis; fill v with the reflector that does it, v_1 = 1, and return its τ."""
    norm = math.sqrt(_dot(x, x))
    diagonal = norm if x[0] < 0 else -norm
    first = x[0] - diagonal
    tau: float = first / -diagonal
    v[0], x[0] = 1.0, diagonal
    for i in range(1, x.shape[0]):
        v[i], x[i] = x[i] / first, 0.0
    return tau


@summing_kernel
def _reduce_columns(T: Array, V: Array, tau: Array, order: Array, stop: float) -> int:
    """Reflect the rows of T (the columns of M) onto the axes; fill V with the reflectors; return their number."""
    n, most = T.shape[0], int(V.shape[0])
    squares = np.empty(n)
    for k in range(most):
        for j in range(k, n):
            squares[j] = _dot(T[j, k:], T[j, k:])
        longest = _longest(squares, k)
        if not squares[longest] > stop * stop:
            return k
        if longest != k:
            _swap(T[k], T[longest])
            order[k], order[longest] = order[longest], order[k]
        tau[k] = _lay_onto_axis(T[k, k:], V[k, k:])
        for j in range(k + 1, n):
            _reflect(T[j, k:], V[k, k:], tau[k])
    return most


@summing_kernel
def _reflect_back(rows: Array, V: Array, tau: Array) -> None:
    """Apply the reflectors, last first, to the rows of an identity."""
    for k in range(rows.shape[0] - 1, -1, -1):
        for j in range(k, rows.shape[0]):
            _reflect(rows[j, k:], V[k, k:], tau[k])


@summing_kernel
def _rotate(p: Array, q: Array, t: float) -> None:
    """Rotate two rows by the angle of tangent t, written as a small change."""
    cosine = 1 / math.sqrt(1 + t * t)
    sine = t * cosine
    tau = sine / (1 + cosine)
    for i in range(p.shape[0]):
        x, y = p[i], q[i]
        p[i], q[i] = x - sine * (y + tau * x), y + sine * (x - tau * y)


@summing_kernel
def _sweep(rows: Array, c: int, squares: Array, tol: float) -> bool:
    """Meet every pair of rows once, the longest remaining row first; tell whether none had to be rotated."""
    q, settled = rows.shape[0], True
    for i in range(q):
        squares[i] = _dot(rows[i, :c], rows[i, :c])
    for i in range(q - 1):
        longest = _longest(squares, i)
        if longest != i:
            _swap(rows[i], rows[longest])
            squares[i], squares[longest] = squares[longest], squares[i]
        for j in range(i + 1, q):
            gamma = _dot(rows[i, :c], rows[j, :c])
            if abs(gamma) > tol * math.sqrt(squares[i]) * math.sqrt(squares[j]) + FLOOR:
                zeta = (squares[j] - squares[i]) / (2 * gamma)
                t = math.copysign(1.0, zeta) / (abs(zeta) + math.hypot(1.0, zeta))
                _rotate(rows[i], rows[j], t)
                squares[i] = max(squares[i] - t * gamma, 0.0)
                squares[j] = max(squares[j] + t * gamma, 0.0)
                settled = False
    return settled


@summing_kernel
def _reduce_rows(rows: Array, columns: Array, stop: float) -> int:
    """Gauss-Jordan with the largest remaining entry as pivot; fill the pivot columns; return their number."""
    most = int(columns.shape[0])
    for k in range(most):
        i, j = _largest_entry(rows, k)
        pivot = rows[i, j]
        if not abs(pivot) > stop:
            return k
        _swap(rows[k], rows[i])
        for col in range(rows.shape[1]):
            rows[k, col] /= pivot
        for row in range(rows.shape[0]):
            if row != k:
                _subtract(rows[row], rows[k], j)
        columns[k] = j
    return most


@summing_kernel
def _subtract(row: Array, pivot_row: Array, j: int) -> None:
    """Subtract the multiple of a pivot row (1 at j) that leaves exactly 0 at j."""
    factor = row[j]
    for col in range(row.shape[0]):
        row[col] -= factor * pivot_row[col]
    row[j] = 0.0


@summing_kernel
def _largest_entry(rows: Array, start: int) -> tuple[int, int]:
    """Find the largest entry of the rows from `start` on."""
    row, column, most = start, 0, -1.0
    for i in range(start, rows.shape[0]):
        for j in range(rows.shape[1]):
            if abs(rows[i, j]) > most:
                row, column, most = i, j, abs(rows[i, j])
    return row, column
