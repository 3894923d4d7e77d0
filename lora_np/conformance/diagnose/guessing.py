"""A hypothesis: the name of a mistake, where it can happen, and what would come out of it.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.applying import gradient, model_of
from lora_np.conformance.diagnose.formulas import Apply, Model, Weight, lora, rotated, rotation_of, scale_of
from lora_np.conformance.diagnose.question import Question, Tensors

IMPOSSIBLE = (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError, np.linalg.LinAlgError)
"""What NumPy says of shapes that do not fit: the mistake cannot be made in this case."""

Guess = tuple[Array | None, str]
"""What would come out, or None where the mistake cannot be made here; and the words to say it with."""


class Hypothesis(NamedTuple):
    """A row of the table: the flag's name, which outputs it can be true of, and its guesses for one of them."""

    flag: str
    applies: Callable[[Question], bool]
    guesses: Callable[[Question], Iterable[Guess]]


def always(q: Question) -> bool:  # noqa: ARG001
    """Apply to any output of any case."""
    return True


def is_gradient(q: Question) -> bool:
    """Apply to gradients, of any tensor."""
    return q.operation == "backward"


def has_model(q: Question) -> bool:
    """Apply to outputs that `answer` can compute."""
    return model_of(q.method) is not None and q.operation in ("forward", "backward", "merge", "unmerge")


def of_method(*methods: str) -> Callable[[Question], bool]:
    """Make a condition: one of these methods, and an output that can be computed."""
    return lambda q: q.method in methods and has_model(q)


def answer(
    q: Question,
    /,
    *,
    scale: float | None = None,
    weight: Weight | None = None,
    output: Apply | None = None,
    **tensors: Array | None,
) -> Array | None:
    """Compute the output in question with something replaced: the scale, a function, or tensors (None removes one).

    Without replacement this is the right answer.  None where there is no model to compute it with.
    """
    model = model_of(q.method)
    if model is None:
        return None
    t: Tensors = {name: array for name, array in (q.tensors | tensors).items() if array is not None}
    s = scale_of(q.method, q.config) if scale is None else scale
    model = Model(weight or model.weight, output or model.output)
    try:
        return _computed(q, model, t, s)
    except (*IMPOSSIBLE, KeyError):
        return None


def _computed(q: Question, model: Model, t: Tensors, s: float) -> Array | None:
    """Compute what the operation asks for."""
    if q.operation == "forward":
        return model.output(t, q.config, model.weight(t, q.config, s))
    if q.operation == "backward" and "gY" in t and q.name[1:] in t:
        return gradient(model, t, q.config, s, q.name[1:], q.worst, q.may_be)
    if q.operation == "merge":
        return model.weight(t, q.config, s)
    if q.operation == "unmerge" and "W" in t:
        return _unmerged(q, model, t, s)
    return None


def _unmerged(q: Question, model: Model, t: Tensors, s: float) -> Array:
    """Take the adapter out: a difference, or where the weight is multiplied, a quotient."""
    if q.method == "ia3":
        return t["W"] / model.weight(t | {"W0": np.ones(t["W"].shape)}, q.config, s)
    if q.method == "oft":
        turn = rotation_of(q.config)
        return rotated(t, lambda Q: np.linalg.inv(turn(Q)), q.config, "W")
    if q.method == "dora":
        return (t["lengths"] / t["m"])[:, None] * t["W"] - s * lora(t)
    if q.method == "lora-conv2d" and q.config.get("form") != "loralib":
        return _without_adapter(q, model, t, s)
    return t["W"] - model.weight(t | {"W0": np.zeros(t["W"].shape)}, q.config, s)


def _without_adapter(q: Question, model: Model, t: Tensors, s: float) -> Array:
    """Take a convolution's adapter out of a kernel over all channels, and keep each group's own."""
    groups, (d, k) = int(q.config.get("groups", 1)), t["W"].shape[:2]
    inside = k // groups
    dense = t["W"] - model.weight(t | {"W0": np.zeros((d, inside, *t["W"].shape[2:]))}, q.config, s)
    parts = [
        dense[g * d // groups : (g + 1) * d // groups, g * inside : (g + 1) * inside] for g in range(groups)
    ]
    return np.concatenate(parts)


def true_scale(q: Question) -> float:
    """Return the right scale of the case."""
    return scale_of(q.method, q.config)


def base_weight(t: Tensors, c: object, s: float) -> Array:  # noqa: ARG001
    """Take the frozen weight alone."""
    return t["W0"]


def base_of(q: Question) -> Array:
    """Compute the part of an output without the adapter; zeros where there is none or it is not known."""
    zeros = np.zeros(q.want.shape)
    if q.name not in ("Y", "gX", "W") or "W0" not in q.tensors or q.operation == "unmerge":
        return zeros
    base = answer(q, weight=base_weight) if has_model(q) else None
    return zeros if base is None or base.shape != q.want.shape else base


def share_changed(q: Question, change: Callable[[Array], Array]) -> Array | None:
    """Answer with a change to what is added to W0."""
    model = model_of(q.method)
    if model is None or "W0" not in q.tensors:
        return None
    right = model.weight
    return answer(q, weight=lambda t, c, s: t["W0"] + change(right(t, c, s) - t["W0"]))


def one(guess: Callable[[Question], Array | None], words: str) -> Callable[[Question], Iterator[Guess]]:
    """Make the guesses of a mistake that can be made in one way."""

    def guesses(q: Question) -> Iterator[Guess]:
        yield guess(q), words

    return guesses
