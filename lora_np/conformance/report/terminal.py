"""What `lora-np conformance` prints: a table by capability, the failures one by one, the summary.  Floor 6."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lora_np.conformance.runner.record import AUTHORITY, CapabilityRow, Record, Report

MOST_FAILURES = 40
"""So many failures are printed; all are in the files."""


def show(report: Report, console: Console | None = None) -> None:
    """Print a report."""
    console = console or Console()
    console.print(table(report))
    for record in report.failures[:MOST_FAILURES]:
        _say(console, failure(record), "red")
    if len(report.failures) > MOST_FAILURES:
        more = len(report.failures) - MOST_FAILURES
        _say(console, f"... and {more} more; --json FILE or --report DIR has all", "red")
    for problem in report.problems:
        _say(console, problem, "red")
    _say(console, summary(report))
    _say(console, f"Where two differ, the higher decides: {' > '.join(AUTHORITY)}.", "dim")


def _say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is: no markup, no wrapping."""
    console.print(Text(text, style), soft_wrap=True)


def table(report: Report) -> Table:
    """Lay the capabilities out, those that are claimed, with the worst error of each."""
    claims = report.claims
    shown = Table(
        title=f"{claims.name} {claims.version} at {report.level}: errors in units of u, half the distance from 1 "
        "to the next number",
        title_justify="left",
    )
    shown.add_column("capability", no_wrap=True)
    for column in ("pass", "fail", "xfail", "worst / u", "% of bound", ""):
        shown.add_column(column, justify="right")
    for row in report.by_capability():
        if row.passed + row.failed + row.xfailed:
            shown.add_row(*_cells(row))
    return shown


def _cells(row: CapabilityRow) -> tuple[str, ...]:
    verdict = f"[red]{row.failed} failed[/]" if row.failed else "[green]ok[/]"
    counts = (str(n) if n else "" for n in (row.passed, row.failed, row.xfailed))
    return (f"[cyan]{row.capability}[/]", *counts, f"{row.worst_u:.3g}", f"{row.percent:.3g}", verdict)


def failure(record: Record) -> str:
    """Say of one failure what is wrong, in a sentence, and in a second one why, where that could be told.

    >>> failure(
    ...     Record("lora/forward#1", "lora.forward", "float64", "fail", problem="Y is missing", flag="NoY")
    ... )
    'lora/forward#1: Y is missing [NoY]'
    """
    sentence = f"{record.id}: {record.problem}"
    if record.diagnosis:
        sentence += f"; {record.diagnosis}"
    return sentence + (f" [{record.flag}]" if record.flag else "")


def summary(report: Report) -> str:
    """Count the cases and give the worst error of those that passed."""
    more = f", {report.xfailed} failed as expected" if report.xfailed else ""
    more += f", {report.not_claimed} not claimed" if report.not_claimed else ""
    ended = "" if report.complete else " (interrupted)"
    return (
        f"{report.cases} cases of the vectors {report.suite} at {report.level} in {report.seconds:.1f} s: "
        f"{report.failed or 'none'} failed, {report.passed} passed{more}; worst error that passed "
        f"{report.worst_u:.2f} u{ended}"
    )
