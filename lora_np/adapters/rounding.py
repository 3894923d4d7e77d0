"""What a merge loses when the weight is kept in 16 bits.  Floor 2.

Rounding to few digits is done here with operators alone, exactly as IEEE 754 says, so that it needs no library that
knows the type.  The sum W0 + ΔW is taken in double precision and rounded once: the best that any merge in this type
can do; a library that rounds the increment first loses more.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.adapters.adapter import LoraAdapter, require_adapter, require_finite_factors
from lora_np.adapters.inspection import frobenius

BLOCK = 2**15  # entries of the weight that are looked at together: they stay in the processor's cache


class Format(NamedTuple):
    """A binary floating type: digits of its significand, exponents of its smallest and largest power of two."""

    digits: int
    lowest: int
    highest: int

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return (2.0 - 2.0 ** (1 - self.digits)) * 2.0**self.highest

    @property
    def finest(self) -> float:
        """The smallest step, between the numbers around zero."""
        return 2.0 ** (self.lowest - self.digits + 1)


FORMATS = {"bfloat16": Format(8, -126, 127), "float16": Format(11, -14, 15)}


class MergeLoss(NamedTuple):
    """What became of an increment that was merged in a 16-bit type.  [increment-rounded] [increment-unchanged]

    `changing` counts the entries that ΔW would change, `unchanged` those of them that stay as they were, `overflowed`
    the entries beyond the type's range.  Errors are infinite where one overflowed.
    """

    largest_error: float
    """max |W − (W0 + ΔW)|"""
    lost: float
    """‖W − (W0 + ΔW)‖_F / ‖ΔW‖_F"""
    changing: int
    unchanged: int
    overflowed: int

    @property
    def unchanged_share(self) -> float:
        """The share of the entries to be changed that stay as they were; 0 where there is none."""
        return self.unchanged / self.changing if self.changing else 0.0


def rounded(x: Array, dtype: str) -> Array:
    """Round doubles to the nearest number of a 16-bit type, ties to even, as doubles.  [increment-rounded]

    Beyond the largest number it is infinite, as IEEE 754 says.  `dtype` is ``"bfloat16"`` or ``"float16"``.  Raises
    `ConfigError`, `DTypeError`.

    >>> rounded(np.array([256.0, 257.0, 257.5, 259.0]), "bfloat16")
    array([256., 256., 258., 260.])
    """
    checks.require_array("x", x)
    checks.require_one_of("dtype", dtype, FORMATS)
    xp, form = array_namespace(x), FORMATS[dtype]
    x = xp.astype(x, xp.float64)
    beyond = xp.abs(x) > 2 * form.largest
    near = xp.where(beyond, xp.zeros_like(x), x)
    turned = near * (2.0**52 + 1)
    power = xp.abs(turned - turned * (1 - 2.0**-53))  # the power of two at or below |x|: Rump's ufp, exact
    step = xp.maximum(power * 2.0 ** (1 - form.digits), xp.full_like(x, form.finest))
    shift = step * (1.5 * 2.0**52)  # subtle: doubles of this size lie one step apart, so adding it rounds
    found = (near + shift) - shift
    lost = beyond | (xp.abs(found) > form.largest)
    return xp.where(lost, xp.where(x > 0, xp.full_like(x, math.inf), xp.full_like(x, -math.inf)), found)


def merge_loss(W0: Float[Array, "d k"], adapter: LoraAdapter, *, dtype: str) -> MergeLoss:
    """Merge in a 16-bit type and measure what is lost.  [increment-rounded] [increment-unchanged]

    W = round(round(W0) + s B A).  The base is rounded first, as it would be loaded in this type; that is not counted.
    An entry stays as it was where |ΔW| is below half a step of W0 there.  Rows are taken in blocks.  Any float types.
    Raises `ConfigError`, `ShapeError`, `RankError`, `DTypeError`, `NonFiniteError`, `OverflowInMergeError`.

    >>> from lora_np.lora import LoraParams
    >>> adapter = LoraAdapter(LoraParams(B=np.array([[2.0**-7], [2.0**-10]]), A=np.ones((1, 1))), scale=1.0)
    >>> loss = merge_loss(np.ones((2, 1)), adapter, dtype="bfloat16")
    >>> loss.largest_error, loss.changing, loss.unchanged
    (0.0009765625, 2, 1)
    """
    checks.require_ndim("W0", W0, 2, "d, k")
    checks.require_one_of("dtype", dtype, FORMATS)
    require_adapter("adapter", adapter, *W0.shape)
    checks.require_finite("W0", W0)
    require_finite_factors("adapter", adapter.p)
    blocks = [_block_loss(W, delta, dtype) for W, delta in _blocks(W0, adapter)]
    overflowed = sum(block.overflowed for block in blocks)
    size = math.hypot(*(block.size for block in blocks))
    error = math.inf if overflowed else math.hypot(*(block.error for block in blocks))
    return MergeLoss(
        largest_error=math.inf if overflowed else max((block.largest for block in blocks), default=0.0),
        lost=error / size if size else error,
        changing=sum(block.changing for block in blocks),
        unchanged=sum(block.unchanged for block in blocks),
        overflowed=overflowed,
    )


class _Block(NamedTuple):
    """The sums over some rows: ‖error‖, max |error|, ‖ΔW‖, and counts."""

    error: float
    largest: float
    size: float
    changing: int
    unchanged: int
    overflowed: int


def _blocks(W0: Array, adapter: LoraAdapter) -> Iterator[tuple[Array, Array]]:
    """Give W0 and s B A in double precision, some rows at a time."""
    xp, (d, k) = array_namespace(W0), W0.shape
    B, A = (xp.astype(factor, xp.float64) for factor in adapter.p)
    rows = max(1, BLOCK // max(k, 1))
    for start in range(0, d, rows):
        part = slice(start, min(start + rows, d))
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow is raised by name
            delta = float(adapter.scale) * (B[part, :] @ A)
        checks.require_no_overflow(delta, "multiplying out the increment")
        yield xp.astype(W0[part, :], xp.float64), delta


def _block_loss(W: Float[Array, "n k"], delta: Float[Array, "n k"], dtype: str) -> _Block:
    """Round the base, merge, round, compare.  [increment-rounded] [increment-unchanged]"""
    xp = array_namespace(W)
    base = rounded(W, dtype)
    kept = xp.isfinite(base)
    base = xp.where(kept, base, xp.zeros_like(base))
    merged = rounded(base + delta, dtype)
    fits = kept & xp.isfinite(merged)
    error = xp.abs(xp.where(fits, merged, base + delta) - (base + delta))
    changing = delta != 0

    def count(truth: Array) -> int:
        return int(xp.sum(xp.astype(truth, xp.int64)))

    return _Block(
        error=frobenius(error),
        largest=float(xp.max(error)) if error.shape[0] * error.shape[1] else 0.0,
        size=frobenius(delta),
        changing=count(changing),
        unchanged=count(changing & fits & (merged == base)),
        overflowed=count(~fits),
    )
