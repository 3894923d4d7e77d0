"""A part left out, doubled or multiplied by what it must not be: base path, adapter path, bias.  Floor 6."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.formulas import weight_of
from lora_np.conformance.diagnose.guessing import (
    Guess,
    Hypothesis,
    answer,
    base_weight,
    has_model,
    one,
    true_scale,
)
from lora_np.conformance.diagnose.question import Question


def _has_base(q: Question) -> bool:
    return has_model(q) and "W0" in q.tensors


def _has_bias(q: Question) -> bool:
    return has_model(q) and "bias" in q.tensors


def _without_bias(q: Question) -> Array | None:
    return answer(q, bias=None if q.name != "gbias" else np.zeros_like(q.tensors["bias"]))


def _times_bias(q: Question, factor: float) -> Array | None:
    return answer(q, bias=factor * q.tensors["bias"])


def _scaled_bias(q: Question) -> Iterator[Guess]:
    s = true_scale(q)
    if s != 1:
        yield _times_bias(q, s), "the bias is multiplied by the scale"
        yield _times_bias(q, 1 + s), "the bias is added to the increment, too"


def _scaled_base(q: Question) -> Iterator[Guess]:
    s, W0 = true_scale(q), q.tensors["W0"]
    if s != 1:
        yield answer(q, W0=s * W0), "the scale multiplies the base path, too"
        if "bias" in q.tensors:
            yield answer(q, W0=s * W0, bias=s * q.tensors["bias"]), "the scale multiplies everything"


def _base_counted_twice(q: Question) -> Iterator[Guess]:
    right = weight_of(q.method)
    yield answer(q, W0=2 * q.tensors["W0"]), "the base path is counted twice"
    if right is not None and q.operation == "forward":
        yield (
            answer(q, weight=lambda t, c, s: t["W0"] + right(t, c, s)),
            "the base path is added to what has it already",
        )


HYPOTHESES = (
    Hypothesis(
        "BranchMissing",
        _has_base,
        one(lambda q: answer(q, weight=base_weight), "as if there were no adapter: is it applied at all?"),
    ),
    Hypothesis(
        "BaseMissing",
        _has_base,
        one(
            lambda q: answer(q, W0=np.zeros_like(q.tensors["W0"])),
            "the base path is missing: only the adapter's share is there",
        ),
    ),
    Hypothesis("MissingBias", _has_bias, one(_without_bias, "the bias is missing")),
    Hypothesis("BiasScaled", _has_bias, _scaled_bias),
    Hypothesis("BiasDoubled", _has_bias, one(lambda q: _times_bias(q, 2.0), "the bias is added twice")),
    Hypothesis("BiasSubtracted", _has_bias, one(lambda q: _times_bias(q, -1.0), "the bias is subtracted")),
    Hypothesis("BaseTwice", _has_base, _base_counted_twice),
    Hypothesis("BaseScaled", _has_base, _scaled_base),
)
