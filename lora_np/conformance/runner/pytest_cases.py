"""Every case a test of pytest, collected only where a target is named.  Floor 6.  See `pytest_plugin`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_np.conformance.report.terminal import failure
from lora_np.conformance.runner.judging import unclaimed
from lora_np.conformance.runner.levels import require_level
from lora_np.conformance.runner.record import Record
from lora_np.conformance.runner.run import Run, chosen, selected, unfounded
from lora_np.conformance.runner.target import Target, reach
from lora_np.conformance.runner.xfails import Expected, read_xfails
from lora_np.conformance.vectors.format import Case
from lora_np.errors import LoraNpError


class CaseFailedError(AssertionError):
    """A case that did not pass."""

    def __init__(self, record: Record) -> None:
        super().__init__(failure(record))
        self.record = record


class CaseItem(pytest.Item):
    """One case."""

    def __init__(self, *, case: Case, run: Run, **rest: Any) -> None:
        super().__init__(**rest)
        self.case, self.run = case, run
        self.add_marker("lora_np")

    def runtest(self) -> None:
        """Run the case: pass, fail, or xfail."""
        record = self.run.judge(self.case)
        if record.verdict == "xfail":
            pytest.xfail(record.reason)
        if record.verdict == "not-claimed":
            pytest.skip(record.reason)
        if record.failing:
            raise CaseFailedError(record)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the sentence and the script that shows it again, not our own frames."""
        if isinstance(excinfo.value, CaseFailedError):
            return f"{excinfo.value}\n\n{excinfo.value.record.reproducer}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Name the case in the list of failures."""
        return self.path, None, self.case.id


class Cases:
    """Collects the cases, and keeps the target running while they are tested."""

    def __init__(self, config: pytest.Config) -> None:
        config.addinivalue_line("markers", "lora_np: a test vector of lora_np")
        option = config.getoption
        try:
            require_level(option("--lora-np-level"))
            file = option("--lora-np-xfails")
            self.expected: dict[str, Expected] = {} if file is None else read_xfails(Path(file))
            self.include: str = option("--lora-np-include")
            self.cases = chosen(self.include)
            self.target: Target = reach(option("--lora-np-target"))
        except LoraNpError as error:
            raise pytest.UsageError(str(error)) from None
        self.run = Run(
            self.target,
            target_name=option("--lora-np-target"),
            level=option("--lora-np-level"),
            expected=self.expected,
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Add what the level runs and the target claims; what is not claimed is no test."""
        if complaints := unfounded(self.expected, self.cases, self.include):
            raise pytest.UsageError("; ".join(complaints))
        items += [
            CaseItem.from_parent(session, name=case.id, nodeid=case.id, case=case, run=self.run)
            for case in selected(self.cases, self.run.level)
            if not unclaimed(case, self.target.claims)
        ]

    def pytest_unconfigure(self) -> None:
        """End the target."""
        self.target.close()
