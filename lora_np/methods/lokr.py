"""LoKr: the increment is a Kronecker product of two small matrices, the second of low rank or full.  Floor 2.

ΔW = s C ⊗ D: entry (a d2 + b, c k2 + e) is s C_ac D_be, so C says how whole blocks go together and D what a block
does.  Applied to a row of k1 k2 inputs laid out as a (k1, k2) matrix it is C X Dᵀ, and ΔW is never made but to merge.
LyCORIS and PEFT can factor C too (`decompose_both`), and have a form for convolutions; neither is in this file.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.errors import RankError, ShapeError
from lora_np.lora import scaling
from lora_np.methods import through_weight

INIT_SCHEMES = ("lycoris", "peft")


class LokrFull(NamedTuple):
    """The factors of ΔW = s C ⊗ D.  [lokr-delta]"""

    C: Float[Array, "d1 k1"]
    D: Float[Array, "d2 k2"]


class LokrFactored(NamedTuple):
    """The factors of ΔW = s C ⊗ (B A).  [lokr-delta]"""

    C: Float[Array, "d1 k1"]
    B: Float[Array, "d2 r"]
    A: Float[Array, "r k2"]


LokrParams = LokrFull | LokrFactored


def factorization(n: int, factor: int = -1) -> tuple[int, int]:
    """Split n into two whole factors, the smaller first.  [lokr-split]

    The smaller one is the largest divisor of n up to the root of n, and up to `factor` unless that is −1.  That is the
    paper's rule; LyCORIS and PEFT agree but where a factor above the root divides n: they take that factor then.
    Raises `ConfigError`.

    >>> factorization(128), factorization(127), factorization(128, 4), factorization(30, 4)
    ((8, 16), (1, 127), (4, 32), (3, 10))
    """
    checks.require_int("n", n, minimum=1)
    checks.require_int("factor", factor, minimum=-1, fix="pass -1 for the split nearest to the root")
    most = math.isqrt(n) if factor == -1 else min(math.isqrt(n), max(factor, 1))
    small = next(m for m in range(most, 0, -1) if n % m == 0)
    return small, n // small


def init(
    rng: np.random.Generator,
    d: int,
    k: int,
    rank: int,
    *,
    factor: int = -1,
    second: str = "auto",
    scheme: str = "lycoris",
    dtype: object = np.float64,
) -> LokrParams:
    """Draw the starting factors of a (d, k) layer; the increment is zero.  [lokr-delta] [lokr-split]

    d = d1 d2 and k = k1 k2 by `factorization`.  `second` is ``"full"``, ``"factored"``, or ``"auto"``: factored where
    2r < max(d2, k2), the rule of LyCORIS and PEFT.  Every factor that is drawn is uniform within ±1/√(its columns);
    ``"lycoris"`` starts D (or A) at zero, ``"peft"`` C.  Raises `ConfigError`, `DTypeError`.

    >>> [x.shape for x in init(np.random.default_rng(0), 12, 30, 2)]  # 3 · 4 by 5 · 6: factored, as 4 < 6
    [(3, 5), (4, 2), (2, 6)]
    """
    checks.require_rng(rng)
    checks.require_rank(rank)
    checks.require_one_of("second", second, ("auto", "full", "factored"))
    checks.require_one_of("scheme", scheme, INIT_SCHEMES)
    checks.require_float_dtype(dtype)
    (d1, d2), (k1, k2) = factorization(d, factor), factorization(k, factor)
    factored = 2 * rank < max(d2, k2) if second == "auto" else second == "factored"
    shapes = [(d1, k1), (d2, rank), (rank, k2)] if factored else [(d1, k1), (d2, k2)]
    zero = 0 if scheme == "peft" else len(shapes) - 1
    drawn = (
        np.zeros(shape) if i == zero else rng.uniform(-1, 1, shape) / math.sqrt(shape[1])
        for i, shape in enumerate(shapes)
    )
    tensors = [x.astype(dtype) for x in drawn]  # type: ignore[call-overload]
    return LokrFactored(*tensors) if factored else LokrFull(*tensors)


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: LokrParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N k1 d2"]]:
    """Apply the layer to rows, without making the Kronecker product.  [lokr-vec] [lokr-delta]

    Y_n = W0 x_n + s vec(C X_n Dᵀ) + b, where X_n is x_n laid out as (k1, k2), row after row.  Returns Y and
    Z_n = X_n Dᵀ, which `backward` needs.  Raises `ShapeError`, `DTypeError`, `RankError`, `ConfigError`.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.zeros((2, 2))
    >>> forward(X, W0, LokrFull(C=np.array([[3.0], [5.0]]), D=np.array([[1.0, 1.0]])), scale=2.0)[0]
    array([[18., 30.]])
    """
    C, D = _require_lokr("W0", W0, p, scale)
    through_weight.require_rows_of(X, W0, bias)
    lead, (k1, d2) = tuple(X.shape[:-1]), (C.shape[1], D.shape[0])
    xp = array_namespace(X)
    Z = xp.reshape(X, (math.prod(lead), k1, D.shape[1])) @ D.T  # (N, k1, d2)
    increment = xp.reshape(C @ Z, (*lead, W0.shape[0]))  # (N, d1, d2), then (..., d)
    Y = X @ W0.T + float(scale) * increment
    return through_weight.with_bias(Y, bias), xp.reshape(Z, (*lead, k1, d2))


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N k1 d2"],
    W0: Float[Array, "d k"],
    p: LokrParams,
    *,
    scale: float,
) -> tuple[Float[Array, "N k"], LokrParams]:
    """Pull gY back to the input and the factors, without making the Kronecker product.  [lokr-grad]

    With gT_n = s gY_n laid out as (d1, d2):  gC = Σ gT_n Z_nᵀ,  gZ_n = Cᵀ gT_n,  gD = Σ gZ_nᵀ X_n,
    gX_n = W0ᵀ gY_n + vec(gZ_n D); and gB = gD Aᵀ, gA = Bᵀ gD where D = B A.  `Z` is what `forward` returned.
    Raises what `forward` raises.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.zeros((2, 2))
    >>> p = LokrFull(C=np.array([[3.0], [5.0]]), D=np.array([[1.0, 1.0]]))
    >>> backward(np.ones((1, 2)), X, forward(X, W0, p, scale=2.0)[1], W0, p, scale=2.0)
    (array([[16., 16.]]), LokrFull(C=array([[6.],
           [6.]]), D=array([[16., 32.]])))
    """
    C, D = _require_lokr("W0", W0, p, scale)
    through_weight.require_upstream(gY, X, W0)
    lead, (d1, k1), (d2, k2) = tuple(X.shape[:-1]), C.shape, D.shape
    through_weight.require_shape("Z", Z, (*lead, k1, d2), "..., k1, d2")
    checks.require_same_dtype(X=X, Z=Z)
    xp, N = array_namespace(gY), math.prod(lead)
    gT = xp.reshape(float(scale) * gY, (N, d1, d2))
    gZ = C.T @ gT  # (N, k1, d2)
    gC = _side_by_side(gT) @ _side_by_side(xp.reshape(Z, (N, k1, d2))).T  # (d1, k1)
    gD = flat_rows(gZ).T @ xp.reshape(X, (N * k1, k2))  # (d2, k2)
    gX = gY @ W0 + xp.reshape(gZ @ D, (*lead, k1 * k2))  # (N, k)
    if len(p) == 2:
        return gX, LokrFull(gC, gD)
    return gX, LokrFactored(gC, gD @ p[2].T, p[1].T @ gD)


def merge(W0: Float[Array, "d k"], p: LokrParams, *, scale: float) -> Float[Array, "d k"]:
    """Add the increment to the weight.  [lokr-delta]

    W = W0 + s C ⊗ D.  Raises what `forward` raises, `NonFiniteError`, `OverflowInMergeError`.

    >>> merge(np.zeros((2, 2)), LokrFull(C=np.array([[3.0], [5.0]]), D=np.array([[1.0, 2.0]])), scale=2.0)
    array([[ 6., 12.],
           [10., 20.]])
    """
    return _add("merging", "W0", W0, p, scale)


def unmerge(W: Float[Array, "d k"], p: LokrParams, *, scale: float) -> Float[Array, "d k"]:
    """Subtract the increment from a merged weight, up to rounding.  [lokr-delta]

    W0 ≈ W − s C ⊗ D.  Raises what `merge` raises.

    >>> p = LokrFull(C=np.array([[3.0], [5.0]]), D=np.array([[1.0, 2.0]]))
    >>> unmerge(np.array([[6.0, 12.0], [10.0, 20.0]]), p, scale=2.0)
    array([[0., 0.],
           [0., 0.]])
    """
    return _add("unmerging", "W", W, p, scale)


def kron(C: Float[Array, "d1 k1"], D: Float[Array, "d2 k2"]) -> Float[Array, "d k"]:
    """Multiply every entry of C with the whole of D: the Kronecker product.  [lokr-delta]

    >>> kron(np.array([[1.0, 10.0]]), np.array([[1.0], [2.0]]))
    array([[ 1., 10.],
           [ 2., 20.]])
    """
    blocks = C[:, None, :, None] * D[None, :, None, :]  # (d1, d2, k1, k2)
    return array_namespace(C).reshape(blocks, (C.shape[0] * D.shape[0], C.shape[1] * D.shape[1]))


def _side_by_side(T: Float[Array, "N a b"]) -> Float[Array, "a n"]:
    """Put the matrices of a batch side by side."""
    xp = array_namespace(T)
    return xp.reshape(xp.permute_dims(T, (1, 0, 2)), (T.shape[1], T.shape[0] * T.shape[2]))


def _add(step: str, name: str, W: Array, p: LokrParams, scale: float) -> Array:
    """Build W ± the increment, for storing."""
    C, D = _require_lokr(name, W, p, scale)
    s = float(scale) if step == "merging" else -float(scale)
    names = ("C", "D") if len(p) == 2 else ("C", "B", "A")
    return through_weight.build_finite(
        step, name, W, dict(zip(names, p, strict=True)), lambda: W + s * kron(C, D)
    )


def _require_lokr(name: str, W: Array, p: LokrParams, scale: float) -> tuple[Array, Array]:
    """Raise unless weight, factors and scale fit together; return C and D."""
    full = isinstance(p, (tuple, list)) and len(p) == 2
    through_weight.require_fields(p, LokrFull if full else LokrFactored)
    tensors = dict(zip(("C", "D") if full else ("C", "B", "A"), p, strict=True))
    for letter, x in tensors.items():
        checks.require_ndim(letter, x, 2, {"C": "d1, k1", "D": "d2, k2", "B": "d2, r", "A": "r, k2"}[letter])
    d, k = through_weight.require_base(name, W, **tensors)
    checks.require_number("scale", scale)
    C, *second = p
    if not full and second[0].shape[1] != second[1].shape[0]:
        ranks = second[0].shape[1], second[1].shape[0]
        raise RankError(f"B has rank {ranks[0]} (its columns) and A has rank {ranks[1]} (its rows)")
    rows, columns = second[0].shape[0], second[-1].shape[1]
    size = C.shape[0] * rows, C.shape[1] * columns
    if size != (d, k):
        raise ShapeError(
            f"C {tuple(C.shape)} ⊗ D {(rows, columns)} is {size}, expected (d, k) = {(d, k)}",
            fix=f"split d and k into two factors each, e.g. by factorization({d}), factorization({k})",
        )
    return C, (second[0] if full else second[0] @ second[1])


__all__ = [
    "INIT_SCHEMES",
    "LokrFactored",
    "LokrFull",
    "LokrParams",
    "backward",
    "factorization",
    "forward",
    "init",
    "kron",
    "merge",
    "scaling",
    "unmerge",
]
