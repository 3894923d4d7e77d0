"""One adapter with its own scale, and what every combination asks of a list of them.  Floor 2.

A list may mix ranks and scales (alpha / r of one, alpha / sqrt(r) of another): each adapter brings its own number.
What a list may not hold is a part that no (B, A) can carry, such as a magnitude vector or a bias.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError, ShapeError, UnsupportedCombinationError
from lora_np.lora import LoraConfig, LoraParams
from lora_np.merging import merge


class LoraAdapter(NamedTuple):
    """The factors of an increment and the scale they were trained with: ΔW = s B A.  [lora-delta]

    >>> import numpy as np
    >>> LoraAdapter(LoraParams(B=np.ones((2, 1)), A=np.ones((1, 2))), scale=0.5).delta()
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """

    p: LoraParams
    scale: float

    def delta(self) -> Float[Array, "d k"]:
        """Multiply out the increment s B A.  [lora-delta]  Raises what `merge` raises."""
        return increments([self])[0]


def increments(
    adapters: Sequence[LoraAdapter], *, weights: Sequence[float] | None = None
) -> list[Float[Array, "d k"]]:
    """Multiply out every weighted increment.  [combine-sum]

    τ_t = w_t s_t B_t A_t; all weights are 1 where none are given.  Raises `ConfigError`, `ShapeError`, `DTypeError`,
    `RankError`, `NonFiniteError`, `OverflowInMergeError`, `UnsupportedCombinationError`.

    >>> import numpy as np
    >>> one = LoraAdapter(LoraParams(B=np.ones((1, 1)), A=np.ones((1, 2))), scale=0.5)
    >>> increments([one, one], weights=[1, -4])
    [array([[0.5, 0.5]]), array([[-2., -2.]])]
    """
    shares = weighted_scales(adapters, weights)
    p = adapters[0][0]
    zero = array_namespace(p[0]).zeros((p[0].shape[0], p[1].shape[1]), dtype=p[0].dtype)
    return [merge(zero, adapter[0], scale=share) for adapter, share in zip(adapters, shares, strict=True)]


def total_increment(
    adapters: Sequence[LoraAdapter], *, weights: Sequence[float] | None = None
) -> Float[Array, "d k"]:
    """Add the weighted increments: what combining aims at.  [combine-sum]

    ΔW = Σ_t w_t s_t B_t A_t.  Raises what `increments` raises.

    >>> import numpy as np
    >>> one = LoraAdapter(LoraParams(B=np.ones((1, 1)), A=np.ones((1, 2))), scale=0.5)
    >>> total_increment([one, one], weights=[1, -4])
    array([[-1.5, -1.5]])
    """
    return added(increments(adapters, weights=weights))


def added(parts: Iterable[Array]) -> Array:
    """Add arrays of one shape, at least one.  Raises `OverflowInMergeError`, not a warning, where the sum is too large.

    >>> import numpy as np
    >>> added(np.full(2, x) for x in (1.0, 2.0, 4.0))
    array([7., 7.])
    """
    with np.errstate(over="ignore", invalid="ignore"):  # subtle: the parts may be made while they are added
        total = reduce(add, parts)
    checks.require_no_overflow(total, "combining")
    return total


def combined_config(configs: Sequence[LoraConfig], *, rank: int) -> LoraConfig:
    """State the settings that combined factors are kept under: those whose scale is 1.  [combine-cat] [lora-scale-rs]

    alpha = r, or alpha = sqrt(r) where all adapters are rank-stabilized.  PEFT keeps alpha = r beside the flag of the
    first adapter, and so multiplies the increment by sqrt(r).  Raises `ConfigError`, and
    `UnsupportedCombinationError` where some are rank-stabilized and some are not: one flag cannot say both.

    >>> combined_config([LoraConfig(4, 8, use_rslora=True), LoraConfig(12, 8, use_rslora=True)], rank=16)
    LoraConfig(rank=16, alpha=4.0, use_rslora=True)
    """
    checks.require_rank(rank)
    if not configs:
        raise ConfigError("configs is empty: there is nothing to combine")
    for i, config in enumerate(configs):
        checks.require_instance(f"configs[{i}]", config, LoraConfig)
    flags = [config.use_rslora for config in configs]
    if len(set(flags)) > 1:
        raise UnsupportedCombinationError(
            f"the configs mix use_rslora ({flags}): the field use_rslora of some would be lost",
            fix=f"keep the combined factors, whose scale is 1, under LoraConfig(rank={rank}, alpha={rank})",
        )
    return LoraConfig(rank, math.sqrt(rank) if flags[0] else float(rank), use_rslora=flags[0])


# ---- what a user can get wrong -----------------------------------------------------------------------------


def require_adapter(name: str, adapter: Any, d: int | None = None, k: int | None = None) -> None:
    """Raise unless `adapter` is factors with a scale, and nothing besides; for a weight (d, k) where one is given."""
    if not isinstance(adapter, tuple) or len(adapter) != 2 or isinstance(adapter, LoraParams):
        raise ConfigError(
            f"{name} must be a LoraAdapter, got {type(adapter).__name__}",
            fix="pass LoraAdapter(p=LoraParams(B=..., A=...), scale=...)",
        )
    p, scale = adapter
    lost = sorted(set(getattr(p, "_fields", ())) - {"B", "A"})
    if lost:
        raise UnsupportedCombinationError(
            f"{name} is {type(p).__name__}, not plain LoRA: its {', '.join(lost)} would be lost",
            fix="merge it into the base, or extract plain factors from its whole increment first",
        )
    checks.require_factors(p, d, k)
    checks.require_number(f"the scale of {name}", scale)


def require_base(X: Any, W0: Any, bias: Any = None) -> None:
    """Raise unless rows X (..., k), a weight W0 (d, k) and a bias (d,) make a layer without any adapter."""
    checks.require_ndim("W0", W0, 2, "d, k")
    checks.require_rows("X", X, W0.shape[1], f"k, the width of W0 {tuple(W0.shape)}")
    checks.require_same_dtype(X=X, W0=W0)
    if bias is not None:
        checks.require_ndim("bias", bias, 1, "d")
        checks.require_same_dtype(W0=W0, bias=bias)
        if bias.shape[0] != W0.shape[0]:
            raise ShapeError(f"bias has shape {tuple(bias.shape)}, expected (d,) = ({W0.shape[0]},)")


def require_finite_factors(name: str, p: LoraParams) -> None:
    """Raise unless both factors are finite; say whose they are."""
    checks.require_finite(f"the B of {name}", p[0])
    checks.require_finite(f"the A of {name}", p[1])


def require_adapters(adapters: Any) -> None:
    """Raise unless `adapters` is a list of adapters that belong to one weight, of one element type."""
    if not isinstance(adapters, (list, tuple)) or isinstance(adapters, (LoraAdapter, LoraParams)):
        raise ConfigError(f"adapters must be a list of LoraAdapter, got {type(adapters).__name__}")
    if not adapters:
        raise ConfigError("adapters is empty: there is nothing to combine", fix="pass at least one")
    for i, adapter in enumerate(adapters):
        require_adapter(f"adapters[{i}]", adapter)
        require_finite_factors(f"adapters[{i}]", adapter[0])
    shapes = [(p[0].shape[0], p[1].shape[1]) for p, _ in adapters]
    if len(set(shapes)) > 1:
        raise ShapeError(
            f"the adapters belong to weights of different shapes (d, k): {shapes}",
            fix="combine adapters of one layer",
        )
    checks.require_same_dtype(**{f"adapters[{i}].B": p[0] for i, (p, _) in enumerate(adapters)})


def weighted_scales(adapters: Any, weights: Any) -> list[float]:
    """Return w_t s_t of each adapter; raise unless there is one finite weight for each."""
    require_adapters(adapters)
    weights = [1.0] * len(adapters) if weights is None else weights
    if not hasattr(weights, "__len__") or isinstance(weights, str) or len(weights) != len(adapters):
        found = f"{len(weights)} weights" if hasattr(weights, "__len__") else f"{type(weights).__name__}"
        raise ConfigError(
            f"got {found} for {len(adapters)} adapters", fix="pass one weight for each, in the same order"
        )
    shares = []
    for i, (weight, (_, scale)) in enumerate(zip(weights, adapters, strict=True)):
        checks.require_number(f"weights[{i}]", weight)
        checks.require_number(f"weights[{i}] times the scale of adapters[{i}]", float(weight) * float(scale))
        shares.append(float(weight) * float(scale))
    return shares
