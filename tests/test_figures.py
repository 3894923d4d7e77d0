"""Pictures: axes with titles and units, sentences computed from the numbers, tables that hold what is drawn."""

import csv
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.bench.machine import Machine
from lora_np.bench.measure import LinearTime
from lora_np.counts import count, training_memory
from lora_np.errors import ConfigError
from lora_np.figures import cost, diagram, params, prune, rank
from lora_np.figures.chart import (
    DASHES,
    MARKERS,
    PALETTE,
    PATTERNS,
    Chart,
    bar_style,
    counted,
    csv_text,
    in_bytes,
    in_seconds,
    line_style,
    mark,
    percent,
)
from lora_np.figures.cost_scene import PHASES, ROWS, cost_scene, floors, seconds
from lora_np.figures.examples import KINDS, example_matrix
from lora_np.figures.params_scene import BUDGET_SETS, grouped, params_scene, same_budget
from lora_np.figures.rank_scene import pooled, rank_scene
from lora_np.rank import spectrum_report, svd


def rank_parts(kind="decay", rows=16, columns=12, r=3):
    M = example_matrix(kind, rows, columns)
    found = svd(M)
    return rank_scene(M, found, spectrum_report(found), rank=r)


def all_charts() -> dict[str, Chart]:
    """One chart of every builder, from real numbers."""
    scene = rank_parts()
    costs = cost_scene(64, 32, 48, 4)
    lora = params_scene("gpt2", "lora", rank=8, targets="q,v")
    scores, kept = np.array([3.0, 0.0, 1.0, 2.0]), np.array([True, False, False, True])
    curves = [
        {"criterion": name, "ratio": ratio, "n": 5, "mean": 0.9 - ratio * slope, "low": 0.1, "high": 0.95}
        for name, slope in (("estimate", 0.2), ("random", 0.8))
        for ratio in (0.0, 0.5)
    ]
    return {
        "diagram": diagram.increment_diagram(diagram.Layer(64, 48, 4)),
        "triptych": rank.triptych(scene.M, scene.B, scene.A, energy=scene.kept),
        "spectrum": rank.spectrum(scene.report.sigma, rank=3, energy=scene.kept, effective_rank=5.0),
        "error": rank.error_curve(scene.least_errors, scene.measured, rank=3),
        "work": cost.work_bars(costs.costs),
        "crossing": cost.crossing(ROWS, costs.ratios, crossover=costs.crossover, here=64, phase="forward"),
        "times": cost.measured_times({"lora-2": 1e-3}, {"lora-2": 2e-3}, phase="step"),
        "treemap": params.treemap(lora.count),
        "memory": params.memory_bars(lora.memory),
        "budget": params.budget_bars(lora.same_budget, budget=lora.count.trainable, chosen="q,v"),
        "importance": prune.importance_bars(scores, kept, criterion="estimate", layer="Layer 1"),
        "truth": prune.against_truth(scores, scores**2, kept, criterion="estimate", correlation=1.0),
        "curves": prune.accuracy_curves(curves, ratio=0.5, chosen="estimate"),
    }


CHARTS = all_charts()
WITHOUT_AXES = ("diagram", "treemap")


# ---- what holds of every picture ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHARTS)
def test_axes_have_titles(name):
    """Every visible axis says what it shows; the row of three matrices names its shared axis once."""
    figure = CHARTS[name].figure
    if name in WITHOUT_AXES:
        return
    titled = {axis.title.text for axis in figure.select_xaxes()}
    assert all(titled), titled
    assert any(axis.title.text for axis in figure.select_yaxes()) or name in ("work", "memory")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("memory", "(GB)"),
        ("work", "MB"),
        ("work", "FLOPs"),
        ("times", "(ms)"),
        ("error", "share of the norm"),
        ("crossing", "tokens"),
    ],
)
def test_axes_say_their_unit(name, unit):
    axes = [*CHARTS[name].figure.select_xaxes(), *CHARTS[name].figure.select_yaxes()]
    assert any(unit in (axis.title.text or "") for axis in axes)


@pytest.mark.parametrize("name", CHARTS)
def test_a_sentence_says_what_is_shown(name):
    """It holds a number, ends like a sentence, and has nothing unformatted in it."""
    alt = CHARTS[name].alt
    assert any(letter.isdigit() for letter in alt)
    assert alt.endswith(".")
    assert "nan" not in alt
    assert "{" not in alt


