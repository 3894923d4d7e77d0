"""What becomes of each case, and of a whole run.  Floor 6.  Nothing here runs, compares or prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lora_np.conformance.runner.remote import Claims
from lora_np.conformance.vectors.format import SUITE

VERDICTS = ("pass", "fail", "error", "xfail", "xpass", "not-claimed")
FAILING = ("fail", "error", "xpass")

AUTHORITY = (
    "the paper's equation",
    "the exact oracle (rational numbers and the tape)",
    "the readable NumPy code",
    "the compiled code",
    "released software",
)
"""Who decides where two of them differ, from the highest to the lowest."""


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one case.

    `verdict` is one of `VERDICTS`: "fail" is a wrong answer, "error" is none (raised, no answer in time, a crash).
    `problem` is one sentence, with the first wrong element where there is one: `output` at `index`.  `error_u` is the
    worst error in units of u, `percent` the same in percent of `limit_u`.  `certified` tells that the error is more
    than any rounding explains.  `diagnosis` says what is wrong where that could be told, `flag` names it.
    """

    id: str
    capability: str
    dtype: str
    verdict: str
    error_u: float = 0.0
    limit_u: float = 0.0
    percent: float = 0.0
    certified: bool = False
    problem: str = ""
    output: str = ""
    index: tuple[int, ...] | None = None
    got: float | None = None
    want: float | None = None
    flag: str = ""
    diagnosis: str = ""
    reason: str = ""  # why it is expected to fail, or not claimed
    reproducer: str = ""
    seconds: float = 0.0

    @property
    def method(self) -> str:
        """The method of the case."""
        return self.capability.split(".", 1)[0]

    @property
    def failing(self) -> bool:
        """Tell whether the case fails the run."""
        return self.verdict in FAILING

    def as_json(self) -> dict[str, Any]:
        """Give the record as plain values; a number that is not finite becomes text."""
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: _plain(value) for name, value in kept.items() if value not in ("", None)}


class CapabilityRow(NamedTuple):
    """One capability in a report: counts by verdict, and its worst finite error."""

    capability: str
    passed: int
    failed: int
    xfailed: int
    not_claimed: int
    worst_u: float
    percent: float


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run.

    `problems` are mistakes of the run itself: expected failures that have expired or name no case.
    """

    records: tuple[Record, ...]
    claims: Claims
    target: str
    level: str
    seconds: float
    suite: str = SUITE
    suite_sha256: str = ""
    problems: tuple[str, ...] = ()
    complete: bool = True
    environment: dict[str, str] = field(default_factory=dict)

    def _count(self, *verdicts: str) -> int:
        return sum(record.verdict in verdicts for record in self.records)

    @property
    def passed(self) -> int:
        """How many cases passed."""
        return self._count("pass")

    @property
    def failed(self) -> int:
        """How many cases fail the run: wrong, without an answer, or passing though expected to fail."""
        return self._count(*FAILING)

    @property
    def xfailed(self) -> int:
        """How many cases failed as expected."""
        return self._count("xfail")

    @property
    def not_claimed(self) -> int:
        """How many cases the target does not claim."""
        return self._count("not-claimed")

    @property
    def cases(self) -> int:
        """How many cases were run."""
        return len(self.records) - self.not_claimed

    @property
    def worst_u(self) -> float:
        """The worst error of the cases that passed, in units of u."""
        return max((record.error_u for record in self.records if record.verdict == "pass"), default=0.0)

    @property
    def failures(self) -> list[Record]:
        """The records that fail the run, in the order of the cases."""
        return [record for record in self.records if record.failing]

    @property
    def ok(self) -> bool:
        """Tell whether the target passes: something was run, nothing failed, and the expectations are in order."""
        return self.complete and bool(self.cases) and not self.failed and not self.problems

    def by_capability(self) -> list[CapabilityRow]:
        """Sum up each capability, in the order of the cases."""
        groups: dict[str, list[Record]] = {}
        for record in self.records:
            groups.setdefault(record.capability, []).append(record)
        return [_row(capability, group) for capability, group in groups.items()]


def _row(capability: str, group: Sequence[Record]) -> CapabilityRow:
    def count(*verdicts: str) -> int:
        return sum(record.verdict in verdicts for record in group)

    worst_u, percent = worst(group)
    return CapabilityRow(
        capability, count("pass"), count(*FAILING), count("xfail"), count("not-claimed"), worst_u, percent
    )


def worst(records: Iterable[Record]) -> tuple[float, float]:
    """Return the largest finite error in units of u, and the largest finite percentage."""
    listed = list(records)
    errors = [r.error_u for r in listed if math.isfinite(r.error_u)]
    percents = [r.percent for r in listed if math.isfinite(r.percent)]
    return max(errors, default=0.0), max(percents, default=0.0)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
