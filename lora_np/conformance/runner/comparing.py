"""Comparing an answer with what is expected, in units of u, output by output.  Floor 6.  Nothing here calls anything.

The error of an element is |got − want| / (u S), after taking off what is not the implementation's: one underflow for
each rounding, and for types of 16 bits the half unit that storing the result may cost.  It is reported in units of u
and in percent of the level's limit, never as "not close".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lora_np.conformance.exact.rounding import smallest, unit
from lora_np.conformance.runner.answer import carrier, shown
from lora_np.conformance.runner.levels import limit_in_u, working_type
from lora_np.conformance.vectors.format import HALF_TYPES, Case, Output


@dataclass(frozen=True, slots=True)
class Difference:
    """How one output stands: its worst error, the limit, the first wrong element, or why it cannot be compared."""

    output: str
    error_u: float = 0.0
    limit_u: float = 0.0
    problem: str = ""
    index: tuple[int, ...] | None = None  # of the first wrong element
    got: float = 0.0
    want: float = 0.0
    wrong: int = 0
    elements: int = 0

    @property
    def ok(self) -> bool:
        """Tell whether the output passes."""
        return not self.problem and self.index is None

    @property
    def percent(self) -> float:
        """The error in percent of the limit."""
        if self.error_u == 0 and self.ok:
            return 0.0
        return 100 * self.error_u / self.limit_u if self.limit_u else float("inf")


def compare(case: Case, got: Mapping[str, np.ndarray], level: str) -> list[Difference]:
    """Compare all outputs of a case; a name that is missing or not expected is a difference of its own."""
    inf = float("inf")
    found = [
        one_output(case, name, got[name], want, level)
        if name in got
        else Difference(
            name, inf, problem=f"{name} is missing; returned were {', '.join(got) or 'no outputs'}"
        )
        for name, want in case.outputs.items()
    ]
    surplus = [name for name in got if name not in case.outputs]
    wanted = ", ".join(case.outputs)
    return found + [
        Difference(name, inf, problem=f"{name} is not expected; wanted are {wanted}") for name in surplus
    ]


def one_output(case: Case, name: str, got: np.ndarray, want: Output, level: str) -> Difference:
    """Compare one output: shape, element type, then every element."""
    limit = limit_in_u(level, want.roundings, case.dtype, case.method)
    problem = _unfit(case, name, got, want)
    if problem:
        return Difference(name, float("inf"), limit, problem)
    errors = errors_in_u(got, want, case.dtype)
    wrong = np.argwhere(errors > limit)
    worst = float(errors.max(initial=0.0))
    if not len(wrong):
        return Difference(name, worst, limit, elements=got.size)
    index = tuple(int(i) for i in wrong[0])
    first = float(got[index]), float(want.want[index])
    return Difference(name, worst, limit, "", index, *first, len(wrong), got.size)


def _unfit(case: Case, name: str, got: np.ndarray, want: Output) -> str:
    """Say why the numbers do not matter: wrong shape or element type.  What takes no rounding may be of any type."""
    if got.shape != want.want.shape:
        return f"{name} has shape {got.shape}, expected {want.want.shape}"
    expected = carrier(case.dtype)
    if want.roundings and got.shape and got.dtype.name != expected:
        return f"{name} has element type {got.dtype.name}, expected {expected}"
    return ""


def errors_in_u(got: np.ndarray, want: Output, dtype: str) -> np.ndarray:
    """Return |got − want| / (u S) for every element; a NaN on one side only counts as infinite.

    >>> errors_in_u(np.array([1.0 + 2.0**-52]), Output(np.array([1.0]), np.array([1.0]), 1), "float64")
    array([2.])
    """
    wide, kind = np.longdouble, working_type(dtype)
    x, y, S = got.astype(wide), want.want.astype(wide), want.size.astype(wide)
    allowed = want.roundings * wide(smallest(kind)) * np.ones_like(y)
    if dtype in HALF_TYPES:
        allowed += unit(dtype) * np.abs(y) + wide(smallest(dtype)) / 2
    with np.errstate(invalid="ignore"):  # inf − inf, where both are equal
        gap = np.abs(x - y)
        gap = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0, np.maximum(gap - allowed, 0))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(gap == 0, 0, gap / (unit(kind) * S)).astype(np.float64)
    return np.where(np.isnan(ratio), np.inf, ratio)


def sentence(case: Case, found: Difference) -> str:
    """Say in one sentence what is wrong with an output: the first wrong element, the error, and how many are wrong.

    >>> case = Case("lora/forward#1", "lora", "forward", {}, "float64", {})
    >>> sentence(case, Difference("Y", 4.5e15, 16.0, "", (0, 2), 0.5, 1.0, 3, 6))
    'Y[0, 2]: got 0.5, want 1 (error 4.5e+15 u, limit 16 u); 3 of 6 elements wrong'
    """
    if found.problem or found.index is None:
        return found.problem
    place = f"{found.output}[{', '.join(map(str, found.index))}]" if found.index else found.output
    numbers = f"got {shown(found.got, case.dtype)}, want {shown(found.want, case.dtype)}"
    error = f"error {found.error_u:.3g} u, limit {found.limit_u:.4g} u"
    return f"{place}: {numbers} ({error}); {found.wrong} of {found.elements} elements wrong"
