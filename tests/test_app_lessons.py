"""The lessons in the app: each section opens, nothing gives a solution away, the quiz judges, the doors lead here."""

import json
import re

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest.importorskip("jupytext", reason="jupytext is not installed")

from app.logic import lessons
from app.rooms import ROOMS, room
from lora_np.errors import ConfigError
from lora_np.teach.exercise import digest
from lora_np.teach.lessons import cells, links
from tests.app_visits import finished, healthy, opened
from tests.chart_checks import check_chart

NUMBERS = tuple(lessons.shelf())
SOLUTION = re.compile(r"# BEGIN SOLUTION\n(.*?)# END SOLUTION", re.DOTALL)


def read(number: str, section: str = "all"):
    return opened("lessons", {"lesson": number, "section": section})


def said(app) -> str:
    """Everything that a page says, the labels of what can be pressed among it."""
    kinds = ("title", "header", "markdown", "code", "caption", "latex", "success", "warning", "info")
    texts = [element.value for kind in kinds for element in getattr(app, kind)]
    texts += [f"{widget.label} {widget.options}" for widget in app.radio]
    texts += [widget.label for widget in app.button]
    return "\n".join(texts)


def pieces(number: str, kind: str):
    return [
        piece for section in lessons.book(number).sections for piece in section.pieces if piece.kind == kind
    ]


def right_letters(number: str) -> dict[int, str]:
    quiz = lessons.exercise(f"{number}.quiz")
    return {
        n: next(letter for letter in "abcd" if digest(quiz.id, n, letter) == kept)
        for n, kept in enumerate(quiz.answers, 1)
    }


def squeezed(text: str) -> str:
    return "".join(text.split())


# ---- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NUMBERS)
def test_a_lesson_opens_and_gives_no_solution_away(number):
    """All of its sections at once; what the master says only between markers or in an answer is nowhere."""
    app = read(number)
    healthy(app, "lessons")
    assert app.title[0].value == f"{number} · {lessons.shelf()[number].title}"
    page, master = squeezed(said(app)), lessons.shelf()[number].text
    assert len(page) > 3000
    for solution in SOLUTION.findall(master):
        assert squeezed(solution) not in page
    for cell in cells(master):
        if "solution" in cell.tags:
            assert not any(squeezed(line) in page for line in cell.text.splitlines() if len(line) > 20)
    assert "ENDSOLUTION" not in page
    assert not any(kept in page for kept in lessons.exercise(f"{number}.quiz").answers)
    assert len(app.radio) == len(right_letters(number))
    assert page.count("raiseNotImplementedError") == len(pieces(number, "exercise")) >= 3


@pytest.mark.parametrize("number", NUMBERS)
def test_the_sections_of_a_lesson_have_names_in_order(number):
    names = lessons.book(number).names
    assert names[0] == "start"
    assert names[-2:] == ["quiz", "all"]
    assert names[1:-2] == [str(n) for n in range(1, len(names) - 2)]


@pytest.mark.parametrize("number", [NUMBERS[0], "04", NUMBERS[-1]])
def test_every_section_opens_by_its_name(number):
    """One after the other they hold what all of them hold; each links to its neighbours."""
    names = lessons.book(number).names
    app, codes = read(number), []
    everything = [code.value for code in app.code]
    for name in names[:-1]:
        app = read(number, name)
        healthy(app, "lessons")
        assert app.button_group(key="section_page").value == name
        codes += [code.value for code in app.code if "?lesson=" not in code.value]
        labels = [link.proto.label for link in app.get("page_link")]
        assert any(label.startswith("Back:") for label in labels) == (name != "start")
        assert any(label.startswith("Next:") for label in labels) or (name, number) == ("quiz", NUMBERS[-1])
    commands = "lora-np tutorials start"
    assert [code for code in codes if commands not in code] == [
        code for code in everything if commands not in code and "?lesson=" not in code
    ]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_picture_is_drawn_with_its_sentence_and_its_numbers(number):
    shown = pieces(number, "picture")
    assert 1 <= len(shown) <= 3
    for piece in shown:
        check_chart(lessons.drawn(number, piece.cell), axes=False)
    app = read(number)
    assert len(app.get("plotly_chart")) == len(shown)
    assert len(app.dataframe) == len(shown)
    assert all(json.loads(plot.proto.spec)["data"] for plot in app.get("plotly_chart"))


@pytest.mark.parametrize("number", NUMBERS)
def test_every_exercise_offers_its_hints(number):
    app = read(number)
    shown = said(app)
    for piece in pieces(number, "exercise"):
        assert piece.id.startswith(number)
        exercise = lessons.exercise(piece.id)
        assert all(hint in shown for hint in exercise.hints)
        assert exercise.signature.partition("(")[0] in piece.text


def test_equations_are_read_in_both_forms():
    paper, row = ([latex.value for latex in read("04").latex] for _ in (0, 1))
    app = opened("lessons", {"lesson": "04", "section": "all", "form": "row"})
    row = [latex.value for latex in app.latex]
    assert len(paper) == len(row)
    assert paper != row


@pytest.mark.parametrize(
    ("query", "lesson", "section"),
    [
        ({"lesson": "99"}, "01", "start"),
        ({"lesson": "", "section": ""}, "01", "start"),
        ({"lesson": "05", "section": "77"}, "05", "start"),
        ({"lesson": "05", "section": "../quiz"}, "05", "start"),
        ({"section": "a" * 5000}, "01", "start"),
        ({"lesson": "05", "section": "2"}, "05", "2"),
    ],
)
def test_a_link_opens_what_it_says_or_the_start(query, lesson, section):
    app = opened("lessons", query)
    healthy(app, "lessons")
    assert app.title[0].value.startswith(f"{lesson} · ")
    first = app.header[0].value if app.header else "start"
    assert first.partition(" ")[0] == section


