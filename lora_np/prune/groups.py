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

    `axis` is 0 where `labels` has one label per row, 1 per column; None where it is (d, k), one per entry.  Keeps a
    read-only copy.  Raises `GroupError`.
    """

    labels: Int[Array, " n"]
    axis: int | None = 0

    def __post_init__(self) -> None:
        try:
            labels = np.array(self.labels)
        except ValueError:
            raise GroupError("labels must be a list of integers, got a ragged one") from None
        if self.axis not in (0, 1, None) or labels.ndim != (2 if self.axis is None else 1):
            raise GroupError(
                f"labels have shape {labels.shape} for axis {self.axis!r}",
                fix="one label per row (axis 0) or column (axis 1), or (d, k) labels with axis None",
            )
        if labels.dtype.kind not in "iu" and labels.size:
            raise GroupError(f"labels have dtype {labels.dtype}, expected integers")
        labels = labels.astype(np.int64)
        labels.flags.writeable = False
        object.__setattr__(self, "labels", labels)


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
        if not self.parts:
            raise GroupError("groups need at least one part: the matrix that they are groups of")
        for name, part in self.parts.items():
            _require_range(name, part.labels, self.count)
            used[part.labels[part.labels != FREE]] = True
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
    count, labels = _place(sets, (length,))
    return Groups(count, {name: Part(labels, axis)})


def entries(sets: Iterable[Iterable[tuple[int, int]]], shape: tuple[int, int], *, name: str = "W") -> Groups:
    """Make each set of entries (i, j) of one (d, k) matrix a group: any set at all.

    Raises what `index_sets` raises.

    >>> entries([[(0, 0), (1, 1)], [(0, 1)]], (2, 2)).parts["W"].labels
    array([[ 0,  1],
           [-1,  0]])
    """
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise GroupError(f"shape must be the pair (d, k) of the matrix, got {shape!r}")
    for letter, size in zip("dk", shape, strict=True):
        checks.require_int(letter, size, minimum=0)
    count, labels = _place(sets, shape)
    return Groups(count, {name: Part(labels, None)})


def _place(sets: Iterable[Any], shape: tuple[int, ...]) -> tuple[int, Int[Array, " n"]]:
    """Write each set's number at its indices; complain of the first index that cannot be."""
    labels, count = np.full(shape, FREE), 0
    for group, one in enumerate(sets):
        if not isinstance(one, Iterable):
            raise GroupError(
                f"group {group} is {one!r}, expected a set of indices", fix="for one index, [index]"
            )
        indices = [tuple(index) if isinstance(index, Iterable) else (index,) for index in one]
        if not indices:
            raise GroupError(f"group {group} is empty", fix="leave it out")
        for index in indices:
            _require_free(index, group, labels)
            labels[index] = group
        count = group + 1
    return count, labels


def _require_free(index: tuple[Any, ...], group: int, labels: Int[Array, " n"]) -> None:
    """Raise unless an index is in range and in no group yet."""
    shape, shown = labels.shape, index[0] if len(index) == 1 else index
    whole = all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in index)
    if len(index) != len(shape) or not whole:
        raise GroupError(f"group {group} holds {shown!r}, expected {len(shape)} int(s), for shape {shape}")
    if not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
        raise GroupError(f"group {group} holds index {shown}, out of range for shape {shape}")
    if labels[index] == group:
        raise GroupError(f"group {group} holds index {shown} twice: a duplicate")
    if labels[index] != FREE:
        raise GroupError(f"index {shown} stands in group {labels[index]} and group {group}: they overlap")


# ---- what a user can get wrong -----------------------------------------------------------------------------


def by_part(name: str, value: Any, groups: Groups) -> Mapping[str, Any]:
    """Return one value for each part of the groups; a bare one will do where there is a single part."""
    if not isinstance(groups, Groups):
        raise GroupError(
            f"groups must be a Groups, got {type(groups).__name__}",
            fix="make them with prune.groups.rows(d), say",
        )
    if not isinstance(value, Mapping):
        if len(groups.parts) != 1:
            raise GroupError(
                f"{name} is one value, but the groups span {list(groups.parts)}",
                fix=f"pass {name} as a mapping with these names",
            )
        return {next(iter(groups.parts)): value}
    if value.keys() != groups.parts.keys():
        raise GroupError(f"{name} has parts {sorted(value)}, but the groups span {sorted(groups.parts)}")
    return value


def _blocks(width: int, count: int) -> Int[Array, " n"]:
    """Label `width` lines in `count` equal, consecutive blocks."""
    checks.require_int("width", width, minimum=0)
    checks.require_int("count", count, minimum=0)
    if (count == 0 and width) or (count and (width % count or not width)):
        raise GroupError(f"{width} lines do not split into {count} equal groups")
    return np.repeat(np.arange(count), width // max(count, 1))


def _require_range(name: str, labels: Int[Array, " n"], count: int) -> None:
    """Raise unless labels run from −1 (free) to count − 1."""
    bad = (labels < FREE) | (labels >= count)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        shown = where[0] if len(where) == 1 else where
        raise GroupError(
            f"part {name!r} puts index {shown} in group {labels[where]}, out of range",
            fix=f"groups run from 0 to {count - 1}; {FREE} means no group",
        )
