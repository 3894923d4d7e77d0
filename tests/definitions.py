"""Helpers for the tests of definitions: plain numbers in and out, and slopes by exact differences."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from lora_np.conformance.definitions import definition
from lora_np.conformance.exact.functions import precision
from lora_np.conformance.exact.loops import each, flat
from lora_np.conformance.exact.number import Exact
from lora_np.conformance.exact.rounding import fraction_of

STEP = Fraction(1, 2**60)


def exact(array: Any) -> Any:
    """Make exact numbers of nested lists of ints and Fractions."""
    return each(Exact.of, array)


def values(array: Any) -> Any:
    """Take the Fractions (or mpmath numbers) out of nested lists of exact numbers."""
    return each(lambda x: x.value if isinstance(x, Exact) else Fraction(x), array)


def run(method: str, operation: str, t: dict[str, Any], **config: Any) -> dict[str, Any]:
    """Run an operation of a definition on ints and Fractions; tokens, called X, stay ints."""
    whole = method == "lora-embedding"
    inputs = {name: array if whole and name == "X" else exact(array) for name, array in t.items()}
    numbers = {k: Exact.of(v) if isinstance(v, (float, Fraction)) else v for k, v in config.items()}
    found = definition(method).operation(operation)(inputs, numbers)
    return {name: values(array) for name, array in found.items()}


def loss(method: str, t: dict[str, Any], **config: Any) -> Fraction:
    """Σ gY Y, exactly or to some hundred bits."""
    Y = run(method, "forward", {name: x for name, x in t.items() if name != "gY"}, **config)["Y"]
    terms = zip(flat(t["gY"]), flat(Y), strict=True)
    return sum((Fraction(g) * fraction_of(y) for g, y in terms), Fraction(0))


def moved(array: Any, place: int, by: Fraction) -> Any:
    """Add `by` to one element of nested lists, counted row by row."""
    count = iter(range(len(flat(array))))
    return each(lambda x: x + by if next(count) == place else x, array)


def worst_slope_error(method: str, t: dict[str, Any], names: tuple[str, ...], **config: Any) -> Fraction:
    """Compare the tape's gradients with central differences, in 320 bits; return the worst difference."""
    worst = Fraction(0)
    with precision(320):
        gradients = run(method, "backward", t, **config)
        assert set(gradients) == {f"g{name}" for name in names}
        for name in names:
            for place, g in enumerate(flat(gradients[f"g{name}"])):
                ends = [
                    loss(method, {**t, name: moved(t[name], place, by)}, **config) for by in (STEP, -STEP)
                ]
                worst = max(worst, abs(fraction_of(g) - (ends[0] - ends[1]) / (2 * STEP)))
    return worst
