"""OFT: the input axis of the weight is rotated, block by block.  Floor 2.

W = W0 blockdiag(R_1 … R_n), each R orthogonal and made from a skew-symmetric Q by Cayley's formula, or by five terms
of its power series (OFTv2).  The paper writes z = (R_p W)ᵀ x with W (k, d) and R_p = (I + Q)(I − Q)⁻¹; stored (d, k)
the same weight is W0 R_pᵀ, so the R of this file is R_pᵀ = (I − Q)(I + Q)⁻¹.  PEFT 0.21 agrees with that in its
default, the five terms (`neumann=5`); with `use_cayley_neumann=False` it rotates the other way, W0 R_p, which is
`side="transposed"` here, or −q.
No constrained form (COFT), no shared blocks, no dropout of blocks, no convolution.  A little longer than most, so that
the rotation and its derivative stand beside the layer that uses them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError, NotInvertibleError, ShapeError
from lora_np.methods import through_weight

SIDES = ("paper", "transposed")


class OftParams(NamedTuple):
    """The strict upper triangles of the skew-symmetric Q, row by row, one row a block.  [oft-weight]"""

    q: Float[Array, "n t"]


def init(k: int, block: int, *, dtype: object = np.float64) -> OftParams:
    """Start every Q at zero: no rotation.  [oft-weight]

    `block` is the size b of a block; q is (k / b, b (b − 1) / 2).  Raises `ConfigError`, `DTypeError`, `ShapeError`
    where b does not divide k.

    >>> init(6, 3).q.shape
    (2, 3)
    """
    checks.require_int("k", k, minimum=0)
    checks.require_int("block", block, minimum=1)
    checks.require_float_dtype(dtype)
    if k % block:
        raise ShapeError(f"blocks of {block} do not fill k = {k}", fix=f"choose a divisor of {k}")
    return OftParams(np.zeros((k // block, block * (block - 1) // 2)).astype(dtype))  # type: ignore[call-overload]


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: OftParams,
    *,
    neumann: int | None = None,
    side: str = "paper",
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "n b b"]]:
    """Rotate the rows block by block, and apply the frozen weight.  [oft-weight] [oft-cayley] [oft-neumann]

    Y = (X blockdiag(R)ᵀ) W0ᵀ + b.  Returns Y and the blocks R, which `backward` needs.  Raises `ShapeError`,
    `DTypeError`, `ConfigError`.

    >>> X, W0, p = np.array([[2.0, 1.0]]), np.eye(2), OftParams(np.array([[1.0]]))
    >>> forward(X, W0, p)[0]  # a quarter turn
    array([[-1.,  2.]])
    """
    _require_oft("W0", W0, p, neumann, side)
    through_weight.require_rows_of(X, W0, bias)
    R = rotation(p, neumann=neumann, side=side)
    return through_weight.with_bias(_times_blocks(X, _t(R)) @ W0.T, bias), R


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    R: Float[Array, "n b b"],
    W0: Float[Array, "d k"],
    p: OftParams,
    *,
    neumann: int | None = None,
    side: str = "paper",
) -> tuple[Float[Array, "N k"], OftParams]:
    """Pull gY back to the input and the skew-symmetric parameters.  [oft-grad] [oft-neumann-grad]

    gS = gY W0,  gX = gS blockdiag(R),  gR = Σ_n gS_nᵀ X_n in each block; Cayley's formula is pulled back through the
    solve, gQ = −(I − Q)⁻¹ gR (I + R)ᵀ, the series term by term; gq is gQ − gQᵀ above the diagonal.  `R` is what
    `forward` returned.  Raises what `forward` raises.

    >>> X, W0, p = np.array([[2.0, 1.0]]), np.eye(2), OftParams(np.array([[0.0]]))
    >>> backward(np.array([[1.0, 0.0]]), X, forward(X, W0, p)[1], W0, p)
    (array([[1., 0.]]), OftParams(q=array([[-2.]])))
    """
    blocks, b = _require_oft("W0", W0, p, neumann, side)
    through_weight.require_upstream(gY, X, W0)
    through_weight.require_shape("R", R, (blocks, b, b), "blocks, b, b")
    checks.require_same_dtype(gY=gY, R=R)
    gS = gY @ W0  # (N, k): the gradient of the rotated rows
    gR = _t(_in_blocks(gS, R)) @ _in_blocks(X, R)  # (n, b, b)
    sign = _sign(side)
    Q = sign * _skew(p[0], b)
    gQ = _neumann_backward(Q, gR) if neumann else _cayley_backward(Q, R, gR)
    return _times_blocks(gS, R), OftParams(sign * _upper(gQ))


def merge(
    W0: Float[Array, "d k"], p: OftParams, *, neumann: int | None = None, side: str = "paper"
) -> Float[Array, "d k"]:
    """Rotate the weight.  [oft-weight]

    W = W0 blockdiag(R).  Raises what `forward` raises, `NonFiniteError`, `OverflowInMergeError`.

    >>> merge(np.eye(2), OftParams(np.array([[1.0]])))
    array([[ 0., -1.],
           [ 1.,  0.]])
    """
    _require_oft("W0", W0, p, neumann, side)
    return through_weight.build_finite(
        "merging", "W0", W0, {"q": p[0]}, lambda: _times_blocks(W0, rotation(p, neumann=neumann, side=side))
    )


def unmerge(
    W: Float[Array, "d k"], p: OftParams, *, neumann: int | None = None, side: str = "paper"
) -> Float[Array, "d k"]:
    """Rotate a merged weight back, up to rounding.  [oft-weight] [oft-neumann]

    W0 ≈ W blockdiag(R)ᵀ, R being orthogonal; of the five terms, which are not, W blockdiag(R)⁻¹.  Those have no
    inverse where Q turns by a quarter, which raises `NotInvertibleError`.  Raises what `merge` raises.

    >>> unmerge(np.array([[0.0, -1.0], [1.0, 0.0]]), OftParams(np.array([[1.0]])))
    array([[1., 0.],
           [0., 1.]])
    """
    _require_oft("W", W, p, neumann, side)

    def build() -> Array:
        R = rotation(p, neumann=neumann, side=side)
        return _divide_blocks(W, R) if neumann else _times_blocks(W, _t(R))

    return through_weight.build_finite("unmerging", "W", W, {"q": p[0]}, build)


def rotation(p: OftParams, *, neumann: int | None = None, side: str = "paper") -> Float[Array, "n b b"]:
    """Make the blocks R from their parameters.  [oft-cayley] [oft-neumann]

    R = (I − Q)(I + Q)⁻¹ exactly, or for `neumann=5` I − 2Q + 2Q² − 2Q³ + Q⁴ = R (I − Q⁴), which is orthogonal only
    up to Q⁴.  ``side="transposed"`` takes −Q, which of the first is Rᵀ.  Raises `ConfigError`, `ShapeError`.

    >>> rotation(OftParams(np.array([[1.0]])))
    array([[[ 0., -1.],
            [ 1.,  0.]]])
    """
    checks.require_ndim("q", p[0], 2, "n, b (b - 1) / 2")
    _require_options(neumann, side)
    xp, b = array_namespace(p[0]), _block_size(p[0])
    Q, I = _sign(side) * _skew(p[0], b), xp.eye(b, dtype=p[0].dtype)  # noqa: E741 (the identity)
    if neumann is None:
        return _solve(I + Q, I - Q)  # the two commute
    return I - Q @ _horner(Q)[-1]


# ---- Cayley's formula and its series -----------------------------------------------------------------------


def _cayley_backward(Q: Array, R: Array, gR: Array) -> Array:
    """Pull gR back through R = (I + Q)⁻¹ (I − Q): dR = −(I + Q)⁻¹ dQ (R + I), and (I + Q)ᵀ = I − Q."""
    xp = array_namespace(Q)
    I = xp.eye(Q.shape[2], dtype=Q.dtype)  # noqa: E741
    return -(_solve(I - Q, gR) @ _t(R + I))


def _solve(M: Array, T: Array) -> Array:
    """Solve M S = T in every block; half precision, which libraries refuse, in single."""
    xp = array_namespace(M)
    wide = xp.result_type(M.dtype, xp.float32)
    return xp.astype(xp.linalg.solve(xp.astype(M, wide), xp.astype(T, wide)), M.dtype)


def _horner(Q: Array) -> list[Array]:
    """Return 2I − Q, then twice 2I − Q times the one before: the series is I − Q times the last."""
    two = 2.0 * array_namespace(Q).eye(Q.shape[2], dtype=Q.dtype)
    steps = [two - Q]
    for _ in range(2):
        steps.append(two - Q @ steps[-1])
    return steps


def _neumann_backward(Q: Array, gR: Array) -> Array:
    """Pull gR back through the series, one factor of Q at a time."""
    gQ, g = 0.0 * Q, gR
    for step in reversed(_horner(Q)):
        gQ = gQ - g @ _t(step)
        g = Q @ g  # −Qᵀ g: Q is skew-symmetric
    return gQ - g


# ---- blocks ------------------------------------------------------------------------------------------------


def _sign(side: str) -> float:
    """Return the sign of Q on a side."""
    return 1.0 if side == "paper" else -1.0


def _block_size(q: Array) -> int:
    """Solve b (b − 1) / 2 = t for b: b² − b lies between (b − 1)² and b²."""
    t = q.shape[1]
    b = math.isqrt(2 * t) + 1
    if b * (b - 1) // 2 != t:
        raise ShapeError(
            f"q has {t} numbers a block, expected b (b - 1) / 2 of a block size b: 1, 3, 6, 10, ...",
            fix="each row of q is the strict upper triangle of one block",
        )
    return b


def _skew(q: Float[Array, "n t"], b: int) -> Float[Array, "n b b"]:
    """Lay each row of q out above the diagonal, and its negative below."""
    xp, t = array_namespace(q), q.shape[1]
    place = {pair: index for index, pair in enumerate((i, j) for i in range(b) for j in range(i + 1, b))}
    index = [
        place[i, j] if i < j else t + place[j, i] if j < i else 2 * t for i in range(b) for j in range(b)
    ]
    wide = xp.concat([q, -q, xp.zeros((q.shape[0], 1), dtype=q.dtype)], axis=1)
    return xp.reshape(xp.take(wide, xp.asarray(index, dtype=xp.int64), axis=1), (q.shape[0], b, b))


def _upper(gQ: Float[Array, "n b b"]) -> Float[Array, "n t"]:
    """Pull a gradient of Q back to q: what is above the diagonal minus its mirror image."""
    xp, b = array_namespace(gQ), gQ.shape[2]
    index = xp.asarray([i * b + j for i in range(b) for j in range(i + 1, b)], dtype=xp.int64)
    return xp.take(xp.reshape(gQ - _t(gQ), (gQ.shape[0], b * b)), index, axis=1)


def _t(blocks: Array) -> Array:
    """Transpose every block."""
    return array_namespace(blocks).permute_dims(blocks, (0, 2, 1))


def _in_blocks(x: Float[Array, "... k"], R: Float[Array, "n b b"]) -> Float[Array, "n N b"]:
    """Cut the rows into blocks of their last axis as R has them, the blocks first."""
    xp, N = array_namespace(x), math.prod(x.shape[:-1])
    return xp.permute_dims(xp.reshape(x, (N, *R.shape[:2])), (1, 0, 2))


def _times_blocks(x: Float[Array, "... k"], R: Float[Array, "n b b"]) -> Float[Array, "... k"]:
    """Multiply the rows with blockdiag(R)."""
    xp = array_namespace(x)
    rotated = _in_blocks(x, R) @ R  # (n, N, b)
    return xp.reshape(xp.permute_dims(rotated, (1, 0, 2)), tuple(x.shape))


def _divide_blocks(W: Float[Array, "d k"], R: Float[Array, "n b b"]) -> Float[Array, "d k"]:
    """Multiply the rows with blockdiag(R)⁻¹, block by block: W Rⱼ⁻¹ = (Rⱼ⁻ᵀ Wᵀ)ᵀ."""
    xp = array_namespace(W)
    problem, fix = "the five-term rotation has no inverse: Q turns by a quarter", "keep a snapshot of W0"
    try:
        solved = _solve(_t(R), _t(_in_blocks(W, R)))  # (n, b, d)
    except np.linalg.LinAlgError:
        raise NotInvertibleError(problem, fix=fix) from None
    if not bool(xp.all(xp.isfinite(solved))):
        raise NotInvertibleError(problem, fix=fix)
    return xp.reshape(xp.permute_dims(solved, (2, 0, 1)), tuple(W.shape))


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require_options(neumann: int | None, side: str) -> None:
    """Raise unless the series is off or has five terms, and the side is known."""
    if neumann is not None and (isinstance(neumann, bool) or neumann != 5):
        raise ConfigError(
            f"neumann must be None or 5, got {neumann!r}", fix="None is Cayley's formula itself"
        )
    checks.require_one_of("side", side, SIDES)


def _require_oft(name: str, W: Array, p: OftParams, neumann: int | None, side: str) -> tuple[int, int]:
    """Raise unless the blocks fill the weight's width; return their number and size."""
    through_weight.require_fields(p, OftParams)
    _require_options(neumann, side)
    checks.require_ndim("q", p[0], 2, "n, b (b - 1) / 2")
    _, k = through_weight.require_base(name, W, q=p[0])
    blocks, b = p[0].shape[0], _block_size(p[0])
    if blocks * b != k:
        raise ShapeError(
            f"q {tuple(p[0].shape)} makes {blocks} blocks of {b}, which do not fill k = {k}",
            fix=f"blocks times size must be {k}",
        )
    return blocks, b


__all__ = ["SIDES", "OftParams", "backward", "forward", "init", "merge", "rotation", "unmerge"]
