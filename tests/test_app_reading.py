"""The ways to read a room: both forms of its equations, the shapes of their letters, and the teacher's mode."""

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

from tests.app_visits import PATHS, WITHOUT_LESSON, WITHOUT_PICTURES, healthy, noted, opened

ANSWER = ("**Right", "**It is")
LESSON = "**What you should see.**"


def told(app, *starts: str) -> list[str]:
    return [text.value for text in app.markdown if text.value.startswith(starts)]


@pytest.mark.parametrize("room", PATHS)
def test_shapes_are_told_when_they_are_asked_for(room):
    with noted(room, "shapes") as visit:
        app = opened(room, {"shapes": "true"})
    healthy(app, room)
    letters = [latex for picture in visit.pictures for latex in picture.card.get("shapes") or {}]
    shown = "\n".join(text.value for text in app.markdown)
    assert all(f"- ${latex}$" in shown for latex in letters)
    without = "\n".join(text.value for text in opened(room).markdown)
    assert not any(f"- ${latex}$" in without for latex in letters)


@pytest.mark.parametrize("room", PATHS)
def test_both_forms_of_the_equations_are_drawn(room):
    both = [opened(room, {"form": form}) for form in ("paper", "row")]
    for app in both:
        healthy(app, room)
    paper, row = ([latex.value for latex in app.latex] for app in both)
    assert len(paper) == len(row)
    assert paper or room in WITHOUT_PICTURES


@pytest.mark.parametrize("room", [room for room in PATHS if room not in WITHOUT_LESSON])
def test_a_teacher_reveals_the_answer_and_the_lesson(room):
    """Neither is on the page before it is asked for; both are after."""
    app = opened(room, {"teacher": "true"})
    guess = next(widget for widget in app.button_group if (widget.key or "").startswith("guess_"))
    guess.set_value(guess.options[0])
    healthy(app.run(), room)
    assert told(app, *ANSWER, LESSON) == []
    app.toggle(key=f"{guess.key}_reveal").set_value(True)
    app.toggle(key="lesson_reveal").set_value(True)
    healthy(app.run(), room)
    assert len(told(app, *ANSWER)) == 1
    assert len(told(app, LESSON)) == 1


@pytest.mark.parametrize("room", [room for room in PATHS if room not in WITHOUT_LESSON])
def test_a_student_reads_the_lesson_at_once(room):
    assert len(told(opened(room), LESSON)) == 1


@pytest.mark.parametrize("room", PATHS)
def test_the_teachers_letters_are_larger(room):
    """In the page and in its pictures."""
    with noted(room, "teacher") as visit:
        app = opened(room, {"teacher": "true"})
    assert any("font-size: 20px" in html.proto.body for html in app.get("html"))
    assert all(picture.chart.figure.layout.font.size >= 16 for picture in visit.pictures)
