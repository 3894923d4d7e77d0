"""The inside of a submission's process, looked at from close by: its words, its fence, its filter of system calls."""

import contextlib
import os
import pickle
import resource
import struct
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from lora_np.teach.grade import kernel, limits, messages
from lora_np.teach.grade.child import Process, stand_in, trusted
from lora_np.teach.grade.fence import Fence


def conversation(*orders, checked=None):
    """Let a process hear these orders, in this process, and return what it says."""
    hears, we_speak = os.pipe()
    we_hear, speaks = os.pipe()
    for order in orders:
        messages.send(we_speak, pickle.dumps(order))
    os.close(we_speak)
    process = Process(hears, speaks)
    process.limits = {"cell": 5, "call": 5}
    process.checked = checked or {}
    process.serve()
    os.close(speaks)
    said = []
    with contextlib.suppress(messages.ChannelError):  # at the end
        while True:
            said.append(messages.unpacked(messages.receive(we_hear)))
    os.close(hears)
    os.close(we_hear)
    return said


def run(*cells):
    return {"do": "run", "cells": [(number, code, f"cell {number}") for number, code in enumerate(cells)]}


def call(name, *arguments):
    content = pickle.dumps(list(arguments))
    return {"do": "call", "id": "05.1", "name": name, "forbidden": (), "allowed": (), "arguments": content}


def find(name):
    return {"do": "find", "id": "05.1", "name": name}


def test_cells_run_one_by_one_in_one_namespace():
    said = conversation(
        run("x = 1", "y = x + 1\n\n1 / 0", "def f(:", "assert y == 2", "raise SystemExit"), {"do": "end"}
    )
    assert [one for one in said if "failed" in one] == [
        {"failed": "cell 1", "words": "ZeroDivisionError: division by zero (line 3)"},
        {"failed": "cell 2", "words": "SyntaxError: invalid syntax (line 1)"},
        {"failed": "cell 4", "words": "SystemExit: without a word (line 1)"},
    ]
    assert said[-1] == {"ready": True}


def test_an_error_that_cannot_say_itself_is_named():
    code = "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd"
    assert conversation(run(code))[1]["words"] == "Odd: without a word (line 3)"


def test_an_answer_is_described():
    cells = run(
        "def f(a, *, b=1): pass\nvalue = 3\nfrom operator import itemgetter\ng = itemgetter(0)\nh = dict.get\nk = int"
    )
    described = [
        one["found"] for one in conversation(cells, *map(find, ["f", "value", "ff", "k"])) if "found" in one
    ]
    assert described == [
        {"takes": [["a", 1, False], ["b", 3, True]]},
        {"type": "int"},
        {"missing": ["f"]},
        {"takes": None},
    ]
    assert conversation(find("f"), checked={"05.1": lambda x: x})[0] == {
        "found": {"takes": [["x", 1, False]]}
    }


def test_an_answer_is_called_and_what_it_wrote_into_is_said():
    cells = run("def f(x):\n    x[0] = 7\n    return x.sum()")
    (said,) = [one for one in conversation(cells, call("f", np.zeros(2))) if "returned" in one]
    assert messages.decode(said["returned"]) == 7
    (now,) = map(messages.decode, said["arguments"])
    assert now.tolist() == [7, 0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise NotImplementedError", {"problem": ["NotWritten", "not written yet"]}),
        ("assert x < 0, 'no'", {"asserts": "no"}),
        (
            "raise KeyboardInterrupt",
            {"problem": ["Raises", "it raises KeyboardInterrupt: without a word (line 2)"]},
        ),
        ("return ...", {"problem": ["NotWritten", "not written yet"]}),
    ],
)
def test_what_an_answer_does_instead_is_said(body, said):
    assert conversation(run(f"def f(x):\n    {body}"), call("f", 1))[-1] == said


def test_a_function_among_the_arguments_is_called_from_afar():
    import io

    class Pickling(pickle.Pickler):
        def persistent_id(self, value):
            return (0, "double") if value is print else None

    content = io.BytesIO()
    Pickling(content).dump([print])
    order = {**call("f"), "arguments": content.getvalue()}
    x = np.array([5.0])
    replies = [("returned", 4.0, [x], {}), ("raised", ValueError("no"), [], {})]
    cells = run("""
import numpy as np
def f(double):
    x = np.zeros(1)
    y = double(x, k=1)
    try:
        double(x)
    except ValueError as error:
        return y, x, str(error), double.__name__
""")
    asked, again, last = conversation(cells, order, *replies)[-3:]
    assert (asked["call"], again["call"]) == (0, 0)
    args, keywords = messages.decode(asked["arguments"])
    assert (args[0].tolist(), keywords) == ([0], {"k": 1})
    assert messages.decode(last["returned"]) == (4.0, x, "no", "double")


def test_the_stand_in_notes_what_is_checked_and_says_nothing(capsys):
    module, checked = ModuleType("lora_np.teach"), {}
    stand_in(module, checked)
    assert module.check("05.1", len) is True
    assert (module.hint("05.1", 2), module.picture(None), checked) == (None, None, {"05.1": len})
    assert capsys.readouterr().out == ""


