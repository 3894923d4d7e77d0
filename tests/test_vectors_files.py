"""The shipped vectors: every file whole and by its schema, a sample of each generated again; cases come back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_np.conformance.vectors import integrity
from lora_np.conformance.vectors.flags import FLAGS, notes
from lora_np.conformance.vectors.format import (
    Case,
    Output,
    Tensor,
    case_as_json,
    cases_of,
    config_as_json,
    config_from_json,
    is_finite,
    laid_out,
    output_as_json,
    output_from_json,
    read_all,
    shipped,
    tensor_as_json,
    tensor_from_json,
)
from lora_np.conformance.vectors.generate import again, all_recipes

FILES = [name for name in integrity.files_in(shipped()) if "/" in name]


# ---- what is shipped ----------------------------------------------------------------------------------------


def test_the_shipped_directory_is_whole():
    assert list(integrity.checksum_problems(shipped())) == []
    assert list(integrity.manifest_problems(shipped())) == []


@pytest.mark.parametrize("name", FILES)
def test_every_file_keeps_to_its_schema_and_holds_what_it_says(name):
    assert list(integrity.content_problems(shipped(), name)) == []


def test_every_recipe_is_shipped_and_every_file_has_a_recipe():
    assert sorted(f"{name}.json" for name in all_recipes()) == FILES


@pytest.mark.parametrize("name", sorted(all_recipes()))
def test_cases_are_the_same_bytes_when_generated_again(name):
    assert again.sample(shipped(), name) == []


@pytest.mark.parametrize("name", ["bitfit/forward", "adalora/budget", "olora/init", "lora-plus/step"])
def test_whole_files_are_the_same_bytes_when_generated_again(name):
    assert again.whole_file(shipped(), name) == []


@pytest.fixture(scope="module")
def cases():
    return read_all()


def test_there_are_enough_cases_and_no_id_stands_twice(cases):
    assert len(cases) >= 5500
    assert len({case.id for case in cases}) == len(cases)
    assert {"float64", "float32", "float16", "bfloat16"} <= {case.dtype for case in cases}


def test_answers_are_finite_and_no_larger_than_their_size(cases):
    for case in cases:
        for name, output in case.outputs.items():
            assert is_finite(output), (case.id, name)
            inexact = output.size > 0
            assert (np.abs(output.want) <= output.size * (1 + 2.0**-50))[inexact].all(), (case.id, name)
            assert output.roundings > 0 or not inexact.any() or (np.abs(output.want) <= output.size).all()


def test_inputs_fit_their_element_type(cases):
    for case in cases:
        for tensor in case.inputs.values():
            same = laid_out(tensor).astype(tensor.values.dtype)
            np.testing.assert_array_equal(same, tensor.values, err_msg=case.id)


def test_the_situations_that_hide_mistakes_are_there(cases):
    flags = {flag for case in cases for flag in case.flags}
    wanted = {
        "ZeroFactor",
        "ZeroRows",
        "RankExceedsShape",
        "EmptyBatch",
        "SingleRow",
        "HugeValues",
        "TinyValues",
    }
    assert (
        wanted
        | {"NonContiguous", "ReadOnlyInput", "InputRoundedToFloat32", "SquareShapes"} - {"SquareShapes"}
        <= flags
    )
    lora = [case.config for case in cases if case.method == "lora" and case.result == "valid"]
    scales = [config["alpha"] / config["rank"] for config in lora if "alpha" in config]  # not a script
    assert sum(scale == 1 for scale in scales) < len(scales) / 4  # a scale of 1 hides that it is missing
    assert any(math.frexp(scale)[0] != 0.5 for scale in scales)


def test_every_flag_has_a_note_and_an_unknown_one_is_an_error():
    assert set(notes(set(FLAGS))) == set(FLAGS)
    with pytest.raises(KeyError, match="Nonsense"):
        notes({"Nonsense"})


# ---- there and back -----------------------------------------------------------------------------------------

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(NUMBERS, max_size=6), st.sampled_from(["C", "F", "strided", "reversed", "readonly"]))
def test_float_tensors_come_back(numbers, memory):
    tensor = Tensor(np.array(numbers).reshape(-1, 1), "float64", memory)
    back = tensor_from_json(json.loads(json.dumps(tensor_as_json(tensor))))
    assert back.values.tobytes() == tensor.values.tobytes()
    assert (back.dtype, back.memory, back.values.shape) == ("float64", memory, tensor.values.shape)


@given(st.lists(st.integers(0, 0x7BFF), max_size=6))
def test_half_tensors_come_back(bits):
    values = np.array(bits, dtype=np.uint16).view(np.float16).astype(np.float64)
    stored = tensor_as_json(Tensor(values, "float16"))
    assert stored["bits"] == bits
    np.testing.assert_array_equal(tensor_from_json(stored).values, values)


def test_whole_numbers_come_back():
    tensor = tensor_from_json(tensor_as_json(Tensor(np.array([[3, -1]]), "int64")))
    assert tensor.values.dtype == np.int64
    assert tensor.values.tolist() == [[3, -1]]


@given(NUMBERS, st.integers(-9, 9), st.booleans())
def test_configurations_come_back_with_their_types(x, n, b):
    config = {"alpha": x, "rank": n, "flag": b, "none": None, "word": "a", "list": [x, n, [x]]}
    back = config_from_json(json.loads(json.dumps(config_as_json(config))))
    assert back == config
    assert [type(value) for value in back.values()] == [type(value) for value in config.values()]


def test_a_case_with_everything_comes_back():
    case = Case(
        "lora/forward#3",
        "lora",
        "forward",
        {"rank": 2},
        "float32",
        {"X": Tensor(np.ones((2, 0)), "float32")},
        {"Y": Output(np.array([[1.5]]), np.array([[2.0]]), 7)},
        "acceptable",
        ("ZeroRows",),
        "words",
        ("name", "value"),
        {"class": "ShapeError"},
        ({"do": "merge"},),
        {"second": "loops"},
    )
    group = {"config": {"rank": 2}, "dtype": "float32", "tests": [json.loads(json.dumps(case_as_json(case)))]}
    (back,) = cases_of({"method": "lora", "operation": "forward", "testGroups": [group]})
    for field in (
        "id",
        "config",
        "dtype",
        "result",
        "flags",
        "comment",
        "option",
        "error",
        "script",
        "provenance",
    ):
        assert getattr(back, field) == getattr(case, field), field
    assert back.inputs["X"].values.shape == (2, 0)
    assert output_as_json(back.outputs["Y"]) == output_as_json(case.outputs["Y"])
    assert output_from_json(output_as_json(case.outputs["Y"])).roundings == 7
    assert back.capability == "lora.forward"


@pytest.mark.parametrize("memory", ["C", "F", "strided", "reversed", "readonly"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 3), (2, 2, 2)])
def test_arrays_lie_as_the_case_says_and_are_never_the_case_s_own(memory, shape):
    values = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    array = laid_out(Tensor(values, "float32", memory))
    np.testing.assert_array_equal(array, values)
    assert array.dtype == np.float32
    assert not np.shares_memory(array, values)
    if values.ndim == 2 and values.size:
        assert array.flags.writeable == (memory != "readonly")
        assert array.flags.c_contiguous == (memory in ("C", "readonly"))
        assert array.flags.f_contiguous == (memory == "F")


def test_bfloat16_is_handed_over_in_float32():
    assert laid_out(Tensor(np.array([1.5]), "bfloat16")).dtype == np.float32
