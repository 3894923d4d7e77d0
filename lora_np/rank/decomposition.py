"""The singular value decomposition, and the best approximation of a given rank that it yields.  Floor 1.

Householder QR with column pivoting first, then one-sided Jacobi on the small triangle; LAPACK is used nowhere.
Thin only: min(m, n) singular values.
"""

from typing import NamedTuple

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import RankError
from lora_np.rank.householder import complete_columns
from lora_np.rank.kernels import REFERENCE, Kernels
from lora_np.rank.scaling import from_unit_scale, to_unit_scale

_NOTHING = 2.0**-450
"""A column this much shorter than the longest is taken for zero: dot products with its like would vanish."""


class SVD(NamedTuple):
    """M = U diag(sigma) Vt; q = min(m, n), or r after `truncate`.  [rank-svd]"""

    U: Float[Array, "m q"]
    sigma: Float[Array, " q"]
    Vt: Float[Array, "q n"]

    def matrix(self) -> Float[Array, "m n"]:
        """Multiply the three factors."""
        return (self.U * self.sigma[None, :]) @ self.Vt  # (m, n)

    def factors(self) -> tuple[Float[Array, "m q"], Float[Array, "q n"]]:
        """Share √sigma between two factors, as large as each other: matrix() = B C, the form of B A in LoRA."""
        root = array_namespace(self.sigma).sqrt(self.sigma)
        return self.U * root[None, :], root[:, None] * self.Vt


def svd(M: Float[Array, "m n"], *, kernels: Kernels = REFERENCE) -> SVD:
    """Decompose a matrix into orthonormal directions and their strengths.  [rank-svd]

    M = U diag(sigma) Vt with UᵀU = I, Vt Vtᵀ = I and sigma falling, none negative.  Works in float64 or wider and
    rounds to M's type.  Errors are of the order of ε sigma_1; where only the columns (or the rows, if there are
    fewer rows) are badly scaled, small sigma keep their relative accuracy too.  Those below 2**-450 sigma_1 may
    come out as 0.  Raises `ShapeError`, `DTypeError`, `NonFiniteError`.  `kernels` is for backends.

    >>> import numpy as np
    >>> svd(np.array([[0.0, 2.0], [3.0, 0.0], [0.0, 0.0]])).sigma
    array([3., 2.])
    """
    checks.require_ndim("M", M, 2, "m, n")
    checks.require_finite("M", M)
    U, sigma, Vt, exponent = decompose(M, kernels)
    xp = array_namespace(M)
    return SVD(xp.astype(U, M.dtype), from_unit_scale(sigma, exponent, M), xp.astype(Vt, M.dtype))


def decompose(
    M: Float[Array, "m n"], kernels: Kernels
) -> tuple[Float[Array, "m q"], Float[Array, " q"], Float[Array, "q n"], int]:
    """Decompose M 2**(-e) in float64 or wider; return its U, sigma, Vt and e.  [rank-svd]"""
    unit, exponent = to_unit_scale(M)
    if M.shape[0] >= M.shape[1]:
        return *_decompose_tall(unit, kernels), exponent
    U, sigma, Vt = _decompose_tall(unit.T, kernels)
    return Vt.T, sigma, U.T, exponent


def _decompose_tall(
    M: Float[Array, "m n"], kernels: Kernels
) -> tuple[Float[Array, "m n"], Float[Array, " n"], Float[Array, "n n"]]:
    """M P = Q R and J R = diag(sigma) W give M = (Q Jᵀ) diag(sigma) (W Pᵀ).  [rank-svd]"""
    xp, n = array_namespace(M), M.shape[1]
    longest = float(xp.max(xp.abs(M))) if M.shape[0] and n else 0.0
    Q, R, order = kernels.pivoted_qr(M, longest * _NOTHING)  # (m, r), (r, n)
    H, J = kernels.orthogonalize_rows(R)
    norms = xp.sqrt(xp.vecdot(H, H))
    falling = xp.argsort(norms, descending=True)
    sigma = xp.take(norms, falling)
    W = xp.take(H, falling, axis=0) / xp.where(sigma > 0, sigma, xp.ones_like(sigma))[:, None]  # (r, n)
    U = Q @ xp.take(J, falling, axis=0).T  # (m, r)
    V = complete_columns(W.T, n)  # (n, n); its new columns belong to sigma = 0
    places = sorted(range(n), key=order.__getitem__)
    Vt = xp.take(V.T, xp.asarray(places, dtype=xp.int64), axis=1)
    rest = xp.zeros((n - sigma.shape[0],), dtype=sigma.dtype)
    return complete_columns(U, n), xp.concat([sigma, rest]), Vt


def truncate(M: Float[Array, "m n"] | SVD, r: int, *, kernels: Kernels = REFERENCE) -> SVD:
    """Keep the r strongest directions: the best approximation of rank r.  [rank-truncation] [rank-eckart-young]

    M_r = U_r diag(sigma_r) Vt_r; no matrix of rank r is closer to M in the Frobenius or the spectral norm.  Give
    the `SVD` in place of M where it is at hand.  `.matrix()` multiplies it out, `.factors()` gives B and C.
    Raises `ConfigError` or `RankError` for r outside 0 .. min(m, n), and what `svd` raises.

    >>> import numpy as np
    >>> truncate(np.array([[3.0, 0.0], [0.0, 2.0]]), 1).matrix()
    array([[3., 0.],
           [0., 0.]])
    """
    checks.require_int("r", r, minimum=0)
    found = M if isinstance(M, SVD) else svd(M, kernels=kernels)
    most = found.sigma.shape[0]
    if r > most:
        raise RankError(f"r = {r} exceeds {most}, the number of singular values", fix=f"choose r <= {most}")
    return SVD(found.U[:, :r], found.sigma[:r], found.Vt[:r, :])
