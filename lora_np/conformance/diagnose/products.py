"""The wrong product: Kronecker factors the other way round, a matrix product for an elementwise one, a factor lost.

Floor 6.  Rows for loha, lokr, vera, adalora, lora-xs, additive, symmetric, ia3 and oft.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.applying import ia3, linear
from lora_np.conformance.diagnose.formulas import (
    Weight,
    adding,
    cayley,
    lora,
    neumann,
    rotated,
    rotation_of,
    second_of_kronecker,
    skew_blocks,
    weight_of,
)
from lora_np.conformance.diagnose.guessing import Guess, Hypothesis, answer, of_method, one
from lora_np.conformance.diagnose.question import Question, Tensors


def _increment(flag: str, method: str, words: str, *increments: Callable[[Tensors], Array]) -> Hypothesis:
    """Make a row from the increments that are computed by mistake."""

    def guesses(q: Question) -> Iterator[Guess]:
        for increment in increments:
            yield answer(q, weight=adding(increment)), words

    return Hypothesis(flag, of_method(method), guesses)


def _ones(flag: str, method: str, *names: str) -> Hypothesis:
    """Make a row from vectors that are left out: ones in their place."""

    def guesses(q: Question) -> Iterator[Guess]:
        for name in names:
            yield answer(q, **{name: np.ones_like(q.tensors[name])}), f"{name} is left out"
            yield answer(q, **{name: q.tensors[name] ** 2}), f"{name} is applied twice"

    return Hypothesis(flag, of_method(method), guesses)


def _divided(method: str, *names: str) -> Hypothesis:
    """Make a row from vectors that divide for multiply."""

    def guesses(q: Question) -> Iterator[Guess]:
        for name in names:
            yield answer(q, weight=_with_inverse(method, name)), f"{name} divides for multiplies"

    return Hypothesis("VectorChanged", of_method(method), guesses)


def _with_inverse(method: str, name: str) -> Weight:
    right = weight_of(method)
    if right is None:
        raise KeyError(method)
    return lambda t, c, s: right(t | {name: 1 / t[name]}, c, s)


def _pair(t: Tensors, i: int) -> Array:
    return t[f"B{i}"] @ t[f"A{i}"]


def _swapped_lambdas(t: Tensors) -> Array:
    b, d = t["lambda_b"], t["lambda_d"]
    return (np.resize(d, b.shape)[:, None] * t["B"]) @ (np.resize(b, d.shape)[:, None] * t["A"])


def _repeated(t: Tensors) -> Array:
    r, (d, k) = t["A"].shape[0], (t["B"].shape[0], t["A"].shape[1])
    return np.repeat(t["B"], k // r, axis=1) + np.repeat(t["A"], d // r, axis=0)


def _ia3_other_side(q: Question) -> Array | None:
    t, other = q.tensors, not q.config["feedforward"]
    if t["W0"].shape[0] != t["W0"].shape[1]:
        return None
    return answer(
        q,
        weight=lambda t, _c, _s: t["W0"] * (t["l"] if other else t["l"][:, None]),
        output=lambda t, _c, W: ia3(t, {"feedforward": other}, W),
    )


def _ia3_bias(q: Question) -> Array | None:
    if "bias" not in q.tensors:
        return None
    if not q.config["feedforward"]:
        return answer(q, output=linear)
    return answer(q, output=lambda t, _c, W: t["X"] @ W.T + np.resize(t["l"], t["bias"].shape) * t["bias"])


def _ia3_added(q: Question) -> Iterator[Guess]:
    yield answer(q, l=1 + q.tensors["l"]), "1 + l for l"
    yield answer(q, l=q.tensors["l"] ** 2), "l is applied twice"
    yield answer(q, l=1 / q.tensors["l"]), "1 / l for l"


def _ia3_epsilon(q: Question) -> Iterator[Guess]:
    for eps in (1e-8, 1e-6, 1e-5):
        yield answer(q, l=q.tensors["l"] + eps), f"{eps:g} is added to l"


def _rotation(flag: str, words: str, rotation: Callable[[Array], Array]) -> Hypothesis:
    return Hypothesis(
        flag,
        of_method("oft"),
        one(lambda q: answer(q, weight=lambda t, c, _s: rotated(t, rotation, c)), words),
    )


def _oft_other_side(q: Question) -> Iterator[Guess]:
    def left(t: Tensors) -> Array:
        b = t["W0"].shape[0] // t["q"].shape[0]
        R = rotation_of(q.config)(skew_blocks(t["q"], b))
        return np.concatenate([R[i] @ t["W0"][i * b : (i + 1) * b] for i in range(len(R))])

    if q.tensors["W0"].shape[0] == q.tensors["W0"].shape[1]:
        yield answer(q, weight=lambda t, _c, _s: left(t)), "the rotation acts on the outputs for the inputs"


def _column_major(q: Question) -> Iterator[Guess]:
    t = q.tensors
    b = t["W0"].shape[1] // t["q"].shape[0]
    rows, columns = np.tril_indices(b, -1)
    upper = np.triu_indices(b, 1)
    place = {pair: n for n, pair in enumerate(zip(columns.tolist(), rows.tolist(), strict=True))}
    order = [place[pair] for pair in zip(*(axis.tolist() for axis in upper), strict=True)]
    yield answer(q, q=t["q"][:, order]), "the triangle is read column by column"


HYPOTHESES = (
    _increment(
        "KroneckerOrder",
        "lokr",
        "the Kronecker product is the other way round: kron(D, C)",
        lambda t: np.kron(second_of_kronecker(t), t["C"]),
    ),
    _increment(
        "KroneckerTransposed",
        "lokr",
        "one side of the Kronecker product is transposed",
        lambda t: np.kron(t["C"].T, second_of_kronecker(t)),
        lambda t: np.kron(t["C"], second_of_kronecker(t).T),
        lambda t: np.kron(t["C"].T, second_of_kronecker(t).T),
    ),
    _increment(
        "ProductForHadamard",
        "loha",
        "a matrix product of the two pairs for an elementwise one",
        lambda t: _pair(t, 1) @ _pair(t, 2),
    ),
    _increment(
        "SumForHadamard",
        "loha",
        "the two pairs are added for multiplied",
        lambda t: _pair(t, 1) + _pair(t, 2),
    ),
    _increment(
        "OnePairOnly",
        "loha",
        "one pair is left out, or used twice",
        lambda t: _pair(t, 1),
        lambda t: _pair(t, 2),
        lambda t: _pair(t, 1) ** 2,
        lambda t: _pair(t, 2) ** 2,
    ),
    _increment(
        "HadamardForProduct",
        "loha",
        "factors are multiplied elementwise before the product",
        lambda t: (t["B1"] * t["B2"]) @ (t["A1"] * t["A2"]),
    ),
    _increment("VectorsSwapped", "vera", "lambda_b and lambda_d are swapped", _swapped_lambdas),
    _ones("MissingVector", "vera", "lambda_b", "lambda_d"),
    _divided("vera", "lambda_b", "lambda_d"),
    _divided("adalora", "lam"),
    _increment(
        "VectorAdded",
        "vera",
        "a vector is added for multiplied",
        lambda t: (t["lambda_b"][:, None] + t["B"]) @ (t["lambda_d"][:, None] * t["A"]),
    ),
    _ones("MissingVector", "adalora", "lam"),
    _increment(
        "SignLost", "adalora", "|lam| for lam", lambda t: (t["P"] * np.abs(np.real(t["lam"]))) @ t["Q"]
    ),
    _increment("MissingVector", "lora-xs", "R is left out", lora),
    _increment("Transposed", "lora-xs", "R is transposed", lambda t: t["B"] @ t["R"].T @ t["A"]),
    _increment("RepeatForTile", "additive", "each column is repeated for the whole tiled", _repeated),
    _increment("ProductForSum", "additive", "a product B A for the sum", lora),
    _increment(
        "StartNotSubtracted",
        "symmetric",
        "the starting factors are not subtracted, or added",
        lora,
        lambda t: lora(t) + t["B0"] @ t["A0"],
    ),
    Hypothesis(
        "WrongSide",
        of_method("ia3"),
        one(_ia3_other_side, "l multiplies the inputs for the outputs, or the reverse"),
    ),
    Hypothesis(
        "BiasNotScaled",
        of_method("ia3"),
        one(_ia3_bias, "the bias is scaled where it must not be, or the reverse"),
    ),
    Hypothesis("VectorChanged", of_method("ia3"), _ia3_added),
    Hypothesis("EpsilonAdded", of_method("ia3"), _ia3_epsilon),
    _rotation("RotationInverted", "the rotation is transposed: (I + Q)(I − Q)⁻¹", lambda Q: cayley(-Q)),
    _rotation("NeumannForInverse", "five terms of a series for the inverse", neumann),
    _rotation("InverseForNeumann", "the inverse for the series of five terms", cayley),
    _rotation("HalfRotation", "Q / 2 or 2 Q for Q", lambda Q: cayley(Q / 2)),
    _rotation("HalfRotation", "Q / 2 or 2 Q for Q", lambda Q: cayley(2 * Q)),
    _rotation("InverseMissing", "I − Q without the inverse", lambda Q: np.eye(Q.shape[-1]) - Q),
    Hypothesis("WrongSide", of_method("oft"), _oft_other_side),
    Hypothesis("TriangleOrder", of_method("oft"), _column_major),
)
