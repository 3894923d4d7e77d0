"""The app without a browser: every room at its default, at the extremes of every control, and from absurd links."""

import ast
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")
from streamlit.testing.v1 import AppTest

from app import frame
from app.logic import cost, params, prune, rank
from lora_np.equations import EQUATIONS
from lora_np.figures.cost_scene import ROWS

APP = Path(__file__).parents[1] / "app"
ROOMS = ("home", "rank", "cost", "params", "prune")
PLOTS = {"home": 1, "rank": 3, "cost": 2, "params": 3, "prune": 2}  # at least; three at most
CONTROLS = ("slider", "select_slider", "selectbox", "toggle", "button_group")
ABSURD = ("-5", "1e99", "nan", "inf", "-inf", "", "null", "abc", "0x10", "[1,2]", "٣", "a" * 5000, "9" * 400)


def opened(room: str, query: dict[str, str | list[str]] | None = None) -> AppTest:
    """Open a room by a link."""
    app = AppTest.from_file(str(APP / "main.py"), default_timeout=120)
    for key, value in (query or {}).items():
        app.query_params[key] = value
    app.switch_page(f"views/{room}.py")
    return app.run()


def healthy(app: AppTest, room: str) -> None:
    """Assert that a room is drawn: no exception, its plots with their sentences, at most three."""
    assert [e.value for e in app.exception] == []
    plots = app.get("plotly_chart")
    if not app.warning:
        assert PLOTS[room] <= len(plots) <= 3
    for plot in plots:
        assert plot.proto.alt.endswith(".")
        assert json.loads(plot.proto.spec)["data"]


def controls(app: AppTest) -> dict[str, object]:
    """Every control by its key, but for the predictions and the buttons."""
    found = {widget.key: widget for kind in CONTROLS for widget in getattr(app, kind)}
    return {key: widget for key, widget in found.items() if not key.startswith("guess_")}


def extremes(widget) -> list[object]:
    """The values at the ends of a control."""
    if type(widget).__name__ == "Slider":
        return [widget.min, widget.max]
    if type(widget).__name__ == "Toggle":
        return [True, False]
    options = list(widget.options)
    if type(widget).__name__ == "SelectSlider":
        options = [type(widget.value)(option) for option in options]
    if isinstance(widget.value, list):
        return [[], options]
    if widget.key == "adapted":
        options = [int(option) for option in options]
    return [options[0], options[-1]]


# ---- every room ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_opens_by_its_link_and_is_quiet(room, caplog):
    app = opened(room)
    healthy(app, room)
    assert len(app.title) == 1
    if room != "home":
        assert app.metric
    said = caplog.text.lower()
    assert "deprecat" not in said
    assert "traceback" not in said
    assert "arrow" not in said  # a table that had to be repaired


@pytest.mark.parametrize("room", ROOMS)
def test_every_control_at_its_extremes(room):
    app = opened(room)
    for key in controls(app):
        widget = controls(app)[key]
        before = widget.value
        for value in extremes(widget):
            controls(app)[key].set_value(value)
            healthy(app.run(), room)
        controls(app)[key].set_value(before)
    healthy(app.run(), room)


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("end", [0, 1])
def test_all_controls_at_the_same_end(room, end):
    app = opened(room)
    for key, widget in controls(app).items():
        if key in controls(app):
            widget.set_value(extremes(widget)[end])
    healthy(app.run(), room)


@pytest.mark.parametrize("room", ROOMS)
def test_every_criterion_model_method_and_kind(room):
    """What is chosen from a list is drawn for each of its entries."""
    app = opened(room)
    for key in ("criterion", "model", "method", "kind", "phase", "base"):
        if key not in controls(app):
            continue
        for option in controls(app)[key].options:
            controls(app)[key].set_value(option)
            healthy(app.run(), room)
        app = opened(room)


@pytest.mark.parametrize("room", ROOMS)
def test_a_prediction_is_answered(room):
    app = opened(room)
    guesses = [widget for widget in app.button_group if widget.key.startswith("guess_")]
    for guess in guesses:
        for option in guess.options:
            next(w for w in app.button_group if w.key == guess.key).set_value(option)
            healthy(app.run(), room)
            said = [text.value for text in app.markdown if text.value.startswith(("**Right", "**It is"))]
            assert len(said) == 1
    assert bool(guesses) == (room != "home")


# ---- links ---------------------------------------------------------------------------------------------------


def keys_of(room: str) -> list[str]:
    return [*controls(opened(room)), "nobody_knows_this"]


@pytest.mark.parametrize("room", ROOMS)
def test_absurd_links_open_the_room(room):
    """A value that is none of the control's is ignored; nothing is computed with it."""
    keys = keys_of(room)
    healthy(opened(room, dict.fromkeys(keys, "")), room)
    for shift in range(0, len(ABSURD), 3):
        mixed = {key: ABSURD[(place + shift) % len(ABSURD)] for place, key in enumerate(keys)}
        healthy(opened(room, mixed), room)
    healthy(opened(room, {key: ["1", "q"] * 2000 for key in keys}), room)


