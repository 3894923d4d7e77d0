"""The LoRA layer with its rank-r parts added in place.  Floor 3.

BLAS does every product; the kernel of `numba_low_rank` adds the adapter's share to what BLAS has just made, so that
beside the results nothing as large as X or Y is made and nothing is read twice.  The formulas and all checks are those
of `lora_np.lora`, to which other libraries' arrays and other element types are passed on.
"""

import numpy as np

from lora_np import checks, lora
from lora_np._typing import Array, Float
from lora_np.backends.numba_low_rank import add_checked
from lora_np.backends.numba_threads import kernels_take
from lora_np.batches import flat_rows
from lora_np.lora import LoraParams


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: LoraParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Apply the adapted layer to rows, the bottleneck's share added in place.  [lora-2] [lora-fwd]

    Y = X W0ᵀ, then Y += s (X Aᵀ) Bᵀ + b.  Returns and raises what `lora.forward` does.
    """
    if not kernels_take(X, W0, *p):
        return lora.forward(X, W0, p, scale=scale, bias=bias)
    checks.require_layer(X, W0, p, scale, bias)
    B, A = p
    rows = flat_rows(X)
    Z = rows @ A.T  # (N, r)
    Y = rows @ W0.T  # (N, d)
    add_checked(Y, Z, B, float(scale))
    if bias is not None:
        Y += bias
    return Y.reshape(*X.shape[:-1], Y.shape[-1]), Z.reshape(*X.shape[:-1], Z.shape[-1])


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N r"],
    W0: Float[Array, "d k"],
    p: LoraParams,
    *,
    scale: float,
) -> tuple[Float[Array, "N k"], LoraParams]:
    """Pull gY back to the input and both factors, gZ A added in place.  [grad-2] [lora-grad-x]

    gZ = s gY B,  gB = s gYᵀ Z,  gA = gZᵀ X,  gX = gY W0, then gX += gZ A.  Returns and raises what `lora.backward`
    does.
    """
    if not kernels_take(gY, X, Z, W0, *p):
        return lora.backward(gY, X, Z, W0, p, scale=scale)
    _require_backward(gY, X, Z, W0, p, scale)
    B, A = p
    s = float(scale)
    g, rows = flat_rows(gY), flat_rows(X)
    gZ = g @ B  # (N, r)
    gZ *= s
    gB = g.T @ flat_rows(Z)  # (d, r)
    gB *= s
    gA = gZ.T @ rows  # (r, k)
    gX = g @ W0  # (N, k)
    add_checked(gX, gZ, A.T, 1.0)
    return gX.reshape(X.shape), LoraParams(gB, gA)


def forward_via_weight(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: LoraParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "d k"]]:
    """Apply the adapted layer to rows by building its weight, in one pass over a copy.  [lora-1] [lora-weight]

    W = W0, then W += s B A;  Y = X Wᵀ + b.  Returns and raises what `lora.forward_via_weight` does.
    """
    if not kernels_take(X, W0, *p):
        return lora.forward_via_weight(X, W0, p, scale=scale, bias=bias)
    checks.require_layer(X, W0, p, scale, bias)
    B, A = p
    W = np.array(W0, order="C")  # (d, k)
    add_checked(W, B, A.T, float(scale))
    Y = flat_rows(X) @ W.T  # (N, d)
    if bias is not None:
        Y += bias
    return Y.reshape(*X.shape[:-1], Y.shape[-1]), W


def _require_backward(gY: Array, X: Array, Z: Array, W0: Array, p: LoraParams, scale: float) -> None:
    """Raise what `lora.backward` raises."""
    checks.require_layer(X, W0, p, scale)
    checks.require_rows("gY", gY, W0.shape[0], f"d, the height of W0 {tuple(W0.shape)}")
    checks.require_rows("Z", Z, p[1].shape[0], "r, the rank of the factors")
    checks.require_same_rows(gY=gY, X=X)
    checks.require_same_rows(X=X, Z=Z)
    checks.require_same_dtype(gY=gY, X=X, Z=Z)
