"""A submission's process from outside: its own folder, its limits, what it prints, its end.  Floor 6.

A folder that is removed afterwards, a process group that is killed whole, a bare environment, an output that is
counted and thrown away, and a clock that nothing in the process can stop.  What happens inside is in `child`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_np.errors import ConfigError
from lora_np.teach.grade import messages
from lora_np.teach.grade.limits import Limits, Usage
from lora_np.teach.grade.messages import ChannelError

BOOT = """
import sys, types
sys.path[:] = {path!r}
import lora_np
teach = lora_np.teach = sys.modules["lora_np.teach"] = types.ModuleType("lora_np.teach")
teach.__path__ = [{teach!r}]
from lora_np.teach.grade.child import main
main({hears}, {speaks})
"""

START_SECONDS = 60.0
"""How long a process may take to start on a machine that is very busy."""


class StoppedError(BaseException):
    """The process is gone or was stopped; it passes through the judge, which catches every `Exception`."""


@dataclass
class Sandbox:
    """One process with one submission in it: orders go in, plain words come out."""

    limits: Limits
    until: float  # on the monotonic clock
    closed: tuple[str, ...] = ()
    beside: Mapping[str, Path] = field(default_factory=dict)
    cancelled: Callable[[], bool] = lambda: False
    usage: Usage = field(default_factory=Usage)
    refused: list[str] = field(default_factory=list)
    end: str = ""  # how it ended, in words
    _runs: bool = False

    def start(self) -> None:
        """Start the process in a folder of its own."""
        require_system()
        self._folder = tempfile.TemporaryDirectory(prefix="lora-np-grade-", ignore_cleanup_errors=True)
        for name, path in self.beside.items():
            there = Path(self._folder.name, name)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, there)
        child_hears, self._speaks = os.pipe()
        self._hears, child_speaks = os.pipe()
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-E", "-s", "-P", "-B", "-c", _boot(child_hears, child_speaks)],
                cwd=self._folder.name,
                env=_environment(self._folder.name),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(child_hears, child_speaks),
                start_new_session=True,
            )
        finally:
            os.close(child_hears)
            os.close(child_speaks)
        self._runs = True
        self._drain = threading.Thread(target=self._count_output, daemon=True)
        self._drain.start()
        self.order(
            limits={"cell": self.limits.cell_seconds, "call": self.limits.call_seconds},
            memory_bytes=self.limits.memory_mb << 20,
            cpu_seconds=max(1, round(self.limits.seconds)),
            closed=self.closed,
        )
        self.answer(seconds=START_SECONDS)

    def order(self, **order: Any) -> None:
        """Send an order, which the process unpickles."""
        self.tell(pickle.dumps(order))

    def tell(self, content: bytes) -> None:
        """Send bytes that the process unpickles; raises `StoppedError` where it is gone."""
        try:
            messages.send(self._speaks, content)
        except ChannelError as error:
            self._stopped(error)

    def answer(self, *, seconds: float | None = None) -> dict[str, Any]:
        """Hear the next message; what was refused is noted on the way.  Raises `StoppedError`, with `end` set."""
        until = self.until if seconds is None else min(self.until, time.monotonic() + seconds)
        while True:
            try:
                message = messages.unpacked(
                    messages.receive(self._hears, until=until, cancelled=self.cancelled)
                )
            except ChannelError as error:
                self._stopped(error, seconds)
            what = message.get("refused")
            if what is None:
                return message
            if len(self.refused) < 10:
                self.refused.append(str(what)[:200])

    def _stopped(self, error: ChannelError, seconds: float | None = None) -> Any:
        """Note why there is nothing more to hear, and raise."""
        if error.reason == "late":
            self.end = f"it is stopped: no word from it for {seconds or self.limits.seconds:g} s"
        elif error.reason == "cancelled":
            self.end = "the run was interrupted"
        elif error.reason == "garbled":
            self.end = "it is stopped: it writes into the grader's channel"
        else:
            self.end = "gone"
        self.stop()
        raise StoppedError(self.end) from None

    def stop(self) -> None:
        """End the process group, whatever it is doing, and take its folder away."""
        if not self._runs:
            return
        self._runs = False
        self._note_peak()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.end != "gone":
                os.killpg(self._process.pid, signal.SIGKILL)
        status = self._wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # whoever is left of its group
        if self.end == "gone":
            self.end = _said(status)
        for handle in (self._speaks, self._hears):
            os.close(handle)
        self._drain.join(timeout=5)
        assert self._process.stdout is not None
        if not self._drain.is_alive():
            self._process.stdout.close()
        self._folder.cleanup()

    def _note_peak(self) -> None:
        """Note the most memory it held, where the system tells of a process that still runs."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            told = Path(f"/proc/{self._process.pid}/status").read_text().partition("VmHWM:")[2]
            self.usage.peak_mb = max(self.usage.peak_mb, int(told.split()[0]) / 1024)

    def _wait(self) -> int:
        """Wait for the end, at most a little while for one that is said to be gone, and note what was used."""
        until = time.monotonic() + 2
        while True:
            pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until:  # it closed its channel, and lives
                self.end = "it is stopped: it closed the grader's channel"
                os.killpg(self._process.pid, signal.SIGKILL)
                until = float("inf")
            time.sleep(0.002)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.usage.cpu_seconds += used.ru_utime + used.ru_stime
        return self._process.returncode

    def _count_output(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while part := os.read(self._process.stdout.fileno(), 1 << 18):
                self.usage.printed_bytes += len(part)


@contextlib.contextmanager
def sandbox(
    limits: Limits,
    *,
    until: float,
    closed: Iterable[Path] = (),
    beside: Mapping[str, Path] | None = None,
    usage: Usage | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Sandbox]:
    """Give a process that runs, and end it whatever happens.  Raises `StoppedError` where it does not start."""
    places = tuple(os.path.realpath(place) for place in closed)
    one = Sandbox(limits, until, places, beside or {}, cancelled, usage or Usage())
    try:
        one.start()
        yield one
    finally:
        one.stop()


def require_system() -> None:
    """Raise `ConfigError` on a system without process groups and limits."""
    if not hasattr(os, "killpg"):
        raise ConfigError("grading needs Linux or macOS", fix="on Windows, run it in WSL")


def _boot(hears: int, speaks: int) -> str:
    home = Path(__file__).resolve().parents[2]  # lora_np
    path = [str(home.parent), *(entry for entry in sys.path if entry and Path(entry).is_absolute())]
    return BOOT.format(path=path, teach=str(home / "teach"), hears=hears, speaks=speaks)


def _environment(folder: str) -> Mapping[str, str]:
    """Make a bare environment: one thread for BLAS, every cache in the folder, the same hashes every time."""
    threads = ("OPENBLAS", "OMP", "MKL", "NUMEXPR", "VECLIB_MAXIMUM", "NUMBA")
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        "LORA_NP_BACKEND": "numpy",
        **dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"), folder),
        **{f"{name}_NUM_THREADS": "1" for name in threads},
    }


def _said(status: int) -> str:
    if status == -signal.SIGXCPU or status == -signal.SIGKILL:
        return "it is stopped: its processor time or the machine's memory is used up"
    if status < 0:
        return f"it crashed the interpreter ({signal.Signals(-status).name}): too deep a recursion, or broken memory"
    return f"it ended its own process (exit status {status})"
