"""The rank of a matrix, and its factorization into two factors of that rank.  Floor 1.

Exact for whole numbers and Fractions; for floats the rank depends on a tolerance, and every function states its
own.  Nothing here approximates: for the best matrix of a smaller rank see `truncate`.
"""

from typing import Any

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError, DTypeError
from lora_np.rank.decomposition import decompose
from lora_np.rank.exact import eliminate_exactly, is_exact, read_exact
from lora_np.rank.kernels import REFERENCE, Kernels
from lora_np.rank.scaling import scale_number, times_power_of_two, to_unit_scale

METHODS = ("rref", "qr", "svd")


def matrix_rank(M: Array, tol: float | None = None, *, kernels: Kernels = REFERENCE) -> int:
    """Count the linearly independent rows.  [rank-numerical] [rank-bound] [rank-example-1] [rank-example-2]

    Floats: the number of singular values above `tol`, by default max(m, n) ε sigma_1 with ε of M's own type.
    Integer arrays, object arrays and nested lists of int or Fraction: exact over the rationals, without a `tol`.
    Raises `ShapeError`, `DTypeError`, `NonFiniteError`, `ConfigError`.  `kernels` is for backends.

    >>> import numpy as np
    >>> matrix_rank([[1, 2, 3], [2, 4, 6], [3, 6, 9]]), matrix_rank([[1, 1, 1], [1, 2, 3], [2, 4, 6]])
    (1, 2)
    >>> matrix_rank(np.array([[1.0, 0.0], [0.0, 1e-3]])), matrix_rank(np.eye(2) * [1, 1e-3], tol=0.01)
    (2, 1)
    """
    if is_exact(M):
        _require_no_tol(tol)
        return len(eliminate_exactly(read_exact("M", M))[1])
    _require_matrix(M, tol)
    _, sigma, _, exponent = decompose(M, kernels)
    return int(_count_above(sigma, _threshold(M, tol, exponent, sigma)))


def is_full_rank(M: Array, tol: float | None = None) -> bool:
    """Tell whether the rank is as large as the shape allows.  [rank-full] [rank-low]

    rank(M) = min(m, n); otherwise M is rank-deficient, and of low rank where rank(M) << min(m, n).

    >>> is_full_rank([[1, 2], [3, 4], [5, 6]]), is_full_rank([[1, 2], [2, 4]])
    (True, False)
    """
    shape = read_exact("M", M).shape if is_exact(M) else getattr(M, "shape", ())
    return matrix_rank(M, tol) == int(min(shape))


def rank_factorization(
    M: Array, method: str = "rref", tol: float | None = None, *, kernels: Kernels = REFERENCE
) -> tuple[Float[Array, "m r"], Float[Array, "r n"]]:
    """Write M as a product of two factors of its own rank.  [rank-factorization] [rank-product]

    M = B C with B (m, r) and C (r, n), r = rank(M).  Both have full rank r: a product's rank is at most its
    factors', and here it is r.

    ``"rref"``  elimination: B is r of M's own columns, C has the identity there.  Exact input (see `matrix_rank`)
                gives object arrays of Fraction with B C = M exactly, pivots leftmost; floats take the largest
                remaining entry as pivot, and stop at `tol`, by default max(m, n) ε max|M|
    ``"qr"``    B = Q with orthonormal columns, C = R Pᵀ; stops at a column no longer than `tol`, by default
                max(m, n) ε times the longest column
    ``"svd"``   B = U √sigma, C = √sigma Vt; leaves out sigma <= `tol`, by default max(m, n) ε sigma_1

    Raises `ShapeError`, `DTypeError`, `NonFiniteError`, `ConfigError`.  [rank-factorization-example]

    >>> B, C = rank_factorization([[1, 2, 3], [2, 4, 6], [3, 6, 9]])
    >>> B.astype(int).tolist(), C.astype(int).tolist()
    ([[1], [2], [3]], [[1, 2, 3]])
    """
    checks.require_one_of("method", method, METHODS)
    if is_exact(M):
        return _factor_exactly(M, method, tol)
    _require_matrix(M, tol)
    return {"rref": _factor_by_elimination, "qr": _factor_by_qr, "svd": _factor_by_svd}[method](
        M, tol, kernels
    )


