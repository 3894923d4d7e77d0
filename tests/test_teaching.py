"""What is told to teachers and readers of the README: links open, minutes add up, names of mistakes are the check's."""

import re
import urllib.parse
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest.importorskip("jupytext", reason="jupytext is not installed")

from app.logic import lessons as lessons_room
from lora_np.teach.build.strip import strip
from lora_np.teach.exercise import digest
from lora_np.teach.exercises import exercise, exercises
from lora_np.teach.lessons import lessons
from lora_np.teach.sections import question, sections
from tests.answers import submissions
from tests.test_lessons_links import wrong

ROOT = Path(__file__).parents[1]
TEACHING = (ROOT / "tutorials" / "TEACHING.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"`/([^`\s]*)`", TEACHING)))
TABLES = re.findall(r"^\| (?:minutes|class \d) \|.*\n\|---.*\n((?:\|.*\n)+)", TEACHING, re.MULTILINE)
MISTAKES = re.findall(r"^\| (\d\d\.\d) \| (\w+) \|", TEACHING, re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_to_project_opens_as_it_says(path):
    room, _, query = path.partition("?")
    if room != "lessons":
        assert wrong(path or "home") == []
    elif query:
        state = dict(urllib.parse.parse_qsl(query, strict_parsing=True))
        assert state["section"] in lessons_room.book(state["lesson"]).names


def test_the_minutes_of_every_plan_follow_each_other_to_its_end():
    ends = []
    for table in TABLES:
        times = [tuple(map(int, pair)) for pair in re.findall(r"^\| (\d+) to (\d+) \|", table, re.MULTILINE)]
        assert len(times) == table.count("\n")
        assert times[0][0] == 0
        assert all(before[1] == after[0] for before, after in pairwise(times))
        assert all(start < end for start, end in times)
        ends.append(times[-1][1])
    assert ends == [90, 240, *[90] * 8]


def test_every_exercise_that_is_named_exists():
    known = {task.id for lesson in lessons() for task in exercises(lesson.number)}
    assert set(re.findall(r"\b(?:0\d|1[0-5])\.\d\b(?! \d)", TEACHING)) <= known


def test_every_lesson_has_its_mistakes_by_the_names_that_the_check_gives():
    """Each is the expected hint of some wrong answer in the collection."""
    given = {(one.id, one.name) for lesson in lessons() for one in submissions(lesson.number)}
    assert [pair for pair in MISTAKES if pair not in given] == []
    for lesson in lessons():
        assert f"### {lesson.number} · {lesson.title}\n" in TEACHING
        assert sum(id.startswith(lesson.number) for id, _ in MISTAKES) >= 3


def test_no_answer_of_a_quiz_is_told():
    """Neither the words of a right choice nor a row of letters."""
    for lesson in lessons():
        quiz = exercise(f"{lesson.number}.quiz")
        asked = [
            question(piece)
            for section in sections(strip(lesson.text))
            for piece in section.pieces
            if piece.kind == "question"
        ]
        for one, kept in zip(asked, quiz.answers, strict=True):
            right = next(
                words for letter, words in one.choices.items() if digest(quiz.id, one.number, letter) == kept
            )
            assert len(right) < 12 or right not in TEACHING, f"{quiz.id} question {one.number}"
    assert not re.search(r"\b[a-d], [a-d], [a-d]\b", TEACHING)


def test_the_readme_has_the_ladder():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d\d) \| (.+?) \| .+ \| (\d+) \|$", text, re.MULTILINE)
    assert rows == [
        (lesson.number, lesson.title, re.search(r"\*\*Time:\*\* (\d+) minutes", lesson.text)[1])
        for lesson in lessons()
    ]
