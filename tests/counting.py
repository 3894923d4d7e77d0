"""Arrays that keep a ledger: every product, sum and scaling of the real code counted as it happens.

A `CountedArray` wraps a NumPy array and answers to what floors 1 and 2 use: `@`, `+`, `*` with a number, `.T`,
`shape`, `ndim`, `dtype`.  The ledger holds FLOPs, bytes read and written, and the bytes alive, which fall when
Python frees an array; views keep what they look at alive.  It never computes in place.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Ledger:
    flops: int = 0
    bytes_moved: int = 0
    alive: int = 0
    peak: int = 0
    largest: int = 0
    operations: list[str] = field(default_factory=list)

    def array(self, values):
        """An argument: counted nowhere."""
        return CountedArray(np.asarray(values), self)

    def made(self, values, kind, flops, *operands):
        """A result: it is alive until freed."""
        result = CountedArray(values, self)
        self.operations.append(kind)
        self.flops += flops
        self.bytes_moved += values.nbytes + sum(operand.values.nbytes for operand in operands)
        self.alive += values.nbytes
        self.peak = max(self.peak, self.alive)
        self.largest = max(self.largest, values.size)
        weakref.finalize(result, self._free, values.nbytes)
        return result

    def _free(self, size):
        self.alive -= size


class CountedArray:
    def __init__(self, values, ledger, base=None):
        self.values, self.ledger, self.base = values, ledger, base

    shape = property(lambda self: self.values.shape)
    ndim = property(lambda self: self.values.ndim)
    dtype = property(lambda self: self.values.dtype)

    @property
    def T(self):
        return CountedArray(self.values.T, self.ledger, base=self)

    def __matmul__(self, other):
        (m, n), p = self.shape, other.shape[1]
        return self.ledger.made(self.values @ other.values, "@", 2 * m * n * p, self, other)

    def __add__(self, other):
        return self.ledger.made(self.values + other.values, "+", self.values.size, self, other)

    def __mul__(self, number):
        assert isinstance(number, float)
        return self.ledger.made(self.values * number, "*", self.values.size, self)

    __rmul__ = __mul__
