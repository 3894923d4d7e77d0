"""One-sided Jacobi: rotate pairs of rows until all are orthogonal, from scratch.  Floor 1.

Each sweep meets every pair of rows once, in rounds of disjoint pairs, as players meet in a tournament; the pairs
of one round are rotated together.  Relative accuracy of small singular values is what the method is known for.
Expects entries of about unit size (see `scaling`).
"""

import math

from array_api_compat import array_namespace

from lora_np._typing import Array, Float, Int
from lora_np.errors import LoraNpError

SWEEPS = 60
"""More sweeps than any matrix needs: convergence is quadratic, 6 to 12 are usual."""
FLOOR = 2.0**-970
"""A dot product this small counts as zero: its last digits may have vanished below the smallest float."""


def orthogonalize_rows(G: Float[Array, "q c"]) -> tuple[Float[Array, "q c"], Float[Array, "q q"]]:
    """Find an orthogonal J such that the rows of H = J G are orthogonal; return H and J.  [rank-jacobi]

    Ends when |h_i · h_j| <= √c ε ‖h_i‖ ‖h_j‖ + 2**-970 for every pair.  The norms of H's rows are the singular values
    of G.

    >>> import numpy as np
    >>> H, J = orthogonalize_rows(np.array([[1.0, 1.0], [0.0, 1.0]]))
    >>> bool(abs(H[0] @ H[1]) < 1e-15), bool(np.allclose(J @ [[1, 1], [0, 1]], H))
    (True, True)
    """
    xp, (q, c) = array_namespace(G), G.shape
    pairs = (q + 1) // 2
    carried = xp.concat([G, xp.eye(q, dtype=G.dtype)], axis=1)  # [G | I] becomes [H | J]
    rows = xp.concat([carried, xp.zeros((2 * pairs - q, c + q), dtype=G.dtype)])
    turn = _turn(xp, pairs)
    tol = math.sqrt(c) * float(xp.finfo(G.dtype).eps)
    for _ in range(SWEEPS):
        settled = True
        for _ in range(2 * pairs - 1):  # after so many turns everybody sits where he began
            settled = not _rotate_pairs(xp, rows, c, tol) and settled
            rows = xp.take(rows, turn, axis=0)
        if settled:
            return rows[:q, :c], rows[:q, c:]
    raise LoraNpError(f"the Jacobi rotations did not settle in {SWEEPS} sweeps", fix="is M finite?")


def _turn(xp: Array, pairs: int) -> Int[Array, " 2*pairs"]:
    """Order the seats after one turn of the tournament: the first stays, all others move on by one."""
    top, bottom = list(range(pairs)), list(range(pairs, 2 * pairs))
    order = [*top[:1], *bottom[:1], *top[1:-1], *bottom[1:], *top[-1:]] if pairs > 1 else top + bottom
    return xp.asarray(order, dtype=xp.int64)


def _rotate_pairs(xp: Array, rows: Float[Array, "q c"], c: int, tol: float) -> bool:
    """Rotate row i of the upper half with row i of the lower half, in place; tell whether any pair needed it."""
    half = rows.shape[0] // 2
    P, Q = rows[:half, :], rows[half:, :]
    alpha, beta = xp.vecdot(P[:, :c], P[:, :c]), xp.vecdot(Q[:, :c], Q[:, :c])
    gamma = xp.vecdot(P[:, :c], Q[:, :c])
    active = xp.abs(gamma) > tol * xp.sqrt(alpha) * xp.sqrt(beta) + FLOOR
    if not bool(xp.any(active)):
        return False
    sine, tau = (angle[:, None] for angle in _angles(xp, alpha, beta, gamma, active))
    rotated = P - sine * (Q + tau * P)
    rows[half:, :] = Q + sine * (P - tau * Q)
    rows[:half, :] = rotated
    return True


def _angles(
    xp: Array, alpha: Float[Array, " p"], beta: Float[Array, " p"], gamma: Float[Array, " p"], active: Array
) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
    """Return sin and tan(half) of the smaller rotation that makes each active pair orthogonal.  [rank-jacobi]

    ζ = (β - α) / 2γ,  t = sign(ζ) / (|ζ| + √(1 + ζ²)),  cos = 1 / √(1 + t²),  sin = t cos,  τ = sin / (1 + cos).
    p cos - q sin is then p - sin (q + τ p): a small angle makes a small change, so nothing drifts.
    """
    one, zero = xp.ones_like(alpha), xp.zeros_like(alpha)
    zeta = (beta - alpha) / (2 * xp.where(active, gamma, one))
    t = xp.where(zeta < 0, -one, one) / (xp.abs(zeta) + xp.hypot(one, zeta))
    t = xp.where(active, t, zero)
    cosine = 1 / xp.hypot(one, t)
    sine = t * cosine
    return sine, sine / (1 + cosine)
