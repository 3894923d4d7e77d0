"""`lora-np conformance`: options, exit statuses, files."""

import json
import sys

import pytest
from typer.testing import CliRunner

from lora_np.cli.app import app
from lora_np.errors import ConfigError, TargetError, XfailsFileError


def ran(*arguments):
    return CliRunner().invoke(app, ["conformance", *map(str, arguments)])


def test_the_reference_passes_and_writes_its_numbers(tmp_path):
    path = tmp_path / "found.json"
    ended = ran("reference", "--include", "lora/merge", "--json", path, "--report", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    found = json.loads(path.read_text())
    assert found["failed"] == found["xfailed"] == 0
    assert found["passed"] == found["cases"] > 30
    assert found["worst_u"] <= 16
    assert len(found["suite_sha256"]) == 64
    assert {"seconds", "level", "suite", "version", "name"} <= found.keys()
    assert (tmp_path / "out" / "report.html").is_file()
    assert "none failed" in ended.output


def test_a_failure_ends_with_status_1_and_can_be_expected(tmp_path):
    target = "tests.planted_adapters:Shifted"
    ended = ran(target, "--include", "lora/merge#1", "--level", "bronze")
    assert ended.exit_code == 1
    assert "lora/merge#1: W[0, 0]: got" in ended.output
    expected = tmp_path / "x.toml"
    expected.write_text('["lora/merge#1"]\nreason = "shifted"\nuntil = "2099.01"\n')
    ended = ran(target, "--include", "lora/merge#1", "--xfails", expected)
    assert ended.exit_code == 0, ended.output
    assert "1 failed as expected" in ended.output


def test_a_program_in_place_of_a_target():
    program = f"{sys.executable} -m lora_np.conformance.runner.serve naive"
    ended = ran("--command", program, "--include", "lora/merge")
    assert ended.exit_code == 0, ended.output


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((), ConfigError, "neither is given"),
        (("naive", "--command", "x"), ConfigError, "both are given"),
        (("naive", "--level", "tin"), ConfigError, "level"),
        (("naive", "--include", "laura/"), ConfigError, "no test vectors are called 'laura/'"),
        (("refrence",), TargetError, "neither shipped nor of the form"),
        (("naive", "--xfails", "none.toml"), XfailsFileError, "cannot read none.toml"),
        (("naive", "--json", "no/such/place.json"), ConfigError, "does not exist"),
        (("naive", "--report", "no/such/place"), ConfigError, "does not exist"),
    ],
)
def test_a_mistake_of_the_user_is_one_line(arguments, error, words):
    ended = ran(*arguments)
    assert isinstance(ended.exception, error)
    assert words in str(ended.exception)


def test_ctrl_c_reports_what_is_done(tmp_path, monkeypatch):
    from lora_np.conformance.runner.run import Run

    judge = Run.judge

    def interrupted(self, case):
        if len(self.records) == 3:
            raise KeyboardInterrupt
        return judge(self, case)

    monkeypatch.setattr(Run, "judge", interrupted)
    ended = ran("reference", "--include", "lora/merge", "--json", tmp_path / "x.json")
    assert ended.exit_code == 130
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["cases"] == 3
    assert not found["complete"]
    assert not found["ok"]
