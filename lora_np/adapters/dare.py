"""Combine by DARE: drop entries at random, rescale the rest, then add or go on with TIES.  Floor 2.

Yu et al., arXiv 2311.03099, on increments.  Which entries stay comes in as masks, so that a result can be repeated;
`draw_keep` draws them.  PEFT's ``dare_linear`` and ``dare_ties`` drop entries of A and of B, one by one, and multiply
what is left (their ``_svd`` forms drop entries of the increment); a density of 0 divides 0 by 0 there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Bool, Float
from lora_np.adapters.adapter import LoraAdapter, added, increments
from lora_np.adapters.magnitude import require_density
from lora_np.adapters.ties import disjoint_mean, elect_sign
from lora_np.errors import ConfigError, DTypeError, ShapeError


def draw_keep(rng: np.random.Generator, d: int, k: int, *, density: float) -> Bool[np.ndarray, "d k"]:
    """Draw which entries stay: each with probability `density`, on its own.  [combine-dare]

    Raises `ConfigError`.

    >>> draw_keep(np.random.default_rng(0), 2, 3, density=0.5)
    array([[False,  True,  True],
           [ True, False, False]])
    """
    checks.require_rng(rng)
    checks.require_int("d", d, minimum=0)
    checks.require_int("k", k, minimum=0)
    require_density(density, zero_allowed=False)
    return rng.random((d, k)) < density


def drop_and_rescale(
    delta: Float[Array, "d k"], keep: Bool[Array, "d k"], *, density: float
) -> Float[Array, "d k"]:
    """Drop what the mask does not keep, and divide the rest by the density.  [combine-dare]

    M ⊙ τ / density, which is τ on average over masks that keep each entry with probability `density`.  A mask may
    also hold numbers: what is not 0 stays.  Raises
    `ConfigError` (density 0 among others: nothing can be made up for), `ShapeError`, `DTypeError`.

    >>> drop_and_rescale(np.array([[1.0, 2.0]]), np.array([[True, False]]), density=0.5)
    array([[2., 0.]])
    """
    checks.require_ndim("delta", delta, 2, "d, k")
    require_density(density, zero_allowed=False)
    if not hasattr(keep, "shape") or tuple(keep.shape) != tuple(delta.shape):
        found = tuple(keep.shape) if hasattr(keep, "shape") else type(keep).__name__
        raise ShapeError(f"keep must be a mask of shape (d, k) = {tuple(delta.shape)}, got {found}")
    if not checks.dtype_name(keep).startswith(("bool", "int", "uint", "float")):
        raise DTypeError(f"keep has dtype {checks.dtype_name(keep)}, expected booleans, or 0 and 1")
    xp = array_namespace(delta)
    stays = xp.astype(xp.asarray(keep), xp.bool)
    with np.errstate(over="ignore"):
        rescaled = xp.where(stays, delta / float(density), xp.zeros_like(delta))
    checks.require_no_overflow(rescaled, "rescaling")
    return rescaled


def combine_dare(
    adapters: Sequence[LoraAdapter],
    keep: Sequence[Bool[Array, "d k"]],
    *,
    density: float,
    weights: Sequence[float] | None = None,
) -> Float[Array, "d k"]:
    """Drop and rescale each increment, then add.  [combine-dare] [combine-sum]

    Σ_t M_t ⊙ (w_t s_t B_t A_t) / density.  Raises what `increments` and `drop_and_rescale` raise.

    >>> from lora_np.lora import LoraParams
    >>> one = LoraAdapter(LoraParams(B=np.ones((1, 1)), A=np.array([[1.0, 3.0]])), scale=0.5)
    >>> combine_dare([one, one], [np.array([[True, False]]), np.array([[True, True]])], density=0.5)
    array([[2., 3.]])
    """
    return added(_dropped(adapters, keep, density, weights))


def combine_dare_ties(
    adapters: Sequence[LoraAdapter],
    keep: Sequence[Bool[Array, "d k"]],
    *,
    density: float,
    weights: Sequence[float] | None = None,
) -> Float[Array, "d k"]:
    """Drop and rescale each increment, then elect signs and average.  [combine-dare] [combine-ties]

    DARE in place of the trimming in TIES.  Raises what `combine_dare` raises.

    >>> from lora_np.lora import LoraParams
    >>> one = LoraAdapter(LoraParams(B=np.ones((1, 1)), A=np.array([[1.0, 3.0]])), scale=0.5)
    >>> combine_dare_ties([one, one], [np.array([[True, False]]), np.array([[True, True]])], density=0.5)
    array([[1., 3.]])
    """
    dropped = _dropped(adapters, keep, density, weights)
    return disjoint_mean(dropped, elect_sign(dropped))


def _dropped(
    adapters: Sequence[LoraAdapter], keep: Any, density: float, weights: Sequence[float] | None
) -> list[Float[Array, "d k"]]:
    """Drop and rescale every increment with its own mask."""
    taus = increments(adapters, weights=weights)
    if not isinstance(keep, (list, tuple)) or len(keep) != len(taus):
        found = f"{len(keep)} masks" if isinstance(keep, (list, tuple)) else type(keep).__name__
        raise ConfigError(f"keep must be a list of {len(taus)} masks, one for each adapter, got {found}")
    return [drop_and_rescale(tau, mask, density=density) for tau, mask in zip(taus, keep, strict=True)]
