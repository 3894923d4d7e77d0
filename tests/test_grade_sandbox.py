"""Whatever a submission does, it costs itself a line of the report: a bad cell or answer, never the rest."""

import glob
import re
import sys
from dataclasses import replace

import pytest

from lora_np.errors import ConfigError
from lora_np.teach.grade.grading import grade
from lora_np.teach.grade.limits import Limits
from lora_np.teach.grade.submissions import find
from tests.grade_course import RIGHT, TASKS, course, graded, named, points, script

ALL = [1, 2, 3, 1]
REFUSED = {  # what cells do, and what the report must say of them: a file for each kind
    "errors": {
        "def f(:": "SyntaxError",
        "1 / 0": "ZeroDivisionError: division by zero (line 12)",
        "import sys\nsys.exit(0)": "SystemExit: 0",
        "def f(): f()\nf()": "RecursionError",
        "input('your name? ')": "EOFError",
        "import no_such_package": "ModuleNotFoundError",
        "from lora_np.teach.exercises import lesson_05": "ModuleNotFoundError",
        "raise ValueError('größe 🎲 \\ud800 \\x1b[31m')": "ValueError: größe 🎲",
    },
    "processes": {
        "import subprocess\nsubprocess.run(['true'])": "may not start processes",
        "import os\nos.system('true')": "may not start processes",
        "import os\nos.fork()": "may not start processes",
        "import multiprocessing as m\nm.get_context('spawn').Process(target=print).start()": "start processes",
        "import os\nos.kill(os.getppid(), 9)": "may not signal other processes",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))": "may not change its limits",
        "import socket\nsocket.create_connection(('127.0.0.1', 9))": "may not use the network",
        "import urllib.request as u\nu.urlopen('http://localhost')": "may not use the network",
    },
    "files": {
        "open('/tmp/lora_np_outside', 'w')": "may not write outside its folder",
        "import os\nos.mkdir('/tmp/lora_np_outside')": "may not write outside its folder",
        "import os\nos.symlink('/tmp', 'out')\nopen('out/lora_np_outside', 'w')": "may not write outside",
        "np.save('/tmp/lora_np_outside.npy', np.ones(2))": "may not write outside its folder",
        "open('../lora_np_outside', 'w')": "may not write outside its folder",
        "open('a', 'wb').write(bytes(10**8))": "File too large",
        "for i in range(99): open(str(i), 'w').close()": "may not write more than 64 files",
    },
    "memory": {
        "x = np.ones(10**10)": "MemoryError",
        "x = [bytes(10**8) for _ in range(10**4)]": "MemoryError",
        "x = None": "",
    },
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bad_cell_costs_itself_alone_and_is_named(kind, tmp_path):
    result = graded(tmp_path, script(*REFUSED[kind]))
    assert points(result) == ALL, result
    told = [note for note in result.notes if "it tried to" not in note]
    said = [words for words in REFUSED[kind].values() if words]
    assert len(told) == len(said)
    for note, words in zip(told, said, strict=True):
        assert words in note
    assert all(note.isprintable() for note in result.notes)
    assert not glob.glob("/tmp/*lora_np_outside*")


DEADLY = {  # what a cell does to its process -> (its code, what the report must say of it)
    "endless": ("while True: pass", "is stopped after 1.5 s"),
    "endless, and deaf": ("while True:\n    try:\n        while True: pass\n    except: pass", "is stopped"),
    "hard exit": ("import os\nos._exit(0)", "it ended its own process"),
    "abort": ("import os\nos.abort()", "it crashed the interpreter (SIGABRT)"),
    "deep recursion": (
        "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n    def __getattr__(s, n): return getattr(s, n)\nA().x",
        "it crashed the interpreter (SIGSEGV)",
    ),
    "stops itself": (
        "import os, signal\nsignal.raise_signal(signal.SIGSTOP)",
        "it is stopped: no word from it for",
    ),
    "closes everything": ("import os\nos.closerange(3, 99)", "it ended its own process"),
}


