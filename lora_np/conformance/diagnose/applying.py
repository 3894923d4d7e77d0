"""What a weight does to an input, method by method; a gradient of it by the imaginary direction.  Floor 6."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.formulas import Apply, Config, Model, weight_of
from lora_np.conformance.diagnose.question import Tensors

# ---- outputs ------------------------------------------------------------------------------------------------


def with_bias(Y: Array, t: Tensors) -> Array:
    """Add the bias, if there is one."""
    return Y + t["bias"] if "bias" in t else Y


def linear(t: Tensors, c: Config, W: Array) -> Array:  # noqa: ARG001
    """X Wᵀ + b."""
    return with_bias(t["X"] @ W.T, t)


def transposed_linear(t: Tensors, c: Config, W: Array) -> Array:  # noqa: ARG001
    """X W + b."""
    return with_bias(t["X"] @ W, t)


def ia3(t: Tensors, c: Config, W: Array) -> Array:
    """X Wᵀ + l b, or with the input scaled, X Wᵀ + b."""
    Y = t["X"] @ W.T
    if "bias" not in t:
        return Y
    return Y + (t["bias"] if c["feedforward"] else t["l"] * t["bias"])


def lookup(t: Tensors, c: Config, W: Array) -> Array:  # noqa: ARG001
    """Rows of the table."""
    return W[t["X"].astype(int)]


def pair(value: Any) -> tuple[int, int]:
    """Read a number for both axes, or one for each."""
    return (int(value[0]), int(value[1])) if isinstance(value, (list, tuple)) else (int(value),) * 2


def convolution(t: Tensors, c: Config, W: Array) -> Array:
    """Correlate each group's channels with its kernels."""
    (s1, s2), (p1, p2), (e1, e2) = (
        pair(c.get(key, default)) for key, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    X, (d, k, kh, kw) = np.pad(t["X"], ((0, 0), (0, 0), (p1, p1), (p2, p2))), W.shape
    groups = X.shape[1] // k
    high = (X.shape[2] - e1 * (kh - 1) - 1) // s1 + 1
    wide = (X.shape[3] - e2 * (kw - 1) - 1) // s2 + 1
    Y = np.zeros((X.shape[0], d, high, wide), dtype=np.result_type(X, W))
    for g in range(groups):
        rows, channels = slice(g * d // groups, (g + 1) * d // groups), slice(g * k, (g + 1) * k)
        for i in range(kh):
            for j in range(kw):
                window = X[:, channels, i * e1 :, j * e2 :][:, :, : s1 * high : s1, : s2 * wide : s2]
                Y[:, rows] += np.einsum("nkhw,dk->ndhw", window, W[rows, :, i, j])
    return Y + t["bias"][:, None, None] if "bias" in t else Y


def _erf(x: Array) -> Array:
    value = np.vectorize(math.erf, otypes=[float])(np.real(x))
    if not np.iscomplexobj(x):
        return value
    return value + 1j * np.imag(x) * 2 / math.sqrt(math.pi) * np.exp(-(np.real(x) ** 2))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.where(np.real(x) > 0, x, 0),
    "tanh": np.tanh,
    "gelu": lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "none": lambda x: x,
}


def bottleneck(t: Tensors, c: Config, W: object = None) -> Array:  # noqa: ARG001
    """H + W_up f(W_down H + b_down) + b_up."""
    H = t["H"] if "H" in t else t["X"]
    inner = ACTIVATIONS[c.get("activation", "relu")](H @ t["W_down"].T + t["b_down"])
    return H + inner @ t["W_up"].T + t["b_up"]


def attention(Q: Array, K: Array, V: Array, scale: float) -> Array:
    """softmax(s Q Kᵀ) V."""
    scores = scale * (Q @ K.T)
    weights = np.exp(scores - np.real(scores).max(axis=1, keepdims=True, initial=-np.inf))
    return (weights / weights.sum(axis=1, keepdims=True)) @ V


def prefixed(t: Tensors, c: Config, W: object = None) -> Array:  # noqa: ARG001
    """Attention with the learned keys and values in front."""
    K, V = np.concatenate([t["P_k"], t["K"]]), np.concatenate([t["P_v"], t["V"]])
    return attention(t["Q"], K, V, 1 / math.sqrt(t["Q"].shape[1]))


def prompted(t: Tensors, c: Config, W: Array) -> Array:  # noqa: ARG001
    """Put the learned rows in front of the given ones, through the frozen layer."""
    return with_bias(np.concatenate([t["P"], t["X"]]) @ W.T, t)


OUTPUTS: dict[str, Apply] = {
    "ia3": ia3,
    "lora-transposed": transposed_linear,
    "lora-embedding": lookup,
    "lora-conv2d": convolution,
    "houlsby": bottleneck,
    "pfeiffer": bottleneck,
    "prefix-tuning": prefixed,
    "prompt-tuning": prompted,
}


def model_of(method: str) -> Model | None:
    """Find the right model of a method; None where there is none here."""
    weight = weight_of(method)
    return None if weight is None else Model(weight, OUTPUTS.get(method, linear))


# ---- gradients ----------------------------------------------------------------------------------------------

STEP = 2.0**-500
"""So small that its square vanishes, a power of two so that nothing is rounded."""


Hopeful = Callable[[tuple[int, ...], float], bool]
"""Tells from one element of a gradient whether the others are worth computing."""


def gradient(
    model: Model, t: Tensors, c: Config, s: float, name: str, first: tuple[int, ...], hopeful: Hopeful
) -> Array | None:
    """Differentiate Σ gY Y by one tensor, element by element, in the imaginary direction.

    The element `first` is computed first, and unless it is `hopeful` it is the only one: None comes back.
    """
    fixed = model.weight(t, c, s) if name in ("X", "bias", "H") else None
    if name == "X" and model.output is linear:
        return np.asarray(t["gY"] @ fixed)

    def slope(index: tuple[int, ...]) -> float:
        moved = t[name].astype(complex)
        moved[index] += 1j * STEP
        shifted = t | {name: moved}
        W = model.weight(shifted, c, s) if fixed is None else fixed
        return float(np.sum(t["gY"] * np.imag(model.output(shifted, c, W))) / STEP)

    if t[name].size and not hopeful(first, slope(first)):
        return None
    slopes = np.zeros(t[name].shape)
    for index in np.ndindex(*t[name].shape):
        slopes[index] = slope(index)
    return slopes
