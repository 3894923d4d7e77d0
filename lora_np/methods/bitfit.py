"""BitFit: only the bias is trained.  Floor 2.

Y = X W0ᵀ + b with W0 frozen (Zaken et al., arXiv 2106.10199).  Nothing is added to the layer and nothing is merged:
the trained bias is the layer's bias.  This is one linear layer; which biases of a network are trained, `counts` says.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lora_np import checks, lora
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError
from lora_np.methods.tensors import Tensors, require_backward, require_layer, require_params, require_tensors


class BitfitParams(NamedTuple):
    """The one trainable vector.  [bitfit-layer]"""

    bias: Float[Array, " d"]


def init(d: int, *, bias: Float[Array, " d"] | None = None, dtype: object = np.float64) -> BitfitParams:
    """Start at the layer's own bias, or at zero where it has none.  [bitfit-layer]

    Raises `ConfigError`, `ShapeError`, `DTypeError`.

    >>> init(2), init(2, bias=np.array([1.0, 2.0]))
    (BitfitParams(bias=array([0., 0.])), BitfitParams(bias=array([1., 2.])))
    """
    checks.require_int("d", d, minimum=0)
    checks.require_float_dtype(dtype)
    if bias is None:
        return BitfitParams(np.zeros(d, dtype=dtype))
    require_tensors({"bias": (bias, "d")}, d=d)
    return BitfitParams(bias)


def forward(
    X: Float[Array, "N k"], W0: Float[Array, "d k"], p: BitfitParams
) -> tuple[Float[Array, "N d"], None]:
    """Apply the layer to rows.  [bitfit-layer]

    Y = X W0ᵀ + b.  Returns Y and None: `backward` needs nothing of the way here.  Raises `ShapeError`, `DTypeError`,
    `ConfigError`.

    >>> forward(np.array([[1.0, 2.0]]), np.eye(2), BitfitParams(bias=np.array([0.5, 0.0])))
    (array([[1.5, 2. ]]), None)
    """
    require_layer(X, W0, _named(p))
    return X @ W0.T + p.bias, None


def backward(
    gY: Float[Array, "N d"], X: Float[Array, "N k"], kept: None, W0: Float[Array, "d k"], p: BitfitParams
) -> tuple[Float[Array, "N k"], BitfitParams]:
    """Pull gY back to the input and the bias.  [bitfit-grad] [lora-grad-bias]

    gX = gY W0 and gb = Σ_n gY_n.  No number of X is read; `kept` is None.  Raises what `forward` raises.

    >>> backward(np.ones((3, 2)), np.ones((3, 2)), None, np.eye(2), BitfitParams(bias=np.zeros(2)))[1]
    BitfitParams(bias=array([3., 3.]))
    """
    if kept is not None:
        raise ConfigError(f"kept must be None, got {type(kept).__name__}", fix="pass what forward returned")
    require_backward(gY, X, W0, _named(p), {})
    return gY @ W0, BitfitParams(lora.bias_gradient(gY))


def _named(p: BitfitParams) -> Tensors:
    """Name the tensor, with its axis."""
    require_params(p, BitfitParams)
    return {"bias": (p.bias, "d")}


__all__ = ["BitfitParams", "backward", "forward", "init"]
