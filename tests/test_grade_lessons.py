"""The lessons themselves, graded: the masters, what students get, and every answer of the collection for one lesson."""

import copy

import numpy as np
import pytest

from lora_np.teach.build.strip import strip
from lora_np.teach.exercise import Exercise
from lora_np.teach.exercises import LESSONS, exercise, exercises
from lora_np.teach.grade.answering import name_of
from lora_np.teach.grade.grading import Course, grade, seed_of
from lora_np.teach.grade.submissions import find
from lora_np.teach.judging import cases, judge
from lora_np.teach.lessons import lesson
from tests.answers import submissions
from tests.synthetic_submissions import make

ONE = "02"
"""The lesson that is graded whole here: lists, fractions, arrays and words are among its answers."""


def course(**changed):
    return Course(exercises=exercises, **changed)


def test_a_master_gets_all_points_and_the_students_version_none(tmp_path):
    (tmp_path / "master.py").write_text(lesson(ONE).text)
    (tmp_path / "student.py").write_text(strip(lesson(ONE).text))
    master, student = (grade(one, course()) for one in find(tmp_path))
    assert (master.points, master.notes) == (master.of, ())
    assert (student.points, student.notes, student.of) == (0, (), master.of)
    assert {mark.name for mark in student.marks} == {"NotWritten"}


def test_every_answer_is_judged_from_afar_as_it_is_judged_here(tmp_path):
    """Each right one is accepted, and each wrong one gets the name that it gets in the student's own notebook."""
    packs = []
    for one in submissions(ONE):
        pack = next((pack for pack in packs if one.id not in pack), None)
        if pack is None:
            packs.append(pack := {})
        pack[one.id] = one
    for number, pack in enumerate(packs):
        text = "".join(f"\n# %%\n{one.code}\n" for one in pack.values())
        (tmp_path / f"{ONE}_{number:02}.py").write_text("import numpy as np\n" + text)
    for found, pack in zip(find(tmp_path), packs, strict=True):
        marks = {mark.id: mark for mark in grade(found, course()).marks}
        for one in pack.values():
            space = {"np": np}
            exec(one.code, space)
            task = exercise(one.id)
            verdict = judge(task, space[name_of(task)], seed=seed_of(0, found.student, one.id))
            assert (marks[one.id].name, bool(marks[one.id].points)) == (verdict.name, verdict.ok), (
                one.label,
                marks,
            )
            assert (one.name == "Right") == verdict.ok, one.label


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of arithmetic on purpose
@pytest.mark.parametrize("number", LESSONS)
def test_whoever_remembers_the_cases_of_another_fails(number):
    """A table of another student's cases with their right answers answers no hidden case wholly."""
    for task in exercises(number):
        if not isinstance(task, Exercise):
            continue
        known = [
            (case, task.expected(**copy.deepcopy(case))) for case in cases(task, seed_of(0, "bob", task.id))
        ]

        def remembered(*args, known=known):
            for case, right in known:
                if all(same(a, b) for a, b in zip(case.values(), args, strict=True)):
                    return right
            return known[0][1]

        assert not judge(task, remembered, seed=seed_of(0, "anna", task.id)).ok, task.id


def same(one, other):
    try:
        np.testing.assert_equal(one, other)
    except (AssertionError, TypeError, ValueError):
        return callable(one) and callable(other)
    return True


def test_a_made_up_class_has_every_kind_of_student(tmp_path):
    make(tmp_path, 100, chosen=(lesson("01"), lesson("05")))
    found = find(tmp_path)
    assert len(found) == 100
    assert sum(bool(one.others) for one in found) == 10
    assert {path.suffix for one in found for path in one.files} == {".py", ".ipynb"}
