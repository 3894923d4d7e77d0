"""The definitions of pruning and of parameter counts against arithmetic by hand."""

from __future__ import annotations

from fractions import Fraction as F

import pytest

from lora_np.conformance.definitions import definition
from lora_np.conformance.definitions.prune import (
    average,
    exact,
    gradient,
    group_dot,
    importance,
    mask,
    schedule,
)
from lora_np.conformance.exact.functions import precision
from lora_np.conformance.exact.loops import each
from lora_np.conformance.exact.number import Exact

LAYER = {"W0": [[1, 2], [3, 0]], "B": [[1], [0]], "A": [[0, 2]]}
BACK = {"gY": [[1, 2], [0, 1]], "X": [[1, 1], [3, 0]]}
FACTORS = {"gB": [[1], [2]], "gA": [[3, 1]]}
SCALE = {"alpha": F(1), "rank": 2}  # s = 1/2, so W = [[1, 3], [3, 0]]


def test_the_exact_gradient_sums_over_the_batch():
    assert exact(BACK) == [[1, 1], [5, 2]]


def test_the_estimate_has_its_third_term_with_its_rate():
    config = {"gradient": "estimated"}
    assert gradient({**LAYER, **FACTORS}, {**config, "lr": 1})["G"] == [[0, 2], [-6, 2]]
    assert gradient({**LAYER, **FACTORS}, {**config, "lr": 0})["G"] == [[3, 3], [0, 4]]


def test_the_last_step_of_sgd_is_the_scaled_estimate():
    lr = F(1, 4)
    t = {
        "B_before": LAYER["B"],
        "A_before": LAYER["A"],
        "B": [[1 - lr], [-2 * lr]],
        "A": [[-3 * lr, 2 - lr]],
    }
    found = gradient(t, {"gradient": "last-step", "lr": lr, **SCALE})["G"]
    estimate = gradient({**LAYER, **FACTORS}, {"gradient": "estimated", "lr": lr})["G"]
    assert found == each(lambda x: F(1, 2) * x, estimate)


@pytest.mark.parametrize(
    ("form", "want"), [("dot-squared", [16, 225]), ("sum-squared", [10, 225]), ("sum-abs", [4, 15])]
)
def test_the_three_forms_of_importance(form, want):
    t = {**LAYER, **BACK, "labels": [0, 1]}
    config = {"form": form, "gradient": "exact", "axis": 0, "groups": 2, **SCALE}
    assert importance(t, config)["importance"] == want


def test_columns_are_grouped_and_free_lines_left_out():
    t = {**LAYER, **BACK, "labels": [-1, 0]}
    config = {"form": "sum-abs", "gradient": "exact", "axis": 1, "groups": 1, **SCALE}
    assert importance(t, config)["importance"] == [3]


def test_the_released_score_has_length_one():
    t = {name: each(Exact.of, x) for name, x in {**LAYER, **FACTORS}.items()}
    config = {"axis": 0, "groups": 2, "alpha": Exact.of(1), "rank": 2}
    with precision():
        scores = definition("prune").operation("released")({**t, "labels": [0, 1]}, config)["scores"]
    # |G W| = [[0, 6], [18, 0]]
    assert [float(x.value) for x in scores] == pytest.approx([6 / 360**0.5, 18 / 360**0.5], rel=1e-8)


def test_dots_come_from_activations():
    t = {"gY": [[1, 2], [0, 1]], "Y": [[5, 3], [1, 1]], "bias": [1, 0]}
    assert group_dot(t, {"axis": 0})["dots"] == [4, 7]
    assert group_dot({"gY": t["gY"], "Y": t["Y"]}, {"axis": 0})["dots"] == [5, 7]
    assert group_dot({"X": [[1, 2]], "gX": [[3, 4]]}, {"axis": 1})["dots"] == [3, 8]


def test_the_schedule_is_a_cubic_between_two_plateaus():
    config = {"initial": F(0), "final": F(1, 2), "warmup": F(1, 10), "cooldown": F(1, 10), "total": 100}
    ratios = [schedule({}, {**config, "step": step})["ratio"] for step in (0, 10, 50, 90, 100)]
    assert ratios == [0, 0, F(7, 16), F(1, 2), F(1, 2)]


def test_masks_prune_the_lowest_index_first_and_never_give_back():
    assert mask({"scores": [3.0, 1.0, 2.0, 1.0]}, {"ratio": 0.5})["mask"] == [1, 0, 1, 0]
    assert mask({"scores": [1.0, 1.0, 1.0]}, {"ratio": 0.4})["mask"] == [0, 1, 1]
    gone = {"scores": [0.0, 9.0, 2.0, 1.0], "kept": [1, 0, 1, 1]}
    assert mask(gone, {"ratio": 0.5})["mask"] == [0, 0, 1, 1]
    assert mask(gone, {"ratio": 0.0})["mask"] == [1, 0, 1, 1]


def test_averages_start_at_zero_and_are_debiased():
    found = average({"scores.0": [10], "scores.1": [20]}, {"decay": F(1, 2)})
    assert found == {"average": [F(25, 2)], "debiased": [F(50, 3)]}


@pytest.mark.parametrize(
    ("config", "want"),
    [
        ({"of": "lora", "shapes": [[12288, 12288]] * 2, "copies": 96, "rank": 4}, 18_874_368),
        ({"of": "dora", "shapes": [[3, 5]], "copies": 2, "rank": 1}, 22),
        ({"of": "adalora", "shapes": [[3, 5]], "copies": 1, "rank": 2}, 18),
        ({"of": "lora-fa", "shapes": [[3, 5]], "copies": 1, "rank": 2}, 6),
        ({"of": "lora-xs", "shapes": [[3, 5]], "copies": 1, "rank": 2}, 4),
        ({"of": "vera", "shapes": [[3, 5]], "copies": 1, "rank": 2}, 5),
        ({"of": "loha", "shapes": [[3, 5]], "copies": 1, "rank": 2}, 32),
        ({"of": "lokr", "shapes": [[768, 768]], "copies": 1, "rank": 8}, 24 * 24 + 8 * 64),
        ({"of": "lokr", "shapes": [[7, 12]], "copies": 1, "rank": 4}, 1 * 3 + 7 * 4),
        ({"of": "oft", "shapes": [[12, 8]], "copies": 1, "block": 4}, 12),
        ({"of": "adapter-h", "width": 12288, "layers": 96, "rank": 1}, 7_078_080),
        ({"of": "adapter-l", "width": 6, "layers": 2, "rank": 1}, 2 * 19 + 24),
        ({"of": "adapter-p", "width": 6, "layers": 2, "rank": 1}, 38),
        ({"of": "prefix-embedding", "width": 12288, "layers": 96, "prefix": 32, "infix": 8}, 491_520),
        ({"of": "prefix-layer", "width": 12288, "layers": 96, "prefix": 8, "infix": 8}, 18_874_368),
    ],
)
def test_counts(config, want):
    assert definition("count").operation("count")({}, config) == {"trainable": want}
