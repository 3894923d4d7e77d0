"""`lora-np app`: finds the app in a package and in a checkout, says what is missing, starts Streamlit there."""

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lora_np.cli import serve
from lora_np.cli.app import app
from lora_np.errors import BackendError, ConfigError

ROOT = Path(__file__).parents[1]


def test_an_installed_package_comes_first(tmp_path):
    (tmp_path / "_app" / "app").mkdir(parents=True)
    (tmp_path / "_app" / "app" / "main.py").write_text("")
    assert serve.home(tmp_path / "_app") == tmp_path / "_app"


def test_a_checkout_has_it_beside_the_package():
    assert serve.home() == ROOT


def test_where_there_is_no_app_both_places_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"neither in .*_app nor in"):
        serve.home(tmp_path / "lora_np" / "_app")


def test_it_starts_streamlit_in_the_folder_with_the_configuration(monkeypatch):
    asked = {}

    def run(command, cwd, check):
        asked.update(command=command, cwd=cwd)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    pytest.importorskip("streamlit")
    ended = CliRunner().invoke(app, ["app", "--port", "8600", "--no-browser"])
    assert ended.exit_code == 3
    assert asked["command"][1:] == [
        "-m", "streamlit", "run", "app/main.py", "--server.port", "8600", "--server.headless", "true",
    ]  # fmt: skip
    assert (asked["cwd"] / ".streamlit" / "config.toml").is_file()


def test_without_streamlit_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ended = CliRunner().invoke(app, ["app"])
    assert isinstance(ended.exception, BackendError)
    assert "pip install 'lora-np[app]'" in str(ended.exception)
