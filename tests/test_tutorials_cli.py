"""`lora-np tutorials`: lays out without overwriting, says what is solved, survives every file, watches until Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("jupytext", reason="jupytext is not installed")

from lora_np.cli.app import app
from lora_np.errors import BackendError, ConfigError
from lora_np.teach import folder as student
from lora_np.teach import running
from lora_np.teach.build.strip import strip
from lora_np.teach.exercises import exercise
from lora_np.teach.lessons import lesson, lessons

FIRST = lesson("01")
ASKED = student.asked(FIRST)


def run(*arguments):
    return CliRunner().invoke(app, ["tutorials", *map(str, arguments)], catch_exceptions=False)


def status(folder, *options):
    return json.loads(run("status", folder, "--json", *options).stdout)


def states(path, **options):
    return {answer.id: answer.state for answer in student.progress(path, FIRST, **options).answers}


# ---- start -------------------------------------------------------------------------------------------------------


def test_start_lays_out_every_lesson_without_its_solutions(tmp_path):
    ended = run("start", tmp_path / "mine")
    assert f"{len(lessons())} lessons laid out" in ended.stdout
    laid = {path.name: path.read_text() for path in (tmp_path / "mine").iterdir()}
    assert laid.keys() == {one.path.name for one in lessons()}
    assert not any("SOLUTION" in text for text in laid.values())


def test_start_never_overwrites(tmp_path):
    (tmp_path / FIRST.path.name).write_text("my work")
    assert "1 were there" in run("start", tmp_path).stdout
    assert "0 lessons laid out" in run("start", tmp_path).stdout
    assert (tmp_path / FIRST.path.name).read_text() == "my work"


def test_start_says_where_it_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(ConfigError, match=r"is a file|cannot be written"):
            run("start", tmp_path / place)


def test_a_lesson_cut_short_is_not_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(student, "student_script", lambda lesson: "\ud800")  # no text that can be encoded
    with pytest.raises(UnicodeEncodeError):
        list(student.start(tmp_path))
    assert list(tmp_path.iterdir()) == []


# ---- status ------------------------------------------------------------------------------------------------------


def test_an_untouched_folder_has_nothing_solved_and_begins_at_the_beginning(tmp_path):
    run("start", tmp_path)
    found = status(tmp_path)
    assert found["solved"] == 0
    assert found["exercises"] == sum(len(student.asked(one)) for one in lessons())
    assert found["next"] == {"file": FIRST.path.name, "id": "01.1"}
    assert {answer["state"] for file in found["files"] for answer in file["answers"]} == {"open"}


def test_a_solved_folder_has_everything_solved(tmp_path):
    for one in lessons():
        (tmp_path / one.path.name).write_text(one.text)
    found = status(tmp_path, "--seconds", "60")
    assert [
        answer for file in found["files"] for answer in file["answers"] if answer["state"] != "solved"
    ] == []
    assert found["next"] is None
    assert found["solved"] == found["exercises"] > 0


def test_the_table_says_what_comes_next_and_gives_its_first_hint(tmp_path):
    (tmp_path / FIRST.path.name).write_text(solved_but(ASKED[1][1]))
    shown = run("status", tmp_path).stdout
    assert f"{len(ASKED) - 1}/{len(ASKED)}" in shown
    assert f"Next: exercise 01.2 {'★' * exercise('01.2').stars} {exercise('01.2').title}" in shown
    assert exercise("01.2").hints[0] in shown
    (tmp_path / FIRST.path.name).write_text(FIRST.text)
    assert "All solved." in run("status", tmp_path).stdout


def solved_but(function, instead="raise NotImplementedError"):
    """The first lesson, solved but for one function, whose body is something else."""
    return f"{FIRST.text}\n\n# %%\ndef {function}(*arguments):\n    {instead}\n"


def test_notebooks_are_read_too(tmp_path):
    from lora_np.teach.build.notebooks import solution_notebook

    path = tmp_path / f"{FIRST.name}.ipynb"
    path.write_text(solution_notebook(FIRST))
    assert set(states(path).values()) == {"solved"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\xc3\x28 = 1", "is not text in UTF-8"),
        (b"# only words", "holds no code"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_line_and_the_others_are_checked(tmp_path, content, said):
    (tmp_path / FIRST.path.name).write_bytes(content)
    second = lessons()[1]
    (tmp_path / second.path.name).write_text(strip(second.text))
    ended = run("status", tmp_path)
    assert ended.exit_code == 0
    assert f"{FIRST.path.name}: " in ended.stdout
    assert said in ended.stdout
    assert f"Next: exercise {second.number}.1" in ended.stdout


@pytest.mark.parametrize(
    "content", ["not JSON", "[]", '{"cells": 3}', "", '{"cells": [{"cell_type": "code"}]}']
)
def test_a_notebook_that_is_none_is_a_line(tmp_path, content):
    path = tmp_path / f"{FIRST.name}.ipynb"
    path.write_text(content)
    found = student.progress(path, FIRST)
    assert found.trouble
    assert found.solved == 0
    assert found.next is None


def test_folders_and_links_with_the_name_of_a_lesson_are_lines(tmp_path):
    (tmp_path / FIRST.path.name).mkdir()
    (tmp_path / f"{FIRST.name}.ipynb").symlink_to(FIRST.path)
    assert [bool(file["trouble"]) for file in status(tmp_path)["files"]] == [True, True]


def test_a_folder_without_lessons_is_refused(tmp_path):
    for place, said in ((tmp_path, "no lesson is in"), (tmp_path / "none", "is no folder")):
        with pytest.raises(ConfigError, match=said):
            run("status", place)
    with pytest.raises(ConfigError, match="seconds"):
        run("status", tmp_path, "--seconds", "0")


# ---- one answer among others -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "name", "said"),
    [
        ("while True: pass", "TooLong", "longer than 8 s"),
        ("import os; os._exit(3)", "Ends", "ends the Python"),
        ("import sys; sys.exit()", "Raises", "SystemExit"),
        ("raise KeyboardInterrupt", "Ends", "ends the Python"),
        ("return undefined", "Raises", "NameError"),
        ("return arguments", "", ""),
        ("raise NotImplementedError", "NotWritten", ""),
    ],
)
def test_a_bad_answer_costs_only_its_own_exercise(tmp_path, body, name, said):
    path = tmp_path / FIRST.path.name
    path.write_text(solved_but(ASKED[1][1], body))
    found = student.progress(path, FIRST, seconds=8.0 if name == "TooLong" else 60.0)
    assert [answer.state == "solved" for answer in found.answers] == [n != 1 for n in range(len(ASKED))]
    answer = found.answers[1]
    assert answer.name == name or not name
    assert said in answer.words


def test_what_an_answer_prints_is_dropped(tmp_path):
    path = tmp_path / FIRST.path.name
    path.write_text(
        f"import os\n{solved_but(ASKED[1][1], 'os.write(1, bytes(10**7)); print(arguments); return 0')}"
    )
    assert list(states(path).values()).count("solved") == len(ASKED) - 1


def test_a_syntax_error_costs_only_its_cell(tmp_path):
    path = tmp_path / FIRST.path.name
    path.write_text(FIRST.text.replace(f"def {ASKED[1][1]}(", f"def {ASKED[1][1]}((", 1))
    found = student.progress(path, FIRST)
    assert [answer.state for answer in found.answers].count("solved") == len(ASKED) - 1
    assert "its line" in found.answers[1].words


def test_a_function_that_is_gone_is_named(tmp_path):
    path = tmp_path / FIRST.path.name
    path.write_text(strip(FIRST.text).replace(f"def {ASKED[0][1]}(", "def another("))
    assert student.progress(path, FIRST).answers[0].words == f"the function {ASKED[0][1]} is not in the file"


def test_only_what_an_answer_needs_is_run(tmp_path):
    """Constants, helpers and imports above it are; a slow cell, a broken one, and what comes later are not."""
    text = """
