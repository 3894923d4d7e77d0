"""LoRA-FA: LoRA whose A stays as it was drawn.  Floor 2.

W = W0 + s B A with only B trained (Zhang et al., arXiv 2308.03303).  Its backward needs the bottleneck X Aᵀ but not X
itself, which is what the method saves: X is an argument for its shape alone.

The gradient of B is not the step that moves s B A most nearly along the full gradient gW; `corrected_gradient` is, by
the paper's second version (2026) and PEFT's optimizer.  The paper inverts A Aᵀ; PEFT adds 1e-8 to its diagonal, which
is `damping` here, and then takes a pseudo-inverse that in exact arithmetic is the inverse.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks, lora, merging
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.errors import ConfigError, RankError
from lora_np.lora import LoraParams, scaling
from lora_np.methods.tensors import (
    Tensors,
    require_backward,
    require_layer,
    require_mergeable,
    require_params,
    require_tensors,
)
from lora_np.rank.decomposition import svd


class LoraFaParams(NamedTuple):
    """The one trainable factor of ΔW = s B A.  [lora-fa-layer]"""

    B: Float[Array, "d r"]


def init(
    rng: np.random.Generator, d: int, k: int, rank: int, *, dtype: object = np.float64
) -> tuple[Float[Array, "r k"], LoraFaParams]:
    """Draw the frozen A and start B at zero; return (A, p).  [lora-init]

    A ~ U(±1/√k), as LoRA's default.  Raises what `lora.init` raises.

    >>> A, p = init(np.random.default_rng(0), 6, 4, 2)
    >>> A.shape, bool((p.B == 0).all())
    ((2, 4), True)
    """
    B, A = lora.init(rng, d, k, rank, dtype=dtype)
    return A, LoraFaParams(B)


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    A: Float[Array, "r k"],
    p: LoraFaParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Apply the adapted layer to rows.  [lora-fa-layer] [lora-2]

    Y = X W0ᵀ + s (X Aᵀ) Bᵀ + b.  Returns Y and the bottleneck Z = X Aᵀ.  Raises what `lora.forward` raises.

    >>> X, W0, A = np.array([[1.0, 2.0]]), np.eye(2), np.ones((1, 2))
    >>> forward(X, W0, A, LoraFaParams(B=np.array([[1.0], [0.0]])), scale=0.5)
    (array([[2.5, 2. ]]), array([[3.]]))
    """
    require_layer(X, W0, _named(A, p), scale=scale, bias=bias)
    return lora.forward(X, W0, LoraParams(p.B, A), scale=scale, bias=bias)


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N r"],
    W0: Float[Array, "d k"],
    A: Float[Array, "r k"],
    p: LoraFaParams,
    *,
    scale: float,
) -> tuple[Float[Array, "N k"], LoraFaParams]:
    """Pull gY back to the input and to B alone.  [lora-fa-grad]

    gB = s gYᵀ Z and gX = gY W0 + s (gY B) A.  No number of X is read.  Raises what `lora.backward` raises.

    >>> X, W0, A = np.array([[1.0, 2.0]]), np.eye(2), np.ones((1, 2))
    >>> p = LoraFaParams(B=np.array([[1.0], [0.0]]))
    >>> Y, Z = forward(X, W0, A, p, scale=0.5)
    >>> backward(np.ones((1, 2)), X, Z, W0, A, p, scale=0.5)
    (array([[1.5, 1.5]]), LoraFaParams(B=array([[1.5],
           [1.5]])))
    """
    require_backward(gY, X, W0, _named(A, p), {"Z": (Z, "r")}, scale=scale)
    s = float(scale)
    gX = gY @ W0 + (s * (gY @ p.B)) @ A  # (N, k)
    gB = s * (flat_rows(gY).T @ flat_rows(Z))  # (d, r)
    return gX, LoraFaParams(gB)


def merge(
    W0: Float[Array, "d k"], A: Float[Array, "r k"], p: LoraFaParams, *, scale: float
) -> Float[Array, "d k"]:
    """Add the increment to the weight.  [lora-merge]

    W = W0 + s B A.  Raises what `lora_np.merge` raises.

    >>> merge(np.eye(2), np.ones((1, 2)), LoraFaParams(B=np.ones((2, 1))), scale=0.5)
    array([[1.5, 0.5],
           [0.5, 1.5]])
    """
    require_mergeable("W0", W0, _named(A, p), scale)
    return merging.merge(W0, LoraParams(p.B, A), scale=scale)


