"""Physical removal: smaller arrays that compute what the masked ones did.  Floor 2.

A pruned row is an output that is not computed, a pruned column an input that is not read.  Where a group spans the
matrix that produces a channel and the one that consumes it, shrinking both leaves the block's output as masking left
it (a sum loses terms that were zero); where it only has rows, the output has fewer entries.  The factors shrink
alike, B by rows and A by columns, so an adapter is pruned without merging it.  Nothing is written into.
"""

from collections.abc import Mapping
from typing import Any

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Bool
from lora_np.errors import GroupError, ShapeError
from lora_np.lora import LoraParams
from lora_np.prune.groups import Groups, Part
from lora_np.prune.masks import keep_lines


def shrink(tensors: Any, groups: Groups, kept: Bool[Array, " q"]) -> Any:
    """Take pruned groups away.  [prune-shrink]

    `tensors` is a weight (d, k), a bias (d,), or factors `LoraParams`, where the groups have one part; else a
    mapping from the parts' names to such, or to tuples of them (weight, factors, bias; None stays).  The same comes
    back, smaller: a part with rows loses rows of W and B and entries of the bias, one with columns loses columns of
    W and A.  Groups of single entries cannot be removed so.  Raises `GroupError`, `ShapeError`, `DTypeError`.

    >>> import numpy as np
    >>> from lora_np.prune.groups import channels
    >>> W1, b1, W2 = np.eye(3), np.array([1.0, 2.0, 3.0]), np.ones((1, 3))
    >>> hidden = channels(3, producers=["W1"], consumers=["W2"])
    >>> small = shrink({"W1": (W1, b1), "W2": W2}, hidden, np.array([True, False, True]))
    >>> small["W1"][0].shape, small["W1"][1], small["W2"].shape
    ((2, 3), array([1., 3.]), (1, 2))
    """
    if isinstance(tensors, Mapping):
        if tensors.keys() != groups.parts.keys():
            raise GroupError(f"tensors are of {sorted(tensors)}, but the groups span {sorted(groups.parts)}")
        return {name: _shrink(tensors[name], part, kept) for name, part in groups.parts.items()}
    if len(groups.parts) != 1:
        raise GroupError(f"one tensor was passed, but the groups span {list(groups.parts)}")
    return _shrink(tensors, next(iter(groups.parts.values())), kept)


def _shrink(tensor: Any, part: Part, kept: Bool[Array, " q"]) -> Any:
    """Shrink one weight, bias or pair of factors, or each of a tuple."""
    if part.axis is None:
        raise GroupError(
            "groups of single entries cannot be taken away", fix="mask them, or group whole lines"
        )
    if tensor is None:
        return None
    if isinstance(tensor, LoraParams):
        checks.require_factors(tensor)
        B, A = tensor
        return (
            LoraParams(_take(B, part, kept, 0), A)
            if part.axis == 0
            else LoraParams(B, _take(A, part, kept, 1))
        )
    if isinstance(tensor, tuple):
        return tuple(_shrink(one, part, kept) for one in tensor)
    checks.require_array("tensor", tensor)
    if tensor.ndim not in (1, 2):
        raise ShapeError(f"a tensor has shape {tuple(tensor.shape)}, expected a weight (d, k) or a bias (d,)")
    if tensor.ndim == 1 and part.axis == 1:
        return tensor  # the bias of a layer that loses inputs
    return _take(tensor, part, kept, part.axis)


def _take(x: Array, part: Part, kept: Bool[Array, " q"], axis: int) -> Array:
    """Keep the lines of `x` along an axis whose group is kept."""
    xp = array_namespace(x)
    keep = keep_lines(part, kept, (x.shape[axis],))
    return xp.take(x, xp.nonzero(keep)[0], axis=axis)
