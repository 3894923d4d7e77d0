"""One page of HTML about a run, which needs nothing else: no script, no file, no network.  Floor 6."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from lora_np.conformance.report.histogram import histogram
from lora_np.conformance.report.page_style import STYLE
from lora_np.conformance.runner.record import AUTHORITY, CapabilityRow, Record, Report

MOST_OF_A_METHOD = 100
"""So many failures of one method are shown; the JSON file has all."""


def page(report: Report) -> str:
    """Write the page."""
    title = f"{report.claims.name} {report.claims.version} against the vectors {report.suite}"
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{STYLE}</style></head><body>",
            '<a class="skip" href="#main">Skip to the results</a>',
            _header(report, title),
            '<main id="main">',
            _problems(report),
            _methods(report),
            _failures("Failures", "failures", report.failures),
            _failures("Expected failures", "expected", [r for r in report.records if r.verdict == "xfail"]),
            _environment(report),
            "</main></body></html>",
            "",
        ]
    )


def _header(report: Report, title: str) -> str:
    """Say who was tested and how it went."""
    good = f'<span class="verdict good">✓ passes {report.level}</span>'
    bad = f'<span class="verdict bad">✗ does not pass {report.level}</span>'
    facts = {
        "cases run": report.cases,
        "passed": report.passed,
        "failed": report.failed,
        "failed as expected": report.xfailed,
        "not claimed": report.not_claimed,
        "worst error that passed": f"{report.worst_u:.2f} u",
        "time": f"{report.seconds:.1f} s",
    }
    items = "".join(f"<li><b>{escape(str(value))}</b>{_named(name)}</li>" for name, value in facts.items())
    ended = "" if report.complete else " The run was interrupted: not every case was asked."
    return (
        f"<header><h1>{escape(title)}</h1><p>{good if report.ok else bad}.{ended} "
        '<span class="soft">u is half the distance from 1 to the next number of the element type.</span></p>'
        f'<ul class="facts">{items}</ul></header>'
    )


def _named(fact: str) -> str:
    """Name a fact; the failures are linked."""
    return f'<a href="#failures">{fact}</a>' if fact == "failed" else escape(fact)


def _problems(report: Report) -> str:
    if not report.problems:
        return ""
    items = "".join(f"<li>{escape(problem)}</li>" for problem in report.problems)
    return f"<h2>Expectations that are out of order</h2><ul>{items}</ul>"


def _methods(report: Report) -> str:
    """Give each method its table of operations and its chart."""
    rows: dict[str, list[CapabilityRow]] = {}
    for row in report.by_capability():
        if row.passed + row.failed + row.xfailed:
            rows.setdefault(row.capability.split(".")[0], []).append(row)
    if not rows:
        return "<h2>Methods</h2><p>Nothing that was asked is claimed.</p>"
    legend = '<p class="legend"><span><i></i>passed</span><span class="fail"><i></i>failed</span></p>'
    sections = [
        _method(name, group, [r for r in report.records if r.method == name]) for name, group in rows.items()
    ]
    return "".join(["<h2>Methods</h2>", legend, *sections])


def _method(name: str, rows: Iterable[CapabilityRow], records: list[Record]) -> str:
    body = "".join(_row(row) for row in rows)
    heads = "".join(
        f'<th scope="col">{h}</th>' for h in ("operation", "pass", "fail", "xfail", "worst / u", "% of bound")
    )
    return (
        f'<section class="method"><h3 id="method-{escape(name)}">{escape(name)}</h3>'
        f'<div class="scroll" tabindex="0" role="group" aria-label="results of {escape(name)}"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>{histogram(name, records)}</section>"
    )


def _row(row: CapabilityRow) -> str:
    failed = f'<span class="bad">✗ {row.failed}</span>' if row.failed else "0"
    cells = (str(row.passed), failed, str(row.xfailed), f"{row.worst_u:.3g}", f"{row.percent:.3g}")
    operation = escape(row.capability.split(".", 1)[1])
    return f'<tr><th scope="row">{operation}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _failures(title: str, kind: str, records: list[Record]) -> str:
    """List failures by method, each with its reproducer folded away."""
    if not records:
        return "" if kind == "expected" else f'<h2 id="{kind}">{title}</h2><p>None.</p>'
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.method, []).append(record)
    parts = [f'<h2 id="{kind}">{title}</h2>']
    for method, group in groups.items():
        parts.append(f"<h3>{escape(method)}: {len(group)}</h3>")
        parts += [_failure(record, kind) for record in group[:MOST_OF_A_METHOD]]
        if len(group) > MOST_OF_A_METHOD:
            parts.append(f"<p>… and {len(group) - MOST_OF_A_METHOD} more: the JSON file has all.</p>")
    return "".join(parts)


def _failure(record: Record, kind: str) -> str:
    named = f" <b>[{escape(record.flag)}]</b>" if record.flag else ""
    words = [record.diagnosis, f"Expected: {record.reason}" if record.reason else ""]
    words += ["More than any rounding explains." if record.certified else ""]
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in words if text)
    return (
        f'<details class="{kind}"><summary><code>{escape(record.id)}</code> ({escape(record.dtype)}): '
        f"{escape(record.problem)}{named}</summary>{paragraphs}"
        f'<pre tabindex="0" aria-label="script that shows {escape(record.id)} again">{escape(record.reproducer)}</pre>'
        "</details>"
    )


def _environment(report: Report) -> str:
    """Say what was run where, and who decides."""
    facts = {
        "target": report.target,
        "element types": ", ".join(report.claims.dtypes),
        "declared options": ", ".join(f"{k} = {v}" for k, v in report.claims.options.items()) or "none",
        **report.environment,
        "sha256 of the vectors": report.suite_sha256 or "cases of one's own",
    }
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    order = " &gt; ".join(escape(authority) for authority in AUTHORITY)
    return f"<h2>Environment</h2><dl>{items}</dl><p>Where two differ, the higher decides: {order}.</p>"
