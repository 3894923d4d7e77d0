"""`lora-np vectors export` and `verify`: what a user sees, and the exit status."""

from __future__ import annotations

import shutil

import pytest
from typer.testing import CliRunner

from lora_np.cli.app import app
from lora_np.conformance.vectors.format import shipped
from lora_np.conformance.vectors.generate.directory import write_lists

SMALL = ("bitfit/forward.json", "adalora/budget.json")


def run(*arguments):
    return CliRunner().invoke(app, ["vectors", *map(str, arguments)])


@pytest.fixture
def small(tmp_path):
    root = tmp_path / "vectors"
    for name in SMALL:
        (root / name).parent.mkdir(parents=True)
        shutil.copy(shipped() / name, root / name)
    write_lists(root)
    return root


def test_export_and_verify(tmp_path, small, monkeypatch):
    monkeypatch.setattr("lora_np.conformance.vectors.export.shipped", lambda: small)
    result = run("export", tmp_path / "out")
    assert result.exit_code == 0
    assert "4 files in" in result.output
    result = run("verify", tmp_path / "out")
    assert (result.exit_code, result.exception) == (0, None)
    assert "2 files in" in result.output
    assert "2 cases of each file generated again, byte for byte the same" in result.output


def test_the_shipped_vectors_are_what_verify_looks_at(small, monkeypatch):
    monkeypatch.setattr("lora_np.conformance.vectors.format.shipped", lambda: small)
    result = run("verify", "--all")
    assert result.exit_code == 0
    assert "every case generated again" in result.output


def test_every_damaged_file_is_named_and_the_status_is_1(small):
    for name in SMALL:
        (small / name).write_bytes((small / name).read_bytes()[:-100])
    result = run("verify", small)
    assert result.exit_code == 1
    for name in SMALL:
        assert f"{small / name} does not match its checksum" in result.stderr
        assert f"{small / name} is not JSON" in result.stderr


def test_a_missing_list_is_a_problem_among_others(small):
    (small / "SHA256SUMS").unlink()
    (small / "manifest.json").write_text("{")
    result = run("verify", small)
    assert result.exit_code == 1
    assert "cannot read" in result.stderr
    assert "manifest.json is not JSON" in result.stderr


def test_ctrl_c_ends_with_status_130(small, monkeypatch):
    def interrupted(root, name):
        raise KeyboardInterrupt

    monkeypatch.setattr("lora_np.conformance.vectors.generate.again.sample", interrupted)
    assert run("verify", small).exit_code == 130
