"""Right numbers in wrong places: transposed, swapped, read in another order, rows permuted or shifted.  Floor 6."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lora_np.conformance.diagnose.formulas import INCREMENTS
from lora_np.conformance.diagnose.guessing import Guess, Hypothesis, always, answer, has_model
from lora_np.conformance.diagnose.question import Question, Tensors


def _matrices(q: Question) -> Iterator[tuple[str, np.ndarray]]:
    for name, tensor in q.tensors.items():
        if tensor.ndim == 2 and min(tensor.shape) > 1:
            yield name, tensor


def _turned_increment(t: Tensors, c: object, s: float, method: str) -> np.ndarray:  # noqa: ARG001
    return t["W0"] + s * INCREMENTS[method](t).T


def _transposed(q: Question) -> Iterator[Guess]:
    if q.want.ndim == 2:
        yield q.want.T, "the result is transposed"
    if q.method in INCREMENTS and has_model(q):
        yield (
            answer(q, weight=lambda t, c, s: _turned_increment(t, c, s, q.method)),
            "the increment is transposed",
        )
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
    yield (
        q.want.T.reshape(q.want.shape),
        "the result is laid out in the other memory order: a reshape for a transpose?",
    )
    yield (
        q.want.ravel().reshape(q.want.shape[::-1]).T,
        "the result is read in the other memory order: a reshape for a transpose?",
    )
    if has_model(q):
        for name, tensor in _matrices(q):
            for wrong in (tensor.T.reshape(tensor.shape), tensor.reshape(tensor.shape[::-1]).T):
                yield (
                    answer(q, **{name: wrong}),
                    f"{name} is read in the other memory order: a reshape for a transpose?",
                )


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
        if got.shape != want.shape or not 1 < len(want) <= 64:
            continue
        room = np.moveaxis(q.room(q.want), axis, 0)
        order = [
            next((j for j in range(len(want)) if (np.abs(row - want[j]) <= room[j]).all()), None)
            for row in got
        ]
        if None not in order and sorted(order) == list(range(len(want))):
            yield np.moveaxis(want[order], 0, axis), f"axis {axis} is permuted: {order}"


def _permuted_inputs(q: Question) -> Iterator[Guess]:
    for name in ("B", "A", "W0", "gY", "X", "lambda_b", "lam", "m", "l"):
        tensor = q.tensors.get(name)
        if tensor is not None and tensor.ndim and tensor.shape[0] > 2:
            n = len(tensor)
            for parts in (p for p in (2, 3, 4) if n % p == 0):
                mixed = np.concatenate([tensor[i::parts] for i in range(parts)])
                yield (
                    answer(q, **{name: mixed}),
                    f"the rows of {name} are interleaved for grouped, in {parts} parts",
                )
                back = (
                    tensor.reshape(parts, n // parts, *tensor.shape[1:]).swapaxes(0, 1).reshape(tensor.shape)
                )
                yield (
                    answer(q, **{name: back}),
                    f"the rows of {name} are interleaved for grouped, in {parts} parts",
                )


HYPOTHESES = (
    Hypothesis("Transposed", always, _transposed),
    Hypothesis("FactorsSwapped", has_model, _swapped),
    Hypothesis("MemoryOrder", always, _reshaped),
    Hypothesis("ReadBackwards", always, _backwards),
    Hypothesis("OffByOneRow", always, _shifted),
    Hypothesis("Permuted", always, _permuted),
    Hypothesis("Permuted", has_model, _permuted_inputs),
)
