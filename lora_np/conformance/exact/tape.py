"""The chain rule, recorded: gradients of any formula, in the arithmetic of its own numbers.  Floor 6.

`Taped` wraps a float or an `Exact`; every operation notes its operands and the local derivative by each.  `gradients`
walks the record backwards.  With `Exact` inside, a gradient comes out exact and with its own error bound; nothing here
knows a formula of LoRA.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Plain = Any
"""What a tape wraps: a float, or an `Exact`."""


class Taped:
    """A plain number and how it was made: (operand, local derivative) pairs.

    >>> x = Taped(3.0)
    >>> gradients([x * x + x], [1.0], [x])
    [7.0]
    """

    __slots__ = ("operands", "value")

    def __init__(self, value: Plain, operands: tuple[tuple[Taped, Plain], ...] = ()) -> None:
        self.value = value
        self.operands = operands

    def __add__(self, other: Any) -> Taped:
        if isinstance(other, Taped):
            return Taped(self.value + other.value, ((self, 1), (other, 1)))
        return Taped(self.value + other, ((self, 1),))

    __radd__ = __add__

    def __neg__(self) -> Taped:
        return Taped(-self.value, ((self, -1),))

    def __sub__(self, other: Any) -> Taped:
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> Taped:
        return self.__neg__().__add__(other)

    def __mul__(self, other: Any) -> Taped:
        if isinstance(other, Taped):
            return Taped(self.value * other.value, ((self, other.value), (other, self.value)))
        return Taped(self.value * other, ((self, other),))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Taped:
        if isinstance(other, Taped):
            ratio = self.value / other.value
            return Taped(ratio, ((self, 1 / other.value), (other, -(ratio / other.value))))
        return Taped(self.value / other, ((self, 1 / other),))

    def __rtruediv__(self, other: Any) -> Taped:
        ratio = other / self.value
        return Taped(ratio, ((self, -(ratio / self.value)),))

    def mapped(self, value: Plain, slope: Plain) -> Taped:
        """Apply a function whose value and derivative here are known."""
        return Taped(value, ((self, slope),))


def plain(x: Any) -> Any:
    """Take a number off the tape, so that no derivative flows through it: what frameworks call detaching."""
    return x.value if isinstance(x, Taped) else x


def gradients(outputs: Sequence[Any], upstream: Sequence[Plain], inputs: Iterable[Taped]) -> list[Plain]:
    """Pull `upstream`, one number for each output, back to each input: Σ upstream · ∂output/∂input.

    An output that is off the tape contributes nothing; an input that nothing depends on gets 0.
    """
    collected: dict[int, Plain] = {}

    def give(node: Taped, share: Plain) -> None:
        collected[id(node)] = collected[id(node)] + share if id(node) in collected else share

    ends = [(node, g) for node, g in zip(outputs, upstream, strict=True) if isinstance(node, Taped)]
    for node, g in ends:
        give(node, g)
    for node in reversed(_in_order([node for node, _ in ends])):
        g = collected.get(id(node))
        if g is not None:
            for operand, slope in node.operands:
                give(operand, g if slope is _ONE else g * slope)
    return [collected.get(id(node), 0) for node in inputs]


_ONE = 1  # a sum passes its gradient on as it is: no multiplication, no rounding


def _in_order(ends: Sequence[Taped]) -> list[Taped]:
    """List the nodes below `ends`, operands before results, without recursion."""
    ordered, seen = [], set()
    stack = [(node, False) for node in ends]
    while stack:
        node, done = stack.pop()
        if done:
            ordered.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((operand, False) for operand, _ in node.operands)
    return ordered
