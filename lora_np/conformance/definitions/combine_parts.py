"""What the combinations of adapters share: weighted increments, and the entries that stay.  Floor 6.

Adapters come as the tensors B.0, A.0, B.1, A.1, ...; config has a weight and a scale s for each, and the increment of
one is τ = w s B A.  Every choice (largest entries, signs) is made on exact values; between equals the first entry
stays, row by row.  Nothing here works on one factor alone.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Formula, Tensors, plus, scaled
from lora_np.conformance.exact.functions import absolute
from lora_np.conformance.exact.linear import signed
from lora_np.conformance.exact.loops import Matrix, flat, product, shaped


def count(t: Tensors) -> int:
    """Count the adapters."""
    return sum(name.startswith("B.") for name in t)


def shares(config: Config) -> list[Any]:
    """Multiply each weight by its scale."""
    return [w * s for w, s in zip(config["weights"], config["scales"], strict=True)]


def increments(t: Tensors, config: Config) -> list[Matrix]:
    """Multiply out w s B A of each adapter."""
    return [scaled(c, product(t[f"B.{i}"], t[f"A.{i}"])) for i, c in enumerate(shares(config))]


def added(deltas: list[Matrix]) -> Matrix:
    """Add matrices of one shape."""
    result = deltas[0]
    for delta in deltas[1:]:
        result = plus(result, delta)
    return result


def kept_count(entries: int, density: Any) -> int:
    """⌊density · entries⌋, the density read as the decimal that it prints as."""
    return floor(entries * Fraction(str(float(signed(density)))))


def trimmed(delta: Matrix, density: Any) -> Any:
    """Keep the entries of largest absolute value."""
    entries = flat(delta)
    ranked = sorted(range(len(entries)), key=lambda i: (-signed(absolute(entries[i])), i))
    kept = set(ranked[: kept_count(len(entries), density)])
    return shaped([x if i in kept else 0 for i, x in enumerate(entries)], (len(delta), len(delta[0])))


def sign(x: Any) -> Any:
    """-1, 0 or 1."""
    value = signed(x)
    return (value > 0) - (value < 0)


def agreed(deltas: list[Matrix]) -> Matrix:
    """Elect a sign for each entry, that of the sum, and average the entries that have it; 0 where the sum is 0."""
    elected = added(deltas)
    result: Matrix = []
    for i, row in enumerate(elected):
        result.append([])
        for j, whole in enumerate(row):
            agreeing = [
                delta[i][j] for delta in deltas if sign(whole) != 0 and sign(delta[i][j]) == sign(whole)
            ]
            result[-1].append(sum(agreeing[1:], start=agreeing[0]) / len(agreeing) if agreeing else 0)
    return result


def combination(method: str, combine: Formula) -> Definition:
    """Define a combination: no layer, only the increment that comes out."""
    return Definition(method, trainable=(), forward=combine, others={"combine": combine}, inputs=())
