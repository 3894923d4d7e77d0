"""The training room's buttons: start, pause, step, reset and pins; what a link cannot do; the scripts to take along."""

import pickle

import numpy as np
import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

from app.live import Live
from app.logic import train
from lora_np.figures import train as figures
from lora_np.figures.train_scene import Choice, Played, play
from lora_np.training.watched import WatchSettings
from tests.app_visits import controls, healthy, opened

KEY = train.KEY


def run_of(app):
    return app.session_state[KEY]


def step_shown(app):
    """What the first number says: 12 of "12 of 300"."""
    return int(app.metric[0].value.split(" of ")[0].replace(",", ""))


def press(app, name):
    app.button(key=f"{KEY}_{name}").click()
    healthy(app.run(), "train")
    return app


def to_its_end(app, presses=100):
    press(app, "start")
    for _ in range(presses):
        if not run_of(app).going:
            return app
        app.run()
    raise AssertionError("the run did not end")


def test_a_link_opens_a_run_that_is_held_at_step_0():
    """Whatever the link says: nothing goes before a button is pressed."""
    app = opened("train", {"train_steps": "2000", "train_rank": "32", f"{KEY}_start": "true", "start": "1"})
    for _ in range(3):
        assert step_shown(app) == 0
        assert not run_of(app).going
        app.run()
    assert any("Paused at step 0" in caption.value for caption in app.caption)


def test_start_goes_on_at_every_look_until_pause():
    app = press(opened("train", {"train_steps": "2000"}), "start")
    steps = [step_shown(app)]
    for _ in range(3):
        app.run()
        steps.append(step_shown(app))
    assert steps == sorted(set(steps))
    assert 0 < steps[0] < steps[-1] < 2000
    press(app, "pause")
    held = step_shown(app)
    app.run()
    assert step_shown(app) == held
    assert any(f"Paused at step {held:,}" in caption.value for caption in app.caption)
    press(app, "start")
    app.run()
    assert step_shown(app) > held


def test_step_shows_exactly_one_point_more():
    app = opened("train")
    for want in (1, 2, 3):
        press(app, "step")
        assert step_shown(app) == want
        assert len(run_of(app).seen) == want + 1
        assert not run_of(app).going


def test_reset_and_a_change_of_a_control_begin_anew_held():
    app = opened("train")
    press(press(app, "step"), "step")
    press(app, "reset")
    assert step_shown(app) == 0
    press(app, "start")
    controls(app)["train_lr"].set_value(0.03)
    app.run()
    assert step_shown(app) == 0
    assert not run_of(app).going


def test_a_control_that_only_looks_does_not_begin_anew():
    app = press(opened("train"), "step")
    controls(app)["train_loss"].set_value("training")
    app.run()
    assert step_shown(app) == 1


def test_a_run_goes_to_its_end_and_stops():
    app = to_its_end(opened("train", {"train_steps": "50"}))
    assert step_shown(app) == 50
    assert run_of(app).over
    assert run_of(app).outcome is None
    assert app.button(key=f"{KEY}_start").disabled
    assert app.button(key=f"{KEY}_step").disabled
    assert any("at its end" in caption.value for caption in app.caption)


def test_both_zero_stays_where_it_is():
    app = to_its_end(opened("train", {"train_init": "both zero", "train_steps": "50"}))
    assert {point.loss for point in run_of(app).seen} == {run_of(app).seen[0].loss}
    assert "nothing moves" in app.get("plotly_chart")[0].proto.alt
    assert "every gradient is exactly 0" in app.get("plotly_chart")[2].proto.alt


def test_a_run_that_diverges_is_named_and_stopped():
    app = to_its_end(opened("train", {"train_opt": "sgd", "train_lr": "3.0"}))
    assert ["diverged at step" in error.value for error in app.error] == [True]
    assert app.button(key=f"{KEY}_start").disabled
    values = [v for point in run_of(app).seen for v in (point.loss, point.held_out)]
    assert np.isfinite(values).all()
    press(app, "reset")
    assert not app.error


