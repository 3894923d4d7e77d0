"""A pytest plugin that collects the tests as usual, and then runs mutants in place of the tests."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation import vectors
from tests.mutation.mutants import Mutant, code_of
from tests.mutation.reach import entered
from tests.mutation.swapping import living
from tests.mutation.trial import Trial, Verdict, run_all


class MutationRun:
    """Holds the mutants before, and their verdicts after."""

    def __init__(self, mutants: list[Mutant], paths: dict[str, Path], say=print) -> None:
        self.mutants, self.paths, self.say = mutants, paths, say
        self.verdicts: list[Verdict] = []
        self.broken: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        functions = {(m.module, m.function): living(m.module, m.function) for m in self.mutants}
        codes = {function.__code__: ".".join(name) for name, function in functions.items()}
        tests = self._reached_by_tests(session.items, codes)
        files = vectors.reached(codes)
        if self.broken:
            return True
        trials = (
            Trial(
                mutant=m,
                function=functions[m.module, m.function],
                code=code_of(m, self.paths[m.module]),
                files=files.get(f"{m.module}.{m.function}", {}),
                tests=tests.get(f"{m.module}.{m.function}", []),
            )
            for m in self.mutants
        )
        for verdict in run_all(self._controls(functions, tests)):
            if verdict.killed:
                self.broken.append(f"{verdict.test} fails in a forked process on the true code")
        if self.broken:
            return True
        for verdict in run_all(trials):
            self.verdicts.append(verdict)
            if not verdict.killed:
                self.say(f"survives: {verdict.mutant.key}  (line {verdict.mutant.line})")
            if len(self.verdicts) % 100 == 0:
                self.say(f"{len(self.verdicts)} of {len(self.mutants)} mutants done")
        return True

    def _controls(self, functions, tests):
        """Make one trial a module that changes nothing, on its most tested function: nothing may notice it."""
        most_tested: dict[str, tuple[str, str]] = {}
        for module, name in functions:
            best = most_tested.setdefault(module, (module, name))
            if len(tests.get(f"{module}.{name}", [])) > len(tests.get(".".join(best), [])):
                most_tested[module] = (module, name)
        for module, name in most_tested.values():
            nothing = Mutant(module, name, 0, "nothing", "", "", 0, (0, 0, 0))
            function = functions[module, name]
            yield Trial(nothing, function, function.__code__, {}, tests.get(f"{module}.{name}", []))

    def _reached_by_tests(self, items, codes):
        """Run every test once on the true code: which functions it enters, and how long it takes."""
        reached: dict[str, list[tuple[float, str, object]]] = {}
        for item in items:
            start = time.perf_counter()
            with entered(codes) as names:
                passed = _passes(item)
            if not passed:
                self.broken.append(item.nodeid)
            for name in names:
                reached.setdefault(name, []).append((time.perf_counter() - start, item.nodeid, item))
        self.say(f"{len(items)} tests read")
        return {
            name: [
                (nodeid, lambda item=item: _passes(item))
                for _, nodeid, item in sorted(found, key=lambda x: x[:2])
            ]
            for name, found in reached.items()
        }


def _passes(item: pytest.Item) -> bool:
    """Run one test with its fixtures; a skipped one passes.  A doctest clears its names, and gets them back."""
    names = dict(item.dtest.globs) if isinstance(item, pytest.DoctestItem) else {}
    passed = not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))
    if names:
        item.dtest.globs.update(names)
    return passed
