"""Links: every state of a room is one, any nonsense in one is ignored, and a preset sets what it says."""

import urllib.parse

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

from app import frame, tour
from tests.app_visits import PATHS, READING, controls, extremes, healthy, movable, opened, visits

ABSURD = ("-5", "1e99", "nan", "inf", "-inf", "", "null", "abc", "0x10", "[1,2]", "٣", "a" * 5000, "9" * 400)


@pytest.mark.parametrize("room", PATHS)
def test_absurd_links_open_the_room(room):
    """A value that is none of the control's is ignored; nothing is computed with it."""
    keys = [*controls(opened(room)), "nobody_knows_this"]
    healthy(opened(room, dict.fromkeys(keys, "")), room)
    for shift in range(0, len(ABSURD), 3):
        mixed = {key: ABSURD[(place + shift) % len(ABSURD)] for place, key in enumerate(keys)}
        healthy(opened(room, mixed), room)
    healthy(opened(room, {key: ["1", "q"] * 2000 for key in keys}), room)


@pytest.mark.parametrize("room", PATHS)
@pytest.mark.parametrize("end", [0, 1])
def test_the_link_that_a_room_shows_restores_it(room, end):
    """The link holds every control but for those that say how the room is read."""
    app = opened(room)
    for widget in movable(app).values():
        widget.set_value(extremes(widget)[end])
    if app.run().warning:
        return  # the room says why there is nothing to see, and to share
    query = said_link(app)
    again = opened(room, query)
    shown = {key: widget.value for key, widget in controls(app).items() if key in query}
    assert shown == {key: widget.value for key, widget in controls(again).items() if key in query}
    moved = {key for key, widget in controls(app, reading=False).items() if widget.value != []}
    assert query.keys() >= moved
    assert not query.keys() & READING


def said_link(app) -> dict[str, str | list[str]]:
    """Read the link that a room shows; no link says nothing."""
    links = [
        code.value for code in app.code if code.language in ("", None, "plaintext") and "?" in code.value
    ]
    assert len(links) == 1
    query = urllib.parse.parse_qs(links[0].partition("?")[2])
    return {key: value[0] if len(value) == 1 else value for key, value in query.items()}


@pytest.mark.parametrize("room", PATHS)
def test_a_preset_sets_what_it_says(room):
    """Every value of a preset is one that its control takes; no two presets are the same."""
    presets = visits(room)[0].presets
    for state in presets:
        app = opened(room, state)
        healthy(app, room)
        taken = {key: frame.link(x=widget.value) for key, widget in controls(app).items()}
        assert {key: taken.get(key) for key in state} == {key: frame.link(x=v) for key, v in state.items()}
    assert len({frame.link(**state) for state in presets}) == len(presets)


@pytest.mark.parametrize("number", range(1, len(tour.STOPS) + 1))
def test_the_tour_stops_where_it_says(number):
    """A stop opens its room in the state that its sentence speaks of."""
    stop = tour.STOPS[number - 1]
    app = opened(stop.path, {**stop.state, "tour": str(number)})
    healthy(app, stop.path)
    taken = {key: frame.link(x=widget.value) for key, widget in controls(app).items()}
    assert {key: taken.get(key) for key in stop.state} == {
        key: frame.link(x=v) for key, v in stop.state.items()
    }
    assert any(stop.sentence in text.value for text in app.markdown)


def test_values_in_a_link_are_written_as_the_controls_read_them():
    assert frame.link(on=True, targets=["q", "v"], r=4).endswith("?on=true&targets=q&targets=v&r=4")
