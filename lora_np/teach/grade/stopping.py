"""Stopping what runs too long, inside a submission's process, and saying in a line what was raised.  Floor 6."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any, NoReturn


class TimeUp(BaseException):
    """Raised in a cell or a call that takes too long; no `except Exception` catches it."""


def said_of(error: BaseException) -> str:
    """Write an error in a line, with the line of the submission that raised it."""
    trace, line = error.__traceback__, ""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith("<"):
            line = f" (line {trace.tb_lineno})"
        trace = trace.tb_next
    try:
        words = str(error)
    except BaseException:
        words = ""
    return f"{type(error).__name__}: {words[:300] or 'without a word'}{line}"


@contextlib.contextmanager
def alarm(seconds: float, rang: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Raise `TimeUp` in what runs longer; what runs in C without a break is stopped from outside."""

    def ring(*_: Any) -> NoReturn:
        rang()
        raise TimeUp

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
