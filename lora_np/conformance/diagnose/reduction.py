"""One factor over a whole output: a sign, a mean for a sum, half or double; a batch of one row.  Floor 6."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.guessing import (
    Guess,
    Hypothesis,
    always,
    answer,
    has_model,
    one,
    true_scale,
)
from lora_np.conformance.diagnose.question import Question


def _upstream(q: Question) -> Array:
    return q.tensors.get("gY", q.tensors.get("X", np.zeros(0)))


def _means(q: Question) -> Iterator[Guess]:
    for count, what in _counts(q):
        if count > 1:
            yield q.want / count, f"divided by {count}, {what}: a mean for a sum?"
            yield q.want / math.sqrt(count), f"divided by the square root of {count}, {what}"


def _sums(q: Question) -> Iterator[Guess]:
    for count, what in _counts(q):
        if count > 1:
            yield q.want * count, f"multiplied by {count}, {what}: a sum for a mean?"


def _counts(q: Question) -> list[tuple[int, str]]:
    gY, r = _upstream(q), int(q.config.get("rank", 1))
    counts = [(gY.shape[0], "the number of rows")] if gY.ndim else []
    counts += [(gY.size, "the number of elements"), (gY.shape[-1] if gY.ndim else 1, "the number of outputs")]
    if "X" in q.tensors and q.tensors["X"].ndim:
        counts.append((q.tensors["X"].shape[-1], "the number of inputs"))
    return [*counts, (r * r, "the rank squared")]


def _scaled(q: Question) -> Iterator[Guess]:
    s = true_scale(q)
    r = q.config.get("rank", 1)
    if s != 1:
        yield q.want * s, "the scale is applied once too often"
        if s != 0:
            yield q.want / s, "the scale is missing"
    if r > 1:
        yield q.want / r, "divided by the rank"
        yield q.want * r, "multiplied by the rank"


def _one_row(q: Question) -> Iterator[Guess]:
    for row, what in ((-1, "last"), (0, "first")):
        kept = np.zeros(len(q.tensors["gY"]), dtype=bool)
        kept[row] = True
        gY = q.tensors["gY"] * kept.reshape(-1, *[1] * (q.tensors["gY"].ndim - 1))
        yield answer(q, gY=gY), f"only the {what} row of the batch counts: is the sum overwritten?"


def _is_batched(q: Question) -> bool:
    return q.operation == "backward" and has_model(q) and q.name != "gX" and len(q.tensors["gY"]) > 1


def _can_be_mean(q: Question) -> bool:
    return q.operation not in ("forward", "merge", "unmerge")


def _broadcast_row(q: Question) -> Iterator[Guess]:
    if q.want.ndim >= 2 and len(q.want) > 1:
        yield np.broadcast_to(q.want[:1], q.want.shape), "every row is the first one"
        yield np.broadcast_to(q.want[-1:], q.want.shape), "every row is the last one"


HYPOTHESES = (
    Hypothesis("SignFlipped", always, one(lambda q: -q.want, "the sign is wrong")),
    Hypothesis("MeanForSum", _can_be_mean, _means),
    Hypothesis("SumForMean", _can_be_mean, _sums),
    Hypothesis("OnlyOneRow", _is_batched, _one_row),
    Hypothesis("OnlyOneRow", always, _broadcast_row),
    Hypothesis(
        "HalfOrDouble",
        always,
        lambda q: iter([(q.want / 2, "half of what it must be"), (q.want * 2, "twice what it must be")]),
    ),
    Hypothesis("WholeScaled", always, _scaled),
    Hypothesis("SignLost", always, one(lambda q: np.abs(q.want), "the sign is lost: an absolute value?")),
    Hypothesis(
        "SquareMissing",
        _can_be_mean,
        lambda q: iter(
            [
                (np.sign(q.want) * np.sqrt(np.abs(q.want)), "the square root of what it must be"),
                (q.want**2, "the square of what it must be"),
            ]
        ),
    ),
)
