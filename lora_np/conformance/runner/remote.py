"""A target in a process of its own, asked line by line, with a watchdog that ends and restarts it.  Floor 6.

One mechanism for every language, and for Python targets too (`serve` answers for them): the one limit that also holds
when a call never returns from C code is another process that can be killed.  The process is killed where an answer
is late or not an answer, since nothing that it says afterwards could be matched to a question; the next question
starts it again.  The lines are described in protocol.md beside this file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from lora_np.conformance.runner.answer import (
    PROTOCOL,
    Answer,
    MalformedAnswerError,
    from_json,
    hello,
    request,
    shortened,
)
from lora_np.conformance.vectors.format import SUITE, Case
from lora_np.errors import TargetError

FAREWELL = 3.0  # seconds
LONGEST_LINE = 1 << 26  # bytes: what runs on without an end is not an answer
START_LIMIT = 120.0  # seconds: loading a framework takes a while


@dataclass(frozen=True, slots=True)
class Claims:
    """What a target said of itself in its first line: the attributes of an adapter."""

    name: str
    version: str
    capabilities: tuple[str, ...]
    dtypes: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


class Remote:
    """A running command that speaks the protocol.  Close it, or use it in a `with` statement."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        limit: float = 10.0,
        start_limit: float = START_LIMIT,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.command = tuple(command)
        self.limit, self.start_limit = limit, start_limit
        self._env = None if env is None else dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self.claims = self._start()

    def ask(self, case: Case) -> Answer:
        """Ask for the outputs of a case.  Never raises for what the target does; restarts it where it must."""
        if self._process is None:
            try:
                self._start()
            except TargetError as error:
                return Answer(problem=f"the target did not start again: {error.problem}", lost=True)
        line, late = self._exchange(request(case), self.limit)
        if not line.endswith(b"\n"):
            reason = f"no answer within {self.limit:g} s" if late else self._last_words(line)
            self._stop()
            return Answer(problem=reason, lost=True)
        try:
            answer = from_json(line.decode("utf-8", "replace"), case)
        except MalformedAnswerError as error:
            self._stop()
            return Answer(problem=f"answered {error}", lost=True)
        if late:
            self._stop()
        return answer

    def close(self) -> None:
        """End the process: its input ends, and what is not gone in a moment is killed."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._process.stdin.close()
                self._process.wait(FAREWELL)
        self._stop()

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---- the process ----------------------------------------------------------------------------------------

    def _start(self) -> Claims:
        """Start the command and shake hands.  Raises `TargetError`."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by _stop)
        try:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=self._env,
                start_new_session=True,  # so that it can be ended with all its children
            )
        except OSError as error:
            self._stop()
            raise TargetError(f"cannot run {self.command[0]!r}: {error.strerror}") from None
        line, late = self._exchange(hello(SUITE), self.start_limit)
        if not line.endswith(b"\n"):
            reason = f"said nothing within {self.start_limit:g} s" if late else self._last_words(line)
            self._stop()
            raise TargetError(f"the target {self._shown()} did not introduce itself: {reason}")
        try:
            return _claims(line)
        except MalformedAnswerError as error:
            self._stop()
            raise TargetError(
                f"the first line of {self._shown()} is no introduction: {error}",
                fix="see lora_np/conformance/runner/protocol.md",
            ) from None

    def _exchange(self, line: str, limit: float) -> tuple[bytes, bool]:
        """Send a line and read one; tell whether the time ran out, after which the process is dead."""
        process, over = self._process, threading.Event()
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None

        def end() -> None:
            over.set()
            _kill(process)

        watchdog = threading.Timer(limit, end)
        watchdog.daemon = True
        watchdog.start()
        try:
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline(LONGEST_LINE)
        except OSError:  # the pipe is broken: the process has ended
            answer = b""
        finally:
            watchdog.cancel()
            watchdog.join()  # subtle: it may have woken up just now; then the process is not to be used again
        return answer, over.is_set()

    def _last_words(self, line: bytes) -> str:
        """Say how the process ended, with the end of what it wrote to standard error."""
        process = self._process
        assert process is not None
        assert self._errors is not None
        if len(line) >= LONGEST_LINE:
            return "answered a line without an end"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - 2000))
        words = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        how = "closed its output" if process.returncode is None else _ending(process.returncode)
        return how + (f": {shortened(words[-1], 200)}" if words else "")

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # a line that nobody took is still in the buffer
                    if pipe is not None:
                        pipe.close()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _shown(self) -> str:
        return " ".join(self.command)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its children; one that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _ending(code: int) -> str:
    """Name an exit status: the signal, where it was one."""
    if code >= 0:
        return f"the process ended with status {code}"
    with contextlib.suppress(ValueError):
        return f"the process was ended by {signal.Signals(-code).name}"
    return f"the process was ended by signal {-code}"


def _claims(line: bytes) -> Claims:
    """Read the introduction of a target.  Raises `MalformedAnswerError`."""
    text = line.decode("utf-8", "replace")
    try:
        stored: Any = json.loads(text)
        if stored["protocol"] != PROTOCOL:
            raise MalformedAnswerError(f"protocol {stored['protocol']!r}, expected {PROTOCOL}")
        lists = [stored[key] for key in ("capabilities", "dtypes")]
        if not all(isinstance(x, list) and all(isinstance(name, str) for name in x) for x in lists):
            raise MalformedAnswerError("capabilities and dtypes must be lists of text")
        options = {str(name): str(value) for name, value in dict(stored.get("options", {})).items()}
        return Claims(str(stored["name"]), str(stored["version"]), tuple(lists[0]), tuple(lists[1]), options)
    except (json.JSONDecodeError, RecursionError):
        raise MalformedAnswerError(f"a line that is not JSON: {shortened(text)}") from None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, MalformedAnswerError):
            raise
        raise MalformedAnswerError(f"{type(error).__name__}: {error} in {shortened(text)}") from None
