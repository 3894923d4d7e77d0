"""The collection of answers: every wrong one fails with its hint, every right one passes."""

from collections import Counter

import pytest

from lora_np.teach import exercise, exercises, judge
from lora_np.teach.exercise import Exercise, Quiz
from lora_np.teach.judging import cases
from tests.answers import LESSONS, is_as_expected, judged, submissions

ANSWERS = [one for lesson in LESSONS for one in submissions(lesson)]
TASKS = [task for lesson in LESSONS for task in exercises(lesson)]


@pytest.mark.parametrize("one", ANSWERS, ids=lambda one: f"{one.id}-{one.label}")
def test_an_answer_gets_what_it_deserves(one):
    verdict = judged(one)
    assert is_as_expected(one, verdict), (verdict.name, verdict.words)
    assert verdict.ok == (one.name == "Right")


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_exercise_has_five_wrong_and_two_right_answers(lesson):
    wrong = Counter(one.id for one in submissions(lesson) if one.name != "Right")
    right = Counter(one.id for one in submissions(lesson) if one.name == "Right")
    tasks = [task for task in exercises(lesson) if not isinstance(task, Quiz)]
    assert len(tasks) >= 3
    assert {task.id: (wrong[task.id] >= 5, right[task.id] >= 2) for task in tasks} == {
        task.id: (True, True) for task in tasks
    }
    assert wrong.keys() | right.keys() <= {task.id for task in tasks}


@pytest.mark.parametrize("task", [t for t in TASKS if isinstance(t, Exercise)], ids=lambda task: task.id)
def test_no_constant_is_right_and_another_seed_draws_other_cases(task):
    """Its cases expect different things, so that an answer which ignores its arguments fails."""
    expected = [repr(task.expected(**given)) for given in cases(task)]
    assert len(expected) >= 3
    assert len(set(expected)) > 1
    again = [repr(task.expected(**given)) for given in cases(task)]
    assert again == expected
    assert judge(task, task.expected, seed=7).name in ("Right", "Forbidden", "Raises")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_an_exercise_has_what_a_student_needs(task):
    assert exercise(task.id) is task
    if not isinstance(task, Quiz):
        assert task.signature.endswith(")")
        assert task.title
        assert 1 <= task.stars <= 3
        assert all(len(text) > 20 for text in task.hints)
        assert task.equations or task.id.startswith("15")


def test_the_collection_is_large_enough():
    if len(LESSONS) == 15:
        assert sum(one.name != "Right" for one in ANSWERS) >= 225
        assert sum(one.name == "Right" for one in ANSWERS) >= 60
