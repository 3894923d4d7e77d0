"""The LoRA layer: parameters, scale, initialization, forward and backward, each in both forms.  Floor 1.

Two forms compute the same numbers.  `forward` and `backward` [lora-2] go through the bottleneck and never make a
(d, k) array; `forward_via_weight` and `backward_via_weight` [lora-1] build the weight and its full gradient, and
exist to be compared with.  Nothing here has dropout, holds state, writes into an argument, or looks for NaN: one
that enters comes out.  X may have any number of leading axes; a gradient of `LoraParams` is a `LoraParams`.
Both forms stand in this one file, longer than most, so that they can be read side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.errors import ShapeError

INIT_SCHEMES = ("kaiming", "gaussian", "zero-A", "both-zero", "symmetric")


class LoraParams(NamedTuple):
    """The trainable factors of the increment ΔW = s B A.  [lora-delta]"""

    B: Float[Array, "d r"]
    A: Float[Array, "r k"]


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """What never gets a gradient: the rank r, alpha, and which scale they make.

    >>> LoraConfig(rank=4, alpha=8).scale, LoraConfig(rank=4, alpha=8, use_rslora=True).scale
    (2.0, 4.0)
    """

    rank: int
    alpha: float
    use_rslora: bool = False

    def __post_init__(self) -> None:
        scaling(self.alpha, self.rank, use_rslora=self.use_rslora)

    @property
    def scale(self) -> float:
        """The factor s on B A."""
        return scaling(self.alpha, self.rank, use_rslora=self.use_rslora)


def scaling(alpha: float, rank: int, *, use_rslora: bool = False) -> float:
    """Compute the factor s on B A from alpha and the rank.  [lora-scale] [lora-scale-rs]

    s = alpha / r, or alpha / sqrt(r) for the rank-stabilized form.  Raises `ConfigError`.

    >>> scaling(16, 8)
    2.0
    """
    checks.require_rank(rank)
    checks.require_number("alpha", alpha)
    checks.require_bool("use_rslora", use_rslora)
    return float(alpha) / (math.sqrt(rank) if use_rslora else rank)


# ---- initialization ----------------------------------------------------------------------------------------


def init(
    rng: np.random.Generator,
    d: int,
    k: int,
    rank: int,
    *,
    scheme: str = "kaiming",
    dtype: object = np.float64,
) -> LoraParams:
    """Draw the starting factors of a (d, k) layer.  [lora-init]

    ``"kaiming"``    A ~ U(±1/√k), B = 0: loralib's and PEFT's default
    ``"gaussian"``   A ~ N(0, 1/r²), B = 0: the paper's Gaussian, with PEFT's width
    ``"zero-A"``     A = 0, B ~ U(±1/√d): the mirror image
    ``"both-zero"``  A = B = 0: both gradients vanish, so it never leaves zero; here to be seen failing
    ``"symmetric"``  A ~ U(±1/√k), B ~ U(±1/√d): needs the shifted weight of `symmetric_base`

    Raises `ConfigError`, `DTypeError`; warns `RankWarning` where r > min(d, k).

    >>> p = init(np.random.default_rng(0), 6, 4, 2)
    >>> p.B.shape, p.A.shape, bool((p.B == 0).all())
    ((6, 2), (2, 4), True)
    """
    checks.require_rng(rng)
    checks.require_int("d", d, minimum=0)
    checks.require_int("k", k, minimum=0)
    checks.require_rank(rank, d, k)
    checks.require_one_of("scheme", scheme, INIT_SCHEMES)
    checks.require_float_dtype(dtype)
    B, A = np.zeros((d, rank)), np.zeros((rank, k))
    if scheme == "gaussian":
        A = rng.normal(0.0, 1 / rank, size=(rank, k))
    if scheme in ("kaiming", "symmetric"):
        A = rng.uniform(-1, 1, size=(rank, k)) / math.sqrt(max(k, 1))
    if scheme in ("zero-A", "symmetric"):
        B = rng.uniform(-1, 1, size=(d, rank)) / math.sqrt(max(d, 1))
    return LoraParams(B.astype(dtype), A.astype(dtype))  # type: ignore[call-overload]


def symmetric_base(W0: Float[Array, "d k"], p0: LoraParams, *, scale: float) -> Float[Array, "d k"]:
    """Shift the frozen weight so that both factors may start away from zero.  [lora-symmetric]

    W0 − s B0 A0: use it in place of W0, and the layer starts as the frozen layer did.  Raises `ShapeError`.

    >>> W0, p0 = np.eye(2), LoraParams(B=np.ones((2, 1)), A=np.ones((1, 2)))
    >>> symmetric_base(W0, p0, scale=0.5) + 0.5 * p0.B @ p0.A
    array([[1., 0.],
           [0., 1.]])
    """
    checks.require_weight("W0", W0, p0, scale)
    return W0 - float(scale) * (p0.B @ p0.A)  # (d, k)


# ---- lora-2: through the bottleneck ------------------------------------------------------------------------


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: LoraParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Apply the adapted layer to rows, through the bottleneck.  [lora-2] [lora-fwd] [lora-z] [rank-layer-split]

    Y = X W0ᵀ + s (X Aᵀ) Bᵀ + b.  Returns Y and the bottleneck Z = X Aᵀ, which `backward` needs.
    With B = 0, A = 0 or s = 0 (and finite factors) Y equals the frozen layer's output exactly; the sign of a
    zero may change.  Raises `ShapeError`, `DTypeError`, `RankError`, `ConfigError`.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.eye(2)
    >>> p = LoraParams(B=np.array([[1.0], [0.0]]), A=np.array([[1.0, 1.0]]))
    >>> forward(X, W0, p, scale=0.5)
    (array([[2.5, 2. ]]), array([[3.]]))
    """
    checks.require_layer(X, W0, p, scale, bias)
    B, A = p
    Z = X @ A.T  # (N, r): through the bottleneck first, so that B A never exists
    Y = X @ W0.T + float(scale) * (Z @ B.T)  # (N, d)
    return (Y if bias is None else Y + bias), Z


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N r"],
    W0: Float[Array, "d k"],
    p: LoraParams,
    *,
    scale: float,
) -> tuple[Float[Array, "N k"], LoraParams]:
    """Pull gY back to the input and both factors.  [grad-2] [lora-grad-a] [lora-grad-b] [lora-grad-x]

    gZ = s gY B,  gB = s gYᵀ Z,  gA = gZᵀ X,  gX = gY W0 + gZ A.  Largest array made: as large as X.
    `Z` is what `forward` returned.  Raises `ShapeError`, `DTypeError`, `RankError`, `ConfigError`.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.eye(2)
    >>> p = LoraParams(B=np.array([[1.0], [0.0]]), A=np.array([[1.0, 1.0]]))
    >>> Y, Z = forward(X, W0, p, scale=0.5)
    >>> backward(np.ones((1, 2)), X, Z, W0, p, scale=0.5)
    (array([[1.5, 1.5]]), LoraParams(B=array([[1.5],
           [1.5]]), A=array([[0.5, 1. ]])))
    """
    checks.require_layer(X, W0, p, scale)
    _require_upstream(gY, X, W0)
    checks.require_rows("Z", Z, p[1].shape[0], "r, the rank of the factors")
    checks.require_same_rows(X=X, Z=Z)
    checks.require_same_dtype(X=X, Z=Z)
    B, A = p
    s = float(scale)
    gZ = s * (gY @ B)  # (N, r)
    gX = gY @ W0 + gZ @ A  # (N, k)
    gB = s * (flat_rows(gY).T @ flat_rows(Z))  # (d, r)
    gA = flat_rows(gZ).T @ flat_rows(X)  # (r, k)
    return gX, LoraParams(gB, gA)


