"""The plugin for pytest: each case a test where a target is named, and nothing at all where none is."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLUGIN = "lora_np.conformance.runner.pytest_plugin"


def pytest_run(tmp_path, *options):
    """Run pytest in an empty directory, with the plugin, without ours, and without the options of this run."""
    (tmp_path / "test_own.py").write_text("def test_own():\n    assert True\n")
    places = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_CORE_"))
    }
    places["PYTHONPATH"] = str(ROOT)
    plugins = ["-p", "no:lora-np", "-p", PLUGIN, "-p", "no:cacheprovider"]  # by its module, installed or not
    command = [sys.executable, "-m", "pytest", *plugins, *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=places, check=False)


def test_every_case_is_a_test_with_its_id(tmp_path):
    ended = pytest_run(
        tmp_path, "--lora-np-target", "tests.planted_adapters:Doubles", "--lora-np-include", "lora/merge", "-v",
        "--lora-np-level", "bronze", "-W", "error", "--strict-markers",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "lora/merge#1 PASSED" in ended.stdout
    assert "test_own.py::test_own PASSED" in ended.stdout
    assert "failed" not in ended.stdout


def test_failures_show_sentence_and_script_and_expectations_are_strict(tmp_path):
    expected = '["lora/merge#1"]\nreason = "shifted"\nuntil = "2099.01"\n'
    (tmp_path / "x.toml").write_text(expected)
    common = ["--lora-np-include", "lora/merge", "--lora-np-xfails", "x.toml", "-rA"]
    ended = pytest_run(tmp_path, "--lora-np-target", "tests.planted_adapters:Shifted", *common)
    assert ended.returncode == 1
    assert "XFAIL lora/merge#1" in ended.stdout
    assert "lora/merge#3: W[0, 0]: got" in ended.stdout
    assert "find_adapter('tests.planted_adapters:Shifted')" in ended.stdout
    common[1] = "lora/merge#1"
    ended = pytest_run(tmp_path, "--lora-np-target", "tests.planted_adapters:Right", *common)
    assert "was expected to fail: shifted; take it off the list" in ended.stdout
    assert "1 failed, 1 passed" in ended.stdout


def test_a_mistake_in_the_options_is_one_line(tmp_path):
    ended = pytest_run(tmp_path, "--lora-np-target", "refrence")
    assert ended.returncode == 4
    assert "neither shipped nor of the form" in ended.stderr
    assert "Traceback" not in ended.stderr
    (tmp_path / "x.toml").write_text('["lora/merge#99999"]\nreason = "x"\nuntil = "2099.01"\n')
    ended = pytest_run(
        tmp_path, "--lora-np-target", "naive", "--lora-np-include", "lora/m", "--lora-np-xfails", "x.toml"
    )
    assert ended.returncode == 4
    assert "there is no such case" in ended.stderr


def test_without_a_target_nothing_is_collected_and_nothing_of_the_runner_loaded(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "import sys\ndef pytest_sessionfinish():\n"
        "    print('LOADED', [m for m in sys.modules if m.startswith('lora_np.conformance')])\n"
    )
    ended = pytest_run(tmp_path, "-q", "-s")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"LOADED ['lora_np.conformance', 'lora_np.conformance.runner', '{PLUGIN}']" in ended.stdout
    assert "1 passed" in ended.stdout
