"""The app without a browser: every room at its default and at the extremes of every control, and several visitors."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

from streamlit.runtime import Runtime
from streamlit.testing.v1 import app_test

from app.logic import cost, params, prune, rank
from lora_np.figures.cost_scene import ROWS
from tests.app_visits import (
    PATHS,
    WITHOUT_LESSON,
    WITHOUT_PICTURES,
    controls,
    finished,
    healthy,
    opened,
    visits,
)

LISTS = ("criterion", "model", "method", "kind", "phase", "base", "task", "target", "implementation")


# ---- every room ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", PATHS)
def test_a_room_opens_by_its_link_and_is_quiet(room, caplog):
    app = opened(room)
    healthy(app, room)
    assert len(app.title) == 1
    if room not in WITHOUT_PICTURES:
        assert app.metric
    said = caplog.text.lower()
    assert "deprecat" not in said
    assert "traceback" not in said
    assert "arrow" not in said  # a table that had to be repaired


@pytest.mark.parametrize("room", PATHS)
def test_every_control_at_its_extremes(room):
    """One at a time, and all at the same end."""
    assert {visit.state: visit.problems for visit in visits(room) if visit.problems} == {}


@pytest.mark.parametrize("room", PATHS)
def test_what_is_chosen_from_a_list_is_drawn_for_each_of_its_entries(room):
    app = opened(room)
    for key in LISTS:
        for option in controls(app)[key].options if key in controls(app) else ():
            controls(app)[key].set_value(option)
            healthy(app.run(), room)
        app = opened(room) if key in controls(app) else app


@pytest.mark.parametrize("room", PATHS)
def test_a_prediction_is_answered(room):
    app = opened(room)
    guesses = [widget for widget in app.button_group if (widget.key or "").startswith("guess_")]
    for guess in guesses:
        for option in guess.options:
            next(w for w in app.button_group if w.key == guess.key).set_value(option)
            healthy(app.run(), room)
            said = [text.value for text in app.markdown if text.value.startswith(("**Right", "**It is"))]
            assert len(said) == 1
    assert bool(guesses) == (room not in WITHOUT_LESSON)


# ---- what a room may cost ----------------------------------------------------------------------------------------


def test_no_control_asks_for_more_than_a_fifth_of_a_second_can_do():
    """Sizes, not times: what the widest control can ask for stays within what was measured to be quick."""
    assert max(rank.SIDES) <= 256  # an SVD of 256 x 256 takes some 120 ms compiled
    assert len(params.MODELS) * len(params.SHOWN) <= 200  # counted in milliseconds whatever the size
    assert max(ROWS) <= 2**14
    assert prune.STEPS * 64 <= 30000  # digits seen by a live run, behind a button


def test_what_is_timed_is_bounded():
    """Four rounds of four forms, each at most full fine-tuning's work, behind a button."""
    assert cost.measurable(512, 256, 256, 8)
    assert not cost.measurable(2**14, 1024, 1024, 8)
    largest = max(
        6 * N * d * k for N in ROWS for d in cost.WIDTHS for k in cost.WIDTHS if cost.measurable(N, d, k, 1)
    )
    assert 4 * len(cost.FORMS) * largest <= 4e11


# ---- what is special to a room -----------------------------------------------------------------------------------


def test_the_button_on_the_cost_page_measures():
    app = finished(opened("cost", {"tokens": "1", "d": "64", "k": "64"}), "cost_timing")
    healthy(app, "cost")
    assert "Measured here" in app.get("plotly_chart")[-1].proto.alt


def test_a_layer_that_is_too_large_to_time_says_so():
    app = opened("cost", {"tokens": "16384", "d": "1024", "k": "1024"})
    assert app.button(key="cost_timing_start").disabled
    assert any("too long" in caption.value for caption in app.caption)


def test_the_buttons_on_the_pruning_page(monkeypatch):
    """The run is shortened here; the room's own length is bounded above."""
    monkeypatch.setattr(prune, "STEPS", 20)
    app = finished(opened("prune"), "prune_live")
    healthy(app, "prune")
    assert any("Cut step by step" in text.value for text in app.markdown)
    app.button(key="clock").click()
    healthy(app.run(), "prune")
    assert any("physically smaller" in text.value for text in app.markdown)


def test_a_live_run_can_be_ended_and_another_state_drops_it():
    app = opened("prune")
    app.button(key="prune_live_start").click()
    app.run()
    assert "prune_live_job" in app.session_state
    app.button(key="prune_live_cancel").click()
    healthy(app.run(), "prune")
    assert "prune_live_job" not in app.session_state
    app.button(key="prune_live_start").click()
    app.run()
    controls(app)["ratio"].set_value(0.25)
    healthy(app.run(), "prune")
    assert "prune_live_job" not in app.session_state
    assert not any("Cut step by step" in text.value for text in app.markdown)


def test_an_impossible_combination_is_explained():
    app = opened("params", {"method": "full", "base": "nf4", "model": "gpt2"})
    healthy(app, "params")
    app = opened("params", {"method": "bitfit", "base": "nf4", "model": "llama-7b"})
    assert [e.value for e in app.exception] == []


# ---- several visitors ----------------------------------------------------------------------------------------------


class _Lasting(type):
    """A run of AppTest takes the runtime away at its end, also from runs in other threads: here it stays."""

    def __setattr__(cls, name, value):
        if value is not None:
            setattr(Runtime, name, value)


def test_three_visitors_at_once(monkeypatch):
    """Three sessions in threads of one process, different states, all drawn."""
    monkeypatch.setattr(Runtime, "_instance", None)
    monkeypatch.setattr(app_test, "Runtime", _Lasting("Runtime", (Runtime,), {}))
    failures: list[object] = []

    def visit(number: int) -> None:
        try:
            for room in ("rank", "prune", "cost"):
                healthy(
                    opened(room, {"r": str(number), "ratio": f"0.{number}", "tokens": str(2**number)}), room
                )
        except BaseException as error:
            failures.append(error)

    visitors = [threading.Thread(target=visit, args=(number,)) for number in (1, 2, 3)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(timeout=300)
    assert failures == []
    assert not any(visitor.is_alive() for visitor in visitors)


def test_three_visitors_with_the_threading_layer_that_aborts():
    """Numba's workqueue kills the process when two threads enter it: no kernel of the app may."""
    code = (
        "import pytest, sys; "
        f"sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', {str(Path(__file__))!r}, '-k', 'visitors_at_once']))"
    )
    environment = os.environ | {"NUMBA_THREADING_LAYER": "workqueue", "PYTEST_ADDOPTS": ""}
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
