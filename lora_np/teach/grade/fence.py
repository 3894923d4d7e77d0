"""What a submission may not do, held inside its own process by an audit hook and by limits.  Floor 6.

A hook sees what Python does, before it is done: opening a file, starting a process, a connection.  It refuses with a
`PermissionError`, which names what was refused, and tells the judge.  Limits of the system hold memory, processor
time and the size of files, see `limits`; on Linux the kernel holds the rest, see `kernel`.

This is a fence for a classroom, not a prison.  A student who calls C can still read what the teacher's account may
read, and without that kernel climb over all of it: who grades strangers does it in a container.  The marks are safe
from that, because the judge is in another process; what a determined student can do is to hide from the watch that an
answer calls what it should compute itself.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

MOST_WRITTEN_FILES = 64

_PROCESSES = {"os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile"}
_PROCESSES |= {"subprocess.Popen", "pty.spawn"}
_NETWORK = {
    "urllib.Request",
    "ftplib.connect",
    "smtplib.connect",
    "http.client.connect",
    "telnetlib.Telnet.open",
}
_OTHERS = {"os.kill": "signal other processes", "os.killpg": "signal other processes"}
_OTHERS |= {"resource.setrlimit": "change its limits", "resource.prlimit": "change its limits"}
_OTHERS |= {"webbrowser.open": "open a browser", "syslog.syslog": "write to the system's log"}
_PATHS = {  # event -> which of its arguments are paths that it changes
    **dict.fromkeys(
        ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime"), (0,)
    ),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), (0, 1)),
    **dict.fromkeys(("os.setxattr", "os.removexattr", "os.chflags", "os.lchmod", "os.lchown"), (0,)),
    "shutil.rmtree": (0,),
}
_WHILE_ANSWERING = {
    "sys.setprofile": "switch off the watch over what it calls",
    "sys.settrace": "trace while it answers",
    "ctypes.dlopen": "load a library while it answers",
    "ctypes.dlsym": "load a library while it answers",
    "cpython.run_file": "run another file while it answers",
}
_HERE = os.path.dirname(__file__)
_PACKAGES = (
    os.path.dirname(os.path.dirname(_HERE)),
    sysconfig.get_path("purelib"),
    sysconfig.get_path("platlib"),
)
_PYTHON = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
_HARMLESS = ("/dev/null", "/dev/tty", "/dev/zero", "/dev/random", "/dev/urandom")


@dataclass
class Fence:
    """The rules for one process: its own folder, places that are closed to it, and whom to tell."""

    own: str
    closed: tuple[str, ...]
    tell: Callable[[str], None]
    trusted: frozenset[CodeType] = frozenset()
    answering: bool = False
    _written: set[str] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)
    _inside: bool = False

    def close(self) -> None:
        """Install the hook.  There is no way back: a process keeps its hooks until its end."""
        _forbid_hidden_forks(self)
        _forbid_threads(self)
        sys.addaudithook(self._look)

    def refuse(self, what: str) -> None:
        """Raise, and tell the judge once for each kind of thing, unless a library wanted it of its own accord."""
        if what not in self._told and len(self._told) < 10 and not _is_of_a_library():
            self._told.add(what)
            self.tell(what)
        raise PermissionError(f"a graded submission may not {what}")

    def _look(self, event: str, args: tuple[Any, ...]) -> None:
        if self._inside:
            return
        self._inside = True
        try:
            self._judge(event, args)
        finally:
            self._inside = False

    def _judge(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            self._open(*args)
        elif event in _PATHS:
            for place in _PATHS[event]:
                self._change(args[place])
        elif event in _PROCESSES:
            self.refuse("start processes")
        elif event.startswith("socket.") or event in _NETWORK:
            self.refuse("use the network")
        elif event in _OTHERS:
            self.refuse(_OTHERS[event])
        elif self.answering and event in _WHILE_ANSWERING and not self._is_ours():
            self.refuse(_WHILE_ANSWERING[event])

    def _is_ours(self) -> bool:
        """Tell whether the watch itself asks: frames are this method, `_judge`, `_look`, then who did it."""
        return sys._getframe(3).f_code in self.trusted

    def _open(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(path, int):
            return  # a handle that is open already
        writes = isinstance(flags, int) and flags & (
            os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        )
        if writes or (isinstance(mode, str) and set(mode) & set("wxa+")):
            self._change(path)
            return
        real = _real(path)
        if any(_is_in(real, place) for place in self.closed) and not _is_in(real, self.own):
            self.refuse("read other submissions or the solutions")

    def _change(self, path: Any) -> None:
        if path is None or isinstance(path, int):
            return
        real = _real(path)
        if real in _HARMLESS:
            return
        if not _is_in(real, self.own):
            self.refuse("write outside its folder")
        self._written.add(real)
        if len(self._written) > MOST_WRITTEN_FILES:
            self.refuse(f"write more than {MOST_WRITTEN_FILES} files")


def _is_of_a_library() -> bool:
    """Tell whether the nearest code that is not Python's own belongs to an installed package, or to this one."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGES) and not file.startswith(_HERE):
            return True
        if not file.startswith((*_PYTHON, _HERE, "<frozen")):
            return False
        frame = frame.f_back
    return False


def _real(path: Any) -> str:
    return os.path.realpath(os.fsdecode(path))


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _forbid_hidden_forks(fence: Fence) -> None:
    """Close the one door that starts processes without a word: `multiprocessing` and `subprocess` go through it."""
    import _posixsubprocess

    def fork_exec(*_: Any) -> int:
        fence.refuse("start processes")
        return -1

    _posixsubprocess.fork_exec = fork_exec


def _forbid_threads(fence: Fence) -> None:
    """Let an answer start no thread: the watch sees one thread alone."""
    import _thread
    import threading

    for module in (_thread, threading):
        for name in (
            "start_new_thread",
            "_start_new_thread",
            "start_joinable_thread",
            "_start_joinable_thread",
        ):
            starts = getattr(module, name, None)
            if starts is not None:
                setattr(module, name, _not_while_answering(fence, starts))


def _not_while_answering(fence: Fence, starts: Callable[..., Any]) -> Callable[..., Any]:
    def start(*args: Any, **keywords: Any) -> Any:
        if fence.answering:
            fence.refuse("start threads while it answers")
        return starts(*args, **keywords)

    return start
