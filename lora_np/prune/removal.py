"""The truth that importance approximates: remove a group, and look at the loss.  Floor 2.

Removing a group is setting B A to −W0 there (with the scale: s B A = −W0), so that the weight in use is zero.  Seed
000 reads f = loss before − loss after, a function of the group's B A alone
[prune-f] [prune-f-removed], by its Taylor series around the values in use [prune-taylor], where f is 0
[prune-taylor-zero] and its gradient is minus the loss's [prune-grad-sign].  `taylor_1` and `taylor_2` are its first
one and two terms, signed; `true_removal_loss` computes f itself, one loss per group, and is not fast.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError, ShapeError
from lora_np.prune.criteria import group_sums, sums_by_part
from lora_np.prune.groups import Groups, by_part
from lora_np.prune.masks import masked

Weights = Any
"""A (d, k) array, or a mapping from the names of the groups' parts to such arrays."""


class Removal(NamedTuple):
    """What removing each group does to the loss."""

    loss: float
    losses: Float[Array, " q"]
    difference: Float[Array, " q"]
    """f = loss − losses: negative where the group was needed."""
    squared: Float[Array, " q"]
    """The importance itself, f²."""


def true_removal_loss(loss: Callable[[Weights], float], W: Weights, groups: Groups) -> Removal:
    """Measure the loss with each group set to zero in turn.  [prune-true] [prune-f-removed]

    I(S) = (L(W) − L(W | W_S = 0))².  `loss` gets what `W` is, an array or a mapping of arrays, with the group
    zeroed; it is called once per group and once more, and must not depend on the order.  Raises `GroupError`,
    `ShapeError`, `DTypeError`, and whatever `loss` raises.

    >>> import numpy as np
    >>> from lora_np.prune.groups import rows
    >>> true_removal_loss(lambda W: float(W.sum()), np.array([[1.0, 2.0], [3.0, 4.0]]), rows(2)).squared
    array([ 9., 49.])
    """
    if not callable(loss):
        raise ConfigError(f"loss must be a function of the weights, got {type(loss).__name__}")
    xp = _namespace(W, groups)
    number = xp.arange(groups.count)
    before = float(loss(W))
    after = xp.asarray(
        [float(loss(masked(W, groups, number != group))) for group in range(groups.count)], dtype=xp.float64
    )
    difference = before - after
    return Removal(before, after, difference, difference**2)


def taylor_1(W: Weights, G: Weights, groups: Groups) -> Float[Array, " q"]:
    """Approximate loss before − loss after by its first-order term, signed.  [prune-grad-sign] [prune-taylor-1]

    f ≈ Σ_S G W.  Its square is ``importance(..., form="dot-squared")``.  Seed 000 writes the signed term with the
    opposite sign, which the square hides: removing moves the weight by −W, so L(after) ≈ L − Σ_S G W.  Raises what
    `importance` raises.

    >>> import numpy as np
    >>> from lora_np.prune.groups import rows
    >>> taylor_1(np.array([[1.0, 2.0]]), np.array([[1.0, 1.0]]), rows(1))
    array([3.])
    """
    return group_sums(sums_by_part(W, G, groups, form="dot-squared"), groups)


def taylor_2(
    W: Weights, G: Weights, curvature: Callable[[Weights], Weights], groups: Groups
) -> Float[Array, " q"]:
    """Approximate loss before − loss after by its first two terms, signed.  [prune-taylor-2] [prune-taylor-removed]

    f ≈ Σ_S G W − ½ W_Sᵀ H W_S, exact where the loss is quadratic.  `curvature(V)` is the Hessian-vector product H V
    in the shape of W; for least squares, L = ½ ‖X Wᵀ − T‖², it is ``lambda V: (V @ X.T) @ X``.  One product per
    group.  Raises what `importance` raises, and whatever `curvature` raises.

    >>> import numpy as np
    >>> from lora_np.prune.groups import rows
    >>> W = np.array([[1.0, 2.0], [0.0, 4.0]])  # L = ½ Σ W², so G = W and H = 1: removing costs −½ Σ_S W²
    >>> taylor_2(W, W, lambda V: V, rows(2))
    array([2.5, 8. ])
    """
    first = taylor_1(W, G, groups)
    xp = array_namespace(first)
    number = xp.arange(groups.count)
    bends = []
    for group in range(groups.count):
        alone = masked(W, groups, number == group, free=False)  # W_S, zero elsewhere
        bends.append(_inner(by_part("W", alone, groups), by_part("H W", curvature(alone), groups)))
    return first - 0.5 * xp.asarray(bends, dtype=first.dtype)


def _inner(V: Mapping[str, Array], HV: Mapping[str, Array]) -> float:
    """Σ V (H V) over all matrices."""
    total = 0.0
    for name, v in V.items():
        if tuple(v.shape) != tuple(HV[name].shape):
            raise ShapeError(
                f"curvature gave shape {tuple(HV[name].shape)} for {name!r}, expected {tuple(v.shape)}"
            )
        total += float(array_namespace(v).sum(v * HV[name]))
    return total


def _namespace(W: Weights, groups: Groups) -> Any:
    """Return the library of the weights, all of them (d, k) arrays."""
    weights = by_part("W", W, groups)
    for name, matrix in weights.items():
        checks.require_ndim(f"W[{name!r}]", matrix, 2, "d, k")
    return array_namespace(*weights.values())
