"""Self-attention: every token takes from every token, forward and backward, in several heads.  Floor 4.

Only what happens between queries, keys and values; the weights that make these three are layers like any other.
There is no mask, so every token sees every token, and no dropout.  The gradient is written out.
"""

import math
from typing import Any

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError, ShapeError
from lora_np.nn.losses import softmax


def forward(
    Q: Float[Array, "N T d"], K: Float[Array, "N T d"], V: Float[Array, "N T d"], *, heads: int
) -> tuple[Float[Array, "N T d"], Float[Array, "N h T T"]]:
    """Let every token take a weighted mean of all values, head by head.  [net-attention]

    Y = P V with P = softmax(Q Kᵀ / √(d/h)), every head on its own d/h columns.  Returns Y and P, which `backward`
    needs; a row of P sums to 1.  Raises `ShapeError`, `DTypeError`, `ConfigError`.

    >>> import numpy as np
    >>> Y, P = forward(
    ...     np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), np.array([[[1.0, 0.0], [3.0, 0.0]]]), heads=1
    ... )
    >>> Y[0, 0], P[0, 0, 0]
    (array([2., 0.]), array([0.5, 0.5]))
    """
    _require_tokens(heads, Q=Q, K=K, V=V)
    Q_h, K_h, V_h = (_split(M, heads) for M in (Q, K, V))
    S = (Q_h @ _turned(K_h)) / math.sqrt(Q_h.shape[-1])  # (N, h, T, T)
    P = _row_softmax(S)
    return _joined(P @ V_h), P


def backward(
    gY: Float[Array, "N T d"],
    Q: Float[Array, "N T d"],
    K: Float[Array, "N T d"],
    V: Float[Array, "N T d"],
    P: Float[Array, "N h T T"],
    *,
    heads: int,
) -> tuple[Float[Array, "N T d"], Float[Array, "N T d"], Float[Array, "N T d"]]:
    """Pull gY back to queries, keys and values.  [net-attention-backward]

    gV = Pᵀ gY,  gP = gY Vᵀ,  gS = P ⊙ (gP − Σ_j gP ⊙ P),  gQ = gS K / √(d/h),  gK = gSᵀ Q / √(d/h).
    `P` is what `forward` returned.  Raises what `forward` raises.

    >>> import numpy as np
    >>> Q = K = V = np.array([[[1.0], [0.0]]])
    >>> Y, P = forward(Q, K, V, heads=1)
    >>> [g.shape for g in backward(np.ones((1, 2, 1)), Q, K, V, P, heads=1)]
    [(1, 2, 1), (1, 2, 1), (1, 2, 1)]
    """
    _require_tokens(heads, gY=gY, Q=Q, K=K, V=V)
    xp = array_namespace(gY)
    g, Q_h, K_h, V_h = (_split(M, heads) for M in (gY, Q, K, V))
    gP = g @ _turned(V_h)  # (N, h, T, T)
    gS = P * (gP - xp.sum(gP * P, axis=-1, keepdims=True)) / math.sqrt(Q_h.shape[-1])
    return _joined(gS @ K_h), _joined(_turned(gS) @ Q_h), _joined(_turned(P) @ g)


def _row_softmax(S: Float[Array, "N h T T"]) -> Float[Array, "N h T T"]:
    """Turn the scores of each row into shares.  [net-softmax]"""
    xp = array_namespace(S)
    return xp.reshape(softmax(xp.reshape(S, (-1, S.shape[-1]))), S.shape)


def _split(M: Float[Array, "N T d"], heads: int) -> Float[Array, "N h T c"]:
    """Give every head its own columns."""
    xp, (N, T, d) = array_namespace(M), M.shape
    return xp.permute_dims(xp.reshape(M, (N, T, heads, d // heads)), (0, 2, 1, 3))


def _joined(M: Float[Array, "N h T c"]) -> Float[Array, "N T d"]:
    """Put the heads' columns side by side again."""
    xp, (N, h, T, c) = array_namespace(M), M.shape
    return xp.reshape(xp.permute_dims(M, (0, 2, 1, 3)), (N, T, h * c))


def _turned(M: Float[Array, "N h T c"]) -> Float[Array, "N h c T"]:
    """Transpose every head's matrix."""
    return array_namespace(M).permute_dims(M, (0, 1, 3, 2))


def _require_tokens(heads: Any, **arrays: Array) -> None:
    """Raise unless all arrays are (N, T, d) alike, and the heads share d evenly."""
    checks.require_int("heads", heads, minimum=1)
    checks.require_same_dtype(**arrays)
    shapes = {name: tuple(x.shape) for name, x in arrays.items()}
    for name, x in arrays.items():
        checks.require_ndim(name, x, 3, "N, T, d")
    if len(set(shapes.values())) > 1:
        raise ShapeError(f"all must have one shape (N, T, d), got {shapes}")
    d = next(iter(shapes.values()))[2]
    if d % heads:
        raise ConfigError(f"heads = {heads} cannot share d = {d} columns", fix="choose a divisor of d")
