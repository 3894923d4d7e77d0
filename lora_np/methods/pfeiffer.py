"""Pfeiffer's adapter: one bottleneck in a block, after the feed-forward sub-layer and its norm.  Floor 2.

"AdapterFusion" (2005.00247, appendix A.2) searched all places and kept a single adapter after the feed-forward layer,
with the pretrained norm both before and after it and no new norm.  The bottleneck reads norm(H + S); what skips it is
S as it was before that norm, and H is added before the norm that follows: norm(H + S + branch(norm(H + S))).  So an
adapter whose branch is zero leaves the block as it was; with the skip taken after the norm it would not (the text
leaves the skip to a figure; the authors' library takes it before).  Nothing merges: f is not linear.
"""

from collections.abc import Callable

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.methods import bottleneck
from lora_np.methods.bottleneck import BottleneckParams

PfeifferParams = BottleneckParams
"""W_down (r, k), b_down (r,), W_up (k, r), b_up (k,)."""

PER_BLOCK = 1
"""One adapter after the feed-forward sub-layer."""


def init(
    rng: np.random.Generator, k: int, rank: int, *, std: float = 1e-2, dtype: object = np.float64
) -> BottleneckParams:
    """Draw an adapter that is nearly the identity.  [adapter-init]

    As `houlsby.init`; the paper names no width of its own.  Raises `ConfigError`, `DTypeError`.

    >>> init(np.random.default_rng(0), 6, 2).W_down.shape
    (2, 6)
    """
    return bottleneck.init(rng, k, rank, std=std, dtype=dtype)


def forward(
    X: Float[Array, "N k"], p: BottleneckParams, *, activation: str = "relu"
) -> tuple[Float[Array, "N k"], Float[Array, "N r"]]:
    """Apply the adapter to rows, its skip taken from the same rows.  [adapter-bottleneck]

    Y = X + f(U) W_upᵀ + b_up.  Returns Y and U = X W_downᵀ + b_down, which `backward` needs.  Inside a block the skip
    comes from elsewhere: see `place`.  Raises `ShapeError`, `DTypeError`, `ConfigError`.

    >>> p = PfeifferParams(np.eye(1, 2), np.zeros(1), np.ones((2, 1)), np.zeros(2))
    >>> forward(np.array([[3.0, 5.0]]), p)[0]
    array([[6., 8.]])
    """
    return bottleneck.forward(X, p, activation=activation)


def backward(
    gY: Float[Array, "N k"],
    X: Float[Array, "N k"],
    U: Float[Array, "N r"],
    p: BottleneckParams,
    *,
    activation: str = "relu",
) -> tuple[Float[Array, "N k"], BottleneckParams]:
    """Pull gY back to the input and the four tensors.  [adapter-bottleneck-grad]

    As `bottleneck.backward`; `U` is what `forward` returned.  Raises what `forward` raises.

    >>> X, p = np.array([[3.0, 5.0]]), PfeifferParams(np.eye(1, 2), np.zeros(1), np.ones((2, 1)), np.zeros(2))
    >>> backward(np.array([[1.0, 10.0]]), X, np.array([[3.0]]), p)[0]
    array([[12., 10.]])
    """
    return bottleneck.backward(gY, X, U, p, activation=activation)


def place(
    S: Float[Array, "N k"],
    H: Float[Array, "N k"],
    p: BottleneckParams,
    *,
    norm: Callable[[Array], Array],
    activation: str = "relu",
) -> Float[Array, "N k"]:
    """Compute the end of the feed-forward sub-layer with the adapter in its place.  [adapter-pfeiffer-place]

    norm(H + S + branch(norm(H + S))): S is what the sub-layer gives, H what it was given, `norm` the network's own,
    used twice.  With W_up = 0 and b_up = 0 it is norm(H + S), the sub-layer without an adapter.  Raises what
    `forward` raises.

    >>> p = PfeifferParams(np.eye(1, 2), np.zeros(1), np.ones((2, 1)), np.zeros(2))
    >>> place(np.array([[3.0, 5.0]]), np.ones((1, 2)), p, norm=lambda x: 10 * x)
    array([[440., 460.]])
    """
    checks.require_array("S", S)
    checks.require_shape("H", H, tuple(S.shape), "the shape of S")
    checks.require_same_dtype(H=H, S=S)
    added = bottleneck.branch(norm(H + S), p, activation=activation)[0]
    return norm(H + (S + added))
