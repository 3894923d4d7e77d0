"""Visits to the app's rooms without a browser: open one by its link, move its controls, note what it showed.

`visits(room)` is what most tests read: the room at its default, at the ends of every control, and with all controls
at the same end, each with the pictures that it drew.
"""

import functools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from app import frame
from app.rooms import ROOMS
from lora_np.figures.chart import Chart

APP = Path(__file__).parents[1] / "app"
PATHS = tuple(room.path for room in ROOMS)
WITHOUT_PICTURES = {"lessons", "quiz"}  # a lesson has its picture in one of its sections
WITHOUT_LESSON = {"home", "lessons", "quiz"}  # the map, what is read, and what asks what they taught
READING = {"form", "shapes", "teacher"}  # how every room is read
CONTROLS = ("slider", "select_slider", "selectbox", "toggle", "button_group", "number_input", "multiselect")

# At every run AppTest reads the metadata of every installed package, in search of components: once is enough.
manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)


@dataclass(frozen=True)
class Picture:
    """A picture as a view gave it to the frame."""

    key: str
    chart: Chart
    card: Mapping[str, Any]


@dataclass
class Visit:
    """What a room showed in one state: `state` says what was moved from the default."""

    room: str
    state: str
    problems: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    presets: list[dict[str, Any]] = field(default_factory=list)
    seconds: float | None = None


# ---- one visit ---------------------------------------------------------------------------------------------------


def opened(room: str, query: Mapping[str, Any] | None = None) -> AppTest:
    """Open a room by a link."""
    app = AppTest.from_file(str(APP / "main.py"), default_timeout=120)
    for key, value in (query or {}).items():
        app.query_params[key] = value
    app.switch_page(f"views/{room}.py")
    return app.run()


def problems(app: AppTest, room: str) -> list[str]:
    """List what is wrong with a room as it is drawn: exceptions, pictures without a sentence, too many pictures."""
    wrong = [f"exception: {e.value}" for e in app.exception]
    plots = app.get("plotly_chart")
    least = 0 if room in WITHOUT_PICTURES or app.warning else 1
    if not least <= len(plots) <= 3:
        wrong.append(f"{len(plots)} pictures")
    wrong += [f"alt: {plot.proto.alt!r}" for plot in plots if not plot.proto.alt.endswith(".")]
    return wrong + ["an empty picture" for plot in plots if not json.loads(plot.proto.spec)["data"]]


def healthy(app: AppTest, room: str) -> None:
    """Assert that a room is drawn as it should be."""
    assert problems(app, room) == []


def controls(app: AppTest, *, reading: bool = True) -> dict[str, Any]:
    """Every control that stands in the link, by its key; with or without those that say how the room is read."""
    found = {widget.key: widget for kind in CONTROLS for widget in getattr(app, kind)}
    return {
        key: widget
        for key, widget in found.items()
        if key and widget.proto.query_param_key and (reading or key not in READING)
    }


def movable(app: AppTest, *, reading: bool = False) -> dict[str, Any]:
    """Those of the controls that a visitor can move as the room stands: others may have disabled some."""
    found = controls(app, reading=reading)
    return {key: widget for key, widget in found.items() if not getattr(widget.proto, "disabled", False)}


def extremes(widget: Any) -> list[Any]:
    """The values at the ends of a control."""
    kind, value = type(widget).__name__, widget.value
    if kind == "Toggle":
        return [True, False]
    if kind in ("Slider", "NumberInput"):
        return [widget.min, widget.max]
    if isinstance(value, list):
        return [[], list(widget.options)]
    options = [option if isinstance(value, str) else type(value)(option) for option in widget.options]
    return [options[0], options[-1]]


def finished(app: AppTest, key: str, *, presses: int = 400) -> AppTest:
    """Start the work of a room and let it run to its end."""
    app.button(key=f"{key}_start").click()
    app.run()
    for _ in range(presses):
        if f"{key}_job" not in app.session_state:
            return app
        app.run()
    raise AssertionError(f"{key} did not end")


# ---- many visits -------------------------------------------------------------------------------------------------


@functools.cache
def visits(room: str) -> tuple[Visit, ...]:
    """Visit a room at its default, at both ends of every control, and with all controls at the same end."""
    return tuple(_visits(room))


def _visits(room: str) -> Iterator[Visit]:
    with noted(room, "default") as visit:
        app = opened(room)
        visit.problems += problems(app, room)
    yield visit
    for key in movable(app, reading=True):
        if key not in movable(app, reading=True):
            app.run()  # what was moved is back, and so is this one
        before = controls(app)[key].value
        for value in extremes(controls(app)[key]):
            if value == before:
                continue
            controls(app)[key].set_value(value)
            with noted(room, f"{key}={value}") as visit:
                visit.problems += problems(app.run(), room)
            yield visit
        if key in controls(app):
            controls(app)[key].set_value(before)
    for end in (0, 1):
        app = opened(room)
        for round_ in ("", ", again"):  # what appears when others moved is moved in the second round
            for widget in movable(app).values():
                widget.set_value(extremes(widget)[end])
            with noted(room, f"all at end {end}{round_}") as visit:
                visit.problems += problems(app.run(), room)
            yield visit


@contextmanager
def noted(room: str, state: str) -> Iterator[Visit]:
    """Note the pictures, presets and seconds of what is opened inside, by listening at the frame."""
    visit = Visit(room, state)
    show, ending, presets, here = frame.show, frame.ending, frame.presets, threading.Lock()

    def heard_show(chart: Chart, *, key: str, **card: Any) -> None:
        with here:
            visit.pictures.append(Picture(key, chart, card))
        show(chart, key=key, **card)

    def heard_ending(*, seconds: float | None = None, **state: object) -> None:
        visit.seconds = seconds
        ending(seconds=seconds, **state)

    def heard_presets(view: str, states: Mapping[str, Mapping[str, Any]]) -> None:
        visit.presets = [dict(state) for state in states.values()]
        presets(view, states)

    with (
        patch.object(frame, "show", heard_show),
        patch.object(frame, "ending", heard_ending),
        patch.object(frame, "presets", heard_presets),
    ):
        yield visit


def all_pictures(room: str) -> Sequence[tuple[str, Picture]]:
    """Every picture of every visit to a room, with the state it was seen in."""
    return [(visit.state, picture) for visit in visits(room) for picture in visit.pictures]
