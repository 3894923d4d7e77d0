"""The room on methods: every method's listing, equations and departures are drawn, and the snippets give the tables."""

import runpy

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

from app.frame import script
from app.logic import methods
from lora_np.conformance.published import departures
from lora_np.figures import methods as figures
from lora_np.figures.listing_scene import PARTS, difference, part_of
from tests.app_visits import opened


def test_every_method_is_drawn_with_its_difference_and_its_departures():
    """One session visits all of them."""
    app = opened("methods")
    for name in methods.NAMES:
        app.selectbox(key="variant").set_value(name)
        app.run()
        assert [e.value for e in app.exception] == []
        diffs = [code.value for code in app.code if code.language == "diff"]
        wanted = ["\n".join(difference(name, part)) for part in PARTS if part_of(name, part) is not None]
        assert diffs == [text for text in wanted if text]
        titles = [
            box.label for box in app.expander if box.label.endswith(("by design", "defect", "precision"))
        ]
        assert len(titles) == sum(row.method == name for row in departures())
        assert len(app.get("plotly_chart")) == 3


def test_the_first_screen_shows_one_changed_line_of_forward():
    """VeRA's layer differs from LoRA's in the line of Y."""
    app = opened("methods")
    first = next(code.value for code in app.code if code.language == "diff")
    assert "-    Y = X @ W0.T + float(scale) * (Z @ B.T)  # (N, d)" in first
    assert "+    Y = X @ W0.T + ((Z * p.lambda_d) @ B.T) * p.lambda_b  # (N, d)" in first


def test_checks_are_shown_where_they_are_asked_for():
    app = opened("methods", {"with_checks": "true"})
    first = next(code.value for code in app.code if code.language == "diff")
    assert "require_layer" in first


def test_departures_are_shown_as_they_are_written():
    """What Markdown would take for a mark is escaped, and nothing else is changed."""
    assert methods.plain("a <= b_c [x, −y] *z* `f` $1") == r"a \<= b\_c \[x, −y\] \*z\* \`f\` \$1"
    for row in departures():
        assert methods.plain(row.effect).replace("\\", "") == row.effect.replace("\\", "")


@pytest.mark.parametrize(("d", "k", "rank"), [(768, 768, 4), (64, 8192, 1), (8192, 64, 8)])
def test_snippets_give_the_numbers_of_the_pictures(tmp_path, d, k, rank):
    rows = methods.scene.__wrapped__(d, k, rank)
    charts = {
        methods.LINES: figures.line_bars(rows, chosen="vera"),
        methods.TRAINED: figures.trained_bars(rows, chosen="vera", layer="x"),
        methods.RANK: figures.rank_bars(rows, chosen="vera", rank=rank),
    }
    for number, (body, chart) in enumerate(charts.items()):
        path = tmp_path / f"snippet{number}.py"
        path.write_text(script(body, d=d, k=k, rank=rank))
        numbers = runpy.run_path(str(path))["numbers"]
        assert set(numbers) <= set(chart.table)
        for column, values in numbers.items():
            assert values == list(chart.table[column])


def test_what_a_visitor_can_ask_for_is_bounded():
    """Seventeen decompositions of 24 x 32, once a rank; counts are closed forms."""
    assert methods.D * methods.K <= 24 * 32
    assert len(methods.RANKS) * len(methods.SIDES) ** 2 <= 400
    assert all(methods.D % rank == methods.K % rank == 0 for rank in methods.RANKS)
