"""LoRA beside a weight that is stored (k, d), as GPT-2's Conv1D stores it.  Floor 2.

Only the storage differs: B is (d, r) and A is (r, k) as ever, the increment of the stored weight is s (B A)ᵀ, and
every number equals that of the plain layer on W0ᵀ (loralib and PEFT: ``fan_in_fan_out=True``).  A square weight cannot
be told from its transpose: nothing here can warn of the wrong one.
"""

from __future__ import annotations

import numpy as np

from lora_np import checks, lora, merging
from lora_np._typing import Array, Float
from lora_np.lora import LoraParams


def init(rng: np.random.Generator, d: int, k: int, rank: int, *, dtype: object = np.float64) -> LoraParams:
    """Draw the starting factors: A ~ U(±1/√k), B = 0, as for a plain layer.  [lora-init]

    Raises `ConfigError`, `DTypeError`; warns `RankWarning` where r > min(d, k).

    >>> p = init(np.random.default_rng(0), 6, 4, 2)
    >>> p.B.shape, p.A.shape
    ((6, 2), (2, 4))
    """
    return lora.init(rng, d, k, rank, dtype=dtype)


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "k d"],
    p: LoraParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Apply the adapted layer to rows.  [layout-transposed]

    Y = X W0 + s (X Aᵀ) Bᵀ + b.  Returns Y and Z = X Aᵀ, which `backward` needs.  Raises `ShapeError`, `DTypeError`,
    `RankError`, `ConfigError`.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.array([[1.0], [10.0]])
    >>> forward(X, W0, LoraParams(B=np.array([[2.0]]), A=np.array([[1.0, 1.0]])), scale=0.5)
    (array([[24.]]), array([[3.]]))
    """
    checks.require_layer(X, _seen(W0), p, scale, bias, name="W0.T")
    return lora.forward(X, W0.T, p, scale=scale, bias=bias)


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N r"],
    W0: Float[Array, "k d"],
    p: LoraParams,
    *,
    scale: float,
) -> tuple[Float[Array, "N k"], LoraParams]:
    """Pull gY back to the input and both factors.  [layout-transposed]

    gX = gY W0ᵀ + s (gY B) A; gB and gA as in the plain layer.  Raises what `forward` raises.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.array([[1.0], [10.0]])
    >>> p = LoraParams(B=np.array([[2.0]]), A=np.array([[1.0, 1.0]]))
    >>> backward(np.ones((1, 1)), X, np.array([[3.0]]), W0, p, scale=0.5)
    (array([[ 2., 11.]]), LoraParams(B=array([[1.5]]), A=array([[1., 2.]])))
    """
    checks.require_layer(X, _seen(W0), p, scale, name="W0.T")
    return lora.backward(gY, X, Z, W0.T, p, scale=scale)


def merge(W0: Float[Array, "k d"], p: LoraParams, *, scale: float) -> Float[Array, "k d"]:
    """Add the increment to the stored weight.  [layout-transposed]

    W = W0 + s (B A)ᵀ.  Raises what `merging.merge` raises.

    >>> merge(np.zeros((2, 1)), LoraParams(B=np.array([[2.0]]), A=np.array([[1.0, 3.0]])), scale=0.5)
    array([[1.],
           [3.]])
    """
    return merging.merge(_seen(W0), p, scale=scale).T


def unmerge(W: Float[Array, "k d"], p: LoraParams, *, scale: float) -> Float[Array, "k d"]:
    """Subtract the increment from the stored weight, up to rounding.  [layout-transposed]

    W0 ≈ W − s (B A)ᵀ.  Raises what `merging.unmerge` raises.

    >>> unmerge(
    ...     np.array([[1.0], [3.0]]), LoraParams(B=np.array([[2.0]]), A=np.array([[1.0, 3.0]])), scale=0.5
    ... )
    array([[0.],
           [0.]])
    """
    return merging.unmerge(_seen(W, "W"), p, scale=scale).T


def _seen(W: Float[Array, "k d"], name: str = "W0") -> Float[Array, "d k"]:
    """See the stored weight as the plain layer does."""
    checks.require_ndim(name, W, 2, "k, d")
    return W.T
