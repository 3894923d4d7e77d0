"""Prompt tuning: trained rows before the input of a frozen network.  Floor 2.

The l rows of P stand before the N rows of embeddings, [P; X], and nothing else is trained ("The Power of Scale for
Parameter-Efficient Prompt Tuning", 2104.08691).  What follows is frozen; here it is one linear layer W0, bias, so that
the gradient has something to come back through.  Nothing merges, since the weights do not change.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ShapeError


class PromptTuningParams(NamedTuple):
    """The trainable rows P, one an extra token.  [prompt-rows]"""

    P: Float[Array, "l k"]


def init(rng: np.random.Generator, length: int, k: int, *, dtype: object = np.float64) -> PromptTuningParams:
    """Draw the rows uniformly from [−0.5, 0.5), the paper's random start.  [prompt-rows]

    Its other starts, embeddings of frequent tokens or of class names, are rows of the network's own table.  Raises
    `ConfigError`, `DTypeError`.

    >>> init(np.random.default_rng(0), 3, 4).P.shape
    (3, 4)
    """
    checks.require_rng(rng)
    checks.require_int("length", length, minimum=0)
    checks.require_int("k", k, minimum=0)
    checks.require_float_dtype(dtype)
    return PromptTuningParams(rng.uniform(-0.5, 0.5, size=(length, k)).astype(dtype))  # type: ignore[call-overload]


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: PromptTuningParams,
    *,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "l+N d"], Float[Array, "l+N k"]]:
    """Apply the frozen layer to the prompt and the rows.  [prompt-rows]

    Y = R W0ᵀ + b with R = [P; X].  Returns Y and R.  Leading axes of X are sequences, each with the prompt before it.
    Raises `ShapeError`, `DTypeError`.

    >>> Y, R = forward(
    ...     np.array([[1.0, 2.0]]), np.array([[1.0, 1.0]]), PromptTuningParams(np.array([[5.0, 0.0]]))
    ... )
    >>> Y, R
    (array([[5.],
           [3.]]), array([[5., 0.],
           [1., 2.]]))
    """
    _require(X, W0, p, bias)
    xp, (P,) = array_namespace(X), p
    R = xp.concat([xp.broadcast_to(P, (*X.shape[:-2], *P.shape)), X], axis=-2)  # (..., l + N, k)
    Y = R @ W0.T
    return (Y if bias is None else Y + bias), R


def backward(
    gY: Float[Array, "l+N d"],
    X: Float[Array, "N k"],
    R: Float[Array, "l+N k"],
    W0: Float[Array, "d k"],
    p: PromptTuningParams,
) -> tuple[Float[Array, "N k"], PromptTuningParams]:
    """Pull gY back to the rows and the prompt.  [prompt-grad]

    gR = gY W0; its first l rows are gP, summed over the sequences, and the others are gX.  `R` is what `forward`
    returned; its shape alone is looked at.  Raises what `forward` raises.

    >>> X, W0, p = np.array([[1.0, 2.0]]), np.array([[1.0, 10.0]]), PromptTuningParams(np.array([[5.0, 0.0]]))
    >>> Y, R = forward(X, W0, p)
    >>> backward(np.array([[2.0], [3.0]]), X, R, W0, p)
    (array([[ 3., 30.]]), PromptTuningParams(P=array([[ 2., 20.]])))
    """
    _require(X, W0, p)
    (length, k), leading = p[0].shape, tuple(X.shape[:-2])
    rows = length + X.shape[-2]
    checks.require_shape("R", R, (*leading, rows, k), "..., l + N, k")
    checks.require_shape("gY", gY, (*leading, rows, W0.shape[0]), "..., l + N, d")
    checks.require_same_dtype(gY=gY, X=X, R=R)
    gR = gY @ W0  # (..., l + N, k)
    xp = array_namespace(gR)
    gP = xp.sum(gR[..., :length, :], axis=tuple(range(len(leading)))) if leading else gR[:length, :]
    return gR[..., length:, :], PromptTuningParams(gP)


def _require(X: Array, W0: Array, p: PromptTuningParams, bias: Array | None = None) -> None:
    """Raise unless X (..., N, k), W0 (d, k), P (l, k) and bias (d,) fit together, of one element type."""
    checks.require_instance("p", p, PromptTuningParams, "pass PromptTuningParams(P=...)")
    checks.require_ndim("W0", W0, 2, "d, k")
    d, k = W0.shape
    checks.require_rows("X", X, k, f"k, the width of W0 {(d, k)}")
    if X.ndim < 2:
        raise ShapeError(
            f"X has shape {tuple(X.shape)}, expected (..., N, {k})", fix="the prompt stands before rows"
        )
    checks.require_rows("P", p.P, k, f"k, the width of W0 {(d, k)}")
    checks.require_ndim("P", p.P, 2, "l, k")
    checks.require_same_dtype(X=X, W0=W0, P=p.P)
    if bias is not None:
        checks.require_shape("bias", bias, (d,), "d,")
        checks.require_same_dtype(W0=W0, bias=bias)
