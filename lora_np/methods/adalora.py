"""AdaLoRA, the layer: an increment in the form of a singular value decomposition.  Floor 2.

W = W0 + s P diag(lam) Q with P (d, r), lam (r,) and Q (r, k) all trained (Zhang et al., arXiv 2303.10512, eq. 3).  P
and Q are not orthonormal by construction: `penalty` pulls them there (eq. 4), to be added to the loss with a weight.
The rule that decides which of lam are set to zero, and when, is in `adalora_budget`.

The paper's formula has no scale; the authors' code and PEFT multiply by alpha / (r + 1e-5), which is `scaling` here.
Both also penalize the norms ‖PᵀP − I‖ and ‖QQᵀ − I‖ averaged over all matrices, where the paper squares and adds.
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
    require_tensors,
)


class AdaloraParams(NamedTuple):
    """The trainable triplets of ΔW = s P diag(lam) Q.  [adalora-layer]"""

    P: Float[Array, "d r"]
    lam: Float[Array, " r"]
    Q: Float[Array, "r k"]


def scaling(alpha: float, rank: int) -> float:
    """Compute the scale of the authors' code and of PEFT; the paper's is 1.  [adalora-scale]

    s = alpha / (r + 1e-5), with r the rank at the start: it stays when triplets go.  Raises `ConfigError`.

    >>> scaling(alpha=8, rank=4)
    1.99999500001...
    """
    checks.require_rank(rank)
    checks.require_number("alpha", alpha)
    return float(alpha) / (rank + 1e-5)


def init(
    rng: np.random.Generator, d: int, k: int, rank: int, *, sigma: float = 0.02, dtype: object = np.float64
) -> AdaloraParams:
    """Start the increment at zero: lam = 0, and P, Q ~ N(0, sigma²).  [adalora-init]

    The paper says Gaussian; 0.02 is the width in its code and in PEFT.  Raises `ConfigError`, `DTypeError`; warns
    `RankWarning` where r > min(d, k).

    >>> p = init(np.random.default_rng(0), 6, 4, 2)
    >>> p.P.shape, p.lam, p.Q.shape
    ((6, 2), array([0., 0.]), (2, 4))
    """
    checks.require_rng(rng)
    checks.require_int("d", d, minimum=0)
    checks.require_int("k", k, minimum=0)
    checks.require_rank(rank, d, k)
    checks.require_number("sigma", sigma, least=0)
    checks.require_float_dtype(dtype)
    P, Q = rng.normal(0.0, float(sigma), size=(d, rank)), rng.normal(0.0, float(sigma), size=(rank, k))
    return AdaloraParams(P.astype(dtype), np.zeros(rank, dtype=dtype), Q.astype(dtype))  # type: ignore[call-overload]


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: AdaloraParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Apply the adapted layer to rows.  [adalora-layer]

    Y = X W0ᵀ + s ((X Qᵀ) ∘ lam) Pᵀ + b.  Returns Y and the bottleneck Z = X Qᵀ.  Raises `ShapeError`, `DTypeError`,
    `RankError`, `ConfigError`.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.eye(2)
    >>> p = AdaloraParams(P=np.array([[1.0], [0.0]]), lam=np.array([0.5]), Q=np.ones((1, 2)))
    >>> forward(X, W0, p, scale=2.0)
    (array([[4., 2.]]), array([[3.]]))
    """
    require_layer(X, W0, _named(p), scale=scale, bias=bias)
    P, lam, Q = p
    Z = X @ Q.T  # (N, r)
    Y = X @ W0.T + float(scale) * ((Z * lam) @ P.T)  # (N, d)
    return (Y if bias is None else Y + bias), Z


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N r"],
    W0: Float[Array, "d k"],
    p: AdaloraParams,
    *,
    scale: float,
) -> tuple[Float[Array, "N k"], AdaloraParams]:
    """Pull gY back to the input and the triplets.  [adalora-grad]

    gU = s gY P,  gP = s gYᵀ (Z ∘ lam),  glam = Σ_n (gU ∘ Z)_n·,  gZ = gU ∘ lam,  gQ = gZᵀ X,  gX = gY W0 + gZ Q.
    The penalty's gradient is not in it.  Raises what `forward` raises.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.eye(2)
    >>> p = AdaloraParams(P=np.array([[1.0], [0.0]]), lam=np.array([0.5]), Q=np.ones((1, 2)))
    >>> Y, Z = forward(X, W0, p, scale=2.0)
    >>> gX, g = backward(np.ones((1, 2)), X, Z, W0, p, scale=2.0)
    >>> gX, g.lam, g.Q
    (array([[2., 2.]]), array([6.]), array([[1., 2.]]))
    """
    require_backward(gY, X, W0, _named(p), {"Z": (Z, "r")}, scale=scale)
    (P, lam, Q), s, xp = p, float(scale), array_namespace(X)
    gU = s * (gY @ P)  # (N, r)
    gZ = gU * lam  # (N, r)
    gX = gY @ W0 + gZ @ Q  # (N, k)
    gP = s * (flat_rows(gY).T @ (flat_rows(Z) * lam))  # (d, r)
    glam = xp.sum(flat_rows(gU) * flat_rows(Z), axis=0)  # (r,)
    gQ = flat_rows(gZ).T @ flat_rows(X)  # (r, k)
    return gX, AdaloraParams(gP, glam, gQ)