@pytest.mark.parametrize("name", CHARTS)
def test_the_table_is_rectangular_and_survives_csv(name):
    table = CHARTS[name].table
    assert len({len(column) for column in table.values()}) == 1
    rows = list(csv.reader(io.StringIO(csv_text(table))))
    assert rows[0] == list(table)
    assert len(rows) == 1 + len(next(iter(table.values())))


@pytest.mark.parametrize("name", CHARTS)
def test_no_picture_brings_its_own_paper(name):
    """Backgrounds and fonts are the page's, in light and in dark."""
    layout = CHARTS[name].figure.layout
    assert layout.paper_bgcolor is None
    assert layout.plot_bgcolor is None
    assert layout.font.color is None


def test_series_differ_in_more_than_colour():
    lines = [line_style(i) for i in range(7)]  # as many as there are criteria of pruning
    assert len({style["line"]["dash"] for style in lines}) == len(set(DASHES)) == 7
    assert len({style["marker"]["symbol"] for style in lines}) == len(set(MARKERS)) == 7
    assert len({style["line"]["color"] for style in lines}) == 7
    assert len({bar_style(i)["pattern"]["shape"] for i in range(6)}) == len(set(PATTERNS)) == 6
    assert len(set(PALETTE)) == 6


def luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("paper", ["#ffffff", "#171614"])
@pytest.mark.parametrize("colour", PALETTE[:3])
def test_the_first_colours_stand_out_on_light_and_dark_paper(colour, paper):
    """WCAG asks 3 : 1 of graphics."""
    light, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


@pytest.mark.parametrize("colour", [*params._SLATE, params.TRAINED])
def test_white_letters_are_legible_on_the_tiles(colour):
    """WCAG asks 4.5 : 1 of text."""
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5


# ---- each picture draws the numbers it was given -----------------------------------------------------------


