"""The few lines that are right: bugs call them with something wrong, or repeat them with a mistake."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Config = Mapping[str, Any]


def scale(c: Config) -> float:
    """alpha / r."""
    return c["alpha"] / c["rank"]


def root_scale(c: Config) -> float:
    """alpha / sqrt(r)."""
    return c["alpha"] / c["rank"] ** 0.5


def plus_bias(Y: np.ndarray, t: Arrays) -> np.ndarray:
    """Add the bias, if there is one."""
    return Y + t["bias"] if "bias" in t else Y


def lora(t: Arrays, s: float) -> np.ndarray:
    """Y = X W0ᵀ + s (X Aᵀ) Bᵀ + b."""
    return plus_bias(t["X"] @ t["W0"].T + s * (t["X"] @ t["A"].T) @ t["B"].T, t)


def lora_gradients(t: Arrays, s: float) -> dict[str, np.ndarray]:
    """gX = gY W0 + s gY B A, gB = s gYᵀ X Aᵀ, gA = s Bᵀ gYᵀ X."""
    gY, X, A, B = (t[name] for name in ("gY", "X", "A", "B"))
    return {
        "gX": gY @ t["W0"] + s * (gY @ B) @ A,
        "gB": s * gY.T @ (X @ A.T),
        "gA": s * (gY @ B).T @ X,
    }


def through_weight(t: Arrays, W: np.ndarray) -> np.ndarray:
    """Y = X Wᵀ + b."""
    return plus_bias(t["X"] @ W.T, t)


def row_norms(V: np.ndarray) -> np.ndarray:
    """The norm of each row, as a column."""
    return np.sqrt((V * V).sum(axis=1, keepdims=True))


def direction(c: Config, t: Arrays) -> np.ndarray:
    """DoRA's V = W0 + s B A."""
    return t["W0"] + scale(c) * t["B"] @ t["A"]


def half(array: np.ndarray, dtype: str) -> np.ndarray:
    """Round to float16 or bfloat16 and back to the type it came in."""
    if dtype == "float16":
        return array.astype(np.float16).astype(array.dtype)
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32).astype(np.uint64)
    even = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return even.astype(np.uint32).view(np.float32).astype(array.dtype).reshape(array.shape)


def parts(t: Arrays, c: Config) -> list[np.ndarray]:
    """The increments B_i A_i of a merged weight's enabled parts."""
    on = sum(c["enabled"])
    if not on:
        return []
    return [B @ A for B, A in zip(np.split(t["B"], on), np.split(t["A"], on), strict=True)]


def in_parts(t: Arrays, c: Config, deltas: list[np.ndarray]) -> np.ndarray:
    """Put increments into the rows of the enabled parts."""
    n = len(c["enabled"])
    rows, height, given = np.zeros_like(t["W0"]), len(t["W0"]) // n, iter(deltas)
    for i, enabled in enumerate(c["enabled"]):
        if enabled:
            rows[i * height : (i + 1) * height] = next(given)
    return rows
