"""The additive increment: sums instead of products, ΔW_ij = b_i + a_j and its blocks.  Floor 2.

Both factors may start at zero, because their gradients do not vanish there: they are sums of the full gradient's
blocks.  Forward and backward go through block sums and never make a (d, k) array; `additive_weight` alone does.
"""

import math
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.errors import ShapeError


class AdditiveParams(NamedTuple):
    """The factors of ΔW = s (B E_k + E_dᵀ A), where E repeats the r x r identity.  [additive-blocks]

    B (d, r) touches the output and A (r, k) the input, as in LoRA; r divides both d and k.
    """

    B: Float[Array, "d r"]
    A: Float[Array, "r k"]


def additive_init(d: int, k: int, rank: int, *, dtype: object = np.float64) -> AdditiveParams:
    """Start both factors at zero.  [additive-blocks]

    Raises `ConfigError`, `DTypeError`, and `ShapeError` where the rank does not divide d and k.

    >>> [factor.shape for factor in additive_init(6, 4, 2)]
    [(6, 2), (2, 4)]
    """
    checks.require_int("d", d, minimum=0)
    checks.require_int("k", k, minimum=0)
    checks.require_rank(rank)
    checks.require_float_dtype(dtype)
    _require_blocks(d, k, rank)
    zeros = np.zeros((d, rank)), np.zeros((rank, k))
    return AdditiveParams(*(factor.astype(dtype) for factor in zeros))  # type: ignore[call-overload]


def block_identity(rank: int, blocks: int, *, dtype: object = np.float64) -> Float[Array, "r n"]:
    """Repeat the identity side by side: E = [I_r I_r … I_r], r x (r · blocks).  [additive-blocks]

    E is kron(1, I_r) with 1 a row of ones; for r = 1 it is that row.  The engine never needs it: multiplying by E
    sums blocks, and by its transpose repeats them.  Raises `ConfigError`, `DTypeError`.

    >>> block_identity(2, 2)
    array([[1., 0., 1., 0.],
           [0., 1., 0., 1.]])
    """
    checks.require_rank(rank)
    checks.require_int("blocks", blocks, minimum=0)
    checks.require_float_dtype(dtype)
    return np.tile(np.eye(rank), (1, blocks)).astype(dtype)  # type: ignore[call-overload]


