"""Right numbers in wrong places: transposed, swapped, read in another order, rows permuted or shifted.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.guessing import Guess, Hypothesis, always, answer, has_model, share_changed
from lora_np.conformance.diagnose.question import Question


def _matrices(q: Question) -> Iterator[tuple[str, Array]]:
    for name, tensor in q.tensors.items():
        if tensor.ndim == 2 and min(tensor.shape) > 1:
            yield name, tensor


def _transposed(q: Question) -> Iterator[Guess]:
    if q.want.ndim == 2:
        yield q.want.T, "the result is transposed"
    if has_model(q):
        yield share_changed(q, np.transpose), "the increment is transposed"
    if has_model(q):
        for name, tensor in _matrices(q):
            if tensor.shape[0] == tensor.shape[1]:
                yield answer(q, **{name: tensor.T}), f"{name} is transposed"


def _swapped(q: Question) -> Iterator[Guess]:
    t = q.tensors
    for one_name, other in (
        ("B", "A"),
        ("B1", "B2"),
        ("A1", "A2"),
        ("W_up", "W_down"),
        ("K", "V"),
        ("P_k", "P_v"),
    ):
        if one_name in t and other in t:
            words = f"{one_name} and {other} are swapped"
            for first, second in ((t[other], t[one_name]), (t[other].T, t[one_name].T)):
                if first.shape == t[one_name].shape:
                    yield answer(q, **{one_name: first, other: second}), words
            if t[one_name].size == t[other].size:
                shapes = t[one_name].shape, t[other].shape
                yield (
                    answer(
                        q, **{one_name: t[other].reshape(shapes[0]), other: t[one_name].reshape(shapes[1])}
                    ),
                    words,
                )


def _reshaped(q: Question) -> Iterator[Guess]:
    words = "read in the other memory order: a reshape for a transpose?"
    yield q.want.T.reshape(q.want.shape), f"the result is {words}"
    yield q.want.reshape(q.want.shape[::-1]).T, f"the result is {words}"
    if has_model(q):
        yield share_changed(q, _by_columns), f"the increment is {words}"
        yield share_changed(q, _by_rows), f"the increment is {words}"
        yield share_changed(q, lambda x: x.T.reshape(x.shape[::-1]).T), f"the increment is {words}"
        factors = {name: tensor for name, tensor in _matrices(q) if name not in ("X", "W0", "W", "gY")}
        for group in (*({name: tensor} for name, tensor in _matrices(q)), factors):
            for wrong in (_by_columns, _by_rows):
                turned = {name: wrong(tensor) for name, tensor in group.items()}
                yield answer(q, **turned), f"{' and '.join(group)} {words}"


def _by_columns(tensor: Array) -> Array:
    return tensor.T.reshape(tensor.shape)


def _by_rows(tensor: Array) -> Array:
    return tensor.reshape(tensor.shape[::-1]).T


def _backwards(q: Question) -> Iterator[Guess]:
    for axis in range(q.want.ndim):
        yield np.flip(q.want, axis), f"axis {axis} of the result runs backwards"
    if has_model(q):
        for name, tensor in q.tensors.items():
            if tensor.ndim and tensor.size > 1:
                yield answer(q, **{name: np.flip(tensor)}), f"{name} is read backwards: are strides ignored?"


def _shifted(q: Question) -> Iterator[Guess]:
    for axis in range(q.want.ndim):
        for by in (1, -1):
            rolled = np.roll(q.want, by, axis)
            yield rolled, f"axis {axis} of the result is shifted by {by}"
            gone = np.array(rolled)
            gone[tuple(slice(None) if i != axis else (0 if by == 1 else -1) for i in range(gone.ndim))] = 0
            yield gone, f"axis {axis} of the result is shifted by {by}, with zeros behind"
    if has_model(q):
        for name, tensor in q.tensors.items():
            if tensor.ndim and tensor.shape[0] > 1:
                for by in (1, -1):
                    yield answer(q, **{name: np.roll(tensor, by, 0)}), f"{name} is shifted by {by} row"


def _permuted(q: Question) -> Iterator[Guess]:
    """Match slices along each axis: is every one got among those wanted, each once?"""
    for axis in range(q.want.ndim):
        want, got = np.moveaxis(q.want, axis, 0), np.moveaxis(q.got, axis, 0)
        if 1 < len(want) <= MOST_SLICES:
            room = np.moveaxis(q.room(q.want), axis, 0)
            order = [_place(row, want, room) for row in got]
            if sorted(order) == list(range(len(want))):
                yield np.moveaxis(want[order], 0, axis), f"axis {axis} is permuted: {order}"


MOST_SLICES = 64


def _place(row: Array, want: Array, room: Array) -> int:
    """Find a row among those wanted; -1 if it is not there."""
    return next((j for j in range(len(want)) if (np.abs(row - want[j]) <= room[j]).all()), -1)


def _interleaved(n: int, parts: int) -> Array:
    """Every parts-th of n rows, from the first, from the second, ..."""
    return np.concatenate([np.arange(n)[i::parts] for i in range(parts)])


def _mixed(parts: int, turn: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda x: x[turn(_interleaved(len(x), parts))]


def _permuted_inputs(q: Question) -> Iterator[Guess]:
    for parts in range(2, 6):
        for turn in (np.asarray, np.argsort):
            words = f"the rows of the increment are interleaved for grouped, or the reverse, in {parts} parts"
            yield share_changed(q, _mixed(parts, turn)), words
    for name in ("B", "A", "W0", "gY", "X"):
        tensor = q.tensors.get(name)
        if tensor is not None and tensor.ndim and len(tensor) > 2:
            for parts in (2, 3):
                order = _interleaved(len(tensor), parts)
                for mixed in (tensor[order], tensor[np.argsort(order)]):
                    words = (
                        f"the rows of {name} are interleaved for grouped, or the reverse, in {parts} parts"
                    )
                    yield answer(q, **{name: mixed}), words


HYPOTHESES = (
    Hypothesis("Transposed", always, _transposed),
    Hypothesis("FactorsSwapped", has_model, _swapped),
    Hypothesis("MemoryOrder", always, _reshaped),
    Hypothesis("ReadBackwards", always, _backwards),
    Hypothesis("OffByOneRow", always, _shifted),
    Hypothesis("Permuted", always, _permuted),
    Hypothesis("Permuted", has_model, _permuted_inputs),
)
