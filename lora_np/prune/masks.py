"""Masks of groups: which are kept.  They prune exactly as many as asked, and never give a group back.  Floor 2.

A mask is one boolean per group, True where it is kept.  Ties go to the lowest index, so that the same scores give
the same mask everywhere.  A mask only hides: `masked` zeroes the weights and `masked_forward` the outputs, at the
old cost; `shrink` takes them away.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Bool, Float
from lora_np.errors import ConfigError, DTypeError, GroupError, ShapeError
from lora_np.lora import LoraParams, forward
from lora_np.prune.groups import FREE, Groups, by_part

ROUNDINGS = ("floor", "nearest")


# ---- how many, and which ------------------------------------------------------------------------------------


def mask(
    scores: Float[Array, " q"],
    ratio: float,
    *,
    kept: Bool[Array, " q"] | None = None,
    rounding: str = "floor",
    layer: str = "layer",
) -> Bool[Array, " q"]:
    """Keep the groups with the highest scores.  [prune-mask]

    Of q groups, `pruned_count(q, ratio)` are pruned in all, those of the earlier mask `kept` first: what was pruned
    stays pruned, also where `ratio` asks for fewer than are pruned already.  Among equal scores the lowest index
    goes first.  Raises `ConfigError` for a ratio outside [0, 1) or where no group of `layer` would remain,
    `NonFiniteError` for scores that cannot be ranked, `ShapeError`, `DTypeError`.

    >>> mask(np.array([3.0, 1.0, 2.0, 1.0]), 0.5)
    array([ True, False,  True, False])
    >>> mask(np.array([0.0, 9.0, 2.0, 1.0]), 0.5, kept=np.array([True, False, True, True]))
    array([False, False,  True,  True])
    """
    checks.require_ndim("scores", scores, 1, "q")
    return _drop(scores, pruned_count(scores.shape[0], ratio, rounding=rounding), kept, layer)


def mask_across(
    scores: Mapping[str, Float[Array, " q"]],
    ratio: float,
    *,
    kept: Mapping[str, Bool[Array, " q"]] | None = None,
    rounding: str = "floor",
    least: int = 1,
) -> dict[str, Bool[Array, " q"]]:
    """Keep the highest scores over several layers at once, ranked together.  [prune-mask]

    As `mask`, with one threshold for all layers (LoRAPrune ranks each layer by itself).  Scores of different layers
    must be comparable.  Raises what `mask` raises, and `ConfigError` where a layer would keep fewer than `least`
    groups: the whole of a layer is seldom meant.

    >>> mask_across({"a": np.array([1.0, 5.0]), "b": np.array([4.0, 2.0])}, 0.5)
    {'a': array([False,  True]), 'b': array([ True, False])}
    """
    checks.require_int("least", least, minimum=0)
    for name, values in scores.items():
        checks.require_ndim(f"the scores of {name!r}", values, 1, "q")
    if not scores or (kept is not None and kept.keys() != scores.keys()):
        raise GroupError(
            f"scores are of {list(scores)}, masks of {list(kept or {})}; expected the same layers"
        )
    checks.require_same_dtype(**scores)
    xp = array_namespace(*scores.values())
    joined = xp.concat(list(scores.values()))
    before = None if kept is None else xp.concat([kept[name] for name in scores])
    count = pruned_count(joined.shape[0], ratio, rounding=rounding)
    after, masks, start = _drop(joined, count, before, "all layers"), {}, 0
    for name, values in scores.items():
        masks[name] = after[start : start + values.shape[0]]
        start += values.shape[0]
        remaining = int(xp.sum(xp.astype(masks[name], xp.int64)))
        if remaining < min(least, values.shape[0]):
            raise ConfigError(
                f"ratio {ratio} leaves layer {name!r} {remaining} groups of {values.shape[0]}, at least {least} wanted",
                fix="prune less, or rank each layer by itself with mask",
            )
    return masks


def pruned_count(count: int, ratio: float, *, rounding: str = "floor") -> int:
    """Count the groups to prune: the ratio of them, rounded down or to the nearest.  [prune-mask]

    The ratio is read as the decimal it prints as, so 0.29 of 100 is 29, where floating-point multiplication gives
    28.99… and would prune 28.  ``"nearest"`` rounds a half up.  Raises `ConfigError`.

    >>> pruned_count(100, 0.29), pruned_count(32, 0.49), pruned_count(32, 0.49, rounding="nearest")
    (29, 15, 16)
    """
    checks.require_int("the number of groups", count, minimum=0)
    checks.require_number("prune ratio", ratio, least=0.0, below=1.0)
    checks.require_one_of("rounding", rounding, ROUNDINGS)
    exact = count * Fraction(str(ratio))
    return floor(exact if rounding == "floor" else exact + Fraction(1, 2))


def _drop(
    scores: Float[Array, " q"], count: int, kept: Bool[Array, " q"] | None, layer: str
) -> Bool[Array, " q"]:
    """Prune `count` groups, those that are pruned already among them."""
    xp = array_namespace(scores)
    checks.require_finite("scores", scores)
    total = scores.shape[0]
    if kept is not None:
        _require_mask("kept", kept, total)
        already = total - int(xp.sum(xp.astype(kept, xp.int64)))
        count = max(count, already)
        scores = xp.where(kept, scores, xp.asarray(-float("inf"), dtype=scores.dtype))
    if total and count >= total:
        raise ConfigError(
            f"pruning {count} of {total} groups of {layer} leaves {total - count} remaining: it would be empty",
            fix="lower the ratio",
        )
    order = xp.argsort(scores, stable=True)  # subtle: stable, so that ties leave by lowest index
    return xp.argsort(order, stable=True) >= count  # the rank of each group in that order


# ---- what a mask does ---------------------------------------------------------------------------------------


def masked(W: Any, groups: Groups, kept: Bool[Array, " q"], *, free: bool = True) -> Any:
    """Set the weights of pruned groups to zero.  [prune-f-removed]

    `W` is an array where the groups have one part, else a mapping of the parts' names to arrays; the same comes
    back, new.  Weights in no group stay, or go with ``free=False``.  Raises `GroupError`, `ShapeError`.

    >>> from lora_np.prune.groups import columns
    >>> masked(np.ones((2, 3)), columns(3), np.array([True, False, True]))
    array([[1., 0., 1.],
           [1., 0., 1.]])
    """
    masks = {
        name: _masked(matrix, groups, name, kept, free) for name, matrix in by_part("W", W, groups).items()
    }
    return masks if isinstance(W, Mapping) else next(iter(masks.values()))


def _masked(
    W: Float[Array, "d k"], groups: Groups, name: str, kept: Bool[Array, " q"], free: bool
) -> Float[Array, "d k"]:
    """Zero one matrix's share."""
    checks.require_ndim(name, W, 2, "d, k")
    axis = groups.parts[name].axis
    keep = keep_lines(groups, name, kept, W.shape if axis is None else (W.shape[axis],), free=free)
    keep = keep[:, None] if axis == 0 else keep[None, :] if axis == 1 else keep
    xp = array_namespace(W)
    return xp.where(keep, W, xp.zeros_like(W))


