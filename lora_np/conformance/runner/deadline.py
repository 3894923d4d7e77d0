"""A time limit on Python code in this process, by an interval timer.  Floor 6.

It interrupts Python, also code that catches everything once; it cannot interrupt a call that never returns from C, nor
code outside the main thread.  Where that matters, `remote` runs the target in a process that can be killed.
"""

from __future__ import annotations

import signal
import threading
from contextlib import AbstractContextManager, nullcontext
from types import FrameType, TracebackType


class OutOfTime(BaseException):
    """The time is over."""


def deadline(seconds: float | None) -> AbstractContextManager[object]:
    """Raise `OutOfTime` in the body after some seconds, and again every tenth of that, until it ends."""
    return nullcontext() if seconds is None or not _has_timer() else _Deadline(seconds)


class _Deadline:
    """The timer while the body runs; before and after it, what was set earlier."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        self.earlier = signal.signal(signal.SIGALRM, _ring)
        self.waiting = signal.setitimer(signal.ITIMER_REAL, self.seconds, max(self.seconds / 10, 0.01))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.earlier)
        signal.setitimer(signal.ITIMER_REAL, *self.waiting)


_OWN = {_Deadline.__enter__.__code__, _Deadline.__exit__.__code__}


def _ring(_signum: int, frame: FrameType | None) -> None:
    """Raise in the body; not while the timer is set or stopped, which would leave it running for whoever comes next."""
    while frame is not None:
        if frame.f_code in _OWN:
            return
        frame = frame.f_back
    raise OutOfTime


def _has_timer() -> bool:
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
