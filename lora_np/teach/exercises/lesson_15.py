"""Lesson 15, be an oracle: measure an error, write a plug, tell mistakes apart, write tests that kill.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

from lora_np.teach.exercise import Exercise, Given, Quiz, Reverse, Suspect

U = 2.0**-53

# ---- 15.1: the worst error -------------------------------------------------------------------------------------


def given_errors(rng: np.random.Generator) -> Iterator[Given]:
    """Draw answers that are off by a few u S, both ways; one has a NaN, one is exact."""
    for shape, kind in (
        ((1,), ""),
        ((4,), ""),
        ((2, 3), ""),
        ((3,), "exact"),
        ((5,), "nan"),
        ((3, 4), "below"),
    ):
        want, S = rng.normal(size=shape), rng.uniform(2.0, 9.0, size=shape)
        got = want + U * S * rng.uniform(5, 40, size=shape) * rng.choice((-1.0, 1.0), size=shape)
        if kind == "exact":
            got = want.copy()
        if kind == "nan":
            got[int(rng.integers(1, 5))] = np.nan
        if kind == "below":
            got = want - 100 * U * S
        yield {"got": got, "want": want, "S": S}


def worst_error(got: Any, want: Any, S: Any) -> float:
    """Take the largest error in units of u S."""
    return float("inf") if np.isnan(got).any() else float(np.max(abs(got - want) / (U * S)))


ERROR_SUSPECTS = (
    Suspect(
        "NanPasses",
        "NaN is left out of the maximum, so NaN passes the test; it must count as infinite",
        lambda got, want, S: float(np.nanmax(abs(got - want) / (U * S))),
    ),
    Suspect(
        "NanPasses",
        "where got has a NaN this is NaN, and NaN > 16 is False: NaN passes the test; return np.inf there",
        lambda got, want, S: float(np.max(abs(got - want) / (U * S))),
    ),
    Suspect(
        "AnotherSize",
        "the error is measured against |want|; where terms cancel that is too strict: divide by S",
        lambda got, want, S: worst_error(got, want, abs(want)),
    ),
    Suspect(
        "AnotherSize",
        "S is missing: the error is measured in units of u alone",
        lambda got, want, S: worst_error(got, want, np.ones_like(S)),
    ),
    Suspect("UnitMissing", "u is missing: divide by u S", lambda got, want, S: U * worst_error(got, want, S)),
    Suspect(
        "UnitDoubled",
        "this is half of it: np.finfo(float).eps is the distance to the next number, 2u; u is half of that",
        lambda got, want, S: worst_error(got, want, S) / 2,
    ),
    Suspect(
        "UnitRounded",
        "u is rounded to 1.1e-16; take it exactly, 2.0**-53",
        lambda got, want, S: worst_error(got, want, S) * (U / 1.1e-16),
    ),
    Suspect(
        "UnitMistyped",
        "2e-53 is 2 times ten to the −53; two to the −53 is 2.0**-53",
        lambda got, want, S: worst_error(got, want, S) * (U / 2e-53),
    ),
    Suspect(
        "BracketMissing",
        "a / u * S multiplies by S; set brackets: a / (u * S)",
        lambda got, want, S: worst_error(got, want, 1 / S),
    ),
    Suspect(
        "MeanForMaximum",
        "this is a mean; one wrong element among many right ones would be lost in it: take the maximum",
        lambda got, want, S: (
            float("inf") if np.isnan(got).any() else float(np.mean(abs(got - want) / (U * S)))
        ),
    ),
    Suspect(
        "AbsoluteMissing",
        "errors below zero are lost: take the absolute value before the maximum",
        lambda got, want, S: float("inf") if np.isnan(got).any() else float(np.max((got - want) / (U * S))),
    ),
    Suspect(
        "RatioOfMaxima",
        "the largest error is divided by the largest S; divide each element by its own S first",
        lambda got, want, S: (
            float("inf") if np.isnan(got).any() else float(np.max(abs(got - want)) / (U * np.max(S)))
        ),
    ),
)

# ---- 15.2: a plug ----------------------------------------------------------------------------------------------


def given_questions(rng: np.random.Generator) -> Iterator[Given]:
    """Draw questions of both methods: with a bias and without, alpha that the rank does not divide, three axes."""
    for method, leading, d, k, r, alpha, bias in (
        ("lora", (1,), 1, 2, 1, 3, False),
        ("rslora", (3,), 2, 4, 3, 2, False),
        ("lora", (2,), 4, 3, 2, 5, True),
        ("rslora", (4,), 3, 2, 2, 7, True),
        ("lora", (2, 3), 5, 4, 4, 6, True),
    ):
        shapes = {"X": (*leading, k), "W0": (d, k), "B": (d, r), "A": (r, k)} | (
            {"bias": (d,)} if bias else {}
        )
        tensors = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        yield {"method": method, "config": {"rank": r, "alpha": alpha}, "tensors": tensors}


def _scale(method: str, config: Any) -> float:
    return float(config["alpha"] / (config["rank"] if method == "lora" else np.sqrt(config["rank"])))


def _layer(t: Any, s: float, bias: float = 1.0) -> Any:
    Y = t["X"] @ t["W0"].T + s * (t["X"] @ t["A"].T) @ t["B"].T
    return Y + bias * t["bias"] if "bias" in t else Y


def forward(method: str, config: Any, tensors: Any) -> Any:
    """Apply the layer with the scale of its method."""
    return _layer(tensors, _scale(method, config))


def _forward_size(given: Given) -> dict[str, Any]:
    positive = {name: abs(x) for name, x in given["tensors"].items()}
    return {"Y": _layer(positive, _scale(given["method"], given["config"]))}


PLUG_SUSPECTS = (
    Suspect("ScaleMissing", "the scale is missing", lambda method, config, tensors: _layer(tensors, 1.0)),
    Suspect(
        "RankNotDivided",
        "alpha itself is the scale here; divide it by the rank, or by its root",
        lambda method, config, tensors: _layer(tensors, config["alpha"]),
    ),
    Suspect(
        "MethodIgnored",
        "both methods are scaled by alpha / rank; rslora divides by the root of the rank",
        lambda method, config, tensors: _layer(tensors, _scale("lora", config)),
    ),
    Suspect(
        "MethodIgnored",
        "both methods are scaled by alpha / √rank; lora divides by the rank",
        lambda method, config, tensors: _layer(tensors, _scale("rslora", config)),
    ),
    Suspect(
        "MethodIgnored",
        "rslora divides by √rank, not by rank²",
        lambda method, config, tensors: _layer(
            tensors, _scale("lora", config) / (1 if method == "lora" else config["rank"])
        ),
    ),
    Suspect(
        "RootOfAll",
        "the root is of the rank alone: alpha / √rank, not √(alpha / rank)",
        lambda method, config, tensors: _layer(
            tensors, _scale("lora", config) if method == "lora" else np.sqrt(_scale("lora", config))
        ),
    ),
    Suspect(
        "MethodsSwapped",
        "the methods are exchanged: lora divides by the rank, rslora by its root",
        lambda method, config, tensors: _layer(
            tensors, _scale("rslora" if method == "lora" else "lora", config)
        ),
    ),
    Suspect(
        "ScaleTruncated",
        "the scale is cut to a whole number: / for //",
        lambda method, config, tensors: _layer(tensors, _scale(method, config) // 1),
    ),
    Suspect(
        "ScaleTruncated",
        "the scale of lora is cut to a whole number: / for //",
        lambda method, config, tensors: _layer(
            tensors, _scale(method, config) // 1 if method == "lora" else _scale(method, config)
        ),
    ),
    Suspect(
        "BiasMissing",
        "the bias is left out where there is one",
        lambda method, config, tensors: _layer(tensors, _scale(method, config), 0.0),
    ),
    Suspect(
        "BiasScaled",
        "the bias is scaled, too; no scale touches it",
        lambda method, config, tensors: _layer(tensors, _scale(method, config), _scale(method, config)),
    ),
    Suspect(
        "BaseScaled",
        "the scale multiplies everything; it belongs to the factors alone",
        lambda method, config, tensors: (
            _scale(method, config) * _layer(tensors, 1.0, 1 / _scale(method, config))
        ),
    ),
    Suspect(
        "BaseScaled",
        "the scale multiplies everything, the bias too; it belongs to the factors alone",
        lambda method, config, tensors: _scale(method, config) * _layer(tensors, 1.0),
    ),
)

# ---- 15.3: tell mistakes apart ---------------------------------------------------------------------------------

Forward = Callable[..., Any]


def _computing(base: Callable[[float], float], increment: Callable[[float], float]) -> Forward:
    """Make a forward from what multiplies the base and the increment, as functions of the scale."""

    def forward(X: Any, W0: Any, B: Any, A: Any, scale: float) -> Any:
        return base(scale) * (X @ W0.T) + increment(scale) * ((X @ A.T) @ B.T)

    return forward


KINDS: dict[str, Forward] = {
    "right": _computing(lambda s: 1.0, lambda s: s),
    "scale missing": _computing(lambda s: 1.0, lambda s: 1.0),
    "scale squared": _computing(lambda s: 1.0, lambda s: s * s),
    "increment missing": _computing(lambda s: 1.0, lambda s: 0.0),
    "increment subtracted": _computing(lambda s: 1.0, lambda s: -s),
    "base scaled": _computing(lambda s: s, lambda s: s),
}


def given_functions(rng: np.random.Generator) -> Iterator[Given]:
    """Hand out all six functions, in any order."""
    for place in rng.permutation(len(KINDS)):
        yield {"forward": list(KINDS.values())[int(place)]}


def diagnose(forward: Forward) -> str:
    """Tell by one question: base 100, increment 1, scale 3."""
    one = np.ones((1, 1))
    got = {float(f(one, 100 * one, one, one, 3.0)[0, 0]): word for word, f in KINDS.items()}
    return got[float(forward(one, 100 * one, one, one, 3.0)[0, 0])]


def _confusing(group: tuple[str, ...], answer: str) -> Callable[..., str]:
    """Answer one and the same for all of a group, and the truth for all others."""
    return lambda forward: answer if diagnose(forward) in group else diagnose(forward)


_SCALE_ONE = ("right", "scale missing", "scale squared", "base scaled")
_ZERO = ("right", "scale missing", "scale squared", "increment missing", "increment subtracted")
DIAGNOSE_SUSPECTS = (
    *(
        Suspect(
            "ScaleOneAsked",
            "with scale 1 right, missing, squared and scaled base are all the same; ask with another scale",
            _confusing(_SCALE_ONE, answer),
        )
        for answer in _SCALE_ONE
    ),
    *(
        Suspect(
            "ZeroIncrementAsked",
            "with B = 0 or A = 0 there is no increment, and nothing to see of it; ask with numbers that are not zero",
            _confusing(_ZERO, answer),
        )
        for answer in _ZERO
    ),
    *(
        Suspect(
            "ZeroBaseAsked",
            "with W0 = 0 there is no base, and a scaled base cannot be seen",
            _confusing(("right", "base scaled"), answer),
        )
        for answer in ("right", "base scaled")
    ),
    *(
        Suspect(
            "AnswersAlike",
            f"your numbers give the same result for {' and '.join(f'“{word}”' for word in group)}; choose others",
            _confusing(group, answer),
        )
        for size in (2, 3)
        for group in combinations(KINDS, size)
        for answer in group
    ),
    *(
        Suspect("AlwaysTheSame", f"it answers “{answer}” always", _confusing(tuple(KINDS), answer))
        for answer in KINDS
    ),
)

# ---- 15.4: a test for forward ----------------------------------------------------------------------------------


def _right_forward(X: Any, W0: Any, B: Any, A: Any, scale: float) -> Any:
    return X @ W0.T + scale * (X @ A.T) @ B.T


def _through_weight(X: Any, W0: Any, B: Any, A: Any, scale: float) -> Any:
    return X @ (W0 + scale * (B @ A)).T


def _increment(change: Callable[..., Any]) -> Forward:
    """Make a forward whose increment is something else."""
    return lambda X, W0, B, A, scale: X @ W0.T + change(X, B, A, scale)


def _in_float32(X: Any, B: Any, A: Any, scale: float) -> Any:
    X, B, A = (np.asarray(x, dtype=np.float32) for x in (X, B, A))
    return scale * ((X @ A.T) @ B.T).astype(np.float64)


def _writing(X: Any, W0: Any, B: Any, A: Any, scale: float) -> Any:
    Y = _right_forward(X, W0, B, A, scale)
    B *= scale
    return Y


FORWARD_MUTANTS = (
    Suspect("ScaleMissing", "one forgets the scale", _increment(lambda X, B, A, s: X @ A.T @ B.T)),
    Suspect(
        "ScaleSquared", "one applies the scale twice", _increment(lambda X, B, A, s: s * s * X @ A.T @ B.T)
    ),
    Suspect("IncrementMissing", "one never applies B and A", lambda X, W0, B, A, scale: X @ W0.T),
    Suspect("SignFlipped", "one subtracts the increment", _increment(lambda X, B, A, s: -s * X @ A.T @ B.T)),
    Suspect(
        "BaseMissing",
        "one leaves the frozen weight out",
        lambda X, W0, B, A, scale: scale * (X @ A.T) @ B.T,
    ),
    Suspect(
        "FirstRowOnly",
        "one takes the increment of the first row for all rows",
        _increment(lambda X, B, A, s: s * X[:1] @ A.T @ B.T),
    ),
    Suspect("SinglePrecision", "one computes the increment in float32", _increment(_in_float32)),
    Suspect("InputChanged", "one returns the right Y and writes into B", _writing),
)

# ---- 15.5: a test for backward ---------------------------------------------------------------------------------


def _right_backward(gY: Any, X: Any, W0: Any, B: Any, A: Any, scale: float) -> tuple[Any, Any, Any]:
    gZ = scale * (gY @ B)
    return gY @ W0 + gZ @ A, scale * (gY.T @ (X @ A.T)), gZ.T @ X


def _backward_through_weight(gY: Any, X: Any, W0: Any, B: Any, A: Any, scale: float) -> tuple[Any, Any, Any]:
    gW = gY.T @ X
    return gY @ (W0 + scale * (B @ A)), scale * (gW @ A.T), scale * (B.T @ gW)


def _changed(change: Callable[..., tuple[Any, Any, Any]]) -> Forward:
    """Make a backward whose three results are changed: `change` gets them, X and the scale."""
    return lambda gY, X, W0, B, A, scale: change(*_right_backward(gY, X, W0, B, A, scale), X, scale)


def _writing_back(gY: Any, X: Any, W0: Any, B: Any, A: Any, scale: float) -> tuple[Any, Any, Any]:
    found = _right_backward(gY, X, W0, B, A, scale)
    gY *= scale
    return found


BACKWARD_MUTANTS = (
    Suspect(
        "ScaleMissing", "one forgets the scale in gA", _changed(lambda gX, gB, gA, X, s: (gX, gB, gA / s))
    ),
    Suspect(
        "ScaleSquared",
        "one applies the scale twice in gB",
        _changed(lambda gX, gB, gA, X, s: (gX, s * gB, gA)),
    ),
    Suspect(
        "IncrementMissing",
        "one leaves B and A out of gX",
        lambda gY, X, W0, B, A, scale: (gY @ W0, *_right_backward(gY, X, W0, B, A, scale)[1:]),
    ),
    Suspect(
        "BaseMissing",
        "one leaves W0 out of gX",
        lambda gY, X, W0, B, A, scale: (
            scale * gY @ B @ A,
            *_right_backward(gY, X, W0, B, A, scale)[1:],
        ),
    ),
    Suspect(
        "MeanForSum",
        "one takes the mean over the rows for gB and gA",
        _changed(lambda gX, gB, gA, X, s: (gX, gB / len(X), gA / len(X))),
    ),
    Suspect("SignFlipped", "one has the wrong sign in gA", _changed(lambda gX, gB, gA, X, s: (gX, gB, -gA))),
    Suspect("OutputsSwapped", "one returns gA before gB", _changed(lambda gX, gB, gA, X, s: (gX, gA, gB))),
    Suspect(
        "SinglePrecision",
        "one loses half of the digits of gB in float32",
        _changed(lambda gX, gB, gA, X, s: (gX, gB.astype(np.float32).astype(np.float64), gA)),
    ),
    Suspect(
        "InputScaled",
        "one multiplies all of gX by the scale",
        _changed(lambda gX, gB, gA, X, s: (s * gX, gB, gA)),
    ),
    Suspect("InputChanged", "one returns the right gradients and writes into gY", _writing_back),
)

# ---- all -------------------------------------------------------------------------------------------------------

EXERCISES = (
    Exercise(
        id="15.1",
        title="The worst error",
        stars=2,
        signature="worst_error(got, want, S)",
        returns=("error",),
        given=given_errors,
        expected=worst_error,
        size=lambda given: {"error": worst_error(**given)},
        suspects=ERROR_SUSPECTS,
        hints=(
            "One number: the largest of |got − want| / (u S) over all elements; infinite if there is a NaN.",
            "np.isnan(got).any() tells of a NaN. Ask before you take a maximum. u is 2.0**-53, half of "
            "np.finfo(float).eps.",
        ),
        equations=("oracle-error",),
    ),
    Exercise(
        id="15.2",
        title="A plug of your own",
        stars=2,
        signature="forward(method, config, tensors)",
        returns=("Y",),
        given=given_questions,
        expected=forward,
        size=_forward_size,
        suspects=PLUG_SUSPECTS,
        hints=(
            "The layer of the lesson, with arrays taken by name from a dictionary, and a scale that depends on the "
            "method.",
            'config["alpha"] / config["rank"] for "lora", config["alpha"] / np.sqrt(config["rank"]) for "rslora". Add '
            'tensors["bias"] only if "bias" in tensors.',
        ),
        equations=("lora-2", "lora-scale", "lora-scale-rs"),
    ),
    Exercise(
        id="15.3",
        title="One question, six answers",
        stars=2,
        signature="diagnose(forward)",
        returns=("word",),
        given=given_functions,
        expected=diagnose,
        suspects=DIAGNOSE_SUSPECTS,
        hints=(
            "Call forward once with numbers that you choose, and look up which formula gives what came back.",
            "With 1 × 1 arrays the result is base + s · increment. Take a base much larger than the increment, as 100 "
            "and 1, and a scale such as 3: work out all six results by hand. Are they all different?",
        ),
        equations=("lora-2",),
    ),
    Reverse(
        id="15.4",
        title="A test that kills",
        stars=2,
        signature="test_forward(forward)",
        right=(_right_forward, _through_weight),
        mutants=FORWARD_MUTANTS,
        hints=(
            "Call forward with numbers that you know, compute what it must return, compare, and return True or False.",
            "All sides different, more than one row, a scale that is not 1, B not zero. Keep copies of the inputs: one "
            "mutant changes them. Let through a few units of u S, not 1e-5, and not nothing.",
        ),
        equations=("oracle-error", "lora-2"),
    ),
    Reverse(
        id="15.5",
        title="A test for backward",
        stars=3,
        signature="test_backward(backward)",
        right=(_right_backward, _backward_through_weight),
        mutants=BACKWARD_MUTANTS,
        allowed=("lora_np",),
        hints=(
            "Look at all three gradients, at their shapes, and at the inputs afterwards.",
            "More than one row, a scale that is not 1, N, d, k and r all different. For the right answer: "
            "lora_np.lora.backward, or gW = gYᵀ X first and then gB = s gW Aᵀ, gA = s Bᵀ gW. A tolerance of 1e-12 is "
            "wide enough for right code and too narrow for float32.",
        ),
        equations=("grad-2", "oracle-error"),
    ),
    Quiz(
        id="15.quiz",
        answers=("c57d831a8b86", "6c9b9943ad75", "a1c82044a78a", "1fd0380362c4", "965a8d0488a0"),
        again=(
            "A tolerance that sees nothing",
            "Count in roundings",
            "Which inputs bite",
            "Put an implementation to the test",
            "Certify a released one",
        ),
    ),
)
