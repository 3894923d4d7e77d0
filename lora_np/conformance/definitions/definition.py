"""What a definition is, how its gradients are taken, and the few lines that definitions share.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_np.conformance.exact.loops import each, flat
from lora_np.conformance.exact.tape import Taped, gradients

Tensors = Mapping[str, Any]
"""Nested lists of numbers, by name."""

Config = Mapping[str, Any]
"""Counts as int, real numbers in the kind of number in use."""

Formula = Callable[[Tensors, Config], dict[str, Any]]
"""From tensors and configuration to outputs by name."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A method: its id, the tensors it trains, its formula, and its other operations by name.

    `inputs` are the tensors besides `trainable` for which backward returns a gradient.
    """

    method: str
    trainable: tuple[str, ...]
    forward: Formula
    others: Mapping[str, Formula] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("X",)

    def operation(self, name: str) -> Formula:
        """Return the formula of an operation: "forward", "backward", or one of `others`."""
        if name == "backward":
            return lambda t, config: backward(self, t, config)
        return self.forward if name == "forward" else self.others[name]


def backward(definition: Definition, t: Tensors, config: Config) -> dict[str, Any]:
    """Pull the output gradients t["gY"] back to inputs and trainable tensors: {"gX": ..., "gB": ...}.

    Every output of `forward` needs its own gradient in `t`, named with a g before.
    """
    names = [name for name in (*definition.inputs, *definition.trainable) if name in t]
    taped = {name: each(Taped, t[name]) for name in names}
    outputs = definition.forward({**t, **taped}, config)
    found = iter(
        gradients(
            [y for array in outputs.values() for y in flat(array)],
            [g for name in outputs for g in flat(t[f"g{name}"])],
            [x for name in names for x in flat(taped[name])],
        )
    )
    return {f"g{name}": filled(t[name], found) for name in names}


def filled(like: Any, numbers: Iterator[Any]) -> Any:
    """Nest numbers, one after the other, as `like` is nested."""
    return [filled(item, numbers) for item in like] if isinstance(like, list) else next(numbers)


def with_bias(y: list[Any], t: Tensors) -> list[Any]:
    """Add the bias, if there is one, to one row of outputs."""
    return [a + b for a, b in zip(y, t["bias"], strict=True)] if "bias" in t else y


def plus(M: Any, P: Any) -> Any:
    """M + P, entry by entry."""
    return each(lambda a, b: a + b, M, P)


def minus(M: Any, P: Any) -> Any:
    """M − P, entry by entry."""
    return each(lambda a, b: a - b, M, P)


def scaled(s: Any, M: Any) -> Any:
    """Multiply every entry by s."""
    return each(lambda a: s * a, M)
