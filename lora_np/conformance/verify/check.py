"""What a check is, what one measurement says, and what became of it.  Floor 6."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from lora_np.conformance.verify.implementation import Implementation


class Reading(NamedTuple):
    """One measurement: the worst error of one quantity in units of u, its bound, and where."""

    error_u: float
    bound_u: float
    dtype: str
    shape: tuple[int, ...]


class Check(NamedTuple):
    """One claim: the equation it tests, in words, the functions it calls, and how to measure them."""

    equation: str
    name: str
    uses: tuple[str, ...]
    measure: Callable[[Implementation], Iterable[Reading]]


class Result(NamedTuple):
    """The reading of a check that came nearest to its bound, or went furthest beyond it."""

    equation: str
    check: str
    backend: str
    error_u: float
    bound_u: float
    ok: bool
    dtype: str
    shape: tuple[int, ...]
    cases: int
    seconds: float
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields by name; an error that is not finite becomes null, which every JSON reader knows."""
        fields = self._asdict()
        fields["error_u"] = self.error_u if math.isfinite(self.error_u) else None
        return fields


def run(check: Check, implementation: Implementation) -> Result:
    """Measure; an exception of the code under test is a failure of the check, with its text as the problem.

    A check that measured nothing fails too: a claim without a case is no evidence.
    """
    start, problem = time.perf_counter(), ""
    readings: list[Reading] = []
    try:
        readings.extend(check.measure(implementation))
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        readings.append(Reading(math.inf, 0.0, "", ()))
    if not readings:
        problem = "no case was measured"
        readings.append(Reading(math.inf, 0.0, "", ()))
    worst = max(readings, key=_closeness)
    return Result(
        equation=check.equation,
        check=check.name,
        backend=implementation.name,
        error_u=worst.error_u,
        bound_u=worst.bound_u,
        ok=worst.error_u <= worst.bound_u,
        dtype=worst.dtype,
        shape=worst.shape,
        cases=len(readings),
        seconds=time.perf_counter() - start,
        problem=problem,
    )


def _closeness(reading: Reading) -> float:
    """Tell how much of its bound a reading uses; more than 1 is a failure, and NaN the worst of all."""
    if math.isnan(reading.error_u):
        return math.inf
    if reading.bound_u:
        return reading.error_u / reading.bound_u
    return math.inf if reading.error_u else 0.0