@pytest.mark.parametrize("room", ROOMS)
def test_the_link_that_a_room_shows_restores_it(room):
    app = opened(room)
    for key, widget in controls(app).items():
        if key in controls(app) and key != "form":
            widget.set_value(extremes(widget)[0])
    app.run()
    links = [
        code.value for code in app.code if code.language in ("", None, "plaintext") and "?" in code.value
    ]
    assert len(links) == 1
    query = urllib.parse.parse_qs(links[0].partition("?")[2])
    again = opened(room, {key: value[0] if len(value) == 1 else value for key, value in query.items()})
    shown = {key: widget.value for key, widget in controls(app).items() if key in query}
    assert shown == {key: widget.value for key, widget in controls(again).items() if key in query}
    assert query.keys() >= {key for key, widget in controls(app).items() if widget.value not in ([],)} - {
        "form"
    }


def test_values_in_a_link_are_written_as_the_controls_read_them():
    assert frame.link(on=True, targets=["q", "v"], r=4).endswith("?on=true&targets=q&targets=v&r=4")


# ---- what a room may cost ----------------------------------------------------------------------------------------


def test_no_control_asks_for_more_than_a_fifth_of_a_second_can_do():
    """Sizes, not times: what the widest control can ask for stays within what was measured to be quick."""
    assert max(rank.SIDES) <= 128  # an SVD of 128 x 128 takes some 40 ms compiled
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


def test_the_button_on_the_cost_page_measures():
    app = opened("cost", {"tokens": "1", "d": "64", "k": "64"})
    app.button(key="measure").click()
    healthy(app.run(), "cost")
    assert "Measured here" in app.get("plotly_chart")[-1].proto.alt


def test_a_layer_that_is_too_large_to_time_says_so():
    app = opened("cost", {"tokens": "16384", "d": "1024", "k": "1024"})
    assert app.button(key="measure").disabled
    assert any("too long" in caption.value for caption in app.caption)


def test_the_buttons_on_the_pruning_page(monkeypatch):
    """The run is shortened here; the room's own length is bounded above."""
    monkeypatch.setattr(prune, "STEPS", 20)
    app = opened("prune")
    app.button(key="live").click()
    healthy(app.run(), "prune")
    assert any("Cut step by step" in text.value for text in app.markdown)
    app.button(key="clock").click()
    healthy(app.run(), "prune")
    assert any("physically smaller" in text.value for text in app.markdown)


def test_an_impossible_combination_is_explained():
    app = opened("params", {"method": "full", "base": "nf4", "model": "gpt2"})
    healthy(app, "params")
    app = opened("params", {"method": "bitfit", "base": "nf4", "model": "llama-7b"})
    assert [e.value for e in app.exception] == []


# ---- several visitors ----------------------------------------------------------------------------------------------


def test_three_visitors_at_once():
    """Three sessions in threads of one process, different states, all drawn."""
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


# ---- how the rooms are written -----------------------------------------------------------------------------------


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


VIEWS = sorted((APP / "views").glob("*.py"))
BOUND = ("slider", "select_slider", "selectbox", "segmented_control", "pills", "toggle", "number_input")


@pytest.mark.parametrize("path", VIEWS, ids=lambda path: path.stem)
def test_every_control_has_a_key_and_stands_in_the_link(path):
    """And none has a format_func, which would put its wording into the link."""
    for call in calls(path):
        given = {keyword.arg for keyword in call.keywords}
        if name_of(call) == "choose":
            assert "key" in given
        elif name_of(call) in BOUND:
            assert {"key", "bind"} <= given, ast.unparse(call)
            assert "format_func" not in given
        if name_of(call) == "button":
            assert "key" in given


@pytest.mark.parametrize("path", sorted(APP.rglob("*.py")), ids=lambda path: str(path.relative_to(APP)))
def test_no_arithmetic_in_the_app(path):
    """Numbers come from the engine: no NumPy in a view, and no operator on numbers in rooms or logic."""
    if path.name in ("frame.py", "main.py"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if path.parent.name == "views" and isinstance(node, (ast.Import, ast.ImportFrom)):
            assert "numpy" not in ast.unparse(node)
        if isinstance(node, ast.BinOp):
            assert isinstance(node.op, (ast.Add, ast.Mult, ast.Div, ast.Pow)), ast.unparse(node)
            assert ast.unparse(node) in ALLOWED, f"arithmetic in {path.name}: {ast.unparse(node)}"


ALLOWED = {
    "index + 1",  # layers are counted from one
    "2 * rank",  # PEFT's usual alpha
    "2 * 10 ** 10",
    "10 ** 10",
    "state.step / prune.STEPS",  # a progress bar
}


def test_equation_cards_name_equations_that_exist():
    for path in VIEWS:
        for call in calls(path):
            if name_of(call) == "equations":
                for key in call.args:
                    assert ast.literal_eval(key) in EQUATIONS


def test_configuration_asks_for_no_network():
    text = (APP.parent / ".streamlit" / "config.toml").read_text()
    assert "gatherUsageStats = false" in text
    assert "http" not in text
