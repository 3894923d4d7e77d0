"""A student's function seen from the judge, with a made-up process that says whatever is asked of it."""

import inspect
import pickle

import numpy as np
import pytest

from lora_np.errors import ConfigError
from lora_np.teach.exercise import Task
from lora_np.teach.grade import answering, sandbox
from lora_np.teach.grade.answering import remote
from lora_np.teach.grade.messages import encode
from lora_np.teach.grade.sandbox import StoppedError
from lora_np.teach.watching import Problem
from tests.grade_course import graded, points, script

TASK = Task(id="05.1", signature="f(x)")


class Talker:
    """Stands for a sandbox: says these messages one after the other, the last one for ever."""

    def __init__(self, *messages):
        self.messages, self.heard, self.end = list(messages), [], ""

    def order(self, **order):
        self.heard.append(order)

    def tell(self, content):
        self.heard.append(pickle.loads(content))

    def answer(self, *, seconds):
        return self.messages.pop(0) if len(self.messages) > 1 else self.messages[0]

    def stop(self):
        self.end += "."


def function(*messages, found=None):
    talker = Talker(*messages)
    return remote(TASK, found or {"takes": [["x", 1, False]]}, talker, seconds=1), talker


def returned(value, *arguments):
    return {"returned": encode(value), "arguments": [encode(one) for one in arguments]}


def test_what_comes_back_is_what_was_returned_and_the_arguments_change_with_it():
    f, _ = function(returned(2.5, np.ones(2)))
    x = np.zeros(2)
    assert f(x) == 2.5
    assert x.tolist() == [1, 1]
    assert (f.__name__, str(inspect.signature(f))) == ("f", "(x)")


@pytest.mark.parametrize("takes", [None, "x", [["x", 9, False]], [["not a name", 1, False]], [1], [["x", 1]]])
def test_a_signature_that_cannot_be_takes_anything(takes):
    f, _ = function(returned(1), found={"takes": takes})
    assert str(inspect.signature(f)) == "(*args)"


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"returned": 1, "arguments": []},
        {"returned": None, "arguments": 3},
        {"problem": [1]},
        {"arguments": []},
    ],
)
def test_what_nobody_says_stops_the_process(message):
    f, talker = function(message)
    with pytest.raises(StoppedError, match="writes into the grader's channel"):
        f(1)
    assert talker.end.endswith(".")


def test_problems_and_assertions_come_through_and_a_late_one_is_not_asked_again():
    assert function({"problem": ["Raises", "it raises"]})[0](1) == Problem("Raises", "it raises")
    with pytest.raises(AssertionError, match="no"):
        function({"asserts": "no"})[0](1)
    f, talker = function({"problem": ["TimeLimit", "late"]})
    assert f(1) == f(1) == Problem("TimeLimit", "late")
    assert len(talker.heard) == 1


def asked(given, *args, **keywords):
    said = {"call": 0, "arguments": encode([list(args), keywords])}
    f, talker = function(said, returned(None, None))
    f(given)
    return talker.heard[-1]


class Ours(ValueError):
    """An error that the other process cannot unpickle."""

    def __init__(self, problem, *, fix):
        super().__init__(problem)


def ours(x):
    raise Ours("planted", fix="")


def test_a_function_among_the_arguments_runs_here():
    assert asked(lambda x, k: x + k, 1.0, k=2.0)[:2] == ("returned", 3.0)
    kind, error, _, _ = asked(ours, 1)
    assert (kind, type(error), str(error)) == ("raised", ValueError, "planted")
    assert type(asked(lambda x: b"a".decode("no such"), 1)[1]) is LookupError
    assert type(asked(lambda x: b"\xff".decode(), 1)[1]) is ValueError
    assert "cannot be sent" in str(asked(lambda x: lambda: 0, 1)[1])

    def changing(x):
        x += 1

    assert asked(changing, np.zeros(2))[2][0].tolist() == [1, 1]


def test_functions_are_found_in_lists_and_dicts_and_nonsense_calls_are_calls_without_arguments():
    f, talker = function({"call": 0, "arguments": "nonsense"}, returned(None, None))
    f([{"g": lambda: 7}])
    assert talker.heard[-1][:2] == ("returned", 7)


def test_calling_back_without_end_is_stopped(monkeypatch):
    monkeypatch.setattr(answering, "MOST_CALLS", 3)
    f, _ = function({"call": 0, "arguments": encode([[], {}])})
    with pytest.raises(StoppedError, match="without end"):
        f(lambda: 0)


# ---- the sandbox around it -----------------------------------------------------------------------------------


def test_a_system_without_process_groups_is_refused(monkeypatch):
    monkeypatch.delattr(sandbox.os, "killpg")
    with pytest.raises(ConfigError, match="on Windows, run it in WSL"):
        sandbox.require_system()


def test_a_process_that_is_killed_from_outside_says_so():
    assert "memory is used up" in sandbox._said(-9)


def test_a_file_that_names_no_lesson_or_one_without_exercises_says_so(tmp_path):
    assert "which lesson it answers" in graded(tmp_path, script(), name="anna.py").notes[0]
    (tmp_path / "anna.py").unlink()
    assert graded(tmp_path, script(), name="07_anna.py").notes == ("07_anna.py: lesson 07 has no exercises",)
    (tmp_path / "07_anna.py").unlink()
    assert graded(tmp_path, script(), lesson="06").notes == ("nothing in it answers lesson 06",)


def test_of_several_files_the_best_counts_and_parts_are_not_complained_of(tmp_path):
    from lora_np.teach.grade.grading import grade
    from lora_np.teach.grade.submissions import find
    from tests.grade_course import course

    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "05_a.py").write_text(script(e1="", quiz=""))
    (tmp_path / "anna" / "05_b.py").write_text(script(e2=""))
    (tmp_path / "anna" / "helper.py").write_text("x = 1")
    (one,) = find(tmp_path)
    result = grade(one, course())
    assert (points(result), result.notes) == ([1, 2, 3, 1], ())
