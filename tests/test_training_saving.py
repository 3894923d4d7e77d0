"""Runs saved to files: every bit comes back, a broken file is named, an interrupted write harms nothing."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lora_np.errors import RunFileError
from lora_np.training.loop import OPTIMIZERS, start, train
from lora_np.training.pruning import prune_and_train
from lora_np.training.saving import load, save
from tests.test_training_loop import SHORT, bytes_of, small_network, small_task
from tests.test_training_pruning import SETTINGS, TRAINING, adapted_network


@pytest.fixture
def saved(tmp_path):
    """A run of pruning, half way, in a file."""
    task = small_task()
    state = start(adapted_network(), task, TRAINING, np.random.default_rng(1))
    running = prune_and_train(state, task, SETTINGS)
    state = [next(running) for _ in range(5)][-1]
    path = tmp_path / "run.safetensors"
    save(path, state, SETTINGS)
    return path, state


def reheaded(path, change):
    """Write the file again with its header, a JSON object, changed in place."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def with_facts(path, **changes):
    """Change facts of the run; None takes one out."""

    def change(header):
        facts = json.loads(header["__metadata__"]["run"]) | changes
        facts = {name: value for name, value in facts.items() if value is not None}
        header["__metadata__"]["run"] = json.dumps(facts)

    reheaded(path, change)


class TestRoundTrip:
    def test_every_bit_of_a_pruning_run_comes_back(self, saved):
        path, state = saved
        again, settings = load(path)
        assert settings == SETTINGS
        assert bytes_of(again) == bytes_of(state)
        assert [m.dtype for m in again.network.masks] == [np.dtype(bool)] * 2
        assert (again.network.scale, again.network.activation) == (1.5, "tanh")

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_of_every_optimizer_and_precision(self, optimizer, dtype, tmp_path):
        task, settings = small_task(), replace(SHORT, optimizer=optimizer, lr=0.01)
        net = small_network()
        net = replace(
            net, layers=tuple(type(layer)(*(a.astype(dtype) for a in layer)) for layer in net.layers)
        )
        task = task._replace(X=task.X.astype(dtype), X_test=task.X_test.astype(dtype))
        for state in (
            first := start(net, task, settings, np.random.default_rng(1)),
            next(train(first, task, settings)),
        ):
            save(tmp_path / "run", state, settings)
            again, found = load(tmp_path / "run")
            assert found == settings
            assert bytes_of(again) == bytes_of(state)
            assert again.network.layers[0].W.dtype == dtype

    def test_a_run_resumed_from_a_file_ends_with_the_same_bits(self, saved):
        """Paused, written, read in again and finished: bit for bit the run that was never interrupted."""
        task = small_task()
        first = start(adapted_network(), task, TRAINING, np.random.default_rng(1))
        whole = list(prune_and_train(first, task, SETTINGS))[-1]
        state, settings = load(saved[0])
        assert bytes_of(list(prune_and_train(state, task, settings))[-1]) == bytes_of(whole)

    def test_saving_again_replaces_the_file_and_leaves_nothing_beside_it(self, saved):
        path, state = saved
        save(path, replace(state, loss=0.125), SETTINGS)
        assert load(path)[0].loss == 0.125
        assert list(path.parent.iterdir()) == [path]


class TestBrokenFiles:
    def test_cut_short_anywhere(self, saved):
        path, _ = saved
        content = path.read_bytes()
        for length in (0, 1, 7, 8, 9, 100, *range(500, len(content), len(content) // 23), len(content) - 1):
            path.write_bytes(content[:length])
            with pytest.raises(RunFileError, match=r"run\.safetensors"):
                load(path)

    def test_any_byte_of_the_header_changed_gives_our_error_or_a_run(self, saved):
        path, _ = saved
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        rng, refused = np.random.default_rng(0), 0
        for _ in range(150):
            damaged = bytearray(content)
            damaged[int(rng.integers(0, 8 + length))] = int(rng.integers(0, 256))
            path.write_bytes(damaged)
            try:
                load(path)
            except RunFileError:
                refused += 1
        assert refused > 75

    @pytest.mark.parametrize(
        ("facts", "message"),
        [
            ({"format": "lora_np run 2"}, "lora_np run 2"),
            ({"format": None}, "lacks 'format'"),
            ({"step": None}, "lacks 'step'"),
            ({"adapters": [True, True, True, True]}, r"lacks 'layers\.3\.W'"),
            ({"activation": "sine"}, "activation"),
            ({"scale": "big"}, "scale must be a real number"),
            ({"settings": {"colour": 1}, "prunes": False}, "colour"),
            ({"rng_state": {"bit_generator": "PCG64", "state": 3}}, "not a state of PCG64"),
            ({"rng_state": {"bit_generator": "os.system"}}, "os.system"),
            ({"scores": 9}, r"lacks 'scores\.2'"),
            ({"masks": [True]}, "masks"),
            ({"masks": 7}, "no run that can be read"),
            ({"optimizer": []}, "no run that can be read"),
        ],
    )
    def test_facts_that_cannot_be(self, saved, facts, message):
        with_facts(saved[0], **facts)
        with pytest.raises(RunFileError, match=message):
            load(saved[0])

    def test_another_safetensors_file(self, tmp_path):
        from safetensors.numpy import save_file

        save_file({"x": np.zeros(2)}, tmp_path / "other")
        with pytest.raises(RunFileError, match="not a run that lora_np saved"):
            load(tmp_path / "other")

    @pytest.mark.parametrize(
        "content", [b"\x80\x04cos\nsystem\n", b"PK\x03\x04" * 9, b"version https://git-lfs"]
    )
    def test_files_of_other_kinds(self, tmp_path, content):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(RunFileError, match="safetensors"):
            load(tmp_path / "other")

    def test_a_missing_file_and_a_folder(self, tmp_path):
        for path in (tmp_path / "nowhere", tmp_path):
            with pytest.raises(RunFileError, match=r"no run can be read|not a whole"):
                load(path)


class TestWriting:
    def test_an_interrupted_write_leaves_the_old_file_whole(self, saved, monkeypatch):
        path, state = saved
        before = path.read_bytes()
        monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save(path, replace(state, loss=9.0), SETTINGS)
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]

    def test_a_folder_that_is_not_there_is_named(self, saved):
        with pytest.raises(RunFileError, match=r"cannot be written to .*nowhere"):
            save(saved[0].parent / "nowhere" / "run", saved[1], SETTINGS)
