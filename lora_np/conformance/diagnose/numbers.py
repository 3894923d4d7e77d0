"""What can be told without a formula: zeros, an input or another output handed back.  Floor 6."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.guessing import Guess, Hypothesis, always, is_gradient, one
from lora_np.conformance.diagnose.question import Question


def _zeros(q: Question) -> Array:
    return np.zeros(q.want.shape)


def _inputs(q: Question) -> Iterator[Guess]:
    for name, tensor in q.tensors.items():
        for turned, how in ((tensor, name), (tensor.T, f"{name} transposed")):
            if turned.shape == q.want.shape:
                yield turned, f"they are the input {how}, handed back"


def _other_gradients(q: Question) -> Iterator[Guess]:
    for name, output in q.case.outputs.items():
        if name != q.name and {name, q.name} != {"gB", "gA"}:
            for turned, how in ((output.want, name), (output.want.T, f"{name} transposed")):
                yield turned, f"they are {how}: the gradient of another tensor"


def _swapped_gradients(q: Question) -> Iterator[Guess]:
    other = {"gA": "gB", "gB": "gA"}.get(q.name, "")
    if other in q.case.outputs:
        for turned in (q.case.outputs[other].want, q.case.outputs[other].want.T):
            yield turned, f"they are {other}: are A and B swapped?"


def _stale(q: Question) -> Iterator[Guess]:
    name = {"merge": "W0", "unmerge": "W"}[q.operation]
    yield q.tensors.get(name), f"it is {name} as it came in: nothing was done"


def _is_merging(q: Question) -> bool:
    return q.operation in ("merge", "unmerge")


HYPOTHESES = (
    Hypothesis("StaleMerge", _is_merging, _stale),
    Hypothesis("AllZero", always, one(_zeros, "they are all zero: is it not computed?")),
    Hypothesis("FactorsSwapped", is_gradient, _swapped_gradients),
    Hypothesis("AnotherGradient", is_gradient, _other_gradients),
    Hypothesis("InputReturned", always, _inputs),
)
