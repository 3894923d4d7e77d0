"""One dense layer: parameters, initialization, forward, backward.  Floor 4.  No activation, no adapter."""

import math
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks, lora
from lora_np._typing import Array, Float
from lora_np.errors import ShapeError


class Dense(NamedTuple):
    """A layer's weight, one row a neuron, and bias.  A gradient of `Dense` is a `Dense`.  [net-linear-matrix]"""

    W: Float[Array, "d k"]
    b: Float[Array, " d"]


def init(
    rng: np.random.Generator, d: int, k: int, *, gain: float = math.sqrt(2.0), dtype: object = np.float64
) -> Dense:
    """Draw a layer with W ~ N(0, gain²/k) and b = 0.

    The gain √2 keeps the size of activations through ReLU; 1 suits tanh.  Raises `ConfigError`.

    >>> W, b = init(np.random.default_rng(0), 3, 5)
    >>> W.shape, b
    ((3, 5), array([0., 0., 0.]))
    """
    checks.require_rng(rng)
    checks.require_int("d", d, minimum=1)
    checks.require_int("k", k, minimum=1)
    checks.require_number("gain", gain, least=0.0)
    W = rng.normal(0.0, gain / math.sqrt(k), size=(d, k))
    return Dense(W.astype(dtype), np.zeros(d, dtype))  # type: ignore[call-overload]


def neuron(x: Float[Array, " k"], w: Float[Array, " k"], b: float) -> Float[Array, ""]:
    """Compute the output of one neuron.  [net-neuron] [net-neuron-dot]

    y = w1 x1 + ... + wk xk + b = w · x + b.

    >>> neuron(np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.0, -1.0]), 2.0)
    np.float64(-0.5)
    """
    checks.require_ndim("x", x, 1, "k")
    checks.require_ndim("w", w, 1, "k")
    if x.shape != w.shape:
        raise ShapeError(f"x has {x.shape[0]} inputs and w has {w.shape[0]} weights; expected as many")
    xp = array_namespace(x)
    return xp.sum(w * x) + b


def forward(X: Float[Array, "N k"], layer: Dense) -> Float[Array, "N d"]:
    """Compute the outputs of all neurons for all rows.  [net-linear] [net-linear-matrix]

    Y = X Wᵀ + b.  Raises `ShapeError`, `DTypeError`.

    >>> forward(np.array([[1.0, 2.0]]), Dense(np.eye(2), np.array([0.5, 0.0])))
    array([[1.5, 2. ]])
    """
    require_layer(X, layer)
    return X @ layer.W.T + layer.b  # (N, d)


def backward(
    gY: Float[Array, "N d"], X: Float[Array, "N k"], layer: Dense
) -> tuple[Float[Array, "N k"], Dense]:
    """Pull gY back to the input and both parameters.  [net-backward]

    gX = gY W,  gW = gYᵀ X,  gb = Σ_n gY_n.  Raises `ShapeError`, `DTypeError`.

    >>> X, layer = np.array([[1.0, 2.0]]), Dense(np.eye(2), np.zeros(2))
    >>> gX, g = backward(np.array([[3.0, 0.0]]), X, layer)
    >>> gX, g.W, g.b
    (array([[3., 0.]]), array([[3., 6.],
           [0., 0.]]), array([3., 0.]))
    """
    require_layer(X, layer)
    gW = weight_gradient(gY, X)  # (d, k)
    if gY.shape[1] != layer.W.shape[0]:
        raise ShapeError(f"gY has shape {tuple(gY.shape)}, expected (N, d) with d = {layer.W.shape[0]}")
    return gY @ layer.W, Dense(gW, lora.bias_gradient(gY))  # (N, k)


def weight_gradient(gY: Float[Array, "N d"], X: Float[Array, "N k"]) -> Float[Array, "d k"]:
    """Pull gY back to the weight only; the bias has `lora.bias_gradient`.  [net-backward]

    gW = gYᵀ X.  Raises `ShapeError`, `DTypeError`.

    >>> weight_gradient(np.array([[3.0]]), np.array([[1.0, 2.0]]))
    array([[3., 6.]])
    """
    checks.require_ndim("gY", gY, 2, "N, d")
    checks.require_ndim("X", X, 2, "N, k")
    checks.require_same_rows(gY=gY, X=X)
    checks.require_same_dtype(gY=gY, X=X)
    return gY.T @ X  # (d, k)


def require_layer(X: Array, layer: Dense) -> None:
    """Raise unless X (N, k), W (d, k) and b (d,) make one layer of one element type."""
    W, b = layer
    checks.require_ndim("W", W, 2, "d, k")
    checks.require_ndim("b", b, 1, "d")
    if b.shape[0] != W.shape[0]:
        raise ShapeError(f"b has shape {tuple(b.shape)}, expected (d,) = ({W.shape[0]},), the height of W")
    checks.require_ndim("X", X, 2, "N, k")
    checks.require_rows("X", X, W.shape[1], f"k, the width of W {tuple(W.shape)}")
    checks.require_same_dtype(X=X, W=W, b=b)
