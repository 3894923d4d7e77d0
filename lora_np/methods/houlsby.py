"""Houlsby's adapters: two bottlenecks in a block, each on a sub-layer's output before its skip is added.  Floor 2.

A block has two sub-layers, attention and feed-forward.  Each output S goes through its own adapter, then the
sub-layer's input H is added, then the norm is taken: norm(H + adapter(S)) ("Parameter-Efficient Transfer Learning for
NLP", 1902.00751, section 2.1).  The paper also trains the norms; those are not here.  Nothing merges: f is not linear.
The paper names no f; its released code has the tanh form of gelu, the default here.
"""

from collections.abc import Callable

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.methods import bottleneck
from lora_np.methods.bottleneck import BottleneckParams

HoulsbyParams = BottleneckParams
"""W_down (r, k), b_down (r,), W_up (k, r), b_up (k,)."""

PER_BLOCK = 2
"""One adapter after each sub-layer."""


def init(
    rng: np.random.Generator, k: int, rank: int, *, std: float = 1e-2, dtype: object = np.float64
) -> BottleneckParams:
    """Draw an adapter that is nearly the identity.  [adapter-init]

    The paper's Gaussian of standard deviation 1e-2, cut off at two of them (its released code has 1e-3).  Raises
    `ConfigError`, `DTypeError`.

    >>> init(np.random.default_rng(0), 6, 2).W_down.shape
    (2, 6)
    """
    return bottleneck.init(rng, k, rank, std=std, dtype=dtype)


def forward(
    X: Float[Array, "N k"], p: BottleneckParams, *, activation: str = "gelu"
) -> tuple[Float[Array, "N k"], Float[Array, "N r"]]:
    """Apply one adapter to rows.  [adapter-bottleneck]

    Y = X + f(U) W_upᵀ + b_up.  Returns Y and U = X W_downᵀ + b_down, which `backward` needs.  Raises `ShapeError`,
    `DTypeError`, `ConfigError`.

    >>> p = HoulsbyParams(np.eye(1, 2), np.zeros(1), np.ones((2, 1)), np.zeros(2))
    >>> forward(np.array([[3.0, 5.0]]), p, activation="relu")[0]
    array([[6., 8.]])
    """
    return bottleneck.forward(X, p, activation=activation)


def backward(
    gY: Float[Array, "N k"],
    X: Float[Array, "N k"],
    U: Float[Array, "N r"],
    p: BottleneckParams,
    *,
    activation: str = "gelu",
) -> tuple[Float[Array, "N k"], BottleneckParams]:
    """Pull gY back to the input and the four tensors.  [adapter-bottleneck-grad]

    As `bottleneck.backward`; `U` is what `forward` returned.  Raises what `forward` raises.

    >>> X, p = np.array([[3.0, 5.0]]), HoulsbyParams(np.eye(1, 2), np.zeros(1), np.ones((2, 1)), np.zeros(2))
    >>> backward(np.array([[1.0, 10.0]]), X, np.array([[3.0]]), p, activation="relu")[0]
    array([[12., 10.]])
    """
    return bottleneck.backward(gY, X, U, p, activation=activation)


def place(
    S: Float[Array, "N k"],
    H: Float[Array, "N k"],
    p: BottleneckParams,
    *,
    norm: Callable[[Array], Array],
    activation: str = "gelu",
) -> Float[Array, "N k"]:
    """Compute the end of a sub-layer with the adapter in its place.  [adapter-houlsby-place]

    norm(H + adapter(S)): S is what the sub-layer gives, H what it was given, `norm` the network's own.  With
    W_up = 0 and b_up = 0 it is norm(H + S), the sub-layer without an adapter.  Its gradient is that of `norm` and
    `backward` for S; H gets norm's alone.  Raises what `forward` raises.

    >>> p = HoulsbyParams(np.eye(1, 2), np.zeros(1), np.ones((2, 1)), np.zeros(2))
    >>> place(np.array([[3.0, 5.0]]), np.ones((1, 2)), p, norm=lambda x: 10 * x, activation="relu")
    array([[70., 90.]])
    """
    Y = forward(S, p, activation=activation)[0]
    checks.require_shape("H", H, tuple(S.shape), "the shape of S")
    checks.require_same_dtype(H=H, S=S)
    return norm(H + Y)
