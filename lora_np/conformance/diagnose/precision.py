"""Too few bits somewhere: an input, the result, or the arithmetic itself.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.formulas import INCREMENTS
from lora_np.conformance.diagnose.guessing import Guess, Hypothesis, always, answer, has_model, true_scale
from lora_np.conformance.diagnose.question import Question
from lora_np.conformance.exact.rounding import unit

TYPES = ("float32", "float16", "bfloat16")


def rounded(array: Array, dtype: str) -> Array:
    """Round each element to a floating type of fewer bits, ties to even."""
    if dtype != "bfloat16":
        return np.asarray(array).astype(dtype).astype(np.float64)
    bits = np.asarray(array, dtype=np.float32).view(np.uint32).astype(np.uint64)
    even = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16
    return even.astype(np.uint32).view(np.float32).astype(np.float64)


def _floats(q: Question) -> list[str]:
    return [name for name, tensor in q.tensors.items() if tensor.dtype.kind == "f" and tensor.size]


def _inputs_rounded(dtype: str) -> Callable[[Question], Iterator[Guess]]:
    def guesses(q: Question) -> Iterator[Guess]:
        if unit(dtype) <= q.u:
            return
        names = _floats(q)
        groups = [[name] for name in names] + [
            [n for n in names if n not in ("X", "gY", "W0", "bias")],
            names,
        ]
        groups += [[n for n in names if n != "W0"], ["X", "gY"]]
        for group in groups:
            small = {name: rounded(q.tensors[name], dtype) for name in group if name in q.tensors}
            yield answer(q, **small), f"{' and '.join(group)} rounded to {dtype}"

    return guesses


def _increment_rounded(dtype: str) -> Callable[[Question], Iterator[Guess]]:
    def guesses(q: Question) -> Iterator[Guess]:
        if q.method not in INCREMENTS or unit(dtype) <= q.u or q.operation not in ("forward", "merge"):
            return
        increment, s, t = INCREMENTS[q.method], true_scale(q), q.tensors
        words = f"the increment is rounded to {dtype} before it is added"
        yield answer(q, weight=lambda t, _c, s: t["W0"] + rounded(s * increment(t), dtype)), words
        yield answer(q, weight=lambda t, _c, s: t["W0"] + s * rounded(increment(t), dtype)), words
        if q.operation == "forward" and "W0" in t:
            base = answer(q, scale=0.0)
            whole = answer(q, scale=s)
            if base is not None and whole is not None:
                yield base + rounded(whole - base, dtype), words

    return guesses


def _result_rounded(dtype: str) -> Callable[[Question], Iterator[Guess]]:
    def guesses(q: Question) -> Iterator[Guess]:
        if unit(dtype) > q.u and (rounded(q.got, dtype) == q.got).all() and _within(q, dtype):
            yield q.got, f"every element is a {dtype}: is the result, or all of it, computed in {dtype}?"

    return guesses


def _accumulated(dtype: str) -> Callable[[Question], Iterator[Guess]]:
    def guesses(q: Question) -> Iterator[Guess]:
        if unit(dtype) > q.u and _within(q, dtype):
            yield q.got, f"right to the precision of {dtype} only: is something computed in {dtype}?"

    return guesses


def _within(q: Question, dtype: str) -> bool:
    """Tell whether everything is right to the precision of a type, and at least one error is of its order."""
    error = np.abs(q.got - q.want)
    fits = error <= 4 * unit(dtype) * (q.size + np.abs(q.want))
    return bool(fits.all() and (error > 2.0**-8 * unit(dtype) * np.abs(q.want)).any())


def _epsilon(q: Question) -> Iterator[Guess]:
    for eps in (1e-8, 1e-6, 1e-5, 1e-12):
        for sign in (1, -1):
            yield q.want + sign * eps, f"{eps:g} is added to every element"
            yield q.want * (1 + sign * eps), f"every element is off by one part in {1 / eps:g}"


HYPOTHESES = (
    *(
        Hypothesis(f"IncrementRoundedTo{dtype.capitalize()}", has_model, _increment_rounded(dtype))
        for dtype in TYPES
    ),
    *(
        Hypothesis(f"InputRoundedTo{dtype.capitalize()}", has_model, _inputs_rounded(dtype))
        for dtype in TYPES
    ),
    Hypothesis("EpsilonAdded", always, _epsilon),
)
LAST = (
    *(
        Hypothesis(f"ComputedIn{dtype.capitalize()}", always, _result_rounded(dtype))
        for dtype in reversed(TYPES)
    ),
    *(Hypothesis(f"AccumulatedIn{dtype.capitalize()}", always, _accumulated(dtype)) for dtype in TYPES),
)
