"""Bring a matrix to unit size by a power of two, so that squares neither overflow nor vanish.  Floor 1.

A product with a power of two is exact, so nothing is lost: singular values come back by the same power.  Numbers
are taken to at least double precision first; narrower types are rounded once, at the end.
"""

import math

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import NonFiniteError


def times_power_of_two(x: Array, exponent: int) -> Array:
    """Multiply by 2**exponent, in two halves because 2.0**1074 does not exist.

    >>> import numpy as np
    >>> times_power_of_two(np.full(1, 5e-324), 1074)
    array([1.])
    """
    half = exponent // 2
    return (x * 2.0**half) * 2.0 ** (exponent - half)


def to_unit_scale(M: Float[Array, "m n"]) -> tuple[Float[Array, "m n"], int]:
    """Return M 2**(-e), its largest entry in [1/2, 1), and the exponent e; in float64 or wider.

    >>> import numpy as np
    >>> to_unit_scale(np.array([[3e300, 0.0]]))[0].max() < 1
    np.True_
    """
    xp = array_namespace(M)
    wide = xp.astype(M, xp.result_type(M.dtype, xp.float64))
    top = float(xp.max(xp.abs(wide))) if math.prod(M.shape) else 0.0
    exponent = math.frexp(top)[1]
    return times_power_of_two(wide, -exponent), exponent


def scale_number(number: float, exponent: int) -> float:
    """Return number 2**exponent, infinite where it overflows.

    >>> scale_number(1.0, 3), scale_number(1.0, 5000)
    (8.0, inf)
    """
    try:
        return math.ldexp(number, exponent)
    except OverflowError:
        return math.inf


def from_unit_scale(sigma: Float[Array, " q"], exponent: int, like: Array) -> Float[Array, " q"]:
    """Return sigma 2**e, sorted as it came, in the element type of `like`.

    Raises `NonFiniteError` where the largest does not fit that type: a matrix of finite entries can have a
    singular value beyond them.
    """
    xp = array_namespace(sigma)
    if sigma.shape[0] and scale_number(float(sigma[0]), exponent) > float(xp.finfo(like.dtype).max):
        raise NonFiniteError(
            f"the largest singular value exceeds the range of {checks.dtype_name(like)}",
            fix="scale M down, or pass it in a wider type",
        )
    return xp.astype(times_power_of_two(sigma, exponent), like.dtype)
