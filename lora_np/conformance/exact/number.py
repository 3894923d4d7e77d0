"""A number that carries its own error bound: value, size S, and how many roundings K it took.  Floor 6.

Standard model: fl(a op b) = (a op b)(1 + δ), |δ| ≤ u.  If two computed operands err by at most γ(K) S each, so does the
result, with the S and K below.  For sums and products S is the same formula on absolute values, whatever the order
of summation; a division or a root makes S grow with the condition of its operand.  The value is a `Fraction`, which
is exact, or an mpmath number of some hundred bits where a root or an exponential has entered.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

Value = Any
"""A Fraction, or an `mpmath.mpf` once an irrational function has entered."""


class Exact:
    """A value, its size S (a float, S ≥ |value|) and its count of roundings K.

    >>> a, b = Exact.of(0.5), Exact.of(-3)
    >>> total = a * b + 1
    >>> total.value, total.size, total.roundings
    (Fraction(-1, 2), 2.5, 2)
    """

    __slots__ = ("roundings", "size", "value")

    def __init__(self, value: Value, size: float, roundings: int = 0) -> None:
        self.value = value
        self.size = size
        self.roundings = roundings

    @classmethod
    def of(cls, x: float | int | Fraction, roundings: int = 0) -> Exact:
        """Take a number as it is given: exact, of size |x|.  A ratio such as alpha / r takes one rounding."""
        value = Fraction(x)
        return cls(value, float(abs(value)), roundings)

    def __add__(self, other: Any) -> Exact:
        """S = S₁ + S₂, K = max(K₁, K₂) + 1."""
        other = _exact(other)
        if other is NotImplemented:
            return NotImplemented
        value = _apply("__add__", self.value, other.value)
        return Exact(value, self.size + other.size, max(self.roundings, other.roundings) + 1)

    __radd__ = __add__

    def __neg__(self) -> Exact:
        return Exact(-self.value, self.size, self.roundings)

    def __sub__(self, other: Any) -> Exact:
        other = _exact(other)
        return NotImplemented if other is NotImplemented else self.__add__(-other)

    def __rsub__(self, other: Any) -> Exact:
        return self.__neg__().__add__(other)

    def __mul__(self, other: Any) -> Exact:
        """S = S₁ S₂, K = K₁ + K₂ + 1."""
        other = _exact(other)
        if other is NotImplemented:
            return NotImplemented
        value = _apply("__mul__", self.value, other.value)
        return Exact(value, self.size * other.size, self.roundings + other.roundings + 1)

    __rmul__ = __mul__

    def inverse(self) -> Exact:
        """Take 1 / x: S = S / x², which is 1 / |x| for an operand known to its last place."""
        value = 1 / self.value
        return Exact(value, self.size * float(value) ** 2, self.roundings)

    def __truediv__(self, other: Any) -> Exact:
        other = _exact(other)
        return NotImplemented if other is NotImplemented else self.__mul__(other.inverse())

    def __rtruediv__(self, other: Any) -> Exact:
        return self.inverse().__mul__(other)

    def mapped(self, value: Value, slope: Value) -> Exact:
        """Apply a smooth function f with f(x) = `value` and f′(x) = `slope`: S = |f| + |f′| S."""
        return Exact(value, float(abs(value)) + float(abs(slope)) * self.size, self.roundings + 1)

    def __repr__(self) -> str:
        return f"Exact({float(self.value)!r}, S={self.size!r}, K={self.roundings})"


def _exact(x: Any) -> Any:
    """Take a plain number as exact; leave what is neither to Python."""
    if isinstance(x, Exact):
        return x
    return Exact.of(x) if isinstance(x, (int, float, Fraction)) else NotImplemented


def _apply(operation: str, a: Value, b: Value) -> Value:
    """Apply an operation of two values; a Fraction beside an mpmath number is converted at full precision."""
    if isinstance(a, Fraction) and not isinstance(b, Fraction):
        a = high_precision(a)
    elif isinstance(b, Fraction) and not isinstance(a, Fraction):
        b = high_precision(b)
    return getattr(a, operation)(b)


def high_precision(value: Value) -> Value:
    """Convert a Fraction to an mpmath number of the current working precision; leave such a number alone."""
    import mpmath

    if isinstance(value, Fraction):
        return mpmath.mpf(value.numerator) / value.denominator
    return value