import numpy as np
from math import *
SLOW = [print("slow") for _ in iter(int, 1)]
1 / 0
half = 0.5
table = {}
table["half"] = half
def helper(x): return table["half"] * x + other(x) + floor(0.5)
other = lambda x: np.sum(0 * x)
def answer(x, y=half):
    SLOW = 3
    return helper(x)
# %%
half = None
"""
    path = tmp_path / "answer.py"
    path.write_text(text)
    assert running.function(running.read(path), "answer", str(path))(4.0) == 2.0


def test_what_an_answer_needs_and_cannot_have_is_said(tmp_path):
    path = tmp_path / FIRST.path.name
    path.write_text(f"LIMIT = 1 / 0\n\n\ndef {ASKED[0][1]}(u, v):\n    return LIMIT\n")
    words = student.progress(path, FIRST).answers[0].words
    assert "ZeroDivisionError" in words
    assert "line 1" in words


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def answer(:\n    pass", "line 1, its line 1: "),
        ("x = 1", "the function answer is not in the file"),
        ("limit = 1 / 0\ndef answer():\n    return limit", "ZeroDivisionError: division by zero"),
        ("import no_such_package as n\ndef answer():\n    return n", "ModuleNotFoundError"),
        ("answer = other", "NameError"),
    ],
)
def test_why_there_is_no_function_is_said(tmp_path, text, said):
    path = tmp_path / "answer.py"
    path.write_text(text)
    with pytest.raises(running.MissingError, match=said):
        running.function(running.read(path), "answer", str(path))
    assert said in running.outcome(path, "01.1", "answer")["words"]


def test_a_process_that_does_not_start_is_said(tmp_path, monkeypatch):
    path = tmp_path / FIRST.path.name
    path.write_text(FIRST.text)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ConfigError, match="does not start"):
        student.progress(path, FIRST)


# ---- watch -------------------------------------------------------------------------------------------------------


def test_watch_checks_again_on_save_and_ends_cleanly(tmp_path):
    """As in a terminal: the table, a save, the lines of that file, Ctrl-C."""
    pytest.importorskip("watchfiles", reason="watchfiles is not installed")
    path = tmp_path / FIRST.path.name
    path.write_text(strip(FIRST.text))
    process = subprocess.Popen(
        [sys.executable, "-m", "lora_np", "tutorials", "watch", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    patience = threading.Timer(90, process.kill)
    patience.start()
    heard = []
    try:
        for line in process.stdout:
            heard.append(line)
            if line.startswith("Watching"):
                threading.Thread(target=save_until_heard, args=(path, heard), daemon=True).start()
            if line.startswith("All solved"):
                process.send_signal(signal.SIGINT)
        process.wait()
    finally:
        patience.cancel()
        process.kill()
        process.stdout.close()
    text = "".join(heard)
    assert "Next: exercise 01.1" in text
    assert f"{len(ASKED)} of {len(ASKED)} solved" in text
    assert text.rstrip().endswith("No longer watching.")
    assert process.returncode == 0


def save_until_heard(path, heard):
    """Save the solved lesson; again, should the watch have begun a moment later than it says."""
    while not any(line.startswith("All solved") for line in heard):
        path.write_text(FIRST.text)
        time.sleep(3)


def test_without_watchfiles_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(BackendError, match=r"lora-np\[tutorials\]"):
        run("watch", tmp_path)


def test_watch_survives_a_folder_that_empties(tmp_path, capsys):
    from lora_np.cli import tutorials

    tutorials._show_changed(tmp_path, {FIRST.path.name}, 1.0)
    assert capsys.readouterr().out == ""


# ---- build -------------------------------------------------------------------------------------------------------


def test_build_says_what_is_where_and_refuses_to_overwrite(tmp_path):
    ended = run("build", "--out", tmp_path / "class")
    assert f"{len(lessons())} lessons" in ended.stdout
    for place in ("student/scripts", "student/notebooks", "solutions", "nbgrader/source", "otter"):
        assert place in ended.stdout
        assert len(list((tmp_path / "class" / place).iterdir())) == len(lessons())
    (tmp_path / "class" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"notes.txt"):
        run("build", "--out", tmp_path / "class")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        run("build", "--out", tmp_path / "file" / "below")
