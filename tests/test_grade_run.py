"""A whole run: every submission has its row, an interruption loses nothing, and the reports are as others read them."""

import csv
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

from lora_np.cli.app import app
from lora_np.errors import ConfigError
from lora_np.teach.grade import report
from lora_np.teach.grade import run as runs
from lora_np.teach.grade.journal import Journal
from lora_np.teach.grade.marks import Mark, Result
from lora_np.teach.grade.run import run
from lora_np.teach.grade.submissions import find
from tests.grade_course import course, script

MARKS = (
    Mark("05.1", 0, 1, "DenseCount", "that is the whole matrix"),
    Mark("05.quiz", 1, 1, "Right", "1 of 1"),
)


@pytest.fixture
def class_of(tmp_path):
    """A folder of submissions of as many students as asked for, by their files' texts."""

    def make(**texts):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        for student, text in texts.items():
            (folder / f"{student}.py").write_text(text)
        return folder

    return make


def test_every_submission_has_its_result_and_bad_ones_cost_themselves(class_of, tmp_path):
    folder = class_of(anna=script(), bob="", carl="def f(:", dora=script("import os\nos._exit(0)"))
    (folder / "emil.ipynb").write_text("not JSON")
    (folder / "frida.pdf").write_bytes(b"%PDF")
    told = []
    results, complete = run(
        find(folder), course(lesson="05"), Journal(tmp_path / "j", {}), jobs=2, done=told.append
    )
    assert complete
    assert {one.student: one.points for one in results} == {
        "anna": 7, "bob": 0, "carl": 0, "dora": 7, "emil": 0, "frida": 0,
    }  # fmt: skip
    assert [one.of for one in results] == [7, 7, 7, 7, 7, 0]
    assert sorted(one.student for one in told) == [one.student for one in results]
    said = {one.student: one.notes for one in results}
    assert said["anna"] == ()
    assert said["bob"] == ("bob.py: is empty",)
    assert "SyntaxError" in said["carl"][0]
    assert "it ended its own process" in said["dora"][0]
    assert "JSON is broken" in said["emil"][0]
    assert said["frida"] == ("no script and no notebook, only frida.pdf",)


def test_a_fault_of_the_grader_costs_one_submission(class_of, tmp_path, monkeypatch):
    def failing(one, course):
        if one.student == "anna":
            raise RuntimeError("planted")
        return Result(one.student, one.digest(), MARKS)

    monkeypatch.setattr(runs, "grade", failing)
    results, _ = run(find(class_of(anna="x", bob="x")), course(), Journal(tmp_path / "j", {}), jobs=2)
    assert results[0].notes == ("the grader failed, not the student: RuntimeError: planted",)
    assert results[1].marks == MARKS


def test_a_fault_of_the_judge_costs_one_exercise(class_of, tmp_path, monkeypatch):
    from lora_np.teach.grade import grading

    judged = grading.judge

    def failing(task, answer, *, seed):
        if task.id == "05.2":
            raise RuntimeError("planted")
        return judged(task, answer, seed=seed)

    monkeypatch.setattr(grading, "judge", failing)
    ((anna,), _) = run(
        find(class_of(anna=script())), course(lesson="05"), Journal(tmp_path / "j", {}), jobs=1
    )
    assert [mark.points for mark in anna.marks] == [1, 0, 3, 1]
    assert anna.marks[1].name == "NotJudged"


# ---- interrupted ---------------------------------------------------------------------------------------------


def test_what_the_journal_holds_is_not_graded_again(class_of, tmp_path, monkeypatch):
    graded = []

    def counting(one, course):
        graded.append(one.student)
        return Result(one.student, one.digest(), MARKS)

    monkeypatch.setattr(runs, "grade", counting)
    folder, how = class_of(anna="x", bob="x"), {"seed": 0}
    first, _ = run(find(folder), course(), Journal(tmp_path / "j", how), jobs=1)
    class_of(carl="x", bob="y")
    again, _ = run(find(folder), course(), Journal(tmp_path / "j", how), jobs=1)
    assert graded == ["anna", "bob", "bob", "carl"]
    assert again[0] == first[0]
    run(find(folder), course(), Journal(tmp_path / "j", {"seed": 1}), jobs=1)
    run(find(folder), course(), Journal(tmp_path / "j", {"seed": 1}), jobs=1, resume=False)
    assert graded[4:] == ["anna", "bob", "carl"] * 2


def test_a_journal_cut_short_keeps_what_is_whole(tmp_path):
    journal = Journal(tmp_path / "j", {"seed": 0})
    journal.begin(resume=True)
    for student in ("anna", "Ζωή"):
        journal.add(Result(student, "d", MARKS, ("a note",), 1.5, 40.0))
    content = journal.path.read_bytes()
    for end in range(len(content)):
        journal.path.write_bytes(content[:end])
        there = journal.begin(resume=True)
        assert set(there) <= {"anna", "Ζωή"}
        assert all(one.marks == MARKS for one in there.values())
    journal.path.write_bytes(content + b'{"student": "bob"}\n[1]\n\xff\n')
    assert set(journal.begin(resume=True)) == {"anna", "Ζωή"}
    journal.end()
    assert not journal.path.exists()


