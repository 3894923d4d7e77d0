"""The oracle asked again, here: our own targets, a method's cases, a slice at a time.  Floor 6."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from lora_np.conformance.runner.record import Record
from lora_np.conformance.runner.run import Run, chosen
from lora_np.conformance.runner.target import reach
from lora_np.conformance.vectors.format import Case
from lora_np.figures.report_scene import Standing, largest

OWN = ("reference", "numba", "naive", "autograd")
"""Our own four roads to the same numbers, which `rerun` can ask."""

RUNS = 3
"""How many runs of training `rerun` asks: each takes a hundred times as long as any other case."""


def rerun(
    method: str, targets: Sequence[str] = OWN
) -> Generator[tuple[float, str], None, tuple[Standing, ...]]:
    """Ask our own targets a method's cases, in this process; yield how far it got, return how each stands.

    Raises `TargetError` for a target that is not there.
    """
    cases = asked_again(method)
    standings: list[Standing] = []
    for turn, name in enumerate(targets):
        run = Run(reach(name, isolated=False), target_name=name)
        for number, case in enumerate(cases):
            yield (turn + number / len(cases)) / len(targets), f"{name}: {case.id}"
            run.judge(case)
        standings += standings_of(name, run.records)
    return tuple(standings)


def asked_again(method: str) -> list[Case]:
    """Choose the cases of a method that are asked while somebody waits: all but most of the runs of training.

    >>> len(chosen("adam/")), len(asked_again("adam"))
    (22, 3)
    """
    cases = chosen(f"{method}/")
    training = [case for case in cases if case.operation == "train"][RUNS:]
    return [case for case in cases if case not in training]


def standings_of(target: str, records: Sequence[Record]) -> list[Standing]:
    """Sum up a run, operation by operation."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.capability, []).append(record)
    return [_measured(target, capability, group) for capability, group in groups.items()]


def _measured(target: str, capability: str, group: Sequence[Record]) -> Standing:
    """Count one operation's cases."""
    asked = [record for record in group if record.verdict != "not-claimed"]
    passed = [record for record in asked if record.verdict == "pass"]
    wrong = [record.error_u for record in asked if record.failing and record.error_u > 0]
    return Standing(
        target,
        capability,
        len(asked),
        len(passed),
        len(group) - len(asked),
        largest([record.error_u for record in passed]),
        largest(wrong),
    )
