"""`lora-np bench`: prints, writes, stops at Ctrl-C with what it has, and explains mistakes."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lora_np.bench import Row, Target, machine, run
from lora_np.bench.machine import Machine
from lora_np.bench.run import Job
from lora_np.cli.app import app

MACHINE = Machine("a processor", 2, "a BLAS", 2, 1, "3.11", {}, gemm_gflops=100.0, copy_gbytes=10.0)


def row(case="adam"):
    return Row(
        case, "small", ours_ms=2.0, numpy_ms=5.0, targets=(Target("numpy", "ours", 2.0, at_most=False),)
    )


def interrupt():
    raise KeyboardInterrupt


@pytest.fixture
def bench(monkeypatch):
    """Run the command with given jobs in place of the real ones."""
    monkeypatch.setattr(machine, "look", lambda **_: MACHINE)

    def call(*arguments, jobs=()):
        monkeypatch.setattr(run, "plan", lambda *_, **__: list(jobs))
        return CliRunner().invoke(app, ["bench", *arguments])

    return call


def test_rows_are_printed_and_written(bench, tmp_path):
    path = tmp_path / "rows.json"
    done = bench("--quick", "--json", str(path), jobs=[Job("adam", "small", row)])
    assert done.exit_code == 0, done.output
    assert "a processor: 2 cores" in done.output
    assert "met     adam small: numpy / ours >= 2: 2.5" in done.output
    content = json.loads(path.read_text())
    assert content["complete"] is True
    assert [r["case"] for r in content["rows"]] == ["adam"]


def test_ctrl_c_prints_and_writes_what_is_done_and_ends_with_130(bench, tmp_path):
    path = tmp_path / "rows.json"
    jobs = [Job("adam", "small", row), Job("import", "x", interrupt), Job("forms", "x", row)]
    done = bench("--json", str(path), jobs=jobs)
    assert done.exit_code == 130
    assert "adam small" in done.output
    content = json.loads(path.read_text())
    assert content["complete"] is False
    assert len(content["rows"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "nunba"], "did you mean 'numba'"),
        (["--json", "."], "is a directory"),
        (["--json", "no/such/folder/rows.json"], "does not exist"),
        (["--only", "lora-stop"], "did you mean 'lora-step'"),
    ],
)
def test_a_mistake_ends_with_one_clear_line_and_status_2(arguments, message):
    done = subprocess.run(
        [sys.executable, "-m", "lora_np", "bench", "--quick", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_real_command_measures_one_case(tmp_path):
    path = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, "-m", "lora_np", "bench", "--quick", "--only", "import", "--json", str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(path.read_text())
    assert content["rows"][0]["case"] == "import"
    assert content["machine"]["gemm_gflops"] > 0
