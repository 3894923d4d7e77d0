"""Generating vectors: known answers of the number stream, and every reason to refuse a case."""

from __future__ import annotations

import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.conformance.exact.functions import of_kind, sqrt
from lora_np.conformance.exact.number import Exact
from lora_np.conformance.vectors import generate
from lora_np.conformance.vectors.format import Tensor, case_as_json, read_file, shipped
from lora_np.conformance.vectors.generate import __main__ as command
from lora_np.conformance.vectors.generate import again, all_recipes
from lora_np.conformance.vectors.generate.answers import RefusedError, answered, evaluate, exact_config
from lora_np.conformance.vectors.generate.files import as_text, cases_of_recipe, content_of
from lora_np.conformance.vectors.generate.inputs import Draws, seed_of
from lora_np.conformance.vectors.generate.plan import Plan, Recipe
from lora_np.conformance.vectors.generate.situations import changed, plans, situations
from lora_np.errors import VectorFileError

# ---- numbers ------------------------------------------------------------------------------------------------


def test_the_stream_is_splitmix64_and_the_seed_fnv_1a():
    """Known answers: Vigna's splitmix64.c from state 1234567, and the hashes on the FNV authors' page."""
    draws = Draws(1234567)
    assert [draws.bits() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert seed_of("a") == 0xAF63DC4C8601EC8C
    assert seed_of("foobar") == 0x85944171F73967E8


@given(st.integers(0, 2**64 - 1))
def test_numbers_have_the_bits_and_the_size_that_were_asked_for(seed):
    draws = Draws(seed)
    for significant in (8, 11, 24, 53):
        x = abs(Fraction(draws.number(significant)))
        mantissa = x / Fraction(2) ** (math.floor(math.log2(x)) - significant + 1)
        assert mantissa.denominator == 1
        assert mantissa % 2 == 1  # the last bit is set: to drop it is seen
        assert Fraction(1, 4) <= x < 4


@pytest.mark.parametrize("kind", ["short", "full", "integers", "wide"])
@pytest.mark.parametrize(("dtype", "numpy_type"), [("float64", np.float64), ("float32", np.float32)])
def test_all_kinds_fit_the_element_type(kind, dtype, numpy_type):
    values = Draws("x").values(kind, (40, 5), dtype)
    np.testing.assert_array_equal(values.astype(numpy_type), values)
    assert (values != 0).all()
    assert (values < 0).any()
    assert (values > 0).any()


def test_full_numbers_do_not_survive_a_lower_precision():
    assert (np.float32(Draws("x").values("full", (40,))) != Draws("x").values("full", (40,))).all()


def test_changes():
    ones = np.ones((3, 2))
    assert changed(ones, "zero rows").tolist() == [[0, 0], [1, 1], [0, 0]]
    assert not changed(ones, "zero").any()
    assert (changed(ones, "tiny") == 2.0**-100).all()
    assert (changed(ones, "huge") == 2.0**100).all()


def test_situations_without_rows_or_rank_leave_those_out():
    listed = situations(zeros=(), rows="", scaled=(), full_rank=False, smallest=None, half=False)
    flags = {flag for one in listed for flag in one.flags}
    assert not flags & {
        "EmptyBatch",
        "ZeroRows",
        "RankExceedsShape",
        "SingleElement",
        "HugeValues",
        "ZeroFactor",
    }
    assert {one.dtype for one in listed} == {"float64", "float32"}


def test_a_salt_draws_all_anew():
    listed, shapes = situations(half=False)[:2], {"X": ("N", "k")}
    first, second = (plans("x", shapes, lambda sizes, number: {}, listed, salt=salt) for salt in ("", "+"))
    assert (first[0].inputs["X"].values != second[0].inputs["X"].values).any()


# ---- refusals -----------------------------------------------------------------------------------------------


def double(t, config):
    """y = 2 x."""
    return {"Y": [2 * x for x in t["x"]]}


def recipe(road=lambda plan: {"Y": 2 * plan.inputs["x"].values}, formula=double, **options):
    return Recipe("lora", "forward", list, road=road, road_name="NumPy", formula=formula, **options)


def plan(x=(1.5, -0.1), **options):
    return Plan({"rank": 1}, "float64", {"x": Tensor(np.array(x), "float64")}, "words", **options)


def test_a_case_is_answered_exactly_and_says_who_confirmed_it():
    case = answered(recipe(), plan(), 7)
    assert case.id == "lora/forward#7"
    assert case.outputs["Y"].want.tolist() == [3.0, -0.2]
    assert case.outputs["Y"].roundings == 1
    assert case.provenance == {"generator": "exact arithmetic", "second": "NumPy"}


@pytest.mark.parametrize(
    ("road", "words"),
    [
        (lambda plan: {"Y": 2 * plan.inputs["x"].values * (1 + 1e-15)}, "the second road is"),
        (lambda plan: {"Y": -2 * plan.inputs["x"].values}, "the second road is"),
        (lambda plan: {"Y": np.float32(2 * plan.inputs["x"].values)}, "the second road is"),
        (lambda plan: {"Z": 2 * plan.inputs["x"].values}, r"outputs \['Y'\], by the second road \['Z'\]"),
        (lambda plan: {"Y": np.zeros(3)}, r"2 numbers, by the second road \(3,\)"),
        (None, "there is no second road"),
    ],
)
def test_a_second_road_that_leads_elsewhere_is_a_reason_to_refuse(road, words):
    with pytest.raises(RefusedError, match=words) as error:
        answered(recipe(road), plan(), 1)
    assert "lora/forward#1, words" in str(error.value)


def test_a_case_that_checks_nothing_is_refused_unless_it_is_about_nothing():
    with pytest.raises(RefusedError, match="Y is zero"):
        answered(recipe(), plan((0.0, 0.0)), 1)
    assert not answered(recipe(), plan((0.0, 0.0), flags=("ZeroFactor",)), 1).outputs["Y"].want.any()


def test_a_case_in_which_the_adapter_hardly_counts_is_refused():
    def formula(t, config):
        return {"Y": [a + b for a, b in zip(t["x"], t["B"], strict=True)]}

    one = recipe(
        lambda plan: {"Y": plan.inputs["x"].values + plan.inputs["B"].values},
        formula,
        without=lambda t: {**t, "B": [0 * b for b in t["B"]]},
    )
    for size, refused in ((1e-2, False), (1e-4, True)):
        small = plan()
        small = dataclasses.replace(
            small, inputs={**small.inputs, "B": Tensor(np.full(2, size * 0.1), "float64")}
        )
        if refused:
            with pytest.raises(RefusedError, match="without the adapter Y is nearly the same"):
                answered(one, small, 1)
        else:
            answered(one, small, 1)


def test_an_answer_beyond_the_range_is_refused():
    def squares(t, config):
        return {"Y": [x * x for x in t["x"]]}

    with np.errstate(over="ignore"), pytest.raises(RefusedError, match="not finite"):
        answered(recipe(lambda plan: {"Y": plan.inputs["x"].values ** 2}, squares), plan((1e200, 1.0)), 1)


def test_given_outputs_and_refused_inputs_need_no_road():
    given = plan(outputs={})
    assert answered(recipe(None), given, 1).outputs == {}
    invalid = plan(result="invalid", error={"class": "ShapeError"})
    assert answered(recipe(None), invalid, 1).error == {"class": "ShapeError"}


def test_more_bits_are_taken_where_the_first_ones_do_not_suffice():
    """1 + 2⁻⁵³ + √2 2⁻³⁰⁰ lies just above a tie: 320 bits cannot tell, 640 can."""

    def above_a_tie(t, config):
        tie = Exact.of(1 + Fraction(1, 2**53))
        return {"Y": [tie + sqrt(of_kind(2, tie)) * Fraction(1, 2**300)]}

    assert evaluate(above_a_tie, {}, {})["Y"][0] == [1 + 2.0**-52]


def test_a_tie_that_never_resolves_is_refused():
    def a_tie(t, config):
        root = sqrt(of_kind(2, Exact.of(1)))
        return {"Y": [Exact.of(1 + Fraction(1, 2**53)) + (root - root)]}

    with pytest.raises(RefusedError, match="1280 bits do not suffice"):
        evaluate(a_tie, {}, {})


def test_configurations_become_exact_numbers_all_the_way_down():
    config = exact_config({"alpha": 0.5, "rank": 2, "weights": [0.25, 1], "more": {"lr": 0.1}, "word": "a"})
    assert config["alpha"].value == Fraction(1, 2)
    assert config["weights"][0].value == Fraction(1, 4)
    assert config["more"]["lr"].value == Fraction(0.1)
    assert (config["rank"], config["weights"][1], config["word"]) == (2, 1, "a")


# ---- files --------------------------------------------------------------------------------------------------


def test_a_file_has_one_line_for_each_test_and_reads_back(tmp_path):
    one = all_recipes()["bitfit/forward"]
    cases = cases_of_recipe(one)
    text = as_text(content_of(one, cases))
    assert sum(line.startswith('{"tcId":') for line in text.splitlines()) == len(cases)
    (tmp_path / "a.json").write_text(text)
    back = {case.id: case_as_json(case) for case in read_file(tmp_path / "a.json")}
    assert back == {case.id: case_as_json(case) for case in cases}
    assert json.loads(text)["header"].startswith("BitFit: W0 x + b")


def test_two_recipes_for_one_file_are_an_error(monkeypatch):
    one = all_recipes()["bitfit/forward"]
    all_recipes.cache_clear()
    monkeypatch.setattr(generate.low_rank, "recipes", lambda: [one, one])
    with pytest.raises(ValueError, match="two recipes for bitfit/forward"):
        all_recipes()
    all_recipes.cache_clear()


def test_the_command_writes_the_bytes_that_are_shipped(tmp_path):
    assert command.main(["--only", "adalora/budget", "--to", str(tmp_path), "--jobs", "1"]) == 0
    name = "adalora/budget.json"
    assert (tmp_path / name).read_bytes() == (shipped() / name).read_bytes()
    assert json.loads((tmp_path / "manifest.json").read_text())["files"].keys() == {name}
    assert command.main(["--only", "nothing", "--to", str(tmp_path)]) == 1


def test_the_command_tells_what_was_refused(tmp_path, monkeypatch, capsys):
    one = all_recipes()["adalora/budget"]
    wrong = dataclasses.replace(one, road=lambda plan: {})
    monkeypatch.setattr(command, "all_recipes", lambda: {one.name: wrong})
    monkeypatch.setattr("lora_np.conformance.vectors.generate.files.all_recipes", lambda: {one.name: wrong})
    assert command.main(["--to", str(tmp_path), "--jobs", "1"]) == 1
    assert "adalora/budget#1" in capsys.readouterr().err
    assert not (tmp_path / "adalora/budget.json").exists()


def test_generating_again_finds_a_changed_case(tmp_path):
    name = "adalora/budget.json"
    text = (shipped() / name).read_text()
    (tmp_path / "adalora").mkdir()
    (tmp_path / name).write_text(text.replace('"tcId":1,', '"tcId":1, ', 1))
    assert again.sample(tmp_path, "adalora/budget") == [
        f"{tmp_path / name}: adalora/budget#1 is not what its recipe generates"
    ]
    assert again.whole_file(tmp_path, "adalora/budget") == [
        f"{tmp_path / name} is not what its recipe generates"
    ]
    with pytest.raises(VectorFileError, match="cannot read"):
        again.sample(tmp_path, "bitfit/forward")
