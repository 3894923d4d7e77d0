"""The additive method: sums in place of products.  Floor 2.

W = W0 + s (B E_k + E_dᵀ A), where E repeats the r x r identity: for r = 1, W0_ij + s (b_i + a_j) (seed 001).  Both
factors may start at zero.  The layer is `gradient_view.additive`'s, gathered here in the form that all methods have;
this file adds the bias and a merge that refuses what cannot be stored.  The seed has no scale, so s is 1 unless given.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from lora_np import checks, merging
from lora_np._typing import Array, Float
from lora_np.errors import ShapeError
from lora_np.gradient_view.additive import (
    AdditiveParams,
    additive_backward,
    additive_forward,
)
from lora_np.gradient_view.additive import additive_init as init
from lora_np.lora import LoraParams
from lora_np.methods.tensors import require_mergeable, require_params


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: AdditiveParams,
    *,
    scale: float = 1.0,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Apply the additive layer to rows.  [additive-blocks]

    Y = X W0ᵀ + s ((X E_kᵀ) Bᵀ + (X Aᵀ) E_d) + b.  Returns Y and the block sums Z = X E_kᵀ.  Raises `ShapeError`,
    `DTypeError`, `RankError`, `ConfigError`.

    >>> import numpy as np
    >>> p = AdditiveParams(B=np.array([[1.0], [2.0]]), A=np.array([[10.0, 20.0]]))
    >>> forward(np.array([[1.0, 1.0]]), np.zeros((2, 2)), p, bias=np.array([0.5, 0.0]))
    (array([[32.5, 34. ]]), array([[2.]]))
    """
    require_params(p, AdditiveParams)
    Y, Z = additive_forward(X, W0, p, scale=scale)
    if bias is None:
        return Y, Z
    checks.require_ndim("bias", bias, 1, "d")
    checks.require_same_dtype(W0=W0, bias=bias)
    if bias.shape[0] != W0.shape[0]:
        raise ShapeError(f"bias has shape {tuple(bias.shape)}, expected (d,) = ({W0.shape[0]},)")
    return Y + bias, Z


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N r"],
    W0: Float[Array, "d k"],
    p: AdditiveParams,
    *,
    scale: float = 1.0,
) -> tuple[Float[Array, "N k"], AdditiveParams]:
    """Pull gY back to the input and both factors.  [additive-blocks-grad]

    gZ = gY E_dᵀ,  gB = s gYᵀ Z,  gA = s gZᵀ X,  gX = gY W0 + s ((gY B) E_k + gZ A).  Raises what `forward` raises.

    >>> import numpy as np
    >>> X, W0, p = np.array([[1.0, 2.0]]), np.zeros((2, 2)), init(2, 2, 1)
    >>> Y, Z = forward(X, W0, p)
    >>> backward(np.array([[1.0, 10.0]]), X, Z, W0, p)[1].A
    array([[11., 22.]])
    """
    require_params(p, AdditiveParams)
    return additive_backward(gY, X, Z, W0, p, scale=scale)


def merge(W0: Float[Array, "d k"], p: AdditiveParams, *, scale: float = 1.0) -> Float[Array, "d k"]:
    """Add the increment to the weight.  [additive-weight] [additive-blocks]

    W = W0 + s (B E_k + E_dᵀ A).  Raises what `lora_np.merge` raises, and `ShapeError` where r does not divide d and k.

    >>> import numpy as np
    >>> merge(np.zeros((2, 2)), AdditiveParams(B=np.array([[1.0], [2.0]]), A=np.array([[10.0, 20.0]])))
    array([[11., 21.],
           [12., 22.]])
    """
    require_params(p, AdditiveParams)
    require_mergeable("W0", W0, {"B": (p.B, "d r"), "A": (p.A, "r k")}, scale)
    return merging.merge(W0, _as_product(p), scale=scale)


def unmerge(W: Float[Array, "d k"], p: AdditiveParams, *, scale: float = 1.0) -> Float[Array, "d k"]:
    """Subtract the increment from a merged weight, up to rounding.  [additive-weight] [additive-blocks]

    W0 ≈ W − s (B E_k + E_dᵀ A).  Raises what `merge` raises.

    >>> import numpy as np
    >>> p = AdditiveParams(B=np.array([[1.0], [2.0]]), A=np.array([[10.0, 20.0]]))
    >>> unmerge(merge(np.zeros((2, 2)), p), p)
    array([[0., 0.],
           [0., 0.]])
    """
    require_params(p, AdditiveParams)
    require_mergeable("W", W, {"B": (p.B, "d r"), "A": (p.A, "r k")}, scale)
    return merging.unmerge(W, _as_product(p), scale=scale)


def _as_product(p: AdditiveParams) -> LoraParams:
    """Write the sum as a product, [B E_dᵀ] [E_k ; A]: LoRA of rank 2r, half of whose factors are fixed."""
    (d, r), k, xp = p.B.shape, p.A.shape[1], array_namespace(p.B)
    if not r or d % r or k % r:
        raise ShapeError(
            f"the additive increment needs a rank that divides d and k: d = {d}, k = {k}, r = {r}"
        )
    identity = xp.eye(r, dtype=p.B.dtype)
    tall, wide = xp.tile(identity, (d // r, 1)), xp.tile(identity, (1, k // r))
    return LoraParams(xp.concat([p.B, tall], axis=1), xp.concat([wide, p.A], axis=0))


__all__ = ["AdditiveParams", "backward", "forward", "init", "merge", "unmerge"]
