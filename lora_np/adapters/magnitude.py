"""Keep the largest entries of an increment: trimming, alone and before adding.  Floor 2.

All here works on increments (d, k), as the papers' task vectors; the result has no small rank, `factor_increment`
makes factors of it.  PEFT's ``magnitude_prune`` trims A and B one by one, each to the density, and multiplies what
is left; its ``magnitude_prune_svd`` is the form here.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import floor, prod
from numbers import Real
from typing import Any

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.adapters.adapter import LoraAdapter, added, increments
from lora_np.errors import ConfigError


def kept_count(count: int, density: float) -> int:
    """Count the entries that a density keeps: its share of them, rounded down.  [combine-trim]

    The density is read as the decimal it prints as, so 0.29 of 100 is 29, where floating-point multiplication (and
    PEFT) gives 28.  Raises `ConfigError`.

    >>> kept_count(100, 0.29), int(0.29 * 100)
    (29, 28)
    """
    checks.require_int("count", count, minimum=0)
    require_density(density)
    return floor(count * Fraction(str(float(density))))


def trim(delta: Float[Array, "d k"], *, density: float) -> Float[Array, "d k"]:
    """Keep the entries largest in absolute value; the rest become zero.  [combine-trim]

    ⌊density · d k⌋ stay, among equals those that come first, row by row.  Density 0 keeps nothing: the zero
    increment.  Raises `ConfigError`, `ShapeError`, `DTypeError`, `NonFiniteError`.

    >>> import numpy as np
    >>> trim(np.array([[1.0, -3.0], [2.0, 1.0]]), density=0.5)
    array([[ 0., -3.],
           [ 2.,  0.]])
    """
    checks.require_ndim("delta", delta, 2, "d, k")
    checks.require_finite("delta", delta)
    xp = array_namespace(delta)
    sizes = xp.reshape(xp.abs(delta), (-1,))
    order = xp.argsort(-sizes, stable=True)  # subtle: stable, so that the first of equals stays
    kept = xp.argsort(order) < kept_count(prod(delta.shape), density)  # the place of each in that order
    return xp.where(xp.reshape(kept, delta.shape), delta, xp.zeros_like(delta))


def combine_magnitude(
    adapters: Sequence[LoraAdapter], *, density: float, weights: Sequence[float] | None = None
) -> Float[Array, "d k"]:
    """Trim each increment by magnitude, then add.  [combine-magnitude] [combine-trim]

    Σ_t trim(w_t s_t B_t A_t).  Raises what `increments` and `trim` raise.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> one = LoraAdapter(LoraParams(B=np.ones((1, 1)), A=np.array([[1.0, 3.0]])), scale=0.5)
    >>> combine_magnitude([one, one], density=0.5)
    array([[0., 3.]])
    """
    return added(trim(tau, density=density) for tau in increments(adapters, weights=weights))


def require_density(density: Any, *, zero_allowed: bool = True) -> None:
    """Raise unless `density` is a share: in [0, 1], or in (0, 1] where one divides by it."""
    allowed, why = (
        ("[0, 1]", "0 keeps nothing") if zero_allowed else ("(0, 1]", "what is kept is divided by it")
    )
    number = isinstance(density, Real) and not isinstance(density, bool)
    if not number or not 0 <= float(density) <= 1 or (not zero_allowed and density == 0):
        found = f"{density!r}" if number or density is None else f"{type(density).__name__} {density!r}"
        raise ConfigError(f"density must be a number in {allowed} ({why}), got {found}")
