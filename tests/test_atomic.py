"""A file is written whole or not at all."""

import os
from pathlib import Path

import pytest

from lora_np.atomic import write_whole


def test_the_new_content_replaces_the_old_and_nothing_else_stays(tmp_path):
    path = tmp_path / "results.json"
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_whole(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_directory_that_is_not_there_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(Path(tmp_path, "nowhere", "results.json"), b"new")


def test_others_may_read_it_as_they_may_any_new_file(tmp_path):
    plain, whole = tmp_path / "plain", tmp_path / "whole"
    plain.write_bytes(b"x")
    write_whole(whole, b"x")
    assert whole.stat().st_mode == plain.stat().st_mode
