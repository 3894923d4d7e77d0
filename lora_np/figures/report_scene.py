"""What the oracle's room shows: who was asked what, who passed, how far off, and what was found.  Floor 6.

The published run is read, not measured.  Nothing here judges: `conformance` does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lora_np.conformance.bounds import unit_roundoff
from lora_np.conformance.published import Departure, Failure, Measured, departures, results
from lora_np.conformance.vectors.format import shipped

IMPLEMENTATIONS: Mapping[str, str] = {
    "peft": "PEFT, used as its users use it",
    "loralib": "loralib, the LoRA authors' own package",
    "conv1d": "PEFT on GPT-2's Conv1D layers, whose weights stand transposed",
    "peft-rslora": "PEFT's combining of adapters that are scaled by α / √r",
    "torch": "the formulas typed into PyTorch by us, gradients by its autograd",
}
"""What was asked, in words."""


class Standing(NamedTuple):
    """How one implementation stands in one method, or in one operation of it.

    The worst errors are in units of u, of what passed and of what failed with a number; None where there is none.
    `by_design` counts the failures that people judged to be another choice, not a mistake.
    """

    implementation: str
    method: str
    asked: int
    passed: int
    not_claimed: int
    worst_passed: float | None
    worst_failed: float | None
    by_design: int = 0

    @property
    def failed(self) -> int:
        """How many cases failed."""
        return self.asked - self.passed

    @property
    def mark(self) -> str:
        """Say it in a sign.

        >>> Standing("peft", "lora", 300, 256, 44, 1.98, None, by_design=40).mark
        '✗ 4'
        """
        if not self.asked:
            return "–"
        if not self.failed:
            return "✓"
        return f"✗ {self.mistakes}" if self.mistakes else f"≠ {self.failed}"

    @property
    def mistakes(self) -> int:
        """How many cases failed, but for what is by design."""
        return self.failed - self.by_design

    @property
    def words(self) -> str:
        """Say it in words."""
        if not self.asked:
            return "not claimed"
        if not self.failed:
            return f"all {self.asked} pass"
        return f"{self.failed} of {self.asked} fail, {self.by_design} of them by design"


class Finding(NamedTuple):
    """Failures of one implementation that have the same cause: where, how many, how far off, and what shows it."""

    name: str
    verdict: str
    cases: int
    where: tuple[str, ...]
    worst_u: float | None
    first: Failure


@dataclass(frozen=True, slots=True, eq=False)
class ReportScene:
    """The published run, and every row of the table of departures from the papers."""

    suite: str
    level: str
    implementations: Mapping[str, Measured]
    standings: tuple[Standing, ...]
    departures: tuple[Departure, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """Every method of the vectors, in the order of their names."""
        return tuple(dict.fromkeys(one.method for one in self.standings))

    @property
    def claimed(self) -> tuple[str, ...]:
        """The methods that somebody claims."""
        return tuple(dict.fromkeys(one.method for one in self.standings if one.asked))

    def rows(self, methods: Sequence[str]) -> list[Standing]:
        """Pick the standings in some methods."""
        return [one for one in self.standings if one.method in methods]


def report_scene() -> ReportScene:
    """Read what the published run found.

    Raises `DatasetError` where a file of the package is missing or damaged.
    """
    found = results()
    sizes = method_sizes()
    return ReportScene(
        suite=found.suite,
        level=found.level,
        implementations={one.target: one for one in found.implementations},
        standings=tuple(
            _standing(one, method, size) for method, size in sizes.items() for one in found.implementations
        ),
        departures=tuple(departures()),
    )


def method_sizes() -> dict[str, int]:
    """Count the cases of every method of the vectors.

    >>> method_sizes()["count"]
    113
    """
    files: Mapping[str, int] = json.loads((shipped() / "manifest.json").read_text())["files"]
    sizes: dict[str, int] = {}
    for name, cases in files.items():
        method = name.partition("/")[0]
        sizes[method] = sizes.get(method, 0) + cases
    return dict(sorted(sizes.items()))


def _standing(one: Measured, method: str, size: int) -> Standing:
    """Sum up the operations of a method."""
    rows = [row for row in one.table if _method(row.capability) == method]
    theirs = [row for row in one.failures if _method(row.capability) == method]
    wrong = [row.worst_u for row in theirs]
    asked = sum(row.cases for row in rows)
    return Standing(
        one.target,
        method,
        asked,
        sum(row.passed for row in rows),
        size - asked,
        largest([row.worst_u for row in rows if row.passed]),
        largest(wrong),
        sum(row.number for row in theirs if row.verdict == "by design"),
    )


def _method(capability: str) -> str:
    """Name the method of a capability."""
    return capability.partition(".")[0]


def largest(errors: Sequence[float | None]) -> float | None:
    """Find the largest error; None where there is no number."""
    return max((error for error in errors if error is not None and math.isfinite(error)), default=None)


def findings(one: Measured, method: str = "") -> list[Finding]:
    """Group an implementation's failures by their cause, the most frequent first; of one method only if named.

    >>> [found.name for found in findings(results().implementations[0], "olora")]
    ['olora-conv1d', 'loading-converts']
    """
    groups: dict[str, list[Failure]] = {}
    for row in one.failures:
        if method in ("", _method(row.capability)):
            groups.setdefault(row.name, []).append(row)
    found = [
        Finding(
            name,
            rows[0].verdict,
            sum(row.number for row in rows),
            tuple(dict.fromkeys(row.capability for row in rows)),
            largest([row.worst_u for row in rows]),
            max(rows, key=lambda row: (bool(row.diagnosis), row.number)),
        )
        for name, rows in groups.items()
    ]
    return sorted(found, key=lambda one: -one.cases)


def in_roundings(tolerance: float) -> float:
    """Say a relative tolerance in units of u of double precision.  [oracle-error]

    >>> f"{in_roundings(1e-5):.0e}"
    '9e+10'
    """
    return tolerance / unit_roundoff("float64")
