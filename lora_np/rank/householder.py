"""Householder QR with column pivoting, from scratch.  Floor 1.

M P = Q R: every step takes the longest remaining column and reflects it onto one axis, so the diagonal of R falls
and shows the rank.  Expects entries of about unit size (see `scaling`): nothing here guards against overflow.
"""

from collections.abc import Sequence

from array_api_compat import array_namespace

from lora_np._typing import Array, Float


def pivoted_qr(
    M: Float[Array, "m n"], stop: float
) -> tuple[Float[Array, "m r"], Float[Array, "r n"], list[int]]:
    """Factor M[:, order] = Q R by reflections, the longest column first.  [rank-qr]

    Q has orthonormal columns, R is upper triangular with a falling diagonal.  It ends when the longest remaining
    column is no longer than `stop`; r is the number of steps taken.

    >>> import numpy as np
    >>> Q, R, order = pivoted_qr(np.array([[3.0, 6.0], [4.0, 8.0]]), stop=1e-12)
    >>> Q.shape, np.round(R, 12), order
    ((2, 1), array([[-10.,  -5.]]), [1, 0])
    """
    xp = array_namespace(M)
    T, order, reflectors = xp.asarray(M.T, copy=True), list(range(M.shape[1])), []  # rows of T: columns of M
    for k in range(min(M.shape)):
        squares = xp.vecdot(T[k:, k:], T[k:, k:])
        longest = int(xp.argmax(squares))
        if not float(squares[longest]) > stop * stop:
            break
        _swap_rows(T, k, k + longest)
        order[k], order[k + longest] = order[k + longest], order[k]
        v, tau, diagonal = _reflector(T[k, k:])
        _reflect(T[k + 1 :, k:], v, tau)
        T[k, k], T[k, k + 1 :] = diagonal, 0.0
        reflectors.append((v, tau))
    r = len(reflectors)
    return _columns(reflectors, M, r), T.T[:r, :], order


def leading_qr(M: Float[Array, "m n"], steps: int) -> tuple[Float[Array, "m r"], Float[Array, "r n"]]:
    """Factor M = Q R by reflections, the columns as they stand: r columns of Q, r rows of R.  [rank-qr]

    r = `steps`, at most min(m, n).  Column j of Q carries the sign that `_reflector` gave it; Q R does not depend on
    it.  A column that the earlier ones span leaves its direction to the reflection of an axis.

    >>> import numpy as np
    >>> Q, R = leading_qr(np.array([[3.0, 6.0], [4.0, 9.0]]), 1)
    >>> np.round(Q @ R, 12)
    array([[3.  , 6.48],
           [4.  , 8.64]])
    """
    xp = array_namespace(M)
    T, reflectors = xp.asarray(M.T, copy=True), []  # rows of T: columns of M
    for k in range(steps):
        if not bool(
            xp.any(T[k, k:] != 0)
        ):  # subtle: nothing to reflect, and a reflector would divide by zero
            reflectors.append((xp.zeros_like(T[k, k:]), T[k, k] * 0))
            continue
        v, tau, diagonal = _reflector(T[k, k:])
        _reflect(T[k + 1 :, k:], v, tau)
        T[k, k], T[k, k + 1 :] = diagonal, 0.0
        reflectors.append((v, tau))
    return _columns(reflectors, M, steps), T.T[:steps, :]


def complete_columns(Q: Float[Array, "m r"], count: int) -> Float[Array, "m count"]:
    """Append orthonormal columns until there are `count`.  [rank-householder]

    The reflectors of Q's own QR, applied to the further axes.

    >>> import numpy as np
    >>> abs(complete_columns(np.array([[0.0], [1.0]]), 2))
    array([[0., 1.],
           [1., 0.]])
    """
    xp, r = array_namespace(Q), Q.shape[1]
    if r == count:
        return Q
    T, reflectors = xp.asarray(Q.T, copy=True), []
    for k in range(r):
        v, tau, _ = _reflector(T[k, k:])
        _reflect(T[k + 1 :, k:], v, tau)
        reflectors.append((v, tau))
    return xp.concat([Q, _columns(reflectors, Q, count)[:, r:]], axis=1)


def _reflector(x: Float[Array, " m"]) -> tuple[Float[Array, " m"], Float[Array, ""], Float[Array, ""]]:
    """Return v and τ with x - τ v (vᵀ x) = diagonal e_1, and the diagonal ∓‖x‖.  [rank-householder]

    v = (x - diagonal e_1) / (x_1 - diagonal), so v_1 = 1; the diagonal's sign is opposite to x_1, so the difference
    adds and never cancels; τ = 2 / (vᵀ v) = 1 + |x_1| / ‖x‖.  Exact for an x that lies on its axis already.
    """
    xp = array_namespace(x)
    norm = xp.sqrt(xp.vecdot(x, x))
    diagonal = xp.where(x[0] < 0, norm, -norm)
    v = xp.concat([xp.ones_like(x[:1]), x[1:] / (x[0] - diagonal)])
    return v, 1 + xp.abs(x[0]) / norm, diagonal


def _reflect(rows: Float[Array, "q m"], v: Float[Array, " m"], tau: Float[Array, ""]) -> None:
    """Reflect each row in place: row - τ (row · v) v.  The rows are this module's own copy."""
    rows -= (tau * (rows @ v))[:, None] * v[None, :]


def _columns(
    reflectors: Sequence[tuple[Float[Array, " m"], Float[Array, ""]]], like: Float[Array, "m n"], count: int
) -> Float[Array, "m count"]:
    """Multiply the reflectors into the first `count` columns of the identity."""
    xp = array_namespace(like)
    rows = xp.eye(count, like.shape[0], dtype=like.dtype)  # Qᵀ, grown from its last corner
    for k in reversed(range(len(reflectors))):
        _reflect(rows[k:, k:], *reflectors[k])
    return rows.T


def _swap_rows(T: Float[Array, "n m"], i: int, j: int) -> None:
    """Exchange two rows in place."""
    if i != j:
        row = T[i, :] + 0.0  # subtle: a copy, not a view
        T[i, :] = T[j, :]
        T[j, :] = row
