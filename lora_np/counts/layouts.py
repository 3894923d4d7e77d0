"""Parameters of LoRA beside one weight that is not a plain matrix: the layouts.  Floor 2.

`count` is for whole networks, whose matrices are plain; this is for one weight of another layout, by its own shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lora_np import checks
from lora_np.errors import RankError, ShapeError

Shapes = dict[str, tuple[int, ...]]

_AXES = {
    "linear": "d, k",
    "lora-transposed": "k, d",
    "lora-embedding": "V, d",
    "lora-merged-qkv": "d, k",
    "lora-conv2d": "d, k / groups, kh, kw",
    "lora-conv2d-reshaped": "d, k / groups, kh, kh",
}


def layout_tensors(
    layout: str, shape: Sequence[int], rank: int, *, groups: int = 1, enabled: Sequence[bool] = (True,)
) -> Shapes:
    """List the shapes of B and A beside a stored weight.  [count-layout]

    `shape` is the stored weight's own; `groups` belongs to convolutions, `enabled` to stacked weights.  Raises
    `ConfigError`, `ShapeError`, `RankError`.

    >>> layout_tensors("lora-conv2d", (64, 16, 3, 3), 8, groups=2)
    {'B': (64, 4, 1, 1), 'A': (8, 32, 3, 3)}
    """
    checks.require_one_of("layout", layout, _AXES)
    checks.require_rank(rank)
    checks.require_int("groups", groups, minimum=1)
    shape = tuple(shape)
    for i, n in enumerate(shape):
        checks.require_int(f"shape[{i}]", n, minimum=0)
    if len(shape) != len(_AXES[layout].split(",")):
        raise ShapeError(f"shape = {shape}, but {layout} stores ({_AXES[layout]})")
    if layout in ("lora-transposed", "lora-embedding"):
        k, d = shape
        return {"B": (d, rank), "A": (rank, k)}
    if layout == "lora-merged-qkv":
        d, k = shape
        on = sum(enabled)
        if not on or d % len(enabled):
            raise ShapeError(f"d = {d} rows in {len(enabled)} equal parts, {on} of them enabled, cannot be")
        return {"B": (d // len(enabled) * on, rank), "A": (rank * on, k)}
    d, k = shape[0], shape[1] * groups
    if d % groups or (layout == "lora-conv2d" and rank % groups):
        raise RankError(f"groups = {groups} must divide d = {d} and, where B is grouped, r = {rank}")
    if layout == "lora-conv2d":
        return {"B": (d, rank // groups, 1, 1), "A": (rank, k, *shape[2:])}
    if layout == "lora-conv2d-reshaped":
        if shape[2] != shape[3]:
            raise ShapeError(f"shape = {shape}, expected a square kernel")
        return {"B": (d // groups * shape[2], rank * shape[2]), "A": (rank * shape[2], k * shape[2])}
    return {"B": (d, rank), "A": (rank, k)}


def count_layout(
    layout: str, shape: Sequence[int], rank: int, *, groups: int = 1, enabled: Sequence[bool] = (True,)
) -> int:
    """Count the trainable parameters beside a stored weight.  [count-layout]

    Raises what `layout_tensors` raises.

    >>> count_layout("lora-embedding", (50257, 768), 8)
    408200
    >>> count_layout("lora-merged-qkv", (2304, 768), 8, enabled=(True, False, True))
    24576
    """
    tensors = layout_tensors(layout, shape, rank, groups=groups, enabled=enabled)
    return sum(math.prod(tensor) for tensor in tensors.values())
