"""`lora-np inspect`: what it prints for people and for programs, and how it refuses."""

import json
import sys

import numpy as np
import pytest

from lora_np.cli import main
from lora_np.datasets.adapters import BASE, example_adapter
from lora_np.figures.inspect_scene import inspected, summary
from lora_np.files import make_adapter, read_adapter, read_base, write_adapter
from lora_np.lora import LoraParams

ONE, OTHER = str(example_adapter("turned")), str(example_adapter("inverted"))


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command in this process: (exit status, what it printed, what it complained)."""

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["lora-np", "inspect", *words])
        monkeypatch.setenv("COLUMNS", "160")
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return stopped.value.code or 0, printed.out, printed.err

    return command


def test_json_is_the_scene(run):
    status, out, _ = run(ONE, "--base", str(BASE), "--against", OTHER, "--energy", "0.9", "--json")
    found = json.loads(out)
    adapter = read_adapter(ONE)
    scene = inspected(adapter, base=read_base(BASE, adapter.modules), other=read_adapter(OTHER))
    assert status == 0
    assert found["energy"] == 0.9
    assert found["summary"]["saved_bytes"] == summary(scene, 0.9).saved_bytes
    assert [module["name"] for module in found["modules"]] == scene.names
    for module, report in zip(found["modules"], scene.reports, strict=True):
        assert module["singular_values"] == [float(sigma) for sigma in report.spectrum.sigma]
        assert module["rank_needed"] == report.kept(0.9)
        assert module["likeness"]["cosine"] == report.likeness.cosine
        assert module["merges"]["bfloat16"]["unchanged"] == report.merges["bfloat16"].unchanged


def test_people_get_a_table_and_the_answer(run):
    status, out, _ = run(ONE)
    assert status == 0
    for words in ("vit.layers.3.mlp.fc2", "48 x 96", "r at 95 %", "of 16 modules reach 95 %"):
        assert words in out
    full = " ".join(run(ONE, "--base", str(BASE), "--against", OTHER)[1].split())
    assert "Merging in bfloat16" in full
    assert "median cosine" in full


def test_no_infinity_in_json(run, tmp_path):
    """An overflow of float16 is a count, and an error of null: JSON has no infinity."""
    from safetensors.numpy import save_file

    write_adapter(tmp_path / "a", make_adapter({"q": LoraParams(np.ones((2, 1)), np.ones((1, 2)))}, alpha=1))
    save_file({"q.weight": np.full((2, 2), 1e6, dtype=np.float32)}, tmp_path / "base.safetensors")
    status, out, _ = run(str(tmp_path / "a"), "--base", str(tmp_path / "base.safetensors"), "--json")
    merge = json.loads(out)["modules"][0]["merges"]["float16"]
    assert status == 0
    assert (merge["overflowed"], merge["lost"], merge["largest_error"]) == (4, None, None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["/nowhere/at/all"], "nowhere"),
        ([ONE, "--energy", "1.5"], "energy"),
        ([ONE, "--base", ONE + "/adapter_model.safetensors"], "lacks"),
        ([ONE, "--against", "/nowhere"], "nowhere"),
    ],
)
def test_a_mistake_ends_in_one_line_and_status_2(run, words, message):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("lora-np: ")
    assert message in err