def test_ctrl_c_keeps_what_is_done_and_stops_what_runs(class_of, tmp_path, monkeypatch):
    def grade(one, course):
        if one.student != "anna":
            threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
            assert course.cancelled.wait(20)
        return Result(one.student, one.digest(), MARKS)

    monkeypatch.setattr(runs, "grade", grade)
    folder = class_of(anna="x", bob="x", carl="x")
    results, complete = run(find(folder), course(), Journal(tmp_path / "j", {}), jobs=1)
    assert not complete
    assert [one.student for one in results] == ["anna"]
    assert list(Journal(tmp_path / "j", {}).begin(resume=True)) == ["anna"]


def test_the_command_is_interrupted_and_goes_on(class_of, tmp_path):
    folder = class_of(anna="# %%\ncheck = 1", bob="# %%\nwhile True: pass")
    out = tmp_path / "report.csv"
    command = [
        sys.executable,
        "-m",
        "lora_np",
        "grade",
        str(folder),
        "--out",
        str(out),
        "--lesson",
        "1",
        "--jobs",
        "1",
    ]
    running = subprocess.Popen([*command, "--time-limit", "600"], stdout=subprocess.PIPE, text=True)
    journal = tmp_path / "report.csv.journal"
    until = time.monotonic() + 60
    while not (journal.exists() and b"anna" in journal.read_bytes()):
        assert time.monotonic() < until
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "1 of 2 submissions graded" in said
    assert [row["student"] for row in rows(out)] == ["anna"]
    (folder / "bob.py").write_text("# %%\nx = 1")
    ended = subprocess.run([*command, "--time-limit", "600"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "2 of 2 submissions graded" in ended.stdout
    assert [row["student"] for row in rows(out)] == ["anna", "bob"]
    assert not journal.exists()


# ---- reports -------------------------------------------------------------------------------------------------


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_a_submission_and_a_column_an_exercise(tmp_path):
    other = Result("=cmd(); Ζωή", "d", (Mark("06.1", 2, 2, "Right", "all equal"),), ('a, "note"',), 0.5, 31.0)
    report.write_csv(tmp_path / "r.csv", [Result("anna", "d", MARKS, (), 1.25, 40.5), other])
    assert rows(tmp_path / "r.csv") == [
        {"student": "anna", "05.1": "0", "05.quiz": "1", "06.1": "", "total": "1", "of": "2", "seconds": "1.25",
         "peak_mb": "40.5", "notes": "05.1 DenseCount"},
        {"student": "'=cmd(); Ζωή", "05.1": "", "05.quiz": "", "06.1": "2", "total": "2", "of": "2",
         "seconds": "0.5", "peak_mb": "31.0", "notes": 'a, "note"'},
    ]  # fmt: skip


def test_gradescope_reads_the_json(tmp_path):
    """The fields, their types and the words allowed are those of its autograder specification."""
    report.write_json(tmp_path / "json", [Result("Ζωή", "d", MARKS, ("it prints 3 MB",), 1.25, 40.5)])
    said = json.loads((tmp_path / "json" / "Ζωή.json").read_text(encoding="utf-8"))
    assert said["score"] == sum(test["score"] for test in said["tests"]) == 1
    assert type(said["execution_time"]) is int
    assert said["output"] == "it prints 3 MB"
    words = {"hidden", "after_due_date", "after_published", "visible"}
    assert {
        said["visibility"],
        said["stdout_visibility"],
        *(test["visibility"] for test in said["tests"]),
    } <= words
    assert {said["output_format"]} <= {"text", "html", "simple_format", "md", "ansi"}
    allowed = {"score", "max_score", "status", "name", "name_format", "number", "output", "output_format", "tags",
               "visibility", "extra_data"}  # fmt: skip
    assert [test["status"] for test in said["tests"]] == ["failed", "passed"]
    assert all(test.keys() <= allowed and test["score"] <= test["max_score"] for test in said["tests"])
    assert said["tests"][0]["output"] == "DenseCount: that is the whole matrix"


def test_the_command_writes_both_reports(class_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    class_of(anna="# %%\nx = 1\n")
    ended = CliRunner().invoke(app, ["grade", "in", "--out", "in/r.csv", "--json", "j", "--lesson", "01"])
    assert ended.exit_code == 0, ended.output
    assert "1 of 1 submissions graded: 0 to 0 of " in ended.output
    (row,) = rows(Path("in/r.csv"))
    assert row["student"] == "anna"
    assert json.loads(Path("j/anna.json").read_text())["score"] == 0
    assert sorted(os.listdir("in")) == ["anna.py", "r.csv"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nowhere"], "is no folder"),
        (["in", "--lesson", "99"], "lesson"),
        (["in", "--out", "no/r.csv"], "cannot be written"),
        (["in", "--out", "in"], "cannot be written"),
        (["in", "--json", "in/anna.py"], "is a file"),
        (["in", "--time-limit", "0"], "time limit"),
        (["in", "--memory-limit", "3"], "memory limit"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(options, said, class_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    class_of(anna="x = 1")
    ended = CliRunner().invoke(app, ["grade", *options])
    assert isinstance(ended.exception, ConfigError)
    assert said in str(ended.exception)


def test_nothing_handed_in_at_all_is_said(tmp_path):
    (tmp_path / "in").mkdir()
    ended = CliRunner().invoke(app, ["grade", str(tmp_path / "in")])
    assert isinstance(ended.exception, ConfigError)
    assert "holds no submission" in str(ended.exception)
