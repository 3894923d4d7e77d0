"""The room on merging in the app: every look, what it draws, and every snippet against its picture."""

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

import numpy as np

from app.logic import merge
from tests.app_visits import controls, healthy, noted, opened
from tests.test_app_snippets import run_all

STATES = [
    {"merge_look": "merge", "merge_adapter": "renamed", "merge_strength": "0.01"},
    {"merge_look": "swap"},
    {"merge_look": "combine"},
    {"merge_look": "combine", "merge_method": "svd", "merge_rank": "16", "merge_layer": "last"},
    {"merge_look": "combine", "merge_method": "ties", "merge_weight_2": "-1.0", "merge_density": "0.1"},
    {"merge_look": "mix", "merge_rows": "64", "merge_size": "a layer of 4096 × 4096"},
    {"merge_look": "mix", "merge_rows": "1", "merge_tasks": ["upright"]},
]


@pytest.fixture(scope="module")
def visited():
    """Every state opened once, with its pictures."""
    found = []
    for state in STATES:
        with noted("merge", str(state)) as visit:
            app = opened("merge", state)
            healthy(app, "merge")
        found.append((app, visit))
    return found


def test_every_look_draws_two_pictures_and_a_lesson(visited):
    for app, visit in visited:
        assert len(visit.pictures) == 2, visit.state
        assert app.metric
        assert any(text.value.startswith("**What you should see") for text in app.markdown)


def test_snippets_give_the_numbers_of_every_look(visited, tmp_path):
    pictures = [(visit.state, picture) for _, visit in visited for picture in visit.pictures]
    assert all(picture.card["snippet"] for _, picture in pictures)
    found = run_all([picture.card["snippet"] for _, picture in pictures], tmp_path)
    for (state, picture), got in zip(pictures, found, strict=True):
        assert "error" not in got, (state, picture.key, got)
        assert got["numbers"]
        for name, values in got["numbers"].items():
            want = picture.chart.table[name]
            if isinstance(want[0], str):
                assert values == list(want), (state, name)
            else:
                assert np.allclose(values, want, rtol=1e-9, atol=1e-12 * max(map(abs, want))), (state, name)


def test_an_empty_batch_is_served_by_the_base():
    app = opened("merge", {"merge_look": "mix"})
    controls(app)["merge_tasks"].set_value([])
    healthy(app.run(), "merge")
    assert "from 1 task;" in app.get("plotly_chart")[0].proto.alt


def test_sizes_are_bounded():
    """Four small layers' worth of singular values, and at most 64 rows one by one."""
    assert merge.MOST_ROWS <= 64
    assert len(merge.ADAPTERS) * merge.RANK == merge.MOST_RANK
    assert len(merge.LOOKS) == len(merge.QUESTIONS) == 4
