"""The oracle's report: the published run, what was found in it, and our own targets asked again."""

import streamlit as st

from lora_np.conformance.bounds import error_in_u, gamma_in_u
from lora_np.conformance.published import Departure, Measured
from lora_np.conformance.runner.calling import call
from lora_np.conformance.runner.judging import judge
from lora_np.conformance.runner.levels import limit_in_u
from lora_np.figures.report_again import OWN, RUNS, rerun
from lora_np.figures.report_scene import IMPLEMENTATIONS, Finding, ReportScene, findings, report_scene

ALL = "all"
TOLERANCES = ["1e-3", "1e-4", "1e-5", "1e-6", "1e-8", "1e-10"]
VERDICTS = {
    "defect": "the result is wrong",
    "precision": "the formula is right, digits are lost on the way",
    "by design": "another choice was made on purpose",
}
SOURCE = "lora_np/conformance/published"
CODE = {"marks": (judge, limit_in_u), "errors": (error_in_u, gamma_in_u), "here": (call, judge)}
__all__ = [
    "ALL",
    "CODE",
    "ERRORS",
    "HERE",
    "IMPLEMENTATIONS",
    "MARKS",
    "OWN",
    "RUNS",
    "SOURCE",
    "TOLERANCES",
    "VERDICTS",
    "command",
    "departures",
    "findings",
    "listed",
    "rerun",
    "scene",
    "shown",
    "versions",
]

READ = """
from lora_np.conformance.published import results
from lora_np.conformance.vectors.format import shipped


def of(rows, method):
    return [row for row in rows if row.capability.split(".")[0] == method]


found = results().implementations
methods = sorted({path.parent.name for path in shipped().glob("*/*.json")})
if not everything:
    methods = [name for name in methods if any(of(one.table, name) for one in found)]
"""
MARKS = f"""{READ}
pairs = [(of(one.table, name), of(one.failures, name)) for name in methods for one in found]
numbers = {{
    "asked": [sum(row.cases for row in rows) for rows, _ in pairs],
    "passed": [sum(row.passed for row in rows) for rows, _ in pairs],
    "failed": [sum(row.number for row in wrong) for _, wrong in pairs],
    "by design": [sum(row.number for row in wrong if row.verdict == "by design") for _, wrong in pairs],
}}
print(numbers)
"""
ERRORS = f"""{READ}
pairs = [(of(one.table, name), of(one.failures, name)) for name in methods for one in found]
pairs = [(rows, wrong) for rows, wrong in pairs if rows]
numbers = {{
    "worst that passed (u)": [
        max((row.worst_u for row in rows if row.passed), default=None) for rows, _ in pairs
    ],
    "worst that failed (u)": [
        max((row.worst_u for row in wrong if row.worst_u is not None), default=None) for _, wrong in pairs
    ],
}}
print(numbers)
"""
HERE = """
from lora_np.conformance import check

numbers = {"implementation": [], "operation": []}
for target in ("reference", "numba", "naive", "autograd"):
    report = check(target, include=f"{method}/", isolated=False)
    for row in report.by_capability():
        if row.passed + row.failed:
            numbers["implementation"].append(target)
            numbers["operation"].append(row.capability)
    print(target, report.passed, "passed,", report.failed, "failed,", report.not_claimed, "not claimed")
"""


@st.cache_resource(show_spinner=False)
def scene() -> ReportScene:
    """Read the published run once per server; nobody writes into it."""
    return report_scene()


def shown(everything: bool) -> tuple[str, ...]:
    """Pick the methods that are drawn: all of the vectors', or those that somebody claims."""
    return scene().methods if everything else scene().claimed


def versions(one: Measured) -> str:
    """Say with which versions an implementation was asked."""
    return ", ".join(f"{name} {version}" for name, version in one.versions.items())


def listed(found: list[Finding]) -> dict[str, list[object]]:
    """Lay findings out as a table."""
    return {
        "finding": [one.name for one in found],
        "cases": [one.cases for one in found],
        "verdict": [one.verdict for one in found],
        "where": [", ".join(one.where) for one in found],
        "worst (u)": [one.worst_u for one in found],
        "why": [one.first.why for one in found],
    }


def departures(method: str) -> dict[str, list[str]]:
    """Lay the departures from the papers out as a table; those of one method, or all."""
    rows: list[Departure] = [row for row in scene().departures if method in (ALL, row.method)]
    return {
        "method": [row.method for row in rows],
        "verdict": [row.verdict for row in rows],
        "the paper": [row.paper for row in rows],
        "PEFT": [row.peft for row in rows],
        "what comes of it": [row.effect for row in rows],
        "here": [row.here for row in rows],
    }


def command(method: str) -> str:
    """Write the command that asks our reference everything, or one method."""
    return f"lora-np conformance reference{'' if method == ALL else f' --include {method}/'} --report results"
