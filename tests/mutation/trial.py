"""One mutant in a forked process: which vector files notice it, and which test.

The process is a copy of the one that has imported everything, so a trial costs the tests it runs and little more.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from tests.mutation.mutants import Mutant
from tests.mutation.swapping import swapped

SECONDS = 120  # an endless loop is noticed, too


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: the vector files that ran and whether each noticed it, and the test that did."""

    mutant: Mutant
    files: dict[str, bool]
    test: str  # "" where none noticed it, or none was asked because a vector had
    ended: str = ""  # the signal that ended it

    @property
    def killed(self) -> bool:
        return bool(self.ended) or bool(self.test) or any(self.files.values())


@dataclass(frozen=True)
class Trial:
    """A mutant and what is to be run on it."""

    mutant: Mutant
    function: FunctionType
    code: CodeType
    files: dict[str, Callable[[], bool]]  # vector file -> True while every case of it passes
    tests: list[tuple[str, Callable[[], bool]]]

    def run(self) -> dict[str, Any]:
        with swapped(self.function, self.code):
            files = {name: not passes() for name, passes in self.files.items()}
            noticed = any(files.values())
            test = "" if noticed else next((name for name, passes in self.tests if not passes()), "")
        return {"files": files, "test": test}


def run_all(trials: Iterable[Trial], workers: int = 2) -> Iterator[Verdict]:
    """Run trials, each in its own process, a few at a time, and yield verdicts as they come."""
    waiting, running = iter(trials), {}
    while True:
        while len(running) < workers and (trial := next(waiting, None)) is not None:
            pid, pipe = _fork(trial)
            running[pid] = (trial, pipe)
        if not running:
            return
        pid, status = os.wait()
        trial, pipe = running.pop(pid)
        with os.fdopen(pipe) as file:
            answer = file.read()
        if os.WIFSIGNALED(status):  # by the alarm, or a crash of compiled code: noticed either way
            yield Verdict(trial.mutant, {}, "", ended=signal.Signals(os.WTERMSIG(status)).name)
        else:
            yield Verdict(trial.mutant, **_read(answer))


def _read(answer: str) -> dict[str, Any]:
    """Read what a trial found; a trial that failed by itself is our error, and no mutant noticed."""
    found = json.loads(answer) if answer else {"problem": "no answer"}
    if "problem" in found:
        raise RuntimeError(f"a trial did not work: {found['problem']}")
    return found


def _fork(trial: Trial) -> tuple[int, int]:
    """Start a trial; return the process and where its answer can be read."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        try:
            answer = trial.run()
        except BaseException as error:
            answer = {"problem": repr(error)}
        os.write(writing, json.dumps(answer).encode())
    finally:
        os._exit(0)
