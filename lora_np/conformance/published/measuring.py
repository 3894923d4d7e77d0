"""From runs of the released targets to the records that are published.  Floor 6.  Nothing here prints or writes."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from platform import python_version
from typing import NamedTuple

from lora_np.conformance.published.records import Counted, Failure, Measured, Results
from lora_np.conformance.published.verdicts import Verdict, find
from lora_np.conformance.runner.record import Record, Report
from lora_np.conformance.runner.run import check
from lora_np.conformance.vectors.format import SUITE, Case

PACKAGES = {
    "conv1d": ("peft", "transformers", "torch", "numpy"),
    "loralib": ("loralib", "torch", "numpy"),
    "peft": ("peft", "torch", "numpy"),
    "peft-rslora": ("peft", "torch", "numpy"),
    "torch": ("torch", "numpy"),
}
"""The released targets, and the packages that compute in each."""

PATHS = {"peft-rslora": "lora_np.conformance.targets.peft_combining:Stabilized"}
"""Where the targets are that have no short name of their own."""

LEVEL = "gold"
LIMIT = 120.0
"""Seconds for one case: a slow machine must not look like a failure."""


class Unjudged(NamedTuple):
    """A failure that no entry of verdicts.toml speaks of."""

    target: str
    capability: str
    flag: str
    case: str
    problem: str


def measure(
    cases: Sequence[Case], verdicts: Sequence[Verdict], targets: Iterable[str] = PACKAGES
) -> tuple[Results, list[Unjudged]]:
    """Run each target over the cases; return what is to be published, and the failures without a verdict."""
    by_id = {case.id: case for case in cases}
    measured, unjudged = [], []
    for target in sorted(targets):
        report = check(PATHS.get(target, target), level=LEVEL, cases=cases, limit=LIMIT)
        one, open_ones = summed_up(target, report, by_id, verdicts)
        measured.append(one)
        unjudged += open_ones
    return Results(SUITE, LEVEL, tuple(measured)), unjudged


def summed_up(
    target: str,
    report: Report,
    cases: Mapping[str, Case],
    verdicts: Sequence[Verdict],
) -> tuple[Measured, list[Unjudged]]:
    """Sum up one run: counts of each capability, and its failures grouped by capability, flag and verdict."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    judged: dict[str, Verdict] = {}
    unjudged = []
    for record in report.failures:
        verdict = find(verdicts, target, record, cases[record.id])
        if verdict is None:
            unjudged.append(Unjudged(target, record.capability, record.flag, record.id, record.problem))
            continue
        judged[verdict.name] = verdict
        groups.setdefault((record.capability, verdict.name, record.flag), []).append(record)
    table = tuple(_counted(report))
    printed = {name: "" if unjudged else run(one.reproducer) for name, one in judged.items()}
    measured = Measured(
        target=target,
        versions={"python": python_version(), **{name: version(name) for name in PACKAGES[target]}},
        cases=report.cases,
        passed=report.passed,
        failed=report.failed,
        not_claimed=sum(row.not_claimed for row in table),
        table=table,
        failures=tuple(
            _failure(group, judged[name], printed[name]) for (_, name, _), group in sorted(groups.items())
        ),
    )
    return measured, unjudged


def _counted(report: Report) -> list[Counted]:
    """Count each capability of which any case was run."""
    groups: dict[str, list[Record]] = {}
    for record in report.records:
        groups.setdefault(record.capability, []).append(record)
    rows = []
    for capability, group in sorted(groups.items()):
        passed = [record for record in group if record.verdict == "pass"]
        unclaimed = sum(record.verdict == "not-claimed" for record in group)
        if unclaimed < len(group):
            run_of_it = len(group) - unclaimed
            worst = rounded(max((record.error_u for record in passed), default=0.0)) or 0.0
            rows.append(
                Counted(capability, run_of_it, len(passed), run_of_it - len(passed), unclaimed, worst)
            )
    return rows


def _failure(group: Sequence[Record], verdict: Verdict, prints: str) -> Failure:
    """Describe failures by the first of them."""
    first = group[0]
    errors = [one.error_u for one in group if math.isfinite(one.error_u) and one.error_u > 0]
    return Failure(
        capability=first.capability,
        number=len(group),
        case=first.id,
        problem=first.problem,
        flag=first.flag,
        diagnosis=first.diagnosis,
        worst_u=rounded(max(errors)) if errors else None,
        verdict=verdict.verdict,
        name=verdict.name,
        why=verdict.why,
        upstream=verdict.upstream,
        reproducer=verdict.reproducer,
        prints=prints,
    )


def rounded(x: float) -> float | None:
    """Round to three digits, which another linear algebra library does not change; None if there is no number.

    >>> rounded(908314754.55), rounded(12.345678), rounded(float("inf"))
    (908000000.0, 12.3, None)
    """
    return float(f"{x:.3g}") if math.isfinite(x) else None


def run(script: str) -> str:
    """Run a script in a process of its own and return what it prints; raises `RuntimeError` where it fails."""
    if not script:
        return ""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=600
    )
    if ended.returncode:
        raise RuntimeError(f"a reproducer failed:\n{script}\n{ended.stderr}")
    return ended.stdout