def additive_weight(W0: Float[Array, "d k"], p: AdditiveParams, *, scale: float) -> Float[Array, "d k"]:
    """Add the additive increment to the weight.  [additive-weight] [additive-blocks]

    W = W0 + s (B E_k + E_dᵀ A); entry by entry W0_ij + s (B_i,(j mod r) + A_(i mod r),j).  For r = 1 that is
    W0 + s (b 1ᵀ + 1 aᵀ), of rank 2 where LoRA's has rank 1.  Raises `ShapeError`, `DTypeError`, `RankError`,
    `ConfigError`.

    >>> p = AdditiveParams(B=np.array([[1.0], [2.0]]), A=np.array([[10.0, 20.0]]))
    >>> additive_weight(np.zeros((2, 2)), p, scale=1.0)
    array([[11., 21.],
           [12., 22.]])
    """
    _require_additive("W0", W0, p, scale)
    (d, k), r, xp = W0.shape, p.A.shape[0], array_namespace(W0)
    return W0 + float(scale) * (xp.tile(p.B, (1, k // r)) + xp.tile(p.A, (d // r, 1)))  # (d, k)


def additive_gradient(gW: Float[Array, "d k"], p: AdditiveParams, *, scale: float) -> AdditiveParams:
    """Project the weight's full gradient onto both factors.  [additive-grad] [additive-blocks-grad]

    gB = s gW E_kᵀ and gA = s E_d gW: sums over the column blocks and over the row blocks; for r = 1 the sums of the
    rows and of the columns.  Raises what `additive_weight` raises.

    >>> zero = additive_init(2, 2, 1)
    >>> additive_gradient(np.array([[1.0, 2.0], [3.0, 4.0]]), zero, scale=1.0)
    AdditiveParams(B=array([[3.],
           [7.]]), A=array([[4., 6.]]))
    """
    _require_additive("gW", gW, p, scale)
    s, r = float(scale), p.A.shape[0]
    return AdditiveParams(B=s * _block_sums(gW, r), A=s * _block_sums(gW.T, r).T)


def additive_forward(
    X: Float[Array, "N k"], W0: Float[Array, "d k"], p: AdditiveParams, *, scale: float
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Apply the additive layer to rows, through block sums.  [additive-blocks]

    Y = X W0ᵀ + s ((X E_kᵀ) Bᵀ + (X Aᵀ) E_d).  Returns Y and the block sums Z = X E_kᵀ, which `additive_backward`
    needs.  X may have any number of leading axes.  Raises what `additive_weight` raises.

    >>> p = AdditiveParams(B=np.array([[1.0], [2.0]]), A=np.array([[10.0, 20.0]]))
    >>> additive_forward(np.array([[1.0, 1.0]]), np.zeros((2, 2)), p, scale=1.0)
    (array([[32., 34.]]), array([[2.]]))
    """
    _require_additive_layer(X, W0, p, scale)
    d, r = W0.shape[0], p.A.shape[0]
    Z = _block_sums(X, r)  # (N, r)
    return X @ W0.T + float(scale) * (Z @ p.B.T + _repeat(X @ p.A.T, d // r)), Z  # (N, d)


def additive_backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N r"],
    W0: Float[Array, "d k"],
    p: AdditiveParams,
    *,
    scale: float,
) -> tuple[Float[Array, "N k"], AdditiveParams]:
    """Pull gY back to the input and both factors, by block sums.  [additive-blocks-grad]

    gZ = gY E_dᵀ,  gB = s gYᵀ Z,  gA = s gZᵀ X,  gX = gY W0 + s ((gY B) E_k + gZ A).  Raises what `additive_weight`
    raises.

    >>> X, W0, p = np.array([[1.0, 2.0]]), np.zeros((2, 2)), additive_init(2, 2, 1)
    >>> Y, Z = additive_forward(X, W0, p, scale=1.0)
    >>> additive_backward(np.array([[1.0, 10.0]]), X, Z, W0, p, scale=1.0)[1]
    AdditiveParams(B=array([[ 3.],
           [30.]]), A=array([[11., 22.]]))
    """
    _require_additive_layer(X, W0, p, scale)
    checks.require_rows("gY", gY, W0.shape[0], f"d, the height of W0 {tuple(W0.shape)}")
    checks.require_rows("Z", Z, p.A.shape[0], "r, the rank of the factors")
    checks.require_same_rows(gY=gY, X=X, Z=Z)
    checks.require_same_dtype(gY=gY, X=X, Z=Z)
    s, k, r = float(scale), W0.shape[1], p.A.shape[0]
    gZ = _block_sums(gY, r)  # (N, r)
    gX = gY @ W0 + s * (_repeat(gY @ p.B, k // r) + gZ @ p.A)  # (N, k)
    return gX, AdditiveParams(B=s * (flat_rows(gY).T @ flat_rows(Z)), A=s * (flat_rows(gZ).T @ flat_rows(X)))


def additive_gauge(p: AdditiveParams, C: Float[Array, "r r"]) -> AdditiveParams:
    """Move a constant from one factor to the other: the weight stays.  [additive-gauge]

    B + E_dᵀ C and A − C E_k; for r = 1, b + c and a − c.  So r² of the r (d + k) numbers are free.  Raises what
    `additive_weight` raises.

    >>> p = additive_gauge(AdditiveParams(B=np.zeros((2, 1)), A=np.zeros((1, 3))), np.array([[5.0]]))
    >>> additive_weight(np.zeros((2, 3)), p, scale=1.0)
    array([[0., 0., 0.],
           [0., 0., 0.]])
    """
    checks.require_factors(p)
    (d, r), k = p.B.shape, p.A.shape[1]
    _require_blocks(d, k, r)
    checks.require_ndim("C", C, 2, "r, r")
    checks.require_same_dtype(B=p.B, C=C)
    if tuple(C.shape) != (r, r):
        raise ShapeError(f"C has shape {tuple(C.shape)}, expected (r, r) = ({r}, {r})")
    xp = array_namespace(C)
    return AdditiveParams(B=p.B + xp.tile(C, (d // r, 1)), A=p.A - xp.tile(C, (1, k // r)))


# ---- blocks ------------------------------------------------------------------------------------------------


def _block_sums(x: Float[Array, "... n"], r: int) -> Float[Array, "... r"]:
    """Compute x Eᵀ: add up the blocks of r along the last axis."""
    xp = array_namespace(x)
    return xp.sum(xp.reshape(x, (*x.shape[:-1], x.shape[-1] // r, r)), axis=-2)


def _repeat(x: Float[Array, "... r"], blocks: int) -> Float[Array, "... n"]:
    """Compute x E: repeat the last axis."""
    return array_namespace(x).tile(x, (1,) * (x.ndim - 1) + (blocks,))


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require_blocks(d: int, k: int, r: int) -> None:
    """Raise unless r divides d and k."""
    if r < 1 or d % r or k % r:
        raise ShapeError(
            f"the additive increment needs a rank that divides d and k: d = {d}, k = {k}, r = {r}",
            fix=f"their common divisors divide {math.gcd(d, k)}",
        )


def _require_additive(name: str, W0: Array, p: AdditiveParams, scale: float) -> None:
    """Raise unless weight, factors and scale fit together and the rank divides the sizes."""
    checks.require_weight(name, W0, p, scale)
    _require_blocks(W0.shape[0], W0.shape[1], p[1].shape[0])


def _require_additive_layer(X: Array, W0: Array, p: AdditiveParams, scale: float) -> None:
    """Raise unless X, W0 and p make one layer and the rank divides the sizes."""
    checks.require_layer(X, W0, p, scale)
    _require_blocks(W0.shape[0], W0.shape[1], p[1].shape[0])