@given(rows=st.integers(1, 300), columns=st.integers(1, 300))
def test_pooling_keeps_the_mean_and_bounds_the_size(rows, columns):
    M = np.random.default_rng(0).normal(size=(rows, columns))
    cells = pooled(M)
    assert max(cells.shape) <= rank.CELLS
    high, wide = (-(-side // rank.CELLS) for side in M.shape)
    block = M[-((rows - 1) % high + 1) :, :wide]  # the lower left block, plainly
    assert math.isclose(
        cells[-1, 0], sum(map(float, block.ravel())) / block.size, rel_tol=1e-9, abs_tol=1e-12
    )


def test_small_matrices_are_drawn_entry_by_entry():
    M = np.arange(6.0).reshape(2, 3)
    assert (pooled(M) == M).all()


def test_the_three_panels_add_up():
    scene = rank_parts()
    whole, kept, left = (np.asarray(trace.z) for trace in CHARTS["triptych"].figure.data)
    assert np.allclose(whole, kept + left, atol=2e-4)  # drawn with four decimals
    assert np.allclose(whole, scene.M, atol=1e-4)


def test_the_spectrum_is_split_at_the_rank():
    kept, cut = CHARTS["spectrum"].figure.data
    assert [kept.name, len(kept.x), cut.name, len(cut.x)] == ["kept", 3, "cut", 9]


def test_measured_error_equals_the_least_possible_one():
    """[rank-eckart-young]: the product's own distance meets the tail of LAPACK's spectrum."""
    scene = rank_parts()
    sigma = np.linalg.svd(scene.M, compute_uv=False)
    for r, error in scene.measured.items():
        assert math.isclose(error, math.sqrt(sum(sigma[r:] ** 2) / sum(sigma**2)), abs_tol=1e-12)


@pytest.mark.parametrize("r", [0, 12])
def test_the_ends_of_the_rank_slider(r):
    scene = rank_parts(r=r)
    assert math.isclose(scene.kept, 0.0 if r == 0 else 1.0)
    rank.triptych(scene.M, scene.B, scene.A, energy=scene.kept)
    rank.error_curve(scene.least_errors, scene.measured, rank=r)


def test_a_zero_matrix_has_no_error():
    M = np.zeros((4, 4))
    scene = rank_scene(M, svd(M), spectrum_report(M), rank=1)
    assert rank.error_curve(scene.least_errors, scene.measured, rank=1).alt.startswith("The matrix is zero")
    rank.triptych(scene.M, scene.B, scene.A, energy=scene.kept)


def test_the_diagram_is_to_scale():
    wide = {trace.name.split(",")[0]: max(trace.x) - min(trace.x) for trace in CHARTS["diagram"].figure.data}
    high = {trace.name.split(",")[0]: max(trace.y) - min(trace.y) for trace in CHARTS["diagram"].figure.data}
    assert (wide["W0"], high["W0"]) == (48, 64)
    assert math.isclose(wide["B"], 4)
    assert high["B"] == 64
    assert math.isclose(wide["A"], 48)
    assert high["A"] == 4
    assert CHARTS["diagram"].figure.layout.yaxis.scaleanchor == "x"


def test_treemap_areas_add_up_to_the_model():
    """Parents hold the sum of their parts, and the root the total with what LoRA adds."""
    tree = CHARTS["treemap"].figure.data[0]
    value = dict(zip(tree.ids, tree.values, strict=True))
    for parent in set(tree.parents) - {""}:
        parts = sum(v for p, v in zip(tree.parents, tree.values, strict=True) if p == parent)
        assert parts == value[parent]
    assert value["gpt2"] == 124439808 + 294912


def test_grouping_covers_every_architecture():
    for name in ("gpt2", "llama-3-8b", "roberta-base", "deberta-v2-xxlarge", "vit-base"):
        found = count(name, "lora")
        assert sum(grouped(found).values()) == found.total


def test_memory_bars_stack_to_the_total():
    memory = {"a": training_memory(count("gpt2", "full")), "b": training_memory(count("gpt2", "lora"))}
    figure = params.memory_bars(memory).figure
    for place, held in enumerate(memory.values()):
        assert math.isclose(sum(trace.x[place] for trace in figure.data), held.total / 1e9)


def test_operations_are_listed_with_their_cost():
    """[cost-product]: Z = X Aᵀ at N = 2, k = 5, r = 3 is 2·2·5·3 FLOPs and (2·5 + 5·3 + 2·3) numbers of 4 bytes."""
    scene = cost_scene(2, 4, 5, 3)
    table = cost.operations(scene.costs, "lora-2", phase="forward")
    assert table["operation"][0] == "Z = X @ A.T"
    assert (table["FLOPs"][0], table["bytes moved"][0]) == (60, 124)
    step = cost.operations(scene.costs, "lora-1", phase="step")
    assert sum(step["FLOPs"]) == scene.costs["lora-1"].step_flops


def test_crossing_is_marked_where_it_is_in_sight():
    assert any("N* = " in note.text for note in CHARTS["crossing"].figure.layout.annotations)
    scene = cost_scene(64, 32, 48, 4, phase="step")
    chart = cost.crossing(ROWS, scene.ratios, crossover=math.inf, here=64, phase="step")
    assert "at every batch size" in chart.alt
    assert not any("N* = " in note.text for note in chart.figure.layout.annotations)


def test_texts_on_a_logarithmic_axis_stand_at_the_exponent():
    """Plotly places lines by value and annotations by exponent: else an axis of 10^512 is drawn."""
    chart = CHARTS["crossing"]
    assert all(note.x <= 5 for note in chart.figure.layout.annotations)
    mark(chart.figure, 100.0, "text", log=True)
    assert math.isclose(chart.figure.layout.annotations[-1].x, 2)


def test_a_time_below_its_floor_is_called_a_disturbance():
    assert "busy" not in CHARTS["times"].alt
    assert "busy" in cost.measured_times({"lora-2": 2e-3}, {"lora-2": 1e-3}, phase="step").alt


def test_only_the_chosen_criterion_has_a_band():
    assert [trace.fill for trace in CHARTS["curves"].figure.data].count("toself") == 1


def test_zeros_are_visible_on_logarithmic_axes():
    kept, cut = CHARTS["truth"].figure.data
    assert min([*kept.x, *cut.x]) == pytest.approx(0.1)
    assert min([*kept.y, *cut.y]) > 0
    none = prune.against_truth(
        np.zeros(2), np.zeros(2), np.array([True, False]), criterion="x", correlation=0.0
    )
    assert none.figure.data[0].x[0] == 1.0


# ---- scenes and examples -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (128, 64), (7, 3)])
def test_examples_have_their_shape_and_never_change(kind, rows, columns):
    M = example_matrix(kind, rows, columns, noise=0.1)
    assert M.shape == (rows, columns)
    assert np.isfinite(M).all()
    assert (example_matrix(kind, rows, columns, noise=0.1) == M).all()


def test_examples_are_what_they_say():
    assert np.linalg.matrix_rank(example_matrix("exact", 20, 15, planted=3)) == 3
    sigma = np.linalg.svd(example_matrix("decay", 20, 15, decay=2.0), compute_uv=False)
    assert np.allclose(sigma, np.arange(1, 16.0) ** -2.0)
    assert np.allclose(example_matrix("digits", 50, 64).mean(axis=0), 0)


def test_more_digits_than_there_are_is_our_error():
    with pytest.raises(ConfigError, match="1797 pictures of 64 pixels"):
        example_matrix("digits", 10, 65)
    with pytest.raises(ConfigError, match="kind"):
        example_matrix("magic", 2, 2)


@pytest.mark.parametrize("budget", [0, 1, 294912, 10**9])
def test_the_same_budget_is_never_exceeded_and_never_wasted(budget):
    """[count-lora]: the rank found fits, one more does not."""
    for targets, r in same_budget("gpt2", budget).items():
        assert r == 0 or count("gpt2", "lora", rank=r, targets=targets).trainable <= budget
        assert count("gpt2", "lora", rank=r + 1, targets=targets).trainable > budget
    assert set(same_budget("gpt2", budget)) == set(BUDGET_SETS)


def test_floors_and_clocks_add_up_over_a_step():
    """A step is forward and backward; the floor is the larger of arithmetic and traffic, operation by operation."""
    machine = Machine("", 2, "", 2, 2, "", {}, gemm_gflops=1.0, copy_gbytes=1e6)
    costs = cost_scene(8, 16, 16, 2).costs
    found = floors(costs, machine, ("frozen", "lora-1"), phase="step")
    assert math.isclose(found["frozen"], 2 * 2 * 8 * 16 * 16 / 1e9)
    assert math.isclose(found["lora-1"], costs["lora-1"].step_flops / 1e9)
    assert seconds({"frozen": LinearTime(1.0, 2.0)}, phase="backward") == {"frozen": 0.002}


def test_a_scene_compares_with_full_fine_tuning():
    scene = params_scene("gpt3-175b", "lora", rank=4, targets="q,v", batch=1, seq=128)
    assert scene.full.trainable == 174_604_259_328
    assert math.isclose(scene.fewer, 174_604_259_328 / 18_874_368)
    assert 1 < scene.less < 10
    same = params_scene("gpt2", "full", rank=4, targets="q,v")
    assert same.less == 1


def test_cost_ratios_come_from_the_formula():
    """[cost-forward] by hand: lora-2 over frozen is 1 + (2 r (d + k) + 2 d) / (2 d k), whatever N."""
    scene = cost_scene(512, 256, 256, 8)
    want = 1 + (2 * 8 * 512 + 2 * 256) / (2 * 256 * 256)
    assert all(math.isclose(ratio, want) for ratio in scene.ratios["lora-2"])
    assert math.isclose(scene.ratios["lora-1"][0], 1 + 256 * 256 * 9 * 2 / (2 * 256 * 256))
    with pytest.raises(ConfigError, match="phase"):
        cost_scene(1, 2, 2, 1, phase="sideways")
    assert {cost_scene(1, 2, 2, 1, phase=phase).phase for phase in PHASES} == set(PHASES)


# ---- numbers as words --------------------------------------------------------------------------------------


@given(st.floats(0, 1))
def test_percent_never_rounds_up_to_all_nor_down_to_nothing(share):
    text = percent(share)
    assert text.endswith(" %")
    assert (text == "100 %") == (share == 1)
    assert (text == "0 %") == (share < 1e-12)


@given(st.integers(0, 10**14))
def test_counts_and_bytes_keep_three_digits(n):
    for write, units in (
        (counted, ("", "k", "million", "billion", "trillion")),
        (in_bytes, ("B", "kB", "MB", "GB", "TB")),
    ):
        number, _, unit = write(n).partition(" ")
        assert unit in units
        assert abs(float(number) * 1000 ** units.index(unit) - n) <= 0.005001 * n


def test_seconds_have_the_unit_that_fits():
    assert [in_seconds(t) for t in (3e-9, 2e-6, 1e-3, 2.0)] == ["3 ns", "2 µs", "1 ms", "2 s"]
