"""LoHa: the increment is the product, entry by entry, of two low-rank matrices.  Floor 2.

Two pairs of factors of rank r give an increment of rank up to r², for the numbers of two LoRAs.  It has no thin form
here: forward builds the weight.  The paper's (FedPara) Tucker form for convolutions is not in this file.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.lora import LoraParams, project_gradient, scaling
from lora_np.methods import through_weight

INIT_SCHEMES = ("lycoris", "kaiming")


class LohaParams(NamedTuple):
    """The two pairs of factors of ΔW = s (B1 A1) ∘ (B2 A2).  [loha-delta]"""

    B1: Float[Array, "d r"]
    A1: Float[Array, "r k"]
    B2: Float[Array, "d r"]
    A2: Float[Array, "r k"]


class Products(NamedTuple):
    """What `backward` needs: both products, whose entries multiply each other.  [loha-delta]"""

    first: Float[Array, "d k"]
    second: Float[Array, "d k"]


def init(
    rng: np.random.Generator,
    d: int,
    k: int,
    rank: int,
    *,
    scheme: str = "lycoris",
    dtype: object = np.float64,
) -> LohaParams:
    """Draw the starting factors of a (d, k) layer; the increment is zero.  [loha-delta]

    ``"lycoris"``  B1 ~ N(0, 0.1²), A1 and A2 ~ N(0, 1), B2 = 0: the method's own software
    ``"kaiming"``  B1 and B2 ~ U(±1/√r), A1 ~ U(±1/√k), A2 = 0: PEFT's

    Raises `ConfigError`, `DTypeError`; warns `RankWarning` where r > min(d, k), though here the rank may be r².

    >>> p = init(np.random.default_rng(0), 6, 4, 2)
    >>> [x.shape for x in p], bool((p.B2 == 0).all())
    ([(6, 2), (2, 4), (6, 2), (2, 4)], True)
    """
    checks.require_rng(rng)
    checks.require_int("d", d, minimum=0)
    checks.require_int("k", k, minimum=0)
    checks.require_rank(rank, d, k)
    checks.require_one_of("scheme", scheme, INIT_SCHEMES)
    checks.require_float_dtype(dtype)
    if scheme == "lycoris":
        B1, A1, A2 = (rng.normal(0.0, std, size) for std, size in ((0.1, (d, rank)), *[(1.0, (rank, k))] * 2))
        B2 = np.zeros((d, rank))
    else:
        B1, B2 = (rng.uniform(-1, 1, (d, rank)) / math.sqrt(rank) for _ in range(2))
        A1, A2 = rng.uniform(-1, 1, (rank, k)) / math.sqrt(max(k, 1)), np.zeros((rank, k))
    return LohaParams(*(x.astype(dtype) for x in (B1, A1, B2, A2)))  # type: ignore[call-overload]


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: LohaParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Products]:
    """Apply the layer to rows, through its weight.  [loha-delta]

    Y = X (W0 + s (B1 A1) ∘ (B2 A2))ᵀ + b.  Returns Y and the two products.  Raises `ShapeError`, `DTypeError`,
    `RankError`, `ConfigError`.

    >>> one = np.array([[1.0]])
    >>> forward(one, one, LohaParams(2 * one, 3 * one, 4 * one, 5 * one), scale=0.5)[0]  # 1 + 6 · 20 / 2
    array([[61.]])
    """
    _require_loha("W0", W0, p, scale)
    through_weight.require_rows_of(X, W0, bias)
    kept = Products(p[0] @ p[1], p[2] @ p[3])  # (d, k) each
    return through_weight.with_bias(X @ _weight(W0, kept, scale).T, bias), kept


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    kept: Products,
    W0: Float[Array, "d k"],
    p: LohaParams,
    *,
    scale: float,
) -> tuple[Float[Array, "N k"], LohaParams]:
    """Pull gY back to the input and all four factors.  [loha-grad]

    gW = gYᵀ X;  gB1 = s (gW ∘ B2 A2) A1ᵀ,  gA1 = s B1ᵀ (gW ∘ B2 A2), and the second pair with the indices
    exchanged;  gX = gY W.  `kept` is what `forward` returned.  Raises what `forward` raises.

    >>> one = np.array([[1.0]])
    >>> p = LohaParams(2 * one, 3 * one, 4 * one, 5 * one)
    >>> backward(one, one, forward(one, one, p, scale=0.5)[1], one, p, scale=0.5)[1].A2  # 6 · 4 / 2
    array([[12.]])
    """
    _require_loha("W0", W0, p, scale)
    through_weight.require_upstream(gY, X, W0)
    checks.require_instance("kept", kept, Products, fix="pass what forward returned beside Y")
    for name, product in kept._asdict().items():
        through_weight.require_shape(f"kept.{name}", product, tuple(W0.shape), "d, k")
    gX = gY @ _weight(W0, kept, scale)  # (N, k)
    gW = through_weight.weight_gradient(gY, X)  # (d, k)
    first = project_gradient(gW * kept.second, LoraParams(p[0], p[1]), scale=scale)
    second = project_gradient(gW * kept.first, LoraParams(p[2], p[3]), scale=scale)
    return gX, LohaParams(*first, *second)


def merge(W0: Float[Array, "d k"], p: LohaParams, *, scale: float) -> Float[Array, "d k"]:
    """Add the increment to the weight.  [loha-delta]

    W = W0 + s (B1 A1) ∘ (B2 A2).  Raises what `forward` raises, `NonFiniteError`, `OverflowInMergeError`.

    >>> one = np.array([[1.0]])
    >>> merge(one, LohaParams(2 * one, 3 * one, 4 * one, 5 * one), scale=0.5)
    array([[61.]])
    """
    return _add("merging", "W0", W0, p, scale)


def unmerge(W: Float[Array, "d k"], p: LohaParams, *, scale: float) -> Float[Array, "d k"]:
    """Subtract the increment from a merged weight, up to rounding.  [loha-delta]

    W0 ≈ W − s (B1 A1) ∘ (B2 A2).  Raises what `merge` raises.

    >>> one = np.array([[1.0]])
    >>> unmerge(61 * one, LohaParams(2 * one, 3 * one, 4 * one, 5 * one), scale=0.5)
    array([[1.]])
    """
    return _add("unmerging", "W", W, p, scale)


def _weight(W: Float[Array, "d k"], kept: Products, scale: float) -> Float[Array, "d k"]:
    """Add s times the product of both products to a weight."""
    return W + float(scale) * (kept.first * kept.second)


def _add(step: str, name: str, W: Array, p: LohaParams, scale: float) -> Array:
    """Build W ± the increment, for storing."""
    _require_loha(name, W, p, scale)
    sign = 1.0 if step == "merging" else -1.0
    tensors = dict(zip(LohaParams._fields, p, strict=True))
    return through_weight.build_finite(
        step, name, W, tensors, lambda: _weight(W, Products(p[0] @ p[1], p[2] @ p[3]), sign * float(scale))
    )


def _require_loha(name: str, W: Array, p: LohaParams, scale: float) -> None:
    """Raise unless weight, both pairs and scale fit together."""
    through_weight.require_fields(p, LohaParams)
    for field, x in zip(p._fields, p, strict=True):
        checks.require_ndim(field, x, 2, "d, r" if field[0] == "B" else "r, k")
    checks.require_same_dtype(**{name: W}, **p._asdict())
    checks.require_weight(name, W, p[:2], scale)
    checks.require_weight(name, W, p[2:], scale)


__all__ = [
    "INIT_SCHEMES",
    "LohaParams",
    "Products",
    "backward",
    "forward",
    "init",
    "merge",
    "scaling",
    "unmerge",
]
