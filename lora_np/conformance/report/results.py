"""A run for programs: an object of JSON, and JUnit's XML.  Floor 6."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from lora_np.conformance.report.terminal import failure
from lora_np.conformance.runner.record import Record, Report


def as_object(report: Report) -> dict[str, Any]:
    """Give a report as plain values, all numbers finite.

    `passed`, `failed`, `xfailed` and `not_claimed` count cases; `cases` is how many were run; `worst_u` is the worst
    error of those that passed; `failures` and `xfails` are records with diagnosis and reproducer.
    """
    return {
        "target": report.target,
        "name": report.claims.name,
        "version": report.claims.version,
        "level": report.level,
        "ok": report.ok,
        "complete": report.complete,
        "cases": report.cases,
        "passed": report.passed,
        "failed": report.failed,
        "xfailed": report.xfailed,
        "not_claimed": report.not_claimed,
        "worst_u": report.worst_u,
        "seconds": round(report.seconds, 3),
        "suite": report.suite,
        "suite_sha256": report.suite_sha256,
        "options": dict(report.claims.options),
        "dtypes": list(report.claims.dtypes),
        "environment": report.environment,
        "problems": list(report.problems),
        "capabilities": {
            row.capability: {**row._asdict(), "capability": row.capability} for row in report.by_capability()
        },
        "failures": [record.as_json() for record in report.failures],
        "xfails": [record.as_json() for record in report.records if record.verdict == "xfail"],
    }


def as_junit(report: Report) -> bytes:
    """Write a report as JUnit's XML: a suite for each capability, a test for each case."""
    root = ElementTree.Element("testsuites", name=f"lora_np conformance of {report.claims.name}")
    groups: dict[str, list[Record]] = {}
    for record in report.records:
        groups.setdefault(record.capability, []).append(record)
    for capability, group in groups.items():
        skipped = sum(record.verdict in ("xfail", "not-claimed") for record in group)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=capability,
            tests=str(len(group)),
            failures=str(sum(record.verdict in ("fail", "xpass") for record in group)),
            errors=str(sum(record.verdict == "error" for record in group)),
            skipped=str(skipped),
            time=f"{sum(record.seconds for record in group):.3f}",
        )
        for record in group:
            _add_case(suite, record)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _add_case(suite: ElementTree.Element, record: Record) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=record.capability, name=record.id, time=f"{record.seconds:.3f}"
    )
    if record.failing:
        tag = "error" if record.verdict == "error" else "failure"
        message = _printable(failure(record))
        ElementTree.SubElement(case, tag, message=message).text = _printable(record.reproducer)
    elif record.verdict != "pass":
        reason = record.reason if record.verdict == "xfail" else f"not claimed: {record.reason}"
        ElementTree.SubElement(case, "skipped", message=_printable(reason))


def _printable(text: str) -> str:
    """Drop the characters that XML cannot hold."""
    return "".join(
        c for c in text if c in "\t\n\r" or (c >= " " and not "\ud800" <= c <= "\udfff" and c < "\ufffe")
    )