# ---- the three roads ---------------------------------------------------------------------------------------


def _factor_exactly(M: Array, method: str, tol: float | None) -> tuple[Array, Array]:
    """Eliminate over the rationals.  [rank-rref]"""
    _require_no_tol(tol)
    F = read_exact("M", M)
    if method != "rref":
        raise DTypeError(
            f"method {method!r} needs roots, and M holds exact numbers",
            fix='use method="rref", or pass np.asarray(M, dtype=float)',
        )
    C, columns = eliminate_exactly(F)
    return F[:, columns], C


def _factor_by_elimination(M: Array, tol: float | None, kernels: Kernels) -> tuple[Array, Array]:
    """B = M[:, columns], C the reduced rows.  [rank-rref]"""
    xp = array_namespace(M)
    unit, exponent = to_unit_scale(M)
    largest = xp.max(xp.abs(unit)) if _entries(M) else 0.0
    C, columns = kernels.eliminate(unit, _threshold(M, tol, exponent, [largest]))
    return xp.take(M, xp.asarray(columns, dtype=xp.int64), axis=1), xp.astype(C, M.dtype)


def _factor_by_qr(M: Array, tol: float | None, kernels: Kernels) -> tuple[Array, Array]:
    """B = Q, C = R Pᵀ.  [rank-qr]"""
    xp = array_namespace(M)
    unit, exponent = to_unit_scale(M)
    longest = xp.sqrt(xp.max(xp.vecdot(unit.T, unit.T))) if _entries(M) else 0.0
    Q, R, order = kernels.pivoted_qr(unit, _threshold(M, tol, exponent, [longest]))
    places = sorted(range(len(order)), key=order.__getitem__)
    C = xp.take(R, xp.asarray(places, dtype=xp.int64), axis=1)
    return xp.astype(Q, M.dtype), xp.astype(times_power_of_two(C, exponent), M.dtype)


def _factor_by_svd(M: Array, tol: float | None, kernels: Kernels) -> tuple[Array, Array]:
    """B = U √sigma, C = √sigma Vt.  [rank-svd]"""
    xp = array_namespace(M)
    U, sigma, Vt, exponent = decompose(M, kernels)
    r = _count_above(sigma, _threshold(M, tol, exponent, sigma))
    half, odd = divmod(exponent, 2)
    root = xp.sqrt(sigma[:r] * 2.0**odd)  # so that each factor carries the same power of two
    B, C = U[:, :r] * root[None, :], root[:, None] * Vt[:r, :]
    return (
        xp.astype(times_power_of_two(B, half), M.dtype),
        xp.astype(times_power_of_two(C, half), M.dtype),
    )


# ---- tolerance ---------------------------------------------------------------------------------------------


def _threshold(M: Array, tol: float | None, exponent: int, sizes: Any) -> float:
    """Return the tolerance on M 2**(-e): the caller's, or max(m, n) ε times the first of the falling `sizes`."""
    if tol is not None:
        return scale_number(float(tol), -exponent)
    relative: float = max(M.shape) * float(array_namespace(M).finfo(M.dtype).eps)
    return relative * (float(sizes[0]) if _entries(M) else 0.0)


def _count_above(sigma: Float[Array, " q"], threshold: float) -> int:
    xp = array_namespace(sigma)
    return int(xp.sum(xp.astype(sigma > threshold, xp.int64)))


def _entries(M: Array) -> int:
    return int(M.shape[0] * M.shape[1])


def _require_matrix(M: Array, tol: float | None) -> None:
    checks.require_ndim("M", M, 2, "m, n")
    checks.require_finite("M", M)
    if tol is not None:
        checks.require_number("tol", tol, least=0.0)


def _require_no_tol(tol: float | None) -> None:
    if tol is not None:
        raise ConfigError(
            f"tol must be None for exact numbers, got {tol!r}",
            fix="leave it out, or pass np.asarray(M, dtype=float)",
        )
