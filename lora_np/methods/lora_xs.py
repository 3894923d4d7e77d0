"""LoRA-XS: a small trained matrix between two factors of the weight's own SVD.  Floor 2.

W = W0 + B R A with R (r, r) trained (Bałazy et al., arXiv 2405.17604).  The paper writes h = x W + x A R B
for weights to the right of x, with A = U_r Σ_r and B = V_rᵀ: the singular values stand on the input's side.  For our
W0 (d, k) = U diag(σ) Vᵀ that is B = U_r and A = diag(σ_r) V_rᵀ, as in the authors' code.  R starts at N(0, σ_R²) with
σ_R = 1e-5 there (`init_module_weights(..., sigma=0.00001)`).

The authors' code multiplies by LoRA's alpha / r on top; the paper's formula has no scale, and neither has this file:
scale R for it.  Singular vectors are known up to sign (and a rotation where singular values repeat), so compare B R A
and never B or A.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks, merging
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.lora import LoraParams
from lora_np.methods.tensors import (
    Tensors,
    fitting,
    require_backward,
    require_layer,
    require_mergeable,
    require_params,
)
from lora_np.rank.decomposition import truncate


class LoraXsParams(NamedTuple):
    """The trainable middle of ΔW = B R A.  [lora-xs-layer]"""

    R: Float[Array, "r r"]


def init(
    rng: np.random.Generator, W0: Float[Array, "d k"], rank: int, *, sigma: float = 1e-5
) -> tuple[Float[Array, "d r"], Float[Array, "r k"], LoraXsParams]:
    """Take both factors from the SVD of the weight and draw R; return (B, A, p).  [lora-xs-init]

    B = U_r, A = diag(σ_r) V_rᵀ, R ~ N(0, sigma²).  Raises `RankError` for r > min(d, k), which has no r singular
    vectors, `ConfigError`, and what `rank.svd` raises.

    >>> B, A, p = init(np.random.default_rng(0), np.array([[3.0, 0.0], [0.0, 2.0]]), 1)
    >>> B @ A, p.R.shape
    (array([[3., 0.],
           [0., 0.]]), (1, 1))
    """
    checks.require_rng(rng)
    checks.require_rank(rank)
    checks.require_number("sigma", sigma, least=0)
    checks.require_ndim("W0", W0, 2, "d, k")
    U, strengths, Vt = truncate(W0, rank)
    xp = array_namespace(W0)
    R = xp.asarray(rng.normal(0.0, float(sigma), size=(rank, rank)))
    return U, strengths[:, None] * Vt, LoraXsParams(xp.astype(R, W0.dtype))


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    B: Float[Array, "d r"],
    A: Float[Array, "r k"],
    p: LoraXsParams,
    *,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Apply the adapted layer to rows.  [lora-xs-layer]

    Y = X W0ᵀ + ((X Aᵀ) Rᵀ) Bᵀ + b.  Returns Y and the bottleneck Z = X Aᵀ.  Raises `ShapeError`, `DTypeError`,
    `RankError`, `ConfigError`.

    >>> X, W0, B, A = np.array([[1.0, 2.0]]), np.eye(2), np.array([[1.0], [0.0]]), np.ones((1, 2))
    >>> forward(X, W0, B, A, LoraXsParams(R=np.array([[0.5]])))
    (array([[2.5, 2. ]]), array([[3.]]))
    """
    require_layer(X, W0, _named(B, A, p), bias=bias)
    Z = X @ A.T  # (N, r)
    Y = X @ W0.T + (Z @ p.R.T) @ B.T  # (N, d)
    return (Y if bias is None else Y + bias), Z


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N r"],
    W0: Float[Array, "d k"],
    B: Float[Array, "d r"],
    A: Float[Array, "r k"],
    p: LoraXsParams,
) -> tuple[Float[Array, "N k"], LoraXsParams]:
    """Pull gY back to the input and to R.  [lora-xs-grad]

    gU = gY B,  gR = gUᵀ Z,  gX = gY W0 + (gU R) A.  Raises what `forward` raises.

    >>> X, W0, B, A = np.array([[1.0, 2.0]]), np.eye(2), np.array([[1.0], [0.0]]), np.ones((1, 2))
    >>> p = LoraXsParams(R=np.array([[0.5]]))
    >>> Y, Z = forward(X, W0, B, A, p)
    >>> backward(np.ones((1, 2)), X, Z, W0, B, A, p)
    (array([[1.5, 1.5]]), LoraXsParams(R=array([[3.]])))
    """
    require_backward(gY, X, W0, _named(B, A, p), {"Z": (Z, "r")})
    gU = gY @ B  # (N, r)
    gX = gY @ W0 + (gU @ p.R) @ A  # (N, k)
    return gX, LoraXsParams(flat_rows(gU).T @ flat_rows(Z))


def merge(
    W0: Float[Array, "d k"], B: Float[Array, "d r"], A: Float[Array, "r k"], p: LoraXsParams
) -> Float[Array, "d k"]:
    """Add the increment to the weight.  [lora-xs-layer]

    W = W0 + B R A.  Raises what `lora_np.merge` raises.

    >>> merge(np.eye(2), np.ones((2, 1)), np.ones((1, 2)), LoraXsParams(R=np.array([[0.5]])))
    array([[1.5, 0.5],
           [0.5, 1.5]])
    """
    require_mergeable("W0", W0, _named(B, A, p))
    return merging.merge(W0, fitting("merging", lambda: LoraParams(B, p.R @ A)), scale=1.0)


def unmerge(
    W: Float[Array, "d k"], B: Float[Array, "d r"], A: Float[Array, "r k"], p: LoraXsParams
) -> Float[Array, "d k"]:
    """Subtract the increment from a merged weight, up to rounding.  [lora-xs-layer]

    W0 ≈ W − B R A.  Raises what `lora_np.unmerge` raises.

    >>> B, A, p = np.ones((2, 1)), np.ones((1, 2)), LoraXsParams(R=np.array([[0.5]]))
    >>> unmerge(merge(np.eye(2), B, A, p), B, A, p)
    array([[1., 0.],
           [0., 1.]])
    """
    require_mergeable("W", W, _named(B, A, p))
    return merging.unmerge(W, fitting("unmerging", lambda: LoraParams(B, p.R @ A)), scale=1.0)


def _named(B: Array, A: Array, p: LoraXsParams) -> Tensors:
    """Name the tensors, with their axes."""
    require_params(p, LoraXsParams)
    return {"B": (B, "d r"), "A": (A, "r k"), "R": (p.R, "r r")}


__all__ = ["LoraXsParams", "backward", "forward", "init", "merge", "unmerge"]