# ---- lora-1: through the weight ----------------------------------------------------------------------------


def forward_via_weight(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: LoraParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "d k"]]:
    """Apply the adapted layer to rows, by building W.  [lora-1] [lora-weight] [rank-layer-increment] [rank-layer-mn]

    Y = X (W0 + s B A)ᵀ + b.  Returns Y and the weight W, which `backward_via_weight` needs; it is as large as W0.
    Raises what `forward` raises.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.eye(2)
    >>> p = LoraParams(B=np.array([[1.0], [0.0]]), A=np.array([[1.0, 1.0]]))
    >>> forward_via_weight(X, W0, p, scale=0.5)
    (array([[2.5, 2. ]]), array([[1.5, 0.5],
           [0. , 1. ]]))
    """
    checks.require_layer(X, W0, p, scale, bias)
    B, A = p
    W = W0 + float(scale) * (B @ A)  # (d, k)
    Y = X @ W.T  # (N, d)
    return (Y if bias is None else Y + bias), W


def backward_via_weight(
    gY: Float[Array, "N d"], X: Float[Array, "N k"], W: Float[Array, "d k"], p: LoraParams, *, scale: float
) -> tuple[Float[Array, "N k"], LoraParams]:
    """Pull gY back by forming the weight's full gradient and projecting it.  [grad-1]

    gW = gYᵀ X,  gA = s Bᵀ gW,  gB = s gW Aᵀ,  gX = gY W.  Equal to `backward` up to rounding; makes a (d, k)
    array.  `W` is what `forward_via_weight` returned.  Raises what `backward` raises.

    >>> X, W0 = np.array([[1.0, 2.0]]), np.eye(2)
    >>> p = LoraParams(B=np.array([[1.0], [0.0]]), A=np.array([[1.0, 1.0]]))
    >>> Y, W = forward_via_weight(X, W0, p, scale=0.5)
    >>> backward_via_weight(np.ones((1, 2)), X, W, p, scale=0.5)
    (array([[1.5, 1.5]]), LoraParams(B=array([[1.5],
           [1.5]]), A=array([[0.5, 1. ]])))
    """
    checks.require_layer(X, W, p, scale, name="W")
    _require_upstream(gY, X, W)
    gW = flat_rows(gY).T @ flat_rows(X)  # (d, k): the array that lora-2 avoids
    gX = gY @ W  # (N, k)
    return gX, project_gradient(gW, p, scale=scale)


