"""DoRA: the length of every row of the weight is trained apart from its direction.  Floor 2.

V = W0 + s B A gives the directions, m the lengths: W = diag(m / ‖V‖) V, row by row, a row being one output.  The paper
writes the norm over the columns of its weight; its released code and PEFT take the rows of a weight stored (d, k), as
here.  Its section 4.3 holds ‖V‖ constant in the backward pass, so that what is trained is not the gradient: both are
here, as `norm="detached"` and `norm="attached"`.  The norm needs V, so a (d, k) array is made, and kept for backward.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks, lora
from lora_np._typing import Array, Float
from lora_np.errors import NotInvertibleError, ZeroNormError
from lora_np.lora import LoraParams, scaling
from lora_np.methods import through_weight

NORMS = ("detached", "attached")


class DoraParams(NamedTuple):
    """The trainable factors of the direction, and the trainable lengths.  [dora-weight]"""

    B: Float[Array, "d r"]
    A: Float[Array, "r k"]
    m: Float[Array, " d"]


class Directions(NamedTuple):
    """What `backward` needs: V = W0 + s B A, and the length of each of its rows.  [dora-weight]"""

    V: Float[Array, "d k"]
    lengths: Float[Array, " d"]


def init(
    rng: np.random.Generator, W0: Float[Array, "d k"], rank: int, *, scheme: str = "kaiming"
) -> DoraParams:
    """Draw the factors as LoRA does, and start m at the lengths of W0's rows.  [dora-weight] [lora-init]

    With a scheme whose product B A is zero, the layer starts as the frozen one did.  Raises what `lora.init` raises.

    >>> init(np.random.default_rng(0), np.array([[3.0, 4.0], [0.0, 2.0]]), 1).m
    array([5., 2.])
    """
    checks.require_ndim("W0", W0, 2, "d, k")
    d, k = W0.shape
    p = lora.init(rng, d, k, rank, scheme=scheme, dtype=checks.dtype_name(W0))
    xp = array_namespace(W0)
    return DoraParams(xp.asarray(p.B), xp.asarray(p.A), _row_norms(W0, 0.0))


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: DoraParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
    eps: float = 0.0,
) -> tuple[Float[Array, "N d"], Directions]:
    """Apply the layer whose rows have direction V and length m.  [dora-weight]

    Y = (X Vᵀ) ∘ (m / ‖V‖) + b; the bias is not scaled.  Returns Y and V with its row lengths.  A row of V that is
    zero has no direction and raises `ZeroNormError`; with eps > 0 the length is √(‖V‖² + eps²) and never zero.
    Raises `ShapeError`, `DTypeError`, `RankError`, `ConfigError` too.

    >>> p = DoraParams(B=np.array([[0.0]]), A=np.array([[0.0, 0.0]]), m=np.array([10.0]))
    >>> forward(np.array([[1.0, 1.0]]), np.array([[3.0, 4.0]]), p, scale=1.0)[0]
    array([[14.]])
    """
    _require_dora("W0", W0, p, scale)
    through_weight.require_rows_of(X, W0, bias)
    kept = _directions(W0, p, scale, eps)
    Y = (X @ kept.V.T) * (p[2] / kept.lengths)  # (N, d)
    return through_weight.with_bias(Y, bias), kept


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    kept: Directions,
    W0: Float[Array, "d k"],
    p: DoraParams,
    *,
    scale: float,
    norm: str = "detached",
) -> tuple[Float[Array, "N k"], DoraParams]:
    """Pull gY back to the input, the factors and the lengths.  [dora-grad-m] [dora-grad-detached] [dora-grad-attached]

    gW = gYᵀ X,  D = V / ‖V‖,  gm = Σ_j (gW ∘ D)_·j,  gX = (gY ∘ m / ‖V‖) V,  gB = s gV Aᵀ,  gA = s Bᵀ gV with
    ``"detached"``  gV = (m / ‖V‖) gW: the norm is a constant, as section 4.3 of the paper and PEFT have it
    ``"attached"``  gV = (m / ‖V‖) (gW − gm ∘ D): the gradient of the layer
    gX and gm are the same in both.  `kept` is what `forward` returned.  Raises what `forward` raises.

    >>> p = DoraParams(B=np.array([[1.0]]), A=np.array([[0.0, 0.0]]), m=np.array([10.0]))
    >>> X, W0 = np.array([[1.0, 1.0]]), np.array([[3.0, 4.0]])
    >>> Y, kept = forward(X, W0, p, scale=1.0)
    >>> [backward(np.ones((1, 1)), X, kept, W0, p, scale=1.0, norm=n)[1].A.round(2).tolist() for n in NORMS]
    [[[2.0, 2.0]], [[0.32, -0.24]]]
    """
    _require_dora("W0", W0, p, scale)
    through_weight.require_upstream(gY, X, W0)
    checks.require_one_of("norm", norm, NORMS)
    _require_kept(kept, W0)
    xp, (B, A, m), (V, lengths) = array_namespace(gY), p, kept
    ratio = m / lengths
    gX = (gY * ratio) @ V  # (N, k)
    gW = through_weight.weight_gradient(gY, X)  # (d, k)
    D = V / lengths[:, None]  # (d, k)
    gm = xp.sum(gW * D, axis=1)  # (d,)
    along = gm[:, None] * D if norm == "attached" else 0.0  # the part of gW that only the length could follow
    gV = ratio[:, None] * (gW - along)  # (d, k)
    g = lora.project_gradient(gV, LoraParams(B, A), scale=scale)
    return gX, DoraParams(g.B, g.A, gm)


def merge(W0: Float[Array, "d k"], p: DoraParams, *, scale: float, eps: float = 0.0) -> Float[Array, "d k"]:
    """Build the weight that the layer stands for.  [dora-weight]

    W = diag(m / ‖V‖) V.  Its rows have length |m|: ‖V‖ is lost, so keep `row_lengths` to unmerge.  Raises what
    `forward` raises, `NonFiniteError`, `OverflowInMergeError`.

    >>> p = DoraParams(B=np.array([[0.0]]), A=np.array([[0.0, 0.0]]), m=np.array([10.0]))
    >>> merge(np.array([[3.0, 4.0]]), p, scale=1.0)
    array([[6., 8.]])
    """
    _require_dora("W0", W0, p, scale)

    def build() -> Array:
        V, lengths = _directions(W0, p, scale, eps)
        return (p[2] / lengths)[:, None] * V

    return through_weight.build_finite("merging", "W0", W0, dict(zip(p._fields, p, strict=True)), build)


def row_lengths(
    W0: Float[Array, "d k"], p: DoraParams, *, scale: float, eps: float = 0.0
) -> Float[Array, " d"]:
    """Measure the rows of V: what a merged weight no longer knows, and `unmerge` needs.  [dora-unmerge]

    ‖W0 + s B A‖ of each row.  Raises what `forward` raises.

    >>> p = DoraParams(B=np.array([[0.0]]), A=np.array([[0.0, 0.0]]), m=np.array([10.0]))
    >>> row_lengths(np.array([[3.0, 4.0]]), p, scale=1.0)
    array([5.])
    """
    _require_dora("W0", W0, p, scale)
    return _directions(W0, p, scale, eps).lengths


def unmerge(
    W: Float[Array, "d k"], lengths: Float[Array, " d"], p: DoraParams, *, scale: float
) -> Float[Array, "d k"]:
    """Take length and factors out of a merged weight, up to rounding.  [dora-unmerge]

    W0 ≈ diag(‖V‖ / m) W − s B A, with ‖V‖ from `row_lengths` before merging.  It divides by m, so it is less exact
    than LoRA's: keep a snapshot where every bit matters.  Raises `NotInvertibleError` where m is zero, and what
    `merge` raises.

    >>> p = DoraParams(B=np.array([[0.0]]), A=np.array([[0.0, 0.0]]), m=np.array([10.0]))
    >>> unmerge(np.array([[6.0, 8.0]]), np.array([5.0]), p, scale=1.0)
    array([[3., 4.]])
    """
    d, _ = _require_dora("W", W, p, scale)
    through_weight.require_shape("lengths", lengths, (d,), "d,")
    checks.require_same_dtype(W=W, lengths=lengths)
    B, A, m = p
    zero = through_weight.name_rows(m == 0)
    if zero:
        raise NotInvertibleError(
            f"m is 0 in {zero}: the merged rows are zero and hold no direction",
            fix="keep a snapshot of W0",
        )
    tensors = {"B": B, "A": A, "m": m, "lengths": lengths}
    return through_weight.build_finite(
        "unmerging", "W", W, tensors, lambda: W * (lengths / m)[:, None] - float(scale) * (B @ A)
    )


# ---- rows and their lengths --------------------------------------------------------------------------------


def _directions(W0: Float[Array, "d k"], p: DoraParams, scale: float, eps: float) -> Directions:
    """Build V = W0 + s B A and measure its rows; a zero one raises."""
    checks.require_number("eps", eps, least=0.0)
    V = W0 + float(scale) * (p[0] @ p[1])  # (d, k)
    lengths = _row_norms(V, float(eps))
    zero = through_weight.name_rows(lengths == 0)
    if zero:
        raise ZeroNormError(
            f"V = W0 + s B A is zero in {zero}: no length, no direction",
            fix="leave those rows out of the adapter, or pass the eps option, e.g. eps=1e-6",
        )
    return Directions(V, lengths)


def _row_norms(V: Float[Array, "d k"], eps: float) -> Float[Array, " d"]:
    """Return √(Σ_j V_ij² + eps²); a power of two brings each row to unit size first, so that no square overflows."""
    xp = array_namespace(V)
    if V.shape[1] == 0:
        return xp.full((V.shape[0],), eps, dtype=V.dtype)
    largest = xp.max(xp.abs(V), axis=1)
    unit = 2.0 ** xp.floor(xp.log2(xp.where(largest > 0, largest, xp.ones_like(largest))))
    rows = V / unit[:, None]
    return unit * xp.sqrt(xp.sum(rows * rows, axis=1) + (eps / unit) ** 2)


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require_dora(name: str, W: Array, p: DoraParams, scale: float) -> tuple[int, int]:
    """Raise unless weight, factors, lengths and scale fit together; return d and k."""
    through_weight.require_fields(p, DoraParams)
    checks.require_weight(name, W, p[:2], scale)
    through_weight.require_shape("m", p[2], (W.shape[0],), "d,")
    return through_weight.require_base(name, W, m=p[2])


def _require_kept(kept: Directions, W0: Array) -> None:
    """Raise unless `kept` is V (d, k) with d lengths, as `forward` returned them."""
    checks.require_instance("kept", kept, Directions, fix="pass what forward returned beside Y")
    through_weight.require_shape("kept.V", kept.V, tuple(W0.shape), "d, k")
    through_weight.require_shape("kept.lengths", kept.lengths, (W0.shape[0],), "d,")


__all__ = [
    "NORMS",
    "Directions",
    "DoraParams",
    "backward",
    "forward",
    "init",
    "merge",
    "row_lengths",
    "scaling",
    "unmerge",
]
