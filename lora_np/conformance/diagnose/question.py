"""One wrong output of one case, and when a guess explains it; the diagnosis that comes of it.  Floor 6.

A guess is the array that comes out if some mistake is made.  It explains what was got if it agrees with every element
within a few units of the bound, and if it is told apart from what was wanted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.exact.rounding import smallest, unit
from lora_np.conformance.runner.comparing import errors_in_u
from lora_np.conformance.runner.levels import limit_in_u, working_type
from lora_np.conformance.vectors.format import HALF_TYPES, Case

FEW = 4.0
"""How many times that a guess may miss: it was computed in another order, and rounded, too."""

Tensors = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is wrong with one output: the flag's name, a sentence, and the first wrong element."""

    name: str
    sentence: str
    output: str
    index: tuple[int, ...]
    got: float
    want: float
    rank: int = field(
        default=0, repr=False, compare=False
    )  # its row in the table: simpler mistakes come first

    def __str__(self) -> str:
        """Say it in one line, with the element in hexadecimal and decimal."""
        where = f"{self.output}[{','.join(map(str, self.index))}]" if self.index else self.output
        return (
            f"{where}: got {self.got.hex()} ({self.got:.6g}), want {self.want.hex()} ({self.want:.6g}); "
            f"{self.sentence} [{self.name}]"
        )


@dataclass(frozen=True, eq=False)
class Question:
    """Why is this output of this case what it is?"""

    case: Case
    name: str
    raw: Array  # what was got, as it came

    @property
    def method(self) -> str:
        """The method's id."""
        return self.case.method

    @property
    def operation(self) -> str:
        """The operation's name."""
        return self.case.operation

    @cached_property
    def config(self) -> dict[str, Any]:
        """The numbers of the case, and the form of an activation that its option names."""
        if self.case.option == ("gelu", "tanh"):
            return {**self.case.config, "activation": "gelu_tanh"}
        return dict(self.case.config)

    @cached_property
    def want(self) -> Array:
        """The true values, as doubles."""
        return np.asarray(self.case.outputs[self.name].want, dtype=np.float64)

    @cached_property
    def size(self) -> Array:
        """The sizes S that the bound is a multiple of."""
        return np.asarray(self.case.outputs[self.name].size, dtype=np.float64)

    @cached_property
    def got(self) -> Array:
        """What was got, as doubles."""
        return np.asarray(self.raw).astype(np.float64)

    @cached_property
    def tensors(self) -> Tensors:
        """The inputs, floats as doubles and integers as they are."""
        return {name: np.array(tensor.values) for name, tensor in self.case.inputs.items()}

    @cached_property
    def u(self) -> float:
        """The unit roundoff of the arithmetic."""
        return unit(working_type(self.case.dtype))

    @cached_property
    def units(self) -> float:
        """How many units of u S are right for this method at the gold level; some, where a result must be exact."""
        K = self.case.outputs[self.name].roundings
        return limit_in_u("gold", max(K, 1), self.case.dtype, self.method)

    @cached_property
    def stored(self) -> Array:
        """What underflow, and storing in 16 bits, may have taken of each element."""
        lost = self.case.outputs[self.name].roundings * smallest(working_type(self.case.dtype))
        if self.case.dtype in HALF_TYPES:
            return lost + smallest(self.case.dtype) + unit(self.case.dtype) * np.abs(self.want)
        return np.full(self.want.shape, lost)

    @cached_property
    def wrong(self) -> Array:
        """Which elements are beyond the bound."""
        output = self.case.outputs[self.name]
        errors = errors_in_u(self.got, output, self.case.dtype)
        return np.asarray(errors > limit_in_u("gold", output.roundings, self.case.dtype, self.method))

    @cached_property
    def worst(self) -> tuple[int, ...]:
        """The index of the element that is furthest off; of the largest one where none is."""
        gap = np.abs(self.got - self.want) if self.got.shape == self.want.shape else np.abs(self.want)
        gap = gap if np.isfinite(gap).all() and gap.any() else np.abs(self.want)
        return tuple(int(i) for i in np.unravel_index(np.argmax(gap), gap.shape)) if gap.size else ()

    def may_be(self, index: tuple[int, ...], guess: float) -> bool:
        """Tell whether one element of a guess is near enough to what was got that the others are worth computing."""
        if self.got.shape != self.want.shape:
            return False
        got, far = float(self.got[index]), 2.0**20 * self.units * self.u * float(self.size[index])
        return not abs(guess - got) > 1e-2 * (abs(guess) + abs(got)) + far

    def room(self, guess: Array) -> Array:
        """How far a guess may be off: a few units of the larger of its size and that of what was wanted."""
        finite = np.abs(guess[np.isfinite(guess)])
        largest = np.abs(self.want).max(initial=0.0)
        growth = max(1.0, float(finite.max(initial=0.0)) / largest) if largest > 0 else 1.0
        growth = growth if math.isfinite(growth) else 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            return FEW * self.units * self.u * (self.size * growth + np.abs(guess)) + self.stored

    def is_explained_by(self, guess: Array) -> bool:
        """Tell whether a guess agrees with all that was got, and not with all that was wanted."""
        guess = np.asarray(guess)
        if guess.shape != self.want.shape or guess.shape != self.got.shape or np.iscomplexobj(guess):
            return False
        if guess.size and not self.may_be(self.worst, float(guess[self.worst])):
            return False
        room = self.room(guess)
        with np.errstate(invalid="ignore", over="ignore"):
            agrees = (
                (np.abs(self.got - guess) <= room)
                | (self.got == guess)
                | (np.isnan(self.got) & np.isnan(guess))
            )
            differs = ~((np.abs(self.want - guess) <= room) | (self.want == guess))
        return bool(agrees.all() and differs.any())

    def diagnosis(self, flag: str, words: str, rank: int = 0) -> Diagnosis:
        """Put a finding into one sentence about all the wrong elements, with the first of them."""
        wrong, total = int(self.wrong.sum()), self.wrong.size
        count = f"all {total}" if wrong == total else f"{wrong} of {total}"
        elements = "element is" if wrong == total == 1 else "elements are"
        index = tuple(int(i) for i in np.argwhere(self.wrong)[0])
        first = float(self.got[index]), float(self.want[index])
        return Diagnosis(flag, f"{count} {elements} {self._off()}{words}", self.name, index, *first, rank)

    def _off(self) -> str:
        """Say "off by 0.25: " where one factor fits all elements, else "wrong: "."""
        factor = constant_factor(self, np.zeros_like(self.want))
        return "wrong: " if factor is None else f"off by {factor:.6g}: "


def constant_factor(q: Question, base: Array) -> float | None:
    """Find c with got = base + c (want − base) for every element; None where there is none, or it is 1."""
    if q.got.shape != q.want.shape or base.shape != q.want.shape or q.want.size == 0:
        return None
    share, got = q.want - base, q.got - base
    where = np.unravel_index(np.argmax(np.abs(share)), share.shape)
    if share[where] == 0 or not np.isfinite(got).all():
        return None
    with np.errstate(over="ignore"):
        factor = float(got[where] / share[where])
    if not math.isfinite(factor) or not q.is_explained_by(base + factor * share):
        return None
    return factor