@pytest.mark.parametrize("what", DEADLY)
def test_a_cell_that_kills_its_process_is_left_out_and_the_rest_goes_on(what, tmp_path):
    code, said = DEADLY[what]
    result = graded(tmp_path, script(code))
    assert points(result) == ALL, result
    assert len(result.notes) == 1
    assert said in result.notes[0]
    assert "cell at line 7" in result.notes[0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process ask its kernel for this")
def test_on_linux_not_even_c_can_leave(tmp_path):
    """Where the kernel knows seccomp and Landlock; elsewhere the audit hook stands alone."""
    cells = (
        "import ctypes\nlibc = ctypes.CDLL(None)",
        "assert libc.fork() == -1",
        "assert libc.socket(2, 1, 0) == -1",
        "assert libc.system(b'true') != 0",
        "assert libc.open(b'/tmp/lora_np_outside', 0o101, 0o600) == -1",
        "assert libc.mkfifo(b'/tmp/lora_np_outside', 0o600) == -1",
    )
    result = graded(tmp_path, script(*cells))
    assert (points(result), result.notes) == (ALL, ())
    assert not glob.glob("/tmp/lora_np_outside*")


BAD_ANSWERS = {  # what an answer does -> (its body, the mistake's name, a word of the sentence)
    "nothing": ("pass", "NothingReturned", "return"),
    "not written": ("raise NotImplementedError", "NotWritten", ""),
    "dots": ("...", "NothingReturned", ""),
    "raises": ("return B @ A.T @ B @ B", "Raises", "ValueError"),
    "text": ("return 'B A'", "WrongType", ""),
    "a class": ("return type", "WrongType", ""),
    "a function": ("return lambda: 0", "WrongType", ""),
    "a generator": ("return (x for x in B)", "WrongType", ""),
    "itself in itself": ("x = []\n    x.append(x)\n    return x", "WrongType|WrongShape", ""),
    "too large": ("return np.zeros((10**4, 10**4))", "WrongType", r"shape \(10000, 10000\)"),
    "too long": ("return [np.zeros(10**5)] * 99", "WrongType", ""),
    "objects": ("return np.array([None] * 4)", "WrongType", ""),
    "complex": ("return (B @ A) * 1j", "WrongType", ""),
    "no numbers": ("return B @ A * np.nan", "NotFinite", "NaN"),
    "writes into B": ("B *= scale\n    return B @ A", "InputChanged", "B"),
    "endless": ("while True: pass", "TimeLimit", "1 s"),
    "endless, and deaf": (
        "try:\n        while True: pass\n    except: return 0",
        "TimeLimit",
        "1 s",
    ),
    "exit": ("raise SystemExit(0)", "Raises", "SystemExit"),
    "interrupt": ("raise KeyboardInterrupt", "Raises", "KeyboardInterrupt"),
    "asserts": ("assert False, 'no'", "Raises", "AssertionError"),
    "recursion": ("return {name}(B, A, scale)", "Raises", "RecursionError"),
    "memory": ("return np.ones(10**10)", "Raises", "MemoryError"),
    "process": ("import os\n    os.fork()", "Raises", "may not start processes"),
    "thread": (
        "import threading\n    threading.Thread(target=print).start()",
        "Raises",
        "may not start threads",
    ),
    "unwatched": ("import sys\n    sys.setprofile(None)", "Raises", "may not switch off the watch"),
    "takes less": (None, "WrongArguments", "B, A, scale"),
}


def bad_exercises(number):
    assert number == "06"
    made = [
        replace(TASKS[1], id=f"06.{n}", signature=f"answer_{n}(B, A, scale)") for n in range(len(BAD_ANSWERS))
    ]
    return (*made, replace(TASKS[1], id="06.right", signature="increment(B, A, scale)"))


def test_a_bad_answer_costs_itself_alone_and_is_named(tmp_path):
    cells = [RIGHT["05.2"]]
    for number, (body, _, _) in enumerate(BAD_ANSWERS.values()):
        takes = "B, A, scale" if body else "B, A"
        inside = (body or "return B @ A").replace("{name}", f"answer_{number}")
        cells.append(f"def answer_{number}({takes}):\n    {inside}")
    (tmp_path / "06_anna.py").write_text("\n# %%\n".join(["# %%\nimport numpy as np", *cells]))
    (one,) = find(tmp_path)
    result = grade(one, course(exercises=bad_exercises))
    marks = {mark.id: mark for mark in result.marks}
    assert marks.pop("06.right").points == 2
    assert not any(mark.points for mark in marks.values())
    for number, (what, (_, name, word)) in enumerate(BAD_ANSWERS.items()):
        mark = marks[f"06.{number}"]
        assert re.fullmatch(name, mark.name), (what, mark)
        assert re.search(word, mark.words), (what, mark)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os\n    os._exit(0)", "it ended its own process (exit status 0)"),
        ("return sum(iter(int, 1))", "it is stopped: no word from it for 3 s"),
    ],
    ids=["hard exit", "endless in C"],
)
def test_an_answer_that_kills_its_process_costs_itself_alone(body, said, tmp_path):
    result = graded(tmp_path, script(e2=f"def increment(B, A, scale):\n    {body}"))
    assert points(result) == [1, 0, 3, 1]
    assert named(result)["05.2"] == "Stopped"
    assert result.marks[1].words == said


