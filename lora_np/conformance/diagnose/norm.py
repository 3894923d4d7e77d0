"""DoRA: which norm, of what, along which axis, and whether a gradient flows through it.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.applying import linear
from lora_np.conformance.diagnose.formulas import Weight, detached_row_norms, dora_weight, lora, row_norms
from lora_np.conformance.diagnose.guessing import Guess, Hypothesis, answer, of_method, one
from lora_np.conformance.diagnose.question import Question, Tensors

_dora = of_method("dora")


def _norm(flag: str, words: str, *norms: Callable[[Array], Array]) -> Hypothesis:
    """Make a row from the norms that are taken by mistake."""

    def guesses(q: Question) -> Iterator[Guess]:
        for norm in norms:
            yield answer(q, weight=dora_weight(norm)), words
            yield answer(q, weight=dora_weight(_held(norm))), words

    return Hypothesis(flag, _dora, guesses)


def _held(norm: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Hold a norm constant: no gradient flows through it."""
    return lambda V: np.real(norm(np.real(V)))


def _weight(flag: str, words: str, weight: Callable[[Tensors, float], Array]) -> Hypothesis:
    """Make a row from the weight that is made by mistake."""
    wrong: Weight = lambda t, _c, s: weight(t, s)  # noqa: E731
    return Hypothesis(flag, _dora, one(lambda q: answer(q, weight=wrong), words))


def _direction(t: Tensors, s: float) -> Array:
    return t["W0"] + s * lora(t)


def _other_flow(q: Question) -> Array | None:
    detached = q.config.get("norm") == "detached"
    return answer(q, weight=dora_weight(row_norms if detached else detached_row_norms))


def _is(norm: str) -> Callable[[Question], bool]:
    return lambda q: (
        _dora(q)
        and q.operation == "backward"
        and (q.config.get("norm") == "detached") == (norm == "detached")
    )


def _factor(t: Tensors, s: float) -> Array:
    return t["m"][:, None] / row_norms(_direction(t, s))


def _scaled_bias(q: Question) -> Array | None:
    if "bias" not in q.tensors:
        return None
    t, s = q.tensors, float(q.config["alpha"]) / q.config["rank"]
    return answer(q, output=linear, bias=t["bias"] * _factor(t, s)[:, 0])


def _epsilon(q: Question) -> Iterator[Guess]:
    for eps in (1e-5, 1e-6, 1e-8, 1e-12):
        for norm in (lambda V, e=eps: row_norms(V) + e, lambda V, e=eps: np.sqrt(row_norms(V) ** 2 + e)):
            yield answer(q, weight=dora_weight(norm)), f"{eps:g} is added to the norm"


HYPOTHESES = (
    Hypothesis(
        "DetachedNorm",
        _is("attached"),
        one(_other_flow, "no gradient flows through the norm (detached); attached was declared"),
    ),
    Hypothesis(
        "AttachedNorm",
        _is("detached"),
        one(_other_flow, "a gradient flows through the norm (attached); detached was declared"),
    ),
    _norm(
        "NormAxis",
        "the norm is taken over columns for rows",
        lambda V: np.sqrt((V * V).sum(axis=0, keepdims=True)),
        lambda V: np.sqrt((V * V).sum(axis=0))[:, None],
    ),
    _norm(
        "NormOfWhole", "one norm of the whole matrix for one of each row", lambda V: np.sqrt((V * V).sum())
    ),
    _weight(
        "NormOfBase",
        "the norm is that of W0, without the increment",
        lambda t, s: t["m"][:, None] * _direction(t, s) / row_norms(t["W0"]),
    ),
    _weight(
        "NormUnscaled",
        "the norm is that of W0 + B A, without the scale",
        lambda t, s: t["m"][:, None] * _direction(t, s) / row_norms(_direction(t, 1.0)),
    ),
    _weight(
        "NormMissing",
        "the weight is not divided by its norm",
        lambda t, s: t["m"][:, None] * _direction(t, s),
    ),
    _weight(
        "MagnitudeMissing",
        "the magnitude is left out",
        lambda t, s: _direction(t, s) / row_norms(_direction(t, s)),
    ),
    _weight("MagnitudeIgnored", "plain LoRA: neither norm nor magnitude", _direction),
    _weight(
        "MagnitudeOnBranch",
        "magnitude and norm act on the increment only",
        lambda t, s: t["W0"] + _factor(t, s) * (s * lora(t)),
    ),
    _weight(
        "MagnitudeOnBranch",
        "magnitude and norm act on W0 only",
        lambda t, s: _factor(t, s) * t["W0"] + s * lora(t),
    ),
    _weight(
        "MagnitudeInverted",
        "norm / magnitude for magnitude / norm",
        lambda t, s: _direction(t, s) / _factor(t, s),
    ),
    _weight(
        "MagnitudeInverted",
        "the norm multiplies for divides",
        lambda t, s: t["m"][:, None] * _direction(t, s) * row_norms(_direction(t, s)),
    ),
    _weight(
        "MagnitudeAxis",
        "the magnitude multiplies columns for rows",
        lambda t, s: t["m"] * _direction(t, s) / row_norms(_direction(t, s)),
    ),
    _norm("NormSquared", "the norm's square for the norm", lambda V: (V * V).sum(axis=1, keepdims=True)),
    _norm(
        "AnotherNorm",
        "the sum of absolute values, the largest one, a mean or a root mean square for the norm",
        lambda V: np.abs(V).sum(axis=1, keepdims=True),
        lambda V: np.abs(V).max(axis=1, keepdims=True),
        lambda V: np.sqrt((V * V).mean(axis=1, keepdims=True)),
        lambda V: V.std(axis=1, keepdims=True),
        lambda V: V.mean(axis=1, keepdims=True),
    ),
    Hypothesis("BiasScaled", _dora, one(_scaled_bias, "the bias is multiplied by magnitude / norm, too")),
    Hypothesis("NormEpsilon", _dora, _epsilon),
)
