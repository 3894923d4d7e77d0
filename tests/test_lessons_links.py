"""The links of the lessons into the app open their rooms, in the state that they name."""

import functools
import urllib.parse

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest.importorskip("jupytext", reason="jupytext is not installed")

from app import frame
from lora_np.teach.lessons import lessons, links
from tests.app_visits import controls, opened, problems

LINKS = {
    lesson.number: sorted({target for kind, target in links(lesson.text) if kind == "app"})
    for lesson in lessons()
}


@functools.cache
def wrong(target: str) -> list[str]:
    """Open a link and list what is wrong: a room that is not drawn well, a control that it does not set."""
    room, _, query = target.partition("?")
    asked = urllib.parse.parse_qs(query, keep_blank_values=True, strict_parsing=bool(query))
    state = {key: values[0] if len(values) == 1 else values for key, values in asked.items()}
    app = opened(room, state)
    taken = {key: frame.link(x=widget.value) for key, widget in controls(app).items()}
    return problems(app, room) + [
        f"{key}={value} is not taken; there are {sorted(taken)}"
        for key, value in state.items()
        if taken.get(key) != frame.link(x=value)
    ]


@pytest.mark.parametrize("number", LINKS)
def test_every_link_of_a_lesson_opens_its_room_as_it_says(number):
    """The same link in two lessons is opened once."""
    assert {target: wrong(target) for target in LINKS[number] if wrong(target)} == {}


@pytest.mark.parametrize("target", ["rank?rank_r=nonsense", "rank?no_such_control=1"])
def test_a_link_that_sets_nothing_is_noticed(target):
    assert wrong(target)
