"""(IA)³: one factor for every output of a layer, or for every input of a feed-forward layer.  Floor 2.

For keys and values the output is multiplied, bias included; for the second layer of a feed-forward block, its input.
Either way the factors can be multiplied into the weight, and divided out again unless one of them is zero.  There is
no scale and no rank.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.errors import NotInvertibleError
from lora_np.methods import through_weight


class Ia3Params(NamedTuple):
    """The trainable factors: of the outputs (d,), or of feed-forward inputs (k,).  [ia3-output] [ia3-input]"""

    l: Float[Array, " n"]  # noqa: E741 (the paper's letter)


def init(d: int, k: int, *, feedforward: bool, dtype: object = np.float64) -> Ia3Params:
    """Start every factor at one: the layer as it was.  [ia3-output] [ia3-input]

    Raises `ConfigError`, `DTypeError`.

    >>> init(2, 3, feedforward=False).l, init(2, 3, feedforward=True).l
    (array([1., 1.]), array([1., 1., 1.]))
    """
    checks.require_int("d", d, minimum=0)
    checks.require_int("k", k, minimum=0)
    checks.require_bool("feedforward", feedforward)
    checks.require_float_dtype(dtype)
    return Ia3Params(np.ones(k if feedforward else d).astype(dtype))  # type: ignore[call-overload]


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: Ia3Params,
    *,
    feedforward: bool,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N n"]]:
    """Apply the layer and scale its outputs, or scale its inputs and apply it.  [ia3-output] [ia3-input]

    Y = l ∘ (X W0ᵀ + b), or Y = (l ∘ X) W0ᵀ + b where `feedforward`.  Returns Y and H, what l was multiplied with,
    which `backward` needs: the unscaled output, or X.  Raises `ShapeError`, `DTypeError`, `ConfigError`.

    >>> X, W0, b = np.array([[1.0, 2.0]]), np.eye(2), np.array([10.0, 10.0])
    >>> [
    ...     forward(X, W0, Ia3Params(np.array([3.0, 0.5])), feedforward=f, bias=b)[0].tolist()
    ...     for f in (False, True)
    ... ]
    [[[33.0, 6.0]], [[13.0, 11.0]]]
    """
    _require_ia3("W0", W0, p, feedforward)
    through_weight.require_rows_of(X, W0, bias)
    if feedforward:
        return through_weight.with_bias((X * p[0]) @ W0.T, bias), X
    H = through_weight.with_bias(X @ W0.T, bias)
    return H * p[0], H


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    H: Float[Array, "N n"],
    W0: Float[Array, "d k"],
    p: Ia3Params,
    *,
    feedforward: bool,
) -> tuple[Float[Array, "N k"], Ia3Params]:
    """Pull gY back to the input and the factors.  [ia3-grad]

    gl = Σ_n gY ∘ H,  gX = (l ∘ gY) W0;  or, where `feedforward`, with gS = gY W0:  gl = Σ_n gS ∘ H,  gX = l ∘ gS.
    `H` is what `forward` returned.  Raises what `forward` raises.

    >>> X, W0, p = np.array([[1.0, 2.0]]), np.eye(2), Ia3Params(np.array([3.0, 0.5]))
    >>> backward(np.ones((1, 2)), X, forward(X, W0, p, feedforward=False)[1], W0, p, feedforward=False)
    (array([[3. , 0.5]]), Ia3Params(l=array([1., 2.])))
    """
    _require_ia3("W0", W0, p, feedforward)
    through_weight.require_upstream(gY, X, W0)
    checks.require_rows("H", H, p[0].shape[0], "as wide as l")
    checks.require_same_rows(gY=gY, H=H)
    checks.require_same_dtype(gY=gY, H=H)
    xp = array_namespace(gY)
    gS = gY @ W0 if feedforward else gY  # what reaches the place where l stands
    gl = xp.sum(flat_rows(gS) * flat_rows(H), axis=0)
    return (gS * p[0] if feedforward else (gY * p[0]) @ W0), Ia3Params(gl)


def merge(W0: Float[Array, "d k"], p: Ia3Params, *, feedforward: bool) -> Float[Array, "d k"]:
    """Multiply the factors into the weight.  [ia3-merge]

    W = diag(l) W0, or W0 diag(l) where `feedforward`.  Without it the bias must be scaled too: `merge_bias`.  Raises
    what `forward` raises, `NonFiniteError`, `OverflowInMergeError`.

    >>> merge(np.ones((2, 2)), Ia3Params(np.array([3.0, 0.5])), feedforward=False)
    array([[3. , 3. ],
           [0.5, 0.5]])
    """
    _require_ia3("W0", W0, p, feedforward)
    return through_weight.build_finite("merging", "W0", W0, {"l": p[0]}, lambda: W0 * _along(p, feedforward))


def unmerge(W: Float[Array, "d k"], p: Ia3Params, *, feedforward: bool) -> Float[Array, "d k"]:
    """Divide the factors out of a merged weight, up to rounding.  [ia3-merge]

    W0 ≈ diag(1/l) W, or W diag(1/l) where `feedforward`: within one rounding of each step.  Raises
    `NotInvertibleError` where a factor is zero, and what `merge` raises.

    >>> unmerge(np.array([[3.0, 3.0], [0.5, 0.5]]), Ia3Params(np.array([3.0, 0.5])), feedforward=False)
    array([[1., 1.],
           [1., 1.]])
    """
    _require_ia3("W", W, p, feedforward)
    _require_invertible(p)
    return through_weight.build_finite("unmerging", "W", W, {"l": p[0]}, lambda: W / _along(p, feedforward))


def merge_bias(bias: Float[Array, " d"], p: Ia3Params, *, feedforward: bool) -> Float[Array, " d"]:
    """Multiply the factors into the bias, where they scale the output.  [ia3-merge]

    l ∘ b, or b itself where `feedforward`.  Raises what `merge` raises.

    >>> merge_bias(np.array([2.0, 2.0]), Ia3Params(np.array([3.0, 0.5])), feedforward=False)
    array([6., 1.])
    """
    return _scale_bias("merging", bias, p, feedforward)


def unmerge_bias(bias: Float[Array, " d"], p: Ia3Params, *, feedforward: bool) -> Float[Array, " d"]:
    """Divide the factors out of a merged bias.  [ia3-merge]

    b / l, or b itself where `feedforward`.  Raises what `unmerge` raises.

    >>> unmerge_bias(np.array([6.0, 1.0]), Ia3Params(np.array([3.0, 0.5])), feedforward=False)
    array([2., 2.])
    """
    return _scale_bias("unmerging", bias, p, feedforward)


def _along(p: Ia3Params, feedforward: bool) -> Array:
    """Lay l along the rows or the columns of the weight."""
    return p[0][None, :] if feedforward else p[0][:, None]


def _scale_bias(step: str, bias: Array, p: Ia3Params, feedforward: bool) -> Array:
    """Multiply or divide a bias by l; a feed-forward layer's bias stays."""
    through_weight.require_fields(p, Ia3Params)
    checks.require_bool("feedforward", feedforward)
    checks.require_ndim("bias", bias, 1, "d")
    if feedforward:
        return bias
    through_weight.require_shape("l", p[0], tuple(bias.shape), "d,")
    checks.require_same_dtype(bias=bias, l=p[0])
    if step == "merging":
        return through_weight.build_finite(step, "bias", bias, {"l": p[0]}, lambda: bias * p[0])
    _require_invertible(p)
    return through_weight.build_finite(step, "bias", bias, {"l": p[0]}, lambda: bias / p[0])


def _require_ia3(name: str, W: Array, p: Ia3Params, feedforward: bool) -> None:
    """Raise unless weight and factors fit together."""
    through_weight.require_fields(p, Ia3Params)
    checks.require_bool("feedforward", feedforward)
    checks.require_ndim(name, W, 2, "d, k")
    width, letters = (W.shape[1], "k,") if feedforward else (W.shape[0], "d,")
    through_weight.require_shape("l", p[0], (width,), letters)
    through_weight.require_base(name, W, l=p[0])


def _require_invertible(p: Ia3Params) -> None:
    """Raise if a factor is zero: what it multiplied is gone."""
    zero = [int(i) for i in array_namespace(p[0]).nonzero(p[0] == 0)[0]]
    if zero:
        raise NotInvertibleError(
            f"l is 0 at index {zero[0]} ({len(zero)} of {p[0].shape[0]} in all): what it multiplied is gone",
            fix="keep a snapshot of the weight before merging",
        )


__all__ = [
    "Ia3Params",
    "backward",
    "forward",
    "init",
    "merge",
    "merge_bias",
    "unmerge",
    "unmerge_bias",
]
