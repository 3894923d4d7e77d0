"""Irrational functions on every kind of number: float, Exact, and a tape around either.  Floor 6.

On `Exact` they are computed by mpmath at its working precision (`precision` sets it), hundreds of bits beyond what is
asked for in the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from lora_np.conformance.exact.number import Exact, high_precision
from lora_np.conformance.exact.tape import Taped, plain
from lora_np.errors import BackendError

BITS = 320


@contextmanager
def precision(bits: int = BITS) -> Iterator[None]:
    """Work with `bits` bits wherever an irrational function enters.  Raises `BackendError` without mpmath."""
    try:
        import mpmath
    except ImportError:
        raise BackendError("exact answers need mpmath", fix='pip install "lora-np[vectors]"') from None

    with mpmath.workprec(bits):
        yield


def of_kind(x: int | float, example: Any) -> Any:
    """Make a plain number of the same kind as `example`: an `Exact` beside an `Exact`, a float beside a float.

    >>> of_kind(2, 1.5), of_kind(2, Exact.of(1))
    (2.0, Exact(2.0, S=2.0, K=0))
    """
    example = plain(example)
    return Exact.of(x) if isinstance(example, Exact) else float(x)


def _apply(x: Any, name: str) -> Any:
    """Compute the function called `name` of a plain number; its derivative is not asked for."""
    if isinstance(x, Exact):
        import mpmath

        return getattr(mpmath, name)(high_precision(x.value))
    return getattr(math, name)(x)


def _square_root_of_a_square(value: Any) -> Fraction | None:
    """Return the rational root of a perfect rational square, or None."""
    if isinstance(value, Fraction) and value >= 0:
        above, below = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if above * above == value.numerator and below * below == value.denominator:
            return Fraction(above, below)
    return None


def _mapped(x: Any, value: Any, slope: Any) -> Any:
    return x.mapped(value, slope) if isinstance(x, Exact) else value


def sqrt(x: Any) -> Any:
    """Take the square root.

    >>> sqrt(Exact.of(9)).value, sqrt(2.25)
    (Fraction(3, 1), 1.5)
    """
    if isinstance(x, Taped):
        root = sqrt(x.value)
        return x.mapped(root, 1 / (2 * root))
    if not isinstance(x, Exact):
        return math.sqrt(x)
    root = _square_root_of_a_square(x.value)
    value = _apply(x, "sqrt") if root is None else root
    # S of the root: half the relative size of x, and one rounding of its own at size |root|.
    size = float(value) if x.value == 0 else float(value) * max(1.0, x.size / (2 * float(abs(x.value))) + 0.5)
    return Exact(value, size, x.roundings + 1)


def exp(x: Any) -> Any:
    """Take the exponential."""
    if isinstance(x, Taped):
        value = exp(x.value)
        return x.mapped(value, value)
    value = _apply(x, "exp")
    return _mapped(x, value, value)


def tanh(x: Any) -> Any:
    """Take the hyperbolic tangent; its slope is 1 − tanh²."""
    if isinstance(x, Taped):
        value = tanh(x.value)
        return x.mapped(value, 1 - value * value)
    value = _apply(x, "tanh")
    return _mapped(x, value, 1 - value * value)


def erf(x: Any) -> Any:
    """Take the Gaussian error function; its slope is 2/√π e^(−x²)."""
    if isinstance(x, Taped):
        return x.mapped(erf(x.value), _erf_slope(x.value))
    value = _apply(x, "erf")
    if not isinstance(x, Exact):
        return value
    return x.mapped(value, _erf_slope(x).value)


def _erf_slope(x: Any) -> Any:
    """2/√π e^(−x²)."""
    if isinstance(x, Exact):
        import mpmath

        factor = 2 / mpmath.sqrt(mpmath.pi)
        return exp(-(x * x)) * Exact(factor, float(factor), 1)
    return 2 / math.sqrt(math.pi) * math.exp(-x * x)


def root_of_two_over_pi(like: Any) -> Any:
    """Return √(2/π), rounded once, as the kind of number that `like` is."""
    if not isinstance(plain(like), Exact):
        return math.sqrt(2 / math.pi)
    import mpmath

    root = mpmath.sqrt(2 / mpmath.pi)
    return Exact(root, float(root), 1)


def relu(x: Any) -> Any:
    """Take the positive part; its slope at 0 is taken as 0."""
    if isinstance(x, Taped):
        return x.mapped(relu(x.value), 1 if positive(x.value) else 0)
    if isinstance(x, Exact):
        return x if x.value > 0 else Exact.of(0)
    return max(x, 0.0)


def absolute(x: Any) -> Any:
    """Take |x|; its slope at 0 is taken as 1."""
    value = plain(x)
    return x if (value.value if isinstance(value, Exact) else value) >= 0 else -x


def positive(x: Any) -> bool:
    """Tell whether a number is above zero."""
    if isinstance(x, Taped):
        x = x.value
    return bool((x.value if isinstance(x, Exact) else x) > 0)