def test_what_is_printed_is_counted_and_thrown_away(tmp_path):
    result = graded(tmp_path, script("for _ in range(30): print('x' * 10**5)"))
    assert points(result) == ALL
    assert result.notes == ("05_anna.py: it prints 3 MB, which nobody reads",)
    assert result.peak_mb < 200


def test_words_in_other_scripts_are_read_and_written_whole(tmp_path):
    result = graded(tmp_path, script("größe = 'Ωmega 🎲 漢字'\nprint(größe)"), name="05_Ζωή Müller 漢字.py")
    assert points(result) == ALL
    assert result.student == "05_Ζωή Müller 漢字"


def test_what_a_library_tries_of_its_own_accord_is_refused_and_not_told(tmp_path):
    cells = (
        "import numpy as np\ntry:\n    np.save('/tmp/lora_np_outside.npy', np.ones(2))\nexcept OSError: pass",
    )
    result = graded(tmp_path, script(*cells))
    assert (points(result), result.notes) == (ALL, ())
    assert not glob.glob("/tmp/*lora_np_outside*")


def test_a_submission_cannot_read_what_others_handed_in(tmp_path):
    (tmp_path / "05_bob.py").write_text(script())
    other = repr(str(tmp_path / "05_bob.py"))
    (tmp_path / "05_anna.py").write_text(script(f"exec(open({other}).read())"))
    anna, _ = find(tmp_path)
    result = grade(anna, course(closed=(tmp_path,)))
    assert "may not read other submissions" in result.notes[0]


def test_a_folder_of_its_own_holds_its_files_and_is_removed(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "table.csv").write_text("1,2,3")
    cells = (
        "import os\nprint(os.getcwd())",
        "assert open('table.csv').read() == '1,2,3'",
        "open('new', 'w')",
    )
    (tmp_path / "anna" / "05.py").write_text(script(*cells))
    (one,) = find(tmp_path)
    result = grade(one, course())
    assert (points(result), result.notes) == (ALL, ())
    assert sorted(path.name for path in (tmp_path / "anna").iterdir()) == ["05.py", "table.csv"]


@pytest.mark.parametrize("limits", [{"seconds": 0}, {"seconds": float("nan")}, {"memory_mb": 10}])
def test_limits_that_cannot_be_are_refused(limits):
    with pytest.raises(ConfigError, match=r"limit is"):
        Limits(**limits)