# ---- the fence -----------------------------------------------------------------------------------------------

WRITES, READS = os.O_WRONLY | os.O_CREAT, os.O_RDONLY
REFUSED = [
    ("open", ("/etc/new", "w", WRITES)), ("open", ("/etc/new", None, os.O_RDWR)), ("open", ("OWN/../x", "a", READS)),
    ("open", ("CLOSED/bob.py", "r", READS)), ("os.mkdir", ("/new", 0o777, -1)), ("os.rename", ("OWN/a", "/b", -1, -1)),
    ("os.symlink", ("/etc", "OWN/a", -1)), ("os.system", ("true",)), ("subprocess.Popen", ("true", [], None, None)),
    ("socket.connect", (None, ("host", 1))), ("urllib.Request", ("http://host",)), ("os.kill", (1, 9)),
    ("resource.setrlimit", (0, (1, 1))), ("ctypes.dlopen", ("libc.so",)), ("sys.setprofile", ()),
]  # fmt: skip
ALLOWED = [
    ("open", ("/etc/hosts", "r", READS)), ("open", ("OWN/a", "w", WRITES)), ("open", ("/dev/null", "w", WRITES)),
    ("open", (3, "w", WRITES)), ("os.mkdir", ("OWN/a", 0o777, -1)), ("os.chmod", (3, 0o600, -1)), ("import", ("os",)),
]  # fmt: skip


@pytest.fixture
def fence(tmp_path):
    (tmp_path / "own").mkdir()
    told = []
    made = Fence(str(tmp_path / "own"), (str(tmp_path / "closed"),), told.append, trusted(), answering=True)
    made.told = told
    return made


def placed(args, tmp_path):
    said = {"OWN": str(tmp_path / "own"), "CLOSED": str(tmp_path / "closed")}
    for word, place in said.items():
        args = tuple(one.replace(word, place) if isinstance(one, str) else one for one in args)
    return args


@pytest.mark.parametrize(("event", "args"), REFUSED)
def test_the_fence_refuses(event, args, fence, tmp_path):
    for _ in range(2):
        with pytest.raises(PermissionError, match="a graded submission may not"):
            fence._look(event, placed(args, tmp_path))
    assert len(fence.told) == 1


@pytest.mark.parametrize(("event", "args"), ALLOWED)
def test_the_fence_lets_pass(event, args, fence, tmp_path):
    fence._look(event, placed(args, tmp_path))
    assert fence.told == []


def test_the_fence_counts_files(fence, tmp_path):
    for number in range(64):
        fence._look("open", (str(tmp_path / "own" / str(number)), "w", WRITES))
    with pytest.raises(PermissionError, match="more than 64 files"):
        fence._look("open", (str(tmp_path / "own" / "64"), "w", WRITES))


def test_limits_are_taken_as_far_as_the_system_has_them(monkeypatch):
    taken = {}
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: taken.update({kind: limit}))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (-1, 5 if kind == resource.RLIMIT_CPU else -1))
    monkeypatch.delattr(resource, "RLIMIT_CORE")
    limits.take(memory_bytes=10**9, cpu_seconds=60)
    assert taken[resource.RLIMIT_AS] == (10**9, 10**9)
    assert taken[resource.RLIMIT_CPU] == (5, 5)
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: (_ for _ in ()).throw(ValueError))
    limits.take(memory_bytes=10**9, cpu_seconds=60)


# ---- the filter of system calls ------------------------------------------------------------------------------


def decided(program, machine, number, first_argument=0):
    """Run the filter by hand: load, jump, return."""
    at, register = 0, 0
    seen = {0: number, 4: machine, 16: first_argument}
    while True:
        code, if_true, if_false, value = struct.unpack("=HBBI", program[at])
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            register = seen[value]
            continue
        holds = {0x15: register == value, 0x25: register > value, 0x45: bool(register & value)}[code]
        at += if_true if holds else if_false


@pytest.mark.parametrize("name", ["x86_64", "aarch64"])
def test_the_filter_refuses_processes_and_sockets_and_lets_the_rest_pass(name):
    mark, clone, refused = kernel._CALLS[name]
    program = kernel._program(mark, clone, refused)
    allow, eperm, enosys = 0x7FFF0000, 0x00050001, 0x00050026
    for number in (*refused, 424, 425, 434, 10**6):
        assert decided(program, mark, number) == eperm
    assert decided(program, mark, clone, 0x11) == eperm
    assert decided(program, mark, clone, 0x3D0F00) == allow  # a thread
    assert decided(program, mark, 435) == enosys
    others = set(range(424)) - {*refused, clone}
    assert all(decided(program, mark, number) == allow for number in others)
    assert decided(program, 0x40000003, 1) == eperm  # the calls of 32 bits


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has these")
def test_the_kernel_says_what_it_holds(tmp_path):
    """In a process of its own: there is no way back."""
    code = f"from lora_np.teach.grade.kernel import hold; print(*hold({str(tmp_path)!r}))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(ended.stdout.split()) <= {"files", "calls"}


def test_elsewhere_the_kernel_holds_nothing(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert kernel.hold("/tmp") == ()