def merge(W0: Float[Array, "d k"], p: AdaloraParams, *, scale: float) -> Float[Array, "d k"]:
    """Add the increment to the weight.  [adalora-layer]

    W = W0 + s P diag(lam) Q.  Raises what `lora_np.merge` raises.

    >>> p = AdaloraParams(P=np.ones((2, 1)), lam=np.array([0.5]), Q=np.ones((1, 2)))
    >>> merge(np.eye(2), p, scale=1.0)
    array([[1.5, 0.5],
           [0.5, 1.5]])
    """
    require_mergeable("W0", W0, _named(p), scale)
    return merging.merge(W0, fitting("merging", lambda: LoraParams(p.P * p.lam, p.Q)), scale=scale)


def unmerge(W: Float[Array, "d k"], p: AdaloraParams, *, scale: float) -> Float[Array, "d k"]:
    """Subtract the increment from a merged weight, up to rounding.  [adalora-layer]

    W0 ≈ W − s P diag(lam) Q.  Raises what `lora_np.unmerge` raises.

    >>> p = AdaloraParams(P=np.ones((2, 1)), lam=np.array([0.5]), Q=np.ones((1, 2)))
    >>> unmerge(merge(np.eye(2), p, scale=1.0), p, scale=1.0)
    array([[1., 0.],
           [0., 1.]])
    """
    require_mergeable("W", W, _named(p), scale)
    return merging.unmerge(W, fitting("unmerging", lambda: LoraParams(p.P * p.lam, p.Q)), scale=scale)


# ---- the penalty that keeps P and Q orthonormal ------------------------------------------------------------


def penalty(p: AdaloraParams) -> Float[Array, ""]:
    """Measure how far P and Q are from orthonormal.  [adalora-penalty]

    R = ‖PᵀP − I‖² + ‖QQᵀ − I‖², Frobenius norms; an array without axes.  Raises `ShapeError`, `DTypeError`,
    `RankError`, `ConfigError`.

    >>> p = AdaloraParams(P=np.array([[2.0], [0.0]]), lam=np.zeros(1), Q=np.array([[0.0, 1.0]]))
    >>> float(penalty(p))
    9.0
    """
    require_tensors(_named(p))
    xp = array_namespace(p.P)
    return sum(xp.sum(gap * gap) for gap in _gaps(p))


def penalty_gradient(p: AdaloraParams) -> AdaloraParams:
    """Differentiate the penalty.  [adalora-penalty-grad]

    gP = 4 P (PᵀP − I),  gQ = 4 (QQᵀ − I) Q,  glam = 0.  Raises what `penalty` raises.

    >>> p = AdaloraParams(P=np.array([[2.0], [0.0]]), lam=np.zeros(1), Q=np.array([[0.0, 1.0]]))
    >>> penalty_gradient(p)
    AdaloraParams(P=array([[24.],
           [ 0.]]), lam=array([0.]), Q=array([[0., 0.]]))
    """
    require_tensors(_named(p))
    P_gap, Q_gap = _gaps(p)
    return AdaloraParams(4 * (p.P @ P_gap), array_namespace(p.lam).zeros_like(p.lam), 4 * (Q_gap @ p.Q))


def _gaps(p: AdaloraParams) -> tuple[Float[Array, "r r"], Float[Array, "r r"]]:
    """PᵀP − I and QQᵀ − I."""
    identity = array_namespace(p.P).eye(p.lam.shape[0], dtype=p.P.dtype)
    return p.P.T @ p.P - identity, p.Q @ p.Q.T - identity


def _named(p: AdaloraParams) -> Tensors:
    """Name the tensors, with their axes."""
    require_params(p, AdaloraParams)
    return {"P": (p.P, "d r"), "lam": (p.lam, "r"), "Q": (p.Q, "r k")}


__all__ = [
    "AdaloraParams",
    "backward",
    "forward",
    "init",
    "merge",
    "penalty",
    "penalty_gradient",
    "scaling",
    "unmerge",
]
