"""LoRA beside several weights stacked in one, such as attention's q, k and v.  Floor 2.

W0 (d, k) is n equal parts of d / n rows.  Each part that is enabled has a pair (A_i, B_i) of its own; the others stay
as they are.  The pairs are stored as loralib's MergedLinear stores them: A (r · n_on, k), one A_i under the other, and
B (d / n · n_on, r), likewise.  That is a plain layer of rank r · n_on whose B is a staircase of the B_i with zeros
around them, and so it is computed.  One plain pair on the stacked weight, as PEFT has it, shares A among the parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks, lora, merging
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError, RankError, ShapeError
from lora_np.lora import LoraParams


def init(
    rng: np.random.Generator,
    d: int,
    k: int,
    rank: int,
    *,
    enabled: Sequence[bool],
    dtype: object = np.float64,
) -> LoraParams:
    """Draw the starting factors: every A_i ~ U(±1/√k), every B_i = 0.  [layout-qkv]

    `rank` is that of one part.  Raises `ConfigError`, `DTypeError`, `ShapeError`; warns `RankWarning` where
    r > min(d / n, k).

    >>> p = init(np.random.default_rng(0), 6, 4, 2, enabled=[True, False, True])
    >>> p.B.shape, p.A.shape
    ((4, 2), (4, 4))
    """
    checks.require_rng(rng)
    checks.require_int("d", d, minimum=0)
    checks.require_int("k", k, minimum=0)
    part, on = _part(d, enabled), sum(enabled)
    checks.require_rank(rank, part, k)
    checks.require_float_dtype(dtype)
    A = rng.uniform(-1, 1, size=(rank * on, k)) / math.sqrt(max(k, 1))
    return LoraParams(np.zeros((part * on, rank)).astype(dtype), A.astype(dtype))  # type: ignore[call-overload]


def staircase(p: LoraParams, *, enabled: Sequence[bool]) -> LoraParams:
    """Write the pairs as one plain pair of the whole weight.  [layout-qkv]

    B' (d, r · n_on) has B_i in the rows of its part and the columns of A_i, and zero elsewhere; A stays.  B' A is the
    increment.  Raises `ShapeError`, `RankError`, `ConfigError`.

    >>> p = LoraParams(B=np.array([[1.0], [10.0]]), A=np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> staircase(p, enabled=[True, False, True]).B
    array([[ 1.,  0.],
           [ 0.,  0.],
           [ 0., 10.]])
    """
    _require_pairs(p, enabled)
    B, A = p
    on, xp = sum(enabled), array_namespace(B)
    part, r = B.shape[0] // on, B.shape[1]
    steps, i = [], 0
    for is_on in enabled:
        left, right = (i, on - i - 1) if is_on else (0, on)
        row = [xp.zeros((part, r * left), dtype=B.dtype), xp.zeros((part, r * right), dtype=B.dtype)]
        if is_on:
            row.insert(1, B[i * part : (i + 1) * part, :])
            i += 1
        steps.append(xp.concat(row, axis=1))
    return LoraParams(xp.concat(steps, axis=0), A)


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: LoraParams,
    *,
    scale: float,
    enabled: Sequence[bool],
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N rn"]]:
    """Apply the stacked layer to rows.  [layout-qkv]

    Y = X W0ᵀ + b; part i, where enabled, gets s (X A_iᵀ) B_iᵀ more.  Returns Y and Z = X Aᵀ, which `backward` needs.
    Raises `ShapeError`, `DTypeError`, `RankError`, `ConfigError`.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.zeros((3, 2))
    >>> p = LoraParams(B=np.array([[1.0], [10.0]]), A=np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> forward(X, W0, p, scale=1.0, enabled=[True, False, True])
    (array([[ 1.,  0., 20.]]), array([[1., 2.]]))
    """
    _require_weight("W0", W0, p, enabled)
    return lora.forward(X, W0, staircase(p, enabled=enabled), scale=scale, bias=bias)


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N rn"],
    W0: Float[Array, "d k"],
    p: LoraParams,
    *,
    scale: float,
    enabled: Sequence[bool],
) -> tuple[Float[Array, "N k"], LoraParams]:
    """Pull gY back to the input and every pair.  [layout-qkv-grad]

    As in the plain layer; of the staircase's gradient only the steps are kept: gB_i = s gY_iᵀ Z_i.  `Z` is what
    `forward` returned.  Raises what `forward` raises.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.zeros((3, 2))
    >>> p = LoraParams(B=np.array([[1.0], [10.0]]), A=np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> Y, Z = forward(X, W0, p, scale=1.0, enabled=[True, False, True])
    >>> gX, g = backward(np.ones((1, 3)), X, Z, W0, p, scale=1.0, enabled=[True, False, True])
    >>> gX, g.B
    (array([[ 1., 10.]]), array([[1.],
           [2.]]))
    """
    _require_weight("W0", W0, p, enabled)
    gX, g = lora.backward(gY, X, Z, W0, staircase(p, enabled=enabled), scale=scale)
    part, r = W0.shape[0] // len(enabled), p[0].shape[1]
    places = [place for place, is_on in enumerate(enabled) if is_on]
    gB = [g.B[at * part : (at + 1) * part, i * r : (i + 1) * r] for i, at in enumerate(places)]
    return gX, LoraParams(array_namespace(g.B).concat(gB, axis=0), g.A)


def merge(
    W0: Float[Array, "d k"], p: LoraParams, *, scale: float, enabled: Sequence[bool]
) -> Float[Array, "d k"]:
    """Add every pair's increment to its part.  [layout-qkv]

    W_i = W0_i + s B_i A_i where enabled.  Raises what `merging.merge` and `forward` raise.

    >>> p = LoraParams(B=np.array([[1.0], [10.0]]), A=np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> merge(np.zeros((3, 2)), p, scale=1.0, enabled=[True, False, True])
    array([[ 1.,  0.],
           [ 0.,  0.],
           [ 0., 10.]])
    """
    _require_weight("W0", W0, p, enabled)
    return merging.merge(W0, staircase(p, enabled=enabled), scale=scale)


def unmerge(
    W: Float[Array, "d k"], p: LoraParams, *, scale: float, enabled: Sequence[bool]
) -> Float[Array, "d k"]:
    """Subtract every pair's increment from its part, up to rounding.  [layout-qkv]

    Raises what `merging.unmerge` and `forward` raise.

    >>> p = LoraParams(B=np.array([[1.0], [10.0]]), A=np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> unmerge(np.ones((3, 2)), p, scale=1.0, enabled=[True, False, True])
    array([[ 0.,  1.],
           [ 1.,  1.],
           [ 1., -9.]])
    """
    _require_weight("W", W, p, enabled)
    return merging.unmerge(W, staircase(p, enabled=enabled), scale=scale)


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _part(d: int, enabled: Sequence[bool]) -> int:
    """Return the height of one part; raise unless they are equal and one is enabled."""
    if not isinstance(enabled, (list, tuple)) or not enabled:
        raise ConfigError(
            f"enabled must be a list of bools, one a part, got {enabled!r}",
            fix="for q and v of q, k, v: [True, False, True]",
        )
    for i, is_on in enumerate(enabled):
        checks.require_bool(f"enabled[{i}]", is_on)
    if not any(enabled):
        raise ConfigError("enabled names no part: nothing is adapted", fix="omit the adapter to disable LoRA")
    if d % len(enabled):
        raise ShapeError(f"the weight has d = {d} rows, which are not {len(enabled)} equal parts")
    return d // len(enabled)


def _require_pairs(p: LoraParams, enabled: Sequence[bool]) -> None:
    """Raise unless B and A hold one pair for each enabled part."""
    _part(0, enabled)
    checks.require_pair("p", p)
    B, A = p
    checks.require_ndim("B", B, 2, "d / n · n_on, r")
    checks.require_ndim("A", A, 2, "r · n_on, k")
    checks.require_same_dtype(B=B, A=A)
    on, r = sum(enabled), B.shape[1]
    if A.shape[0] != r * on:
        raise RankError(
            f"A has {A.shape[0]} rows, expected r · n_on = {r} · {on}: B has rank {r} and {on} parts are enabled"
        )
    if B.shape[0] % on:
        raise ShapeError(f"B has {B.shape[0]} rows, which are not {on} equal parts")


def _require_weight(name: str, W: Array, p: LoraParams, enabled: Sequence[bool]) -> None:
    """Raise unless a weight (d, k) has the parts that the pairs belong to."""
    if not isinstance(W, merging.Merged):  # merging names that mistake
        checks.require_ndim(name, W, 2, "d, k")
        part = _part(W.shape[0], enabled)
        _require_pairs(p, enabled)
        checks.require_shape("B", p[0], (part * sum(enabled), p[0].shape[1]), "d / n · n_on, r")
        checks.require_shape("A", p[1], (p[1].shape[0], W.shape[1]), "r · n_on, k")
