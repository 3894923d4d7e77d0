"""The scripts that show a failure again: they run, alone, and show the same numbers."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lora_np.conformance import check
from lora_np.conformance.runner.record import Record
from lora_np.conformance.runner.reproducer import COMMAND, MOST_NUMBERS, reproducer
from lora_np.conformance.runner.run import Run
from lora_np.conformance.runner.target import reach_command
from lora_np.conformance.vectors.format import Tensor
from tests.planted_adapters import Planted, Right, lora_case

ROOT = Path(__file__).parents[1]


def ran(script, tmp_path):
    path = tmp_path / "again.py"
    path.write_text(script)
    places = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, cwd=tmp_path, env=places, check=False
    )


@pytest.mark.parametrize("memory", ["C", "reversed"])
def test_a_wrong_element_is_shown_again(tmp_path, memory):
    report = check(Planted(), cases=[lora_case(mistake="one_wrong", memory=memory)], isolated=False)
    record = report.failures[0]
    ended = ran(record.reproducer, tmp_path)
    assert ended.stdout.split() == ["got", repr(record.got), "want", repr(record.want)], ended.stderr
    assert "tests.planted_adapters:Planted" in record.reproducer
    assert record.id in record.reproducer


def test_an_exception_is_shown_again(tmp_path):
    record = check(Planted(), cases=[lora_case(mistake="raises")], isolated=False).failures[0]
    assert "RuntimeError: no luck today" in ran(record.reproducer, tmp_path).stderr


def test_a_wrong_shape_is_printed(tmp_path):
    record = check(Planted(), cases=[lora_case(mistake="wrong_shape")], isolated=False).failures[0]
    assert (
        "array" in ran(record.reproducer, tmp_path).stdout or "[[" in ran(record.reproducer, tmp_path).stdout
    )


def test_bad_input_that_was_accepted_is_accepted_again(tmp_path):
    case = lora_case(result="invalid", error={"class": "ShapeError"})
    record = check(Right(), cases=[case], isolated=False).failures[0]
    assert "113.5" in ran(record.reproducer, tmp_path).stdout
    assert "must be refused" in record.reproducer


def test_a_case_of_the_shipped_vectors_is_shown_again_for_a_shipped_target(tmp_path):
    """A wrong expectation makes the reference fail; the script still runs on what the reference returns."""
    case = lora_case()
    wrong = replace(case.outputs["Y"], want=case.outputs["Y"].want + 1)
    record = check("reference", cases=[replace(case, outputs={"Y": wrong})], isolated=False).failures[0]
    assert ran(record.reproducer, tmp_path).stdout.split() == ["got", "-19.0", "want", "-18.0"]


def test_large_inputs_are_read_from_the_vectors_by_id():
    many = np.zeros((MOST_NUMBERS + 1, 1))
    case = replace(lora_case(), inputs={"X": Tensor(many, "float64")})
    script = reproducer(case, "naive", Record(case.id, case.capability, "float64", "fail", problem="x"))
    assert "read_all(include='lora/forward')" in script
    compile(script, "again.py", "exec")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 5e-324, -0.0, 0.1])
def test_every_number_is_written_so_that_it_comes_back(tmp_path, value):
    case = lora_case(gain=float(value), mistake="raises")
    tensors = {**case.inputs, "X": Tensor(np.full((2, 3), value), "float64")}
    record = check(Planted(), cases=[replace(case, inputs=tensors)], isolated=False).failures[0]
    script = (
        record.reproducer.split("returned =")[0]
        + "print(repr(float(tensors['X'][1, 2])), repr(config['gain']))"
    )
    assert ran(script, tmp_path).stdout.split() == [repr(float(value))] * 2


def test_empty_arrays_and_integers_keep_their_shape_and_type(tmp_path):
    case = lora_case(mistake="raises")
    tensors = {
        "X": Tensor(np.zeros((0, 3)), "float64"),
        "W0": Tensor(np.arange(4), "int64"),
        "B": Tensor(np.ones((1, 1)), "float16"),
    }
    script = reproducer(
        replace(case, inputs=tensors),
        "naive",
        Record(case.id, case.capability, "float64", "error", problem='a """b""" \\'),
    )
    script = script.split("returned =")[0] + "for x in tensors.values(): print(x.shape, x.dtype)"
    assert ran(script, tmp_path).stdout.splitlines() == ["(0, 3) float64", "(4,) int64", "(1, 1) float16"]


def test_an_adapter_that_cannot_be_found_again_leaves_a_place_for_it():
    class Local(Planted):
        pass

    record = check(Local(), cases=[lora_case(mistake="raises")]).failures[0]
    assert "adapter = ...  # put yours here" in record.reproducer


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_a_command_is_asked_the_one_question_again(tmp_path):
    wrong = tmp_path / "wrong.js"
    text = (ROOT / "tests" / "clients" / "lora_client.js").read_text()
    wrong.write_text(text.replace("alpha / config.rank", "2 * alpha / config.rank"))
    command = f"node {wrong}"
    with reach_command(command) as target:
        record = Run(target, target_name=COMMAND + command).judge(lora_case())
    assert record.verdict == "fail"
    ended = ran(record.reproducer, tmp_path)
    assert float(record.got).hex().split("p")[0].rstrip("0") in ended.stdout
    assert '"id":"lora/forward#1"' in ended.stdout
