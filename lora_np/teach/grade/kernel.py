"""What the kernel holds for a process that asks it to, on Linux, without any privilege.  Floor 6.

A filter of system calls (seccomp): no new process, no other program, no socket, no signal to others.  A rule for
files (Landlock): nothing is made, changed or removed outside one folder.  Neither can be taken back, and neither can
be gone around from Python or from C.  Where a kernel knows them not, the audit hook of `fence` stands alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # of prctl
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_SET, _JUMP_IF_LARGER, _RETURN = 0x20, 0x15, 0x45, 0x25, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # where they stand in what the filter sees
_THREAD = 0x0001_0000  # the flag of clone that makes a thread, not a process
_LAST_NUMBER = 1 << 16  # beyond it: the numbers of a second way to call

_EVERYWHERE = (424, 425, 434)  # pidfd_send_signal, io_uring_setup, pidfd_open
_CALLS = {  # machine: (its mark, clone, what is refused)
    # socket connect accept bind socketpair fork vfork execve kill ptrace mount mknod mknodat unshare
    # process_vm_readv process_vm_writev execveat
    "x86_64": (
        0xC000_003E,
        56,
        (41, 42, 43, 49, 53, 57, 58, 59, 62, 101, 165, 133, 259, 272, 310, 311, 322),
    ),
    # socket socketpair bind accept connect execve kill ptrace mount mknodat unshare process_vm_* execveat
    "aarch64": (0xC000_00B7, 220, (198, 199, 200, 202, 203, 221, 129, 117, 40, 33, 97, 270, 271, 281)),
}
_CLONE3 = 435

_CREATE_RULES, _ADD_RULE, _RESTRICT = 444, 445, 446
_WRITES = (1 << 1) | sum(1 << bit for bit in range(4, 13))  # write a file, remove, make of every kind
_WRITE_FILE = 1 << 1


def hold(folder: str) -> tuple[str, ...]:
    """Ask for all that this kernel can hold; tell what it does: "calls", "files".

    The process may then write in `folder` alone.  There is no way back.
    """
    if sys.platform != "linux":
        return ()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return ()
    held = [("files", _hold_files(libc, folder)), ("calls", _hold_calls(libc))]
    return tuple(name for name, does in held if does)


def _hold_calls(libc: ctypes.CDLL) -> bool:
    machine = platform.machine()
    if machine not in _CALLS:
        return False
    program = b"".join(_program(*_CALLS[machine]))
    content = ctypes.create_string_buffer(program, len(program))
    whole = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(content))
    return bool(libc.prctl(_SECCOMP, _FILTER, ctypes.c_char_p(whole), 0, 0) == 0)


def _program(mark: int, clone: int, refused: tuple[int, ...]) -> list[bytes]:
    """Write the filter: (code, steps to skip if true, if false, number), eight bytes each."""
    calls = (*refused, *_EVERYWHERE)
    refuse, count = _step(_RETURN, _ERRNO | errno.EPERM), len(calls)
    return [
        _step(_LOAD, _ARCHITECTURE),
        _step(_JUMP_IF_EQUAL, mark, 1, 0),
        refuse,
        _step(_LOAD, _NUMBER),
        _step(_JUMP_IF_LARGER, _LAST_NUMBER, count + 6, 0),
        *(_step(_JUMP_IF_EQUAL, call, count - place + 5, 0) for place, call in enumerate(calls)),
        _step(_JUMP_IF_EQUAL, clone, 0, 2),
        _step(_LOAD, _FIRST_ARGUMENT),
        _step(_JUMP_IF_SET, _THREAD, 1, 3),
        _step(_JUMP_IF_EQUAL, _CLONE3, 1, 0),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | errno.ENOSYS),  # the library then tries clone, whose flags can be seen
        refuse,
    ]


def _step(code: int, number: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, number)


def _hold_files(libc: ctypes.CDLL, folder: str) -> bool:
    attributes = ctypes.create_string_buffer(struct.pack("=Q", _WRITES), 8)
    rules = libc.syscall(_CREATE_RULES, attributes, ctypes.c_size_t(8), 0)
    if rules < 0:
        return False
    try:
        allowed = _allow(libc, rules, folder, _WRITES) and _allow(libc, rules, os.devnull, _WRITE_FILE)
        return bool(allowed and libc.syscall(_RESTRICT, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> bool:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, handle), 12)
        return bool(libc.syscall(_ADD_RULE, rules, 1, rule, 0) == 0)
    finally:
        os.close(handle)