def unmerge(
    W: Float[Array, "d k"], A: Float[Array, "r k"], p: LoraFaParams, *, scale: float
) -> Float[Array, "d k"]:
    """Subtract the increment from a merged weight, up to rounding.  [lora-unmerge]

    W0 ≈ W − s B A.  Raises what `lora_np.unmerge` raises.

    >>> A, p = np.ones((1, 2)), LoraFaParams(B=np.ones((2, 1)))
    >>> unmerge(merge(np.eye(2), A, p, scale=0.5), A, p, scale=0.5)
    array([[1., 0.],
           [0., 1.]])
    """
    require_mergeable("W", W, _named(A, p), scale)
    return merging.unmerge(W, LoraParams(p.B, A), scale=scale)


# ---- the correction of the gradient ------------------------------------------------------------------------


def gram_inverse(A: Float[Array, "r k"], *, damping: float = 1e-8) -> Float[Array, "r r"]:
    """Invert the Gram matrix of A's rows, in float64 or wider; A is frozen, so once is enough.  [lora-fa-correction]

    (A Aᵀ + δ I)⁻¹ = U diag(1 / (σ² + δ)) Uᵀ with A = U diag(σ) Vᵀ, which loses half as many digits as forming A Aᵀ.
    Raises `RankError` for δ = 0 where A has dependent rows, `NonFiniteError`, `ConfigError`, `ShapeError`.

    >>> gram_inverse(np.array([[2.0, 0.0], [0.0, 1.0]]), damping=0.0)
    array([[0.25, 0.  ],
           [0.  , 1.  ]])
    """
    checks.require_ndim("A", A, 2, "r, k")
    checks.require_number("damping", damping, least=0)
    xp, r = array_namespace(A), A.shape[0]
    wide = xp.astype(A, xp.result_type(A.dtype, xp.float64))
    wide = xp.concat(
        [wide, xp.zeros((r, r), dtype=wide.dtype)], axis=1
    )  # the same A Aᵀ; U is square even for r > k
    U, sigma, _ = svd(wide)
    if damping == 0 and r and float(sigma[-1]) <= float(sigma[0]) * r * float(xp.finfo(wide.dtype).eps):
        raise RankError(
            f"A {tuple(A.shape)} has linearly dependent rows, so A Aᵀ has no inverse",
            fix="pass a positive damping; PEFT's is 1e-8",
        )
    return (U / (sigma * sigma + float(damping))[None, :]) @ U.T  # (r, r)


def corrected_gradient(
    gB: Float[Array, "d r"], A: Float[Array, "r k"], *, scale: float, damping: float = 1e-8
) -> Float[Array, "d r"]:
    """Turn the gradient of B into the step that imitates the full gradient best.  [lora-fa-correction]

    gB (A Aᵀ + δ I)⁻¹ / s².  With δ = 0 it minimizes ‖s g A − gW‖ over all g (d, r), where gB = s gW Aᵀ.  Raises
    `ConfigError` for a scale whose square vanishes or overflows, and what `gram_inverse` raises.

    >>> corrected_gradient(np.array([[4.0, 4.0]]), np.array([[2.0, 0.0], [0.0, 1.0]]), scale=2.0, damping=0.0)
    array([[0.25, 1.  ]])
    """
    require_tensors({"gB": (gB, "d r"), "A": (A, "r k")})
    checks.require_number("scale", scale)
    square = float(scale) * float(scale)
    if not 0 < square < float("inf"):
        raise ConfigError(f"scale = {scale} has the square {square}; expected one that can divide")
    xp = array_namespace(gB)
    inverse = gram_inverse(A, damping=damping)
    return xp.astype(xp.astype(gB, inverse.dtype) @ inverse / square, gB.dtype)  # (d, r)


def _named(A: Array, p: LoraFaParams) -> Tensors:
    """Name the tensors, with their axes."""
    require_params(p, LoraFaParams)
    return {"B": (p.B, "d r"), "A": (A, "r k")}


__all__ = [
    "LoraFaParams",
    "backward",
    "corrected_gradient",
    "forward",
    "gram_inverse",
    "init",
    "merge",
    "scaling",
    "unmerge",
]
