"""Symmetric start: LoRA whose factors both begin away from zero.  Floor 2.

W = W0 − s B0 A0 + s B A, with B0, A0 the frozen copy of where B and A began (seed 001).  Forward subtracts the two
branches before it adds them to the frozen layer's output: at B = B0, A = A0 they cancel exactly, so the layer starts
as the frozen one bit for bit, which a weight shifted by `lora_np.symmetric_base` does up to rounding.
"""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from lora_np import lora, merging
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.lora import LoraParams, scaling
from lora_np.methods.tensors import (
    Tensors,
    require_backward,
    require_layer,
    require_mergeable,
    require_params,
)


def init(
    rng: np.random.Generator, d: int, k: int, rank: int, *, dtype: object = np.float64
) -> tuple[Float[Array, "d r"], Float[Array, "r k"], LoraParams]:
    """Draw both factors; return (B0, A0, p), with p equal to them.  [lora-init] [lora-symmetric]

    A0 ~ U(±1/√k), B0 ~ U(±1/√d).  Raises what `lora.init` raises.

    >>> B0, A0, p = init(np.random.default_rng(0), 6, 4, 2)
    >>> bool((p.B == B0).all()), bool((p.A == A0).all()), bool((B0 != 0).all())
    (True, True, True)
    """
    p = lora.init(rng, d, k, rank, scheme="symmetric", dtype=dtype)
    return p.B, p.A, p


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    B0: Float[Array, "d r"],
    A0: Float[Array, "r k"],
    p: LoraParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Apply the adapted layer to rows.  [lora-symmetric]

    Y = X W0ᵀ + s ((X Aᵀ) Bᵀ − (X A0ᵀ) B0ᵀ) + b.  Returns Y and the bottleneck Z = X Aᵀ.  Raises `ShapeError`,
    `DTypeError`, `RankError`, `ConfigError`.

    >>> X, W0, B0, A0 = np.array([[1.0, 2.0]]), np.eye(2), np.ones((2, 1)), np.ones((1, 2))
    >>> forward(X, W0, B0, A0, LoraParams(B=np.array([[2.0], [1.0]]), A=A0), scale=0.5)
    (array([[2.5, 2. ]]), array([[3.]]))
    """
    require_layer(X, W0, _named(B0, A0, p), scale=scale, bias=bias)
    Z = X @ p.A.T  # (N, r)
    branch = Z @ p.B.T - (X @ A0.T) @ B0.T  # (N, d)
    Y = X @ W0.T + float(scale) * branch
    return (Y if bias is None else Y + bias), Z


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N r"],
    W0: Float[Array, "d k"],
    B0: Float[Array, "d r"],
    A0: Float[Array, "r k"],
    p: LoraParams,
    *,
    scale: float,
) -> tuple[Float[Array, "N k"], LoraParams]:
    """Pull gY back to the input and both factors.  [symmetric-grad]

    gZ = s gY B,  gB = s gYᵀ Z,  gA = gZᵀ X,  gX = gY W0 + gZ A − s (gY B0) A0: the factors' gradients are LoRA's.
    Raises what `forward` raises.

    >>> X, W0, B0, A0 = np.array([[1.0, 2.0]]), np.eye(2), np.ones((2, 1)), np.ones((1, 2))
    >>> p = LoraParams(B=np.array([[2.0], [1.0]]), A=A0)
    >>> Y, Z = forward(X, W0, B0, A0, p, scale=0.5)
    >>> gX, g = backward(np.ones((1, 2)), X, Z, W0, B0, A0, p, scale=0.5)
    >>> gX, g.A
    (array([[1.5, 1.5]]), array([[1.5, 3. ]]))
    """
    require_backward(gY, X, W0, _named(B0, A0, p), {"Z": (Z, "r")}, scale=scale)
    s = float(scale)
    gZ = s * (gY @ p.B)  # (N, r)
    gX = gY @ W0 + (gZ @ p.A - (s * (gY @ B0)) @ A0)  # (N, k)
    gB = s * (flat_rows(gY).T @ flat_rows(Z))  # (d, r)
    gA = flat_rows(gZ).T @ flat_rows(X)  # (r, k)
    return gX, LoraParams(gB, gA)


def merge(
    W0: Float[Array, "d k"], B0: Float[Array, "d r"], A0: Float[Array, "r k"], p: LoraParams, *, scale: float
) -> Float[Array, "d k"]:
    """Add what was learned to the weight.  [lora-symmetric]

    W = W0 + s (B A − B0 A0).  Raises what `lora_np.merge` raises.

    >>> B0, A0 = np.ones((2, 1)), np.ones((1, 2))
    >>> merge(np.eye(2), B0, A0, LoraParams(B=np.array([[2.0], [1.0]]), A=A0), scale=0.5)
    array([[1.5, 0.5],
           [0. , 1. ]])
    """
    require_mergeable("W0", W0, _named(B0, A0, p), scale)
    return merging.merge(W0, _difference(B0, A0, p), scale=scale)


def unmerge(
    W: Float[Array, "d k"], B0: Float[Array, "d r"], A0: Float[Array, "r k"], p: LoraParams, *, scale: float
) -> Float[Array, "d k"]:
    """Subtract what was learned from a merged weight, up to rounding.  [lora-symmetric]

    W0 ≈ W − s (B A − B0 A0): B0 and A0 are needed to come back.  Raises what `lora_np.unmerge` raises.

    >>> B0, A0 = np.ones((2, 1)), np.ones((1, 2))
    >>> p = LoraParams(B=np.array([[2.0], [1.0]]), A=A0)
    >>> unmerge(merge(np.eye(2), B0, A0, p, scale=0.5), B0, A0, p, scale=0.5)
    array([[1., 0.],
           [0., 1.]])
    """
    require_mergeable("W", W, _named(B0, A0, p), scale)
    return merging.unmerge(W, _difference(B0, A0, p), scale=scale)


def _difference(B0: Array, A0: Array, p: LoraParams) -> LoraParams:
    """Write B A − B0 A0 as one product, [B −B0] [A ; A0]."""
    xp = array_namespace(B0)
    return LoraParams(xp.concat([p.B, -B0], axis=1), xp.concat([p.A, A0], axis=0))


def _named(B0: Array, A0: Array, p: LoraParams) -> Tensors:
    """Name the tensors, with their axes."""
    require_params(p, LoraParams)
    return {"B": (p.B, "d r"), "A": (p.A, "r k"), "B0": (B0, "d r"), "A0": (A0, "r k")}


__all__ = ["LoraParams", "backward", "forward", "init", "merge", "scaling", "unmerge"]
