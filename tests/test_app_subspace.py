"""The room on matrices and ranks: its snippets, its live runs, its prediction, and what it may cost."""

from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")
from streamlit.testing.v1 import AppTest

from app.logic import subspace
from lora_np.figures.subspace_scene import rerun
from lora_np.training.experiments import matrices

MAIN = str(Path(__file__).parents[1] / "app" / "main.py")
STATES = {
    "default": {},
    "every rank": {"sub_view": "every rank", "sub_set": "all six"},
    "least": {
        "sub_budget": "512",
        "sub_rank": "1",
        "sub_other_rank": "1",
        "sub_matrix": "q",
        "sub_factor": "B",
    },
    "most": {"sub_budget": "2048", "sub_rank": "16", "sub_other_rank": "16", "sub_chance": "true"},
    "random": {"sub_other": "random", "sub_factor": "B", "sub_rank": "16"},
    "another start": {"sub_other": "another start", "sub_matrix": "q"},
}


def opened(**query):
    """Open the room by a link."""
    app = AppTest.from_file(MAIN, default_timeout=120)
    for key, value in query.items():
        app.query_params[key] = value
    app.switch_page("views/subspace.py")
    app.run()
    assert [error.value for error in app.exception] == []
    return app


@pytest.mark.parametrize("state", STATES)
def test_every_snippet_gives_the_numbers_in_its_table(state):
    """Run as it stands, with nothing of the app."""
    app = opened(**STATES[state])
    snippets = [code.value for code in app.code if "print(numbers)" in code.value]
    tables = [frame.value for frame in app.dataframe]
    assert len(snippets) == len(tables) == 3
    for snippet, table in zip(snippets, tables, strict=True):
        assert "app." not in snippet
        scope = {}
        exec(snippet, scope)
        for name, column in scope["numbers"].items():
            assert list(table[name]) == pytest.approx(column, rel=1e-9), name


@pytest.mark.parametrize("state", STATES)
def test_the_lesson_is_said_of_this_state(state):
    app = opened(**STATES[state])
    lesson = next(text.value for text in app.markdown if text.value.startswith("**What you should see.**"))
    for part in ("Which rank", "Shared directions", "Amplification"):
        assert f"**{part}.**" in lesson
    assert not {"nan", "None", "{"} & set(lesson.split())


def test_the_right_guess_is_the_one_that_the_records_show():
    """The means over seeds, by plain arithmetic."""
    means = {}
    for name in "qv":
        values = [
            row["accuracy"]
            for row in subspace.shipped().records
            if (row["set"], row["rank"]) == (name, 8)
            and row["draw"] == 1
            and row["steps"] == subspace.ADAPTING[0]
        ]
        means[f"on {name}"] = sum(values) / len(values)
    best = max(means, key=means.get)
    assert abs(means["on q"] - means["on v"]) > 0.01
    app = opened()
    app.button_group(key="guess_subspace").set_value(best).run()
    assert any(text.value.startswith("**Right.**") for text in app.markdown)


def test_the_button_trains_the_small_grid_and_shows_it_beside_what_ships(monkeypatch):
    """Two steps a run here, so that the accuracies are others."""
    monkeypatch.setattr(subspace, "rerun", lambda shipped: rerun(shipped, steps=2))
    app = opened()
    app.button(key="sub_again_start").click().run()
    for _ in range(200):
        if len(app.dataframe) > 3:
            break
        app.run()
    assert [error.value for error in app.exception] == []
    table = app.dataframe[-1].value
    assert len(table) == 9
    assert any("of 9 accuracies are the shipped ones" in text.value for text in app.markdown)


def test_the_runs_can_be_cancelled():
    app = opened()
    app.button(key="sub_again_start").click().run()
    app.button(key="sub_again_cancel").click().run()
    assert [error.value for error in app.exception] == []
    assert len(app.dataframe) == 3
    assert app.button(key="sub_again_start")


def test_a_link_starts_no_runs():
    app = opened(sub_again_start="true", sub_again="true", sub_again_job="1")
    assert "sub_again_job" not in app.session_state


def test_what_can_be_asked_for_is_bounded():
    """Sizes, not times: nine short runs of small batches, and factors of at most 16 × 64."""
    assert len(matrices.LIVE_SETS) * len(matrices.LIVE_RANKS) * matrices.LIVE_STEPS <= 600
    assert matrices.BATCH <= 64
    assert max(subspace.RANKS) <= 16
    assert max(matrices.SIDES.values()) <= 256
