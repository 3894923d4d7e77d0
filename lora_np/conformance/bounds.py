"""Derived tolerances: the error of a sum of products in units of u, component by component.  Floor 6.

In the standard model of floating point, every order of summation of an n-term inner product errs by at most
γ(n) Σ|x_i||y_i|, with γ(n) = n u / (1 − n u) and u half the machine epsilon.  So each result has a scale S, the
same formula with absolute values, and its error is |got − want| / (u S): a pure number that neither grows with
cancellation nor shrinks with size.  Exceeding γ(K)/u proves an error beyond rounding; 16 is the gold level.
"""

from collections.abc import Callable

import numpy as np

from lora_np._typing import Array, Float
from lora_np.lora import LoraParams

GOLD = 16.0


def unit_roundoff(dtype: object) -> float:
    """Return u, half the distance from 1 to the next number of a floating type.

    >>> unit_roundoff(np.float32) == 2.0**-24
    True
    """
    return float(np.finfo(dtype).eps) / 2  # type: ignore[call-overload]


def gamma_in_u(K: int, dtype: object) -> float:
    """Return γ(K) / u = K / (1 − K u): the certified bound, in units of u, for K roundings.  [oracle-gamma]

    >>> gamma_in_u(10, np.float64)
    10.00000000000001
    """
    return K / (1 - K * unit_roundoff(dtype))


def error_in_u(got: Array, want: Array, S: Array, *, dtype: object = None, roundings: float = 0) -> float:
    """Return the worst |got − want| / (u S) over all elements.  [oracle-error]

    `want` is the true value, in at least the precision of `got`; where S is 0 the two must be equal.  A shape that
    differs, or a NaN on one side only, counts as infinite.  Each of `roundings` operations may also underflow, which
    is allowed the smallest subnormal number of the element type.

    >>> error_in_u(np.array([1.0 + 2.0**-52]), np.array([1.0]), np.array([1.0]))
    2.0
    """
    got, want, S = np.asarray(got), np.asarray(want), np.asarray(S)
    if got.shape != want.shape or got.shape != S.shape:
        return float("inf")
    if got.size == 0:
        return 0.0
    wide = np.longdouble
    dtype = got.dtype if dtype is None else dtype
    u, lost = unit_roundoff(dtype), roundings * wide(np.finfo(dtype).smallest_subnormal)
    with np.errstate(invalid="ignore"):  # inf − inf, where both are equal
        gap = np.abs(got.astype(wide) - want.astype(wide))
    gap = np.where((got == want) | (np.isnan(got) & np.isnan(want)), 0, np.maximum(gap - lost, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(gap == 0, 0, gap / (u * S.astype(wide)))
    return float("inf") if np.isnan(ratio).any() else float(ratio.max())


# ---- the scale S and the number of roundings K of each quantity ---------------------------------------------


def absolute(p: LoraParams) -> LoraParams:
    """Take |B| and |A|."""
    return LoraParams(abs(p.B), abs(p.A))


def _positive(formula: Callable[..., Array], *arrays: Array) -> Array:
    """Evaluate a formula on absolute values in double precision."""
    return formula(*(np.abs(np.asarray(x, dtype=np.float64)) for x in arrays))


def forward_scale(
    X: Float[Array, "N k"], W0: Float[Array, "d k"], p: LoraParams, scale: float, bias: Array | None = None
) -> tuple[Float[Array, "N d"], int]:
    """S and K of Y: |X||W0|ᵀ + |s| |X||A|ᵀ|B|ᵀ + |b|, and k + r + 4."""
    S = _positive(lambda X, W, B, A: X @ W.T + abs(scale) * ((X @ A.T) @ B.T), X, W0, *p)
    K = W0.shape[1] + p.A.shape[0] + 4
    return (S if bias is None else S + np.abs(bias)), K


def gradient_scales(
    gY: Float[Array, "N d"], X: Float[Array, "N k"], W0: Float[Array, "d k"], p: LoraParams, scale: float
) -> dict[str, tuple[Array, int]]:
    """S and K of gX, gB and gA, by name."""
    s, (d, k), r, N = abs(scale), W0.shape, p.A.shape[0], X.shape[0]
    return {
        "gX": (_positive(lambda g, W, B, A: g @ W + s * ((g @ B) @ A), gY, W0, *p), d + r + 4),
        "gB": (_positive(lambda g, X, A: s * (g.T @ (X @ A.T)), gY, X, p.A), k + N + 3),
        "gA": (_positive(lambda g, X, B: s * ((g @ B).T @ X), gY, X, p.B), d + N + 3),
    }


def merge_scale(W0: Float[Array, "d k"], p: LoraParams, scale: float) -> tuple[Float[Array, "d k"], int]:
    """S and K of W: |W0| + |s| |B||A|, and r + 3."""
    return _positive(lambda W, B, A: W + abs(scale) * (B @ A), W0, *p), p.A.shape[0] + 3


def unmerge_scale(W0: Float[Array, "d k"], p: LoraParams, scale: float) -> tuple[Float[Array, "d k"], int]:
    """S and K of the weight merged and unmerged: |W0| + 2 |s| |B||A|, and 2r + 6."""
    return _positive(lambda W, B, A: W + 2 * abs(scale) * (B @ A), W0, *p), 2 * p.A.shape[0] + 6