def test_turning_pages_rewrites_the_link():
    """Another section is in it; another lesson begins at its start."""
    app = read("05", "2")
    app.button_group(key="section_page").set_value("3")
    assert app.run().header[0].value.startswith("3 · ")
    assert "3" in app.query_params["section"]
    app.button_group(key="lesson_page").set_value("06")
    assert app.run().title[0].value.startswith("06 · ")
    assert not app.header
    assert "06" in app.query_params["lesson"]
    assert "section" not in app.query_params
    assert any(code.value.endswith("?lesson=06&section=start") for code in app.code)


def test_where_there_are_no_lessons_the_room_says_so(monkeypatch):
    def nothing():
        raise ConfigError("the lessons are nowhere", fix="install them")

    monkeypatch.setattr(lessons, "shelf", nothing)
    app = opened("lessons")
    assert [e.value for e in app.exception] == []
    assert "the lessons are nowhere" in app.warning[0].value


# ---- the quiz ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NUMBERS)
def test_a_letter_is_judged_and_a_wrong_one_says_where_to_read_again(number):
    """By the same digests as the check; the sections named exist."""
    titles = {section.title for section in lessons.book(number).sections}
    assert titles
    for asked, right in right_letters(number).items():
        assert lessons.read_again(number, asked, right) == ""
        assert all(lessons.read_again(number, asked, wrong) for wrong in "abcd" if wrong != right)


def test_the_quiz_is_answered_in_place():
    app, right = read("04", "quiz"), right_letters("04")
    assert not app.success
    assert not app.warning
    for radio, letter in zip(app.radio, right.values(), strict=True):
        choice = next(option for option in radio.options if option.startswith(f"{letter})"))
        radio.set_value(choice)
    app.run()
    assert len(app.success) == len(right)
    for radio, letter in zip(app.radio, right.values(), strict=True):
        radio.set_value(next(option for option in radio.options if not option.startswith(f"{letter})")))
    app.run()
    assert not app.success
    assert all("Read again: section" in warning.value for warning in app.warning)
    assert len(app.warning) == len(right)


def test_in_the_teachers_mode_the_verdict_waits():
    app = opened("lessons", {"lesson": "04", "section": "quiz", "teacher": "true"})
    app.radio[0].set_value(app.radio[0].options[0])
    app.run()
    assert not app.success
    assert not app.warning
    app.toggle(key="quiz_04_1_reveal").set_value(True)
    app.run()
    assert len(app.success) + len(app.warning) == 1


# ---- what its code prints ------------------------------------------------------------------------------------------


def test_the_code_of_a_lesson_is_run_by_a_button_and_printed_under_each_cell():
    lessons.printouts().clear()
    app = read("04", "4")
    before = [code.value for code in app.code]
    assert not any("r = 64: s = 0.25" in text for text in before)
    app = finished(app, "lesson_run", presses=2000)
    healthy(app, "lessons")
    assert any("alpha = 16, r = 64: s = 0.25" in code.value for code in app.code)
    other = read("04", "1")
    assert any("y = [ 17." in code.value for code in other.code), "kept for everybody"
    assert "lesson_run_start" not in [button.key for button in other.button]
    lessons.printouts().clear()


def test_a_run_can_be_cancelled():
    lessons.printouts().clear()
    app = read("04", "4")
    app.button(key="lesson_run_start").click()
    app.run()
    app.button(key="lesson_run_cancel").click()
    healthy(app.run(), "lessons")
    assert lessons.printouts() == {}


# ---- ways in and out -----------------------------------------------------------------------------------------------


def test_prose_links_to_rooms_and_lessons_beside_this_one_and_keeps_the_way_of_reading():
    text = "[Rank](app:rank?r=4), [Home](app:home?rank=8), [Home](app:home), [lesson 05](lesson:05)"
    assert lessons.prose(text, {}) == (
        "[Rank](./rank?r=4), [Home](./?rank=8), [Home](./), [lesson 05](./lessons?lesson=05)"
    )
    assert lessons.prose(text, {"teacher": "true"}) == (
        "[Rank](./rank?r=4&teacher=true), [Home](./?rank=8&teacher=true), [Home](./?teacher=true), "
        "[lesson 05](./lessons?lesson=05&teacher=true)"
    )


def test_a_lesson_is_taken_along_without_its_solutions():
    for number in NUMBERS:
        lesson = lessons.shelf()[number]
        assert "NotImplementedError" in lessons.student_script(lesson)
        cells = json.loads(lessons.student_notebook(lesson))["cells"]
        for text in (lessons.student_script(lesson), "".join("".join(cell["source"]) for cell in cells)):
            assert "END SOLUTION" not in text
            assert not any(squeezed(code) in squeezed(text) for code in SOLUTION.findall(lesson.text))


@pytest.mark.parametrize("path", [room.path for room in ROOMS if room.lesson])
def test_a_room_leads_to_its_lesson_and_the_lesson_to_the_room(path):
    app = opened(path)
    there = [link.proto for link in app.get("page_link") if link.proto.label.startswith("Do it yourself")]
    assert len(there) == 1
    assert f"lesson={room(path).lesson}" in there[0].query_string
    back = links(lessons.shelf()[room(path).lesson].text)
    assert path in {target.partition("?")[0] for kind, target in back if kind == "app"}


def test_home_leads_students_and_teachers_to_the_lessons():
    queries = [
        link.proto.query_string for link in opened("home").get("page_link") if link.proto.page == "lessons"
    ]
    assert queries == ["", "teacher=true"]
