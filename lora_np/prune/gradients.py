"""The gradient of the adapted weight: exact, LoRAPrune's estimate, and the last step's change.  Floor 2.

All three are products of two thin factors, and each stands here twice: whole, as a (d, k) array, and as the
`Product` that `importance` sums over without making it whole.  The gradient is the loss's with respect to the
weight that the layer applies, W = W0 + s B A; with respect to B A alone it is s times that.  Nothing is stored.
"""

from typing import Any

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.errors import ShapeError, StateError
from lora_np.lora import LoraParams
from lora_np.prune.factored import Product

# ---- exact -------------------------------------------------------------------------------------------------


def exact(gY: Float[Array, "N d"], X: Float[Array, "N k"]) -> Float[Array, "d k"]:
    """Form the exact gradient of the weight from what backward has at hand.  [prune-exact] [prune-fwd-ba]

    G = gYᵀ X, summed over the batch.  The block of it that belongs to rows I and columns J is gY[:, I]ᵀ X[:, J], so
    a group's gradient never needs the rest.  Raises `StateError`, `ShapeError`, `DTypeError`.

    >>> import numpy as np
    >>> exact(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0, 5.0]]))
    array([[ 3.,  4.,  5.],
           [ 6.,  8., 10.]])
    """
    U, V = exact_product(gY, X)
    return U @ V  # (d, k)


def exact_product(gY: Float[Array, "N d"], X: Float[Array, "N k"]) -> Product:
    """Hold the exact gradient as its two factors.  [prune-exact]

    U = gYᵀ and V = X: views, so it costs nothing.  Raises what `exact` raises.
    """
    require_gradient("gY", gY)
    require_gradient("X", X, fix="keep the inputs of the forward pass, then call backward first")
    for name, x in (("gY", gY), ("X", X)):
        checks.require_array(name, x)
        if x.ndim == 0:
            raise ShapeError(f"{name} has no axes, expected rows of the layer's width")
    checks.require_same_rows(gY=gY, X=X)
    checks.require_same_dtype(gY=gY, X=X)
    return Product(flat_rows(gY).T, flat_rows(X))


# ---- LoRAPrune's estimate ----------------------------------------------------------------------------------


def estimated(p: LoraParams, g: LoraParams, *, lr: float = 1.0) -> Float[Array, "d k"]:
    """Estimate the gradient from the factors' gradients, as LoRAPrune does.  [prune-estimate] [prune-projected]

    Ĝ = gB A + B gA − lr gB gA.  LoRAPrune derives it from one step of SGD (see `from_previous_step`) and sets its
    learning rate to 1.  It is not the gradient: with gB = s G Aᵀ and gA = s Bᵀ G the first two terms are
    s (G AᵀA + B BᵀG), which at B = 0 sees only the rows of A; and the third is quadratic in the gradient, so scaling
    the loss does not scale the estimate.  Raises `StateError` without gradients, `ShapeError`, `RankError`.

    >>> import numpy as np
    >>> p = LoraParams(B=np.zeros((2, 1)), A=np.array([[1.0, 3.0]]))
    >>> estimated(p, LoraParams(B=np.array([[1.0], [2.0]]), A=np.zeros((1, 2))))
    array([[1., 3.],
           [2., 6.]])
    """
    U, V = estimated_product(p, g, lr=lr)
    return U @ V  # (d, k)


def estimated_product(p: LoraParams, g: LoraParams, *, lr: float = 1.0) -> Product:
    """Hold LoRAPrune's estimate as two factors of rank at most 2 r.  [prune-estimate]

    [gB | B − lr gB] [A ; gA] = gB A + B gA − lr gB gA: two shared factors in place of three products.  Raises what
    `estimated` raises.
    """
    _require_pair(p, g, "g")
    checks.require_number("lr", lr)
    xp = array_namespace(p[0], p[1])
    U = xp.concat([g[0], p[0] - float(lr) * g[0]], axis=1)  # (d, 2r)
    V = xp.concat([p[1], g[1]], axis=0)  # (2r, k)
    return Product(U, V)


# ---- from the last step ------------------------------------------------------------------------------------


def from_previous_step(p_prev: LoraParams, p: LoraParams, *, lr: float, scale: float) -> Float[Array, "d k"]:
    """Estimate the gradient from how far the increment moved in the last step.  [prune-previous-step]

    Ĝ = s (B' A' − B A) / lr, with ' the step before.  Dividing by lr reads the step as plain SGD on the weight,
    W = W' − lr G.  After one step of SGD on the factors it equals s times `estimated(p', g', lr=lr)`, term by term
    [prune-estimate-sgd]; after a step of Adam, or of SGD with momentum, it is the direction that optimizer took and
    its size means little.  Ranking the groups of one layer needs neither: pass lr=1, scale=1.  Costs two copies of
    the factors, (d + k) r numbers.  Raises `StateError`, `ShapeError`, `RankError`, `ConfigError`.

    >>> import numpy as np
    >>> before, after = (
    ...     LoraParams(np.ones((1, 1)), np.ones((1, 1))),
    ...     LoraParams(np.ones((1, 1)), np.zeros((1, 1))),
    ... )
    >>> from_previous_step(before, after, lr=0.5, scale=1.0)
    array([[2.]])
    """
    U, V = previous_step_product(p_prev, p, lr=lr, scale=scale)
    return U @ V  # (d, k)


def previous_step_product(p_prev: LoraParams, p: LoraParams, *, lr: float, scale: float) -> Product:
    """Hold the last step's change as two factors of rank at most 2 r.  [prune-previous-step]

    (s / lr) [B' | −B] [A' ; A].  Raises what `from_previous_step` raises.
    """
    _require_pair(
        p, p_prev, "p_prev", fix="keep the factors of the step before: none is known at the first step"
    )
    checks.require_number("lr", lr, above=0.0)
    checks.require_number("scale", scale)
    xp = array_namespace(p[0], p[1])
    U = (float(scale) / float(lr)) * xp.concat([p_prev[0], -p[0]], axis=1)  # (d, 2r)
    V = xp.concat([p_prev[1], p[1]], axis=0)  # (2r, k)
    return Product(U, V)


# ---- what a user can get wrong -----------------------------------------------------------------------------


def require_gradient(name: str, value: Any, *, fix: str = "call backward first") -> None:
    """Raise `StateError` where a gradient, or an activation kept for it, is not there."""
    if value is None:
        raise StateError(f"{name} is None: importance needs what backward computes", fix=fix)


def _require_pair(
    p: LoraParams, g: LoraParams | None, name: str, *, fix: str = "call backward first"
) -> None:
    """Raise unless both are factors of one shape and element type."""
    require_gradient(name, g, fix=fix)
    checks.require_pair(name, g)
    for field, value in zip("BA", g, strict=True):  # type: ignore[arg-type]
        require_gradient(f"{name}.{field}", value, fix=fix)
    checks.require_factors(p)
    for field, mine, other in zip("BA", p, g, strict=True):  # type: ignore[arg-type]
        checks.require_ndim(f"{name}.{field}", other, 2, "d, r" if field == "B" else "r, k")
        checks.require_same_dtype(**{f"p.{field}": mine, f"{name}.{field}": other})
        if tuple(mine.shape) != tuple(other.shape):
            raise ShapeError(
                f"{name}.{field} has shape {tuple(other.shape)}, expected {tuple(mine.shape)}, as p.{field}"
            )
