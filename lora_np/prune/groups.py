"""Pruning groups: which rows, columns or entries of which matrices leave together.  Floor 2.

A group is a set of weights that can be removed as one: a row, a column, a head, a channel.  It may span several
matrices: a head is rows of q, k, v and columns of o.  Groups never overlap, and no group is empty; weights may
belong to none.  A `Groups` holds one integer label per row, per column or per entry of each matrix, and knows
nothing of the numbers in them.  The labels are NumPy integers whatever library the weights live in.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Int
from lora_np.errors import GroupError

FREE = -1
"""The label of what belongs to no group."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The share of one matrix in the groups: a label for each row, each column, or each entry.

    `axis` is 0 where `labels` has one label per row, 1 per column; None where it is (d, k), one per entry.
    """

    labels: Int[Array, " n"]
    axis: int | None = 0


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """`count` groups, 0 to count − 1, and the part of each named matrix in them.

    Raises `GroupError` for a label out of range and for a group that no part holds.

    >>> Groups(2, {"up": Part(np.array([0, 1])), "down": Part(np.array([0, 1]), axis=1)}).count
    2
    """

    count: int
    parts: Mapping[str, Part]

    def __post_init__(self) -> None:
        checks.require_int("count", self.count, minimum=0)
        used = np.zeros(self.count, dtype=bool)
        for name, part in self.parts.items():
            labels = _require_labels(name, part, self.count)
            used[labels[labels != FREE]] = True
        if not used.all():
            missing = int(np.argmin(used))
            raise GroupError(
                f"group {missing} is empty: no row, column or entry of {list(self.parts)} has it"
            )


# ---- the usual groups --------------------------------------------------------------------------------------


def rows(d: int, *, name: str = "W") -> Groups:
    """Make each of d rows a group: the outputs of a layer.

    >>> rows(3).parts["W"].labels
    array([0, 1, 2])
    """
    return heads(d, d, name=name)


def columns(k: int, *, name: str = "W") -> Groups:
    """Make each of k columns a group: the inputs of a layer."""
    return heads(k, k, axis=1, name=name)


def heads(width: int, count: int, *, axis: int = 0, name: str = "W") -> Groups:
    """Cut the rows (axis 0) or columns (axis 1) of one matrix into equal, consecutive groups.

    >>> heads(6, 3).parts["W"].labels
    array([0, 0, 1, 1, 2, 2])
    """
    return Groups(count, {name: Part(_blocks(width, count), axis)})


def channels(
    width: int, *, producers: Sequence[str] = ("gate", "up"), consumers: Sequence[str] = ("down",)
) -> Groups:
    """Make each hidden channel a group: its row in every producer, its column in every consumer.

    The default is the gated feed-forward block of LLaMA; ``producers=("W1",), consumers=("W2",)`` are the hidden
    units of a plain two-layer network.

    >>> [(name, part.axis) for name, part in channels(4).parts.items()]
    [('gate', 0), ('up', 0), ('down', 1)]
    """
    labels = _blocks(width, width)
    produced = {name: Part(labels, 0) for name in producers}
    return Groups(width, produced | {name: Part(labels, 1) for name in consumers})


def attention(count: int, head_dim: int, *, kv_count: int | None = None) -> Groups:
    """Group attention by key-value head: rows of q, k and v, columns of o.

    With `kv_count` (grouped-query attention) fewer k, v heads serve `count` query heads, and the `count / kv_count`
    query heads that share one can only leave with it: there are kv_count groups.  A group then holds
    head_dim · count / kv_count rows of q and as many columns of o, and head_dim rows of k and of v.

    >>> groups = attention(4, 1, kv_count=2)
    >>> groups.count, groups.parts["q"].labels, groups.parts["k"].labels
    (2, array([0, 0, 1, 1]), array([0, 1]))
    """
    checks.require_int("head_dim", head_dim, minimum=1)
    checks.require_int("count", count, minimum=1)
    kv_count = count if kv_count is None else kv_count
    query, key = _blocks(count * head_dim, kv_count), _blocks(kv_count * head_dim, kv_count)
    if count % kv_count:
        raise GroupError(f"{count} query heads cannot share {kv_count} key-value heads evenly")
    return Groups(kv_count, {"q": Part(query), "k": Part(key), "v": Part(key), "o": Part(query, axis=1)})


# ---- groups by index ---------------------------------------------------------------------------------------


def index_sets(sets: Iterable[Iterable[int]], length: int, *, axis: int = 0, name: str = "W") -> Groups:
    """Make each set of rows (axis 0) or columns (axis 1) a group; what is in none stays free.

    Raises `GroupError`, naming index and group, where an index is out of range or stands twice, or a set is empty.

    >>> index_sets([[0, 3], [1]], 4).parts["W"].labels
    array([ 0,  1, -1,  0])
    """
    checks.require_int("length", length, minimum=0)
    placed = _place([[(i,) for i in one] for one in sets], (length,))
    return Groups(placed[0], {name: Part(placed[1], axis)})


def entries(sets: Iterable[Iterable[tuple[int, int]]], shape: tuple[int, int], *, name: str = "W") -> Groups:
    """Make each set of entries (i, j) of one (d, k) matrix a group: any set at all.

    Raises what `index_sets` raises.

    >>> entries([[(0, 0), (1, 1)], [(0, 1)]], (2, 2)).parts["W"].labels
    array([[ 0,  1],
           [-1,  0]])
    """
    placed = _place([list(one) for one in sets], tuple(shape))
    return Groups(placed[0], {name: Part(placed[1], None)})


def _place(sets: list[list[tuple[Any, ...]]], shape: tuple[int, ...]) -> tuple[int, Int[Array, " n"]]:
    """Write each set's number at its indices; complain of the first index that cannot be."""
    labels = np.full(shape, FREE)
    for group, one in enumerate(sets):
        if not one:
            raise GroupError(f"group {group} is empty", fix="leave it out")
        for index in one:
            shown = index[0] if len(index) == 1 else tuple(index)
            if len(index) != len(shape) or not all(isinstance(i, (int, np.integer)) for i in index):
                raise GroupError(f"group {group} holds {shown!r}, expected {len(shape)} int(s) for {shape}")
            if not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
                raise GroupError(f"group {group} holds index {shown}, out of range for shape {shape}")
            if labels[index] == group:
                raise GroupError(f"group {group} holds index {shown} twice: a duplicate")
            if labels[index] != FREE:
                raise GroupError(
                    f"index {shown} stands in group {labels[index]} and group {group}: they overlap"
                )
            labels[index] = group
    return len(sets), labels


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _blocks(width: int, count: int) -> Int[Array, " n"]:
    """Label `width` lines in `count` equal, consecutive blocks."""
    checks.require_int("width", width, minimum=0)
    checks.require_int("count", count, minimum=0)
    if (count == 0 and width) or (count and (width % count or not width)):
        raise GroupError(f"{width} lines do not split into {count} equal groups")
    return np.repeat(np.arange(count), width // max(count, 1))


def _require_labels(name: str, part: Part, count: int) -> Int[Array, " n"]:
    """Raise unless a part's labels are whole numbers from −1 to count − 1, of the shape its axis says."""
    labels = np.asarray(part.labels)
    if part.axis not in (0, 1, None) or labels.ndim != (2 if part.axis is None else 1):
        raise GroupError(
            f"part {name!r} has labels of shape {labels.shape} for axis {part.axis}",
            fix="one label per row (axis 0) or column (axis 1), or (d, k) labels with axis None",
        )
    if labels.dtype.kind not in "iu":
        raise GroupError(f"part {name!r} has labels of dtype {labels.dtype}, expected integers")
    bad = (labels < FREE) | (labels >= count)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        shown = where[0] if len(where) == 1 else where
        raise GroupError(
            f"part {name!r} puts index {shown} in group {labels[where]}, out of range",
            fix=f"groups run from 0 to {count - 1}; {FREE} means no group",
        )
    return labels
