"""Running cases against a target, one after the other.  Floor 6.  Nothing here prints."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lora_np.conformance.runner.adapter import Adapter
from lora_np.conformance.runner.answer import Answer
from lora_np.conformance.runner.environment import environment
from lora_np.conformance.runner.judging import diagnosis, judge, unclaimed
from lora_np.conformance.runner.levels import require_level, runs
from lora_np.conformance.runner.record import Record, Report
from lora_np.conformance.runner.reproducer import reproducer
from lora_np.conformance.runner.target import LIMIT, Target, reach
from lora_np.conformance.runner.xfails import Expected, complaints, require_expected
from lora_np.conformance.vectors.format import SUITE, Case, read_all, shipped

PATIENCE = 5
"""After so many cases of a capability without an answer, its remaining cases are not asked: a run must end."""


class Run:
    """One run: cases go in, records come out; `report` sums them up.

    `target_name` is how the target was named ("reference", "module:Class", a command), for the reproducers.
    """

    def __init__(
        self,
        target: Target,
        *,
        target_name: str = "",
        level: str = "gold",
        expected: Mapping[str, Expected] | None = None,
    ) -> None:
        require_level(level)
        self.target, self.level = target, level
        self.target_name = target_name or target.claims.name
        self.expected = dict(expected or {})
        self.records: list[Record] = []
        self._lost: Counter[str] = Counter()
        self._started = time.perf_counter()

    def judge(self, case: Case) -> Record:
        """Run one case, or say why it is not run."""
        reason = unclaimed(case, self.target.claims)
        if reason:
            record = Record(case.id, case.capability, case.dtype, "not-claimed", reason=reason)
        else:
            record = self._ask(case)
        self.records.append(record)
        return record

    def _ask(self, case: Case) -> Record:
        started = time.perf_counter()
        if self._lost[case.capability] >= PATIENCE:
            answer = Answer(
                problem=f"not asked: {PATIENCE} cases of {case.capability} before it got no answer", lost=True
            )
        else:
            answer = self.target.ask(case)
            self._lost[case.capability] += answer.lost
        record = judge(case, answer, self.target.claims, self.level)
        record = _expecting(record, self.expected.get(case.id))
        record = replace(record, seconds=time.perf_counter() - started)
        if record.verdict not in ("fail", "error", "xfail"):
            return record
        flag, words = diagnosis(case, answer)
        script = reproducer(case, self.target_name, record)
        return replace(record, flag=flag, diagnosis=words, reproducer=script)

    def report(
        self, *, problems: Sequence[str] = (), suite_sha256: str = "", complete: bool = True
    ) -> Report:
        """Sum up what was run so far."""
        return Report(
            records=tuple(self.records),
            claims=self.target.claims,
            target=self.target_name,
            level=self.level,
            seconds=time.perf_counter() - self._started,
            suite=SUITE,
            suite_sha256=suite_sha256,
            problems=tuple(problems),
            complete=complete,
            environment=environment(),
        )


def _expecting(record: Record, expected: Expected | None) -> Record:
    """Turn a failure that is expected into an xfail, and a pass that is not into an xpass; an expired one is void."""
    if expected is None or expected.expired() or record.verdict == "not-claimed":
        return record
    if record.verdict == "pass":
        problem = f"passes, but was expected to fail: {expected.reason}; take it off the list"
        return replace(record, verdict="xpass", problem=problem, reason=expected.reason)
    return replace(record, verdict="xfail", reason=expected.reason)


def check(
    adapter: str | Adapter,
    level: str = "gold",
    expected_failures: Mapping[str, str | Expected] | None = None,
    include: str = "",
    cases: Iterable[Case] | None = None,
    *,
    isolated: bool | None = None,
    limit: float = LIMIT,
) -> Report:
    """Run the vectors against an implementation, and say of each case what became of it.

    `adapter` is an adapter, or the name of a target ("reference", "module:Class").  `expected_failures` maps case ids
    to reasons.  `include` selects files by the start of their names ("lora/", "dora/backward"), or one case by its id;
    `cases` replaces the shipped vectors.  `limit` seconds are allowed for each case.  With ``isolated=False``
    everything happens in this process, where a debugger can be used and nothing but Python code can be interrupted.

    Raises `TargetError` where the target cannot be reached, and `ConfigError`.

    >>> report = check("reference", include="lora/forward", cases=[])
    >>> report.passed, report.failed, report.ok
    (0, 0, False)
    """
    require_level(level)
    expected = require_expected(expected_failures)
    listed = chosen(include) if cases is None else list(cases)
    target = reach(adapter, isolated=isolated, limit=limit)
    try:
        run = Run(target, target_name=name_of(adapter), level=level, expected=expected)
        for case in selected(listed, level):
            run.judge(case)
    finally:
        target.close()
    sha256 = suite_sha256() if cases is None else ""
    return run.report(problems=unfounded(expected, listed, include), suite_sha256=sha256)


def chosen(include: str = "", directory: Path | None = None) -> list[Case]:
    """Read the cases of the files whose names start with `include`, or the one case whose id it is.

    >>> [case.id for case in chosen("lora/forward#2")]
    ['lora/forward#2']
    """
    file, _, number = include.partition("#")
    return [case for case in read_all(directory, file) if not number or case.id == include]


def selected(cases: Iterable[Case], level: str) -> list[Case]:
    """List the cases that a level runs."""
    return [case for case in cases if runs(level, case)]


def unfounded(expected: Mapping[str, Expected], cases: Iterable[Case], include: str = "") -> list[str]:
    """Name expected failures that have expired or belong to no case; what `include` leaves out is not looked at."""
    asked = {case_id: entry for case_id, entry in expected.items() if case_id.startswith(include)}
    return complaints(asked, {case.id for case in cases})


def name_of(adapter: str | Adapter) -> str:
    """Name a target so that `find_adapter` finds it again, if anything can."""
    if isinstance(adapter, str):
        return adapter
    kind = type(adapter)
    return f"{kind.__module__}:{kind.__qualname__}"


def suite_sha256(directory: Path | None = None) -> str:
    """Return the SHA-256 of all vector files, names and bytes, in the order of their names."""
    root = shipped() if directory is None else directory
    digest = hashlib.sha256()
    for path in sorted(root.glob("*/*.json")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()