def test_pins_stand_beside_the_run_and_are_few():
    """Four are kept, the fifth is not offered; a run of the other task is not drawn with them."""
    app = opened("train", {"train_steps": "50"})
    assert app.button(key="train_pin").disabled  # nothing to keep at step 0
    for rank in train.RANKS[: train.PINS]:
        controls(app)["train_rank"].set_value(rank)
        app.run()
        press(app, "step")
        app.button(key="train_pin").click()
        healthy(app.run(), "train")
    assert len(app.session_state[train.PINNED]) == train.PINS
    assert app.button(key="train_pin").disabled
    assert "Of 4 runs" in app.get("plotly_chart")[0].proto.alt  # the last pin repeats what is shown
    controls(app)["train_rank"].set_value(32)
    app.run()
    assert "Of 5 runs" in app.get("plotly_chart")[0].proto.alt
    controls(app)["train_task"].set_value("digits")
    healthy(app.run(), "train")
    assert "runs" not in app.get("plotly_chart")[0].proto.alt
    app.button(key="train_unpin").click()
    app.run()
    assert app.session_state[train.PINNED] == []
    assert app.button(key="train_unpin").disabled


@pytest.mark.parametrize("task", train.TASKS)
def test_every_method_is_drawn_on_every_task(task):
    app = opened("train", {"train_task": task})
    for method in train.METHODS:
        controls(app)["train_method"].set_value(method)
        healthy(app.run(), "train")


# ---- the live run --------------------------------------------------------------------------------------------


def test_a_slice_ends_by_count_and_by_time(monkeypatch):
    """At least one item, whatever the time; no more than were asked for."""
    run = Live("about", (i for i in range(10)))
    run.advance(3)
    assert run.seen == [0, 1, 2]
    monkeypatch.setattr("app.live.SLICE_SECONDS", -1.0)
    run.advance(3)
    assert run.seen == [0, 1, 2, 3]
    monkeypatch.setattr("app.live.SLICE_SECONDS", 1.0)
    run.going = True
    run.advance(100)
    assert (run.over, run.going, run.seen[-1]) == (True, False, 9)


def test_what_a_session_keeps_is_bounded():
    """The longest run and four pins like it hold at most some 4 MB: counted on what pickling them would take."""
    choice = Choice("digits", settings=WatchSettings(batch=64, steps=max(train.LENGTHS)))
    point = next(play(choice))
    size = len(pickle.dumps((point.step, point.loss, point.held_out, [tuple(g) for g in point.layers])))
    assert len(choice.settings.points) * size * (1 + train.PINS) < 4e6


def test_what_a_control_can_ask_for_is_bounded():
    """Sizes, not times: steps of 64 rows at most, through one layer of 32 × 32 or three of at most 96 × 64."""
    assert max(train.LENGTHS) <= 2000
    assert max(train.RANKS) <= 32
    assert max(train.TRUE_RANKS) <= 32
    assert train.DIGITS_BATCH <= 64
    assert train.PINS <= 4


# ---- scripts ---------------------------------------------------------------------------------------------------


def until(choice, step):
    found = []
    for point in play(choice):
        found.append(point)
        if point.step == step:
            break
    return Played(choice, found)


def result(script):
    space: dict[str, object] = {}
    exec(compile(script, "snippet", "exec"), space)
    return space["numbers"]


def same_columns(numbers, table):
    assert numbers.keys() <= table.keys()
    for name, column in numbers.items():
        np.testing.assert_allclose(column, table[name], rtol=1e-9)


@pytest.mark.parametrize(
    "runs",
    [
        [("teacher", {}, 12), ("teacher", {"rank": 1, "optimizer": "sgd", "seed": 3}, 3)],
        [("digits", {"method": "full"}, 2)],
        [("digits", {"method": "probe", "steps": 2000}, 1), ("digits", {"rank": 32}, 0)],
        [("teacher", {"scheme": "both-zero"}, 0)],
        [("teacher", {"method": "bitfit"}, 4)],
    ],
    ids=str,
)
def test_scripts_give_the_pictures_numbers(runs, capsys):
    drawn = [until(train.choice(task, 4, 0.1, **settings), step) for task, settings, step in runs]
    for half in figures.HALVES:
        same_columns(result(train.loss_script(drawn, half)), figures.loss_curves(drawn, half=half).table)
    last = len(drawn[0].now.layers) - 1
    for layer in {0, last}:
        growth = figures.spectrum_growth(drawn[0], layer=layer).table
        same_columns(result(train.growth_script(drawn[0], layer, figures.DRAWN)), growth)
        same_columns(result(train.norm_script(drawn[0], layer)), figures.norms(drawn[0], layer=layer).table)
    assert "numbers" not in capsys.readouterr().err