def project_gradient(gW: Float[Array, "d k"], p: LoraParams, *, scale: float) -> LoraParams:
    """Project the weight's full gradient onto both factors.  [grad-1]

    gB = s gW Aᵀ and gA = s Bᵀ gW: the chain rule through W = W0 + s B A.  Raises what `backward` raises.

    >>> p = LoraParams(B=np.array([[1.0], [0.0]]), A=np.array([[1.0, 1.0]]))
    >>> project_gradient(np.array([[1.0, 2.0], [1.0, 2.0]]), p, scale=0.5).A
    array([[0.5, 1. ]])
    """
    checks.require_weight("gW", gW, p, scale)
    B, A = p
    s = float(scale)
    return LoraParams(B=s * (gW @ A.T), A=s * (B.T @ gW))


def bias_gradient(gY: Float[Array, "N d"]) -> Float[Array, " d"]:
    """Sum the output gradient over the batch: the gradient of a trained bias.  [lora-grad-bias]

    gb = Σ_n gY_n.  Raises `DTypeError`, `ShapeError`.

    >>> bias_gradient(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([4., 6.])
    """
    checks.require_array("gY", gY)
    if gY.ndim == 0:
        raise ShapeError("gY has no axes, expected (..., d)", fix="pass rows of d outputs")
    xp = array_namespace(gY)
    return xp.sum(flat_rows(gY), axis=0)


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require_upstream(gY: Array, X: Array, W: Array) -> None:
    """Raise unless the output gradient gY (..., d) belongs to the rows X (..., k)."""
    checks.require_rows("gY", gY, W.shape[0], f"d, the height of the weight {tuple(W.shape)}")
    checks.require_same_rows(gY=gY, X=X)
    checks.require_same_dtype(gY=gY, X=X)