def keep_lines(
    groups: Groups, name: str, kept: Bool[Array, " q"], shape: tuple[int, ...], *, free: bool = True
) -> Bool[Array, " n"]:
    """Spread a mask of groups over the lines (or entries) of one part, whose labels must have this shape."""
    labels = groups.parts[name].labels
    if labels.shape != tuple(shape):
        raise ShapeError(f"the groups label {labels.shape} lines of {name!r}, the array has {tuple(shape)}")
    _require_mask("kept", kept, groups.count)
    xp = array_namespace(kept)
    padded = xp.concat([kept, xp.asarray([free])])  # subtle: the label of a free line points past the groups
    picked = np.where(labels == FREE, groups.count, labels).reshape(-1)
    return xp.reshape(xp.take(padded, xp.asarray(picked), axis=0), labels.shape)


def masked_forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: LoraParams,
    kept: Bool[Array, " d"],
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> Float[Array, "N d"]:
    """Apply the adapted layer and silence the outputs that are pruned.  [prune-masked-fwd]

    Y = (X W0ᵀ + s (X Aᵀ) Bᵀ + b) ⊙ M: one mask for the frozen weight and the increment, so that what is left still
    merges; a pruned output loses its bias too.  Raises what `forward` raises.

    >>> p = LoraParams(B=np.zeros((2, 1)), A=np.zeros((1, 2)))
    >>> masked_forward(np.ones((1, 2)), np.eye(2), p, np.array([True, False]), scale=1.0)
    array([[1., 0.]])
    """
    Y, _ = forward(X, W0, p, scale=scale, bias=bias)
    _require_mask("kept", kept, W0.shape[0])
    xp = array_namespace(Y)
    return xp.where(kept, Y, xp.zeros_like(Y))


def _require_mask(name: str, kept: Any, count: int) -> None:
    """Raise unless `kept` is one boolean per group."""
    if not hasattr(kept, "dtype") or checks.dtype_name(kept) not in ("bool", "bool_"):
        raise DTypeError(f"{name} must be an array of booleans, one per group, True where kept")
    if tuple(kept.shape) != (count,):
        raise ShapeError(f"{name} has shape {tuple(kept.shape)}, expected ({count},): one boolean per group")
