"""Combine by TIES: trim, elect a sign for every entry, average those who agree.  Floor 2.

Yadav et al., arXiv 2306.01708, on increments, as the paper's task vectors are.  PEFT's ``ties`` does the three steps
on A and on B, one by one, and multiplies the results (``ties_svd`` is the form here); it elects before it weights, so
an adapter of negative weight votes for the sign it opposes, and an entry without majority counts as positive.  Here
the weights are part of the increments from the start, and an entry without majority is zero, as the paper's formula
has it.  The paper multiplies the result by one λ more: weigh all adapters by it.
"""

from collections.abc import Sequence
from typing import Any

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.adapters.adapter import LoraAdapter, added, increments
from lora_np.adapters.magnitude import trim
from lora_np.errors import ConfigError, ShapeError


def combine_ties(
    adapters: Sequence[LoraAdapter], *, density: float, weights: Sequence[float] | None = None
) -> Float[Array, "d k"]:
    """Trim, elect, average.  [combine-ties] [combine-ties-elect] [combine-trim]

    τ̂_t = trim(w_t s_t B_t A_t), γ = sgn Σ_t τ̂_t, and the mean of those τ̂_t whose sign is γ.  For one adapter it is
    the trimmed increment.  Raises what `increments` and `trim` raise.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> a, b = (
    ...     LoraAdapter(LoraParams(np.ones((1, 1)), np.array([row])), 1.0)
    ...     for row in ([4.0, -1.0], [2.0, 3.0])
    ... )
    >>> combine_ties([a, b], density=1.0)
    array([[3., 3.]])
    """
    trimmed = [trim(tau, density=density) for tau in increments(adapters, weights=weights)]
    return disjoint_mean(trimmed, elect_sign(trimmed))


def elect_sign(deltas: Sequence[Float[Array, "d k"]]) -> Float[Array, "d k"]:
    """Give each entry the sign that has the greater mass; 0 where both weigh the same.  [combine-ties-elect]

    γ = sgn Σ_t τ_t.  Raises `ConfigError`, `ShapeError`, `DTypeError`, `NonFiniteError`.

    >>> import numpy as np
    >>> elect_sign([np.array([[4.0, -1.0, 1.0]]), np.array([[2.0, 3.0, -1.0]])])
    array([[1., 1., 0.]])
    """
    _require_deltas(deltas)
    return array_namespace(deltas[0]).sign(added(deltas))


def disjoint_mean(deltas: Sequence[Float[Array, "d k"]], sign: Float[Array, "d k"]) -> Float[Array, "d k"]:
    """Average, entry by entry, those whose sign is the elected one; 0 where there is none.  [combine-ties]

    Entries that are zero, trimmed ones among them, do not count.  Raises what `elect_sign` raises.

    >>> import numpy as np
    >>> disjoint_mean([np.array([[4.0, -1.0]]), np.array([[2.0, 3.0]])], np.array([[1.0, 1.0]]))
    array([[3., 3.]])
    """
    _require_deltas(deltas)
    _require_deltas([*deltas, sign])
    xp = array_namespace(sign)
    agree = [xp.sign(tau) == sign for tau in deltas]  # where nothing is elected, zeros alone agree
    zero, one = xp.zeros_like(sign), xp.ones_like(sign)
    mass = added(xp.where(yes, tau, zero) for yes, tau in zip(agree, deltas, strict=True))
    voters = added(xp.where(yes, one, zero) for yes in agree)
    return mass / xp.where(voters == 0, one, voters)


def _require_deltas(deltas: Any) -> None:
    """Raise unless `deltas` is a list of finite matrices of one shape and element type."""
    if not isinstance(deltas, (list, tuple)) or not deltas:
        raise ConfigError(f"deltas must be a list of at least one increment, got {type(deltas).__name__}")
    for i, delta in enumerate(deltas):
        checks.require_ndim(f"deltas[{i}]", delta, 2, "d, k")
        checks.require_finite(f"deltas[{i}]", delta)
    if len({tuple(delta.shape) for delta in deltas}) > 1:
        raise ShapeError(f"the increments differ in shape: {[tuple(delta.shape) for delta in deltas]}")
    checks.require_same_dtype(**{f"deltas[{i}]": delta for i, delta in enumerate(deltas)})
