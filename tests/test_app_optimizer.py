"""The room on LoRA as an optimizer: each of its four looks, their snippets, its prediction, and what it may cost."""

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

from app.logic import optimizer
from lora_np.figures.optimizer_scene import DRAWS, SEEDS, SMALL
from lora_np.figures.optimizer_scene import RANKS as CURVE
from lora_np.figures.trade_scene import OPTIMIZERS, STEPS, TRADES
from tests.app_visits import controls, extremes, healthy, movable, noted, opened
from tests.test_app_snippets import plain, same

PICTURES = {"one step": 2, "random factors": 2, "sums of strips": 3, "α and the rate": 3}


def test_the_looks_are_these():
    assert list(PICTURES) == optimizer.LOOKS


@pytest.mark.parametrize("look", PICTURES)
def test_every_look_at_the_ends_of_its_controls(look):
    for end in (0, 1):
        app = opened("optimizer", {"opt_look": look})
        assert len(app.get("plotly_chart")) == PICTURES[look]
        for key, widget in movable(app).items():
            if key != "opt_look":
                widget.set_value(extremes(widget)[end])
        healthy(app.run(), "optimizer")
        assert app.metric


@pytest.mark.parametrize("look", PICTURES)
@pytest.mark.parametrize("end", [None, 0, 1])
def test_every_snippet_gives_the_numbers_of_its_picture(look, end):
    query = {"opt_look": look}
    if end is not None:
        app = opened("optimizer", query)
        query |= {k: str(extremes(w)[end]) for k, w in movable(app).items() if k != "opt_look"}
    with noted("optimizer", look) as visit:
        healthy(opened("optimizer", query), "optimizer")
    assert len(visit.pictures) == PICTURES[look]
    for picture in visit.pictures:
        assert picture.card["equations"]
        assert picture.card["code"]
        space: dict = {}
        exec(picture.card["snippet"], space)
        for column, values in space["numbers"].items():
            assert same(plain(values), plain(picture.chart.table[column])), (picture.key, column)


@pytest.mark.parametrize("look", PICTURES)
def test_the_link_of_every_look_restores_it(look):
    app = opened("optimizer", {"opt_look": look})
    link = next(code.value for code in app.code if "opt_look=" in code.value)
    for key in controls(app, reading=False):
        assert f"{key}=" in link


def test_every_preset_opens():
    with noted("optimizer", "presets") as visit:
        opened("optimizer")
    assert len(visit.presets) == 5
    for state in visit.presets:
        app = opened("optimizer", state)
        healthy(app, "optimizer")
        assert {key: str(controls(app)[key].value) for key in state} == state


def test_the_prediction_sets_a_trade_that_sgd_keeps_and_adam_does_not():
    gaps = optimizer.trade(4, 8, 4).gaps
    assert gaps["SGD"]["lr / c, A / √c"] < 1e-13 < 0.1 < gaps["Adam"]["lr / c, A / √c"]


def test_what_it_computes_is_bounded():
    """Steps of an engine function on a layer of 24 x 16: some 0.2 to 0.6 ms each."""
    d, k = SMALL
    assert max(optimizer.STEPS) * len(CURVE) * SEEDS <= 150
    assert max(DRAWS) <= 256
    assert len(OPTIMIZERS) * (1 + len(TRADES)) * STEPS <= 160
    assert max(optimizer.STRIPS) * (d + k) <= 80  # rows of a matrix whose rank is taken, of d k columns
    assert max(optimizer.RANKS) <= 16
