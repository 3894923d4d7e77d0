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
from lora_np.prune.groups import Groups, by_part
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
    small = {
        name: _shrink(tensor, groups, name, kept)
        for name, tensor in by_part("tensors", tensors, groups).items()
    }
    return small if isinstance(tensors, Mapping) else next(iter(small.values()))


def _shrink(tensor: Any, groups: Groups, name: str, kept: Bool[Array, " q"]) -> Any:
    """Shrink one weight, bias or pair of factors, or each of a tuple."""
    axis = groups.parts[name].axis
    if axis is None:
        raise GroupError(
            "groups of single entries cannot be taken away", fix="mask them, or group whole lines"
        )
    if tensor is None:
        return None
    if isinstance(tensor, LoraParams):
        checks.require_factors(tensor)
        B, A = tensor
        if axis == 0:
            return LoraParams(_take(B, groups, name, kept, 0), A)
        return LoraParams(B, _take(A, groups, name, kept, 1))
    if isinstance(tensor, tuple):
        return tuple(_shrink(one, groups, name, kept) for one in tensor)
    checks.require_array(name, tensor)
    if tensor.ndim not in (1, 2):
        raise ShapeError(f"{name} has shape {tuple(tensor.shape)}, expected a weight (d, k) or a bias (d,)")
    if tensor.ndim == 1 and axis == 1:
        return tensor  # the bias of a layer that loses inputs
    return _take(tensor, groups, name, kept, axis)


def _take(x: Array, groups: Groups, name: str, kept: Bool[Array, " q"], axis: int) -> Array:
    """Keep the lines of `x` along an axis whose group is kept."""
    keep = keep_lines(groups, name, kept, (x.shape[axis],))
    xp = array_namespace(x)
    return xp.take(x, xp.nonzero(keep)[0], axis=axis)
