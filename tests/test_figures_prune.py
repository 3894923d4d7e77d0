"""The network that ships with the pruning room: it is what it says, and its cuts do what they say."""

import math

import numpy as np
import pytest

from lora_np.errors import ConfigError, RunFileError
from lora_np.figures import prune_scene as scenes
from lora_np.nn.losses import cross_entropy
from lora_np.nn.network import forward
from lora_np.training.experiments.base import pretrain
from lora_np.training.loop import Settings
from lora_np.training.scores import CRITERIA


@pytest.fixture(scope="module")
def run():
    return scenes.shipped_run()


def plain_loss(run, hidden, unit):
    """The training loss with one hidden unit silenced by hand: its outgoing column set to zero."""
    net = run.state.network
    X = run.task.X
    for at, (layer, p) in enumerate(zip(net.layers, net.adapters, strict=True)):
        W = layer.W + net.scale * p.B @ p.A
        X = X @ W.T + layer.b
        if at < len(net.layers) - 1:
            X = np.maximum(X, 0)
        if at == hidden:
            X[:, unit] = 0
    shifted = X - X.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(run.task.y)), run.task.y].mean()


def test_the_shipped_network_has_the_accuracy_that_its_file_states(run):
    logits = forward(run.task.X_test, run.state.network).logits
    assert math.isclose(np.mean(logits.argmax(axis=1) == run.task.y_test), run.state.accuracy)
    assert run.state.accuracy > 0.7


@pytest.mark.parametrize(("hidden", "unit"), [(0, 0), (0, 41), (1, 7), (1, 63)])
def test_the_shipped_removal_losses_are_true(run, hidden, unit):
    """[prune-true] by another road: silence the unit in a forward pass written out here."""
    logits = forward(run.task.X, run.state.network).logits
    change = plain_loss(run, hidden, unit) - float(cross_entropy(logits, run.task.y))
    assert math.isclose(run.removal[hidden][unit], change**2, rel_tol=1e-6, abs_tol=1e-14)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_smaller_network_answers_like_the_masked_one(run, criterion):
    """[prune-shrink], and the mask meets its ratio exactly: 28 of 96 and 19 of 64 at 0.3."""
    scene = scenes.prune_scene(run, criterion, 0.3)
    assert [int((~kept).sum()) for kept in scene.kept] == [28, 19]
    assert scene.accuracy_masked == scene.accuracy_smaller
    assert scene.smaller.widths == (64, 68, 45, 10)
    assert scene.accuracy_before == pytest.approx(run.state.accuracy)


def test_flops_by_hand(run):
    """[cost-product]: 2 (64·96 + 96·64 + 64·10), and 2·4 per row and column of each strip; a mask saves none."""
    scene = scenes.prune_scene(run, "magnitude", 0.5)
    whole = 2 * (64 * 96 + 96 * 64 + 64 * 10) + 2 * 4 * (64 + 96 + 96 + 64 + 64 + 10)
    half = 2 * (64 * 48 + 48 * 32 + 32 * 10) + 2 * 4 * (64 + 48 + 48 + 32 + 32 + 10)
    assert scene.flops == (whole, half)


def test_the_truth_agrees_with_itself_and_chance_with_nothing(run):
    assert scenes.prune_scene(run, "removal", 0.5).correlation == (1.0, 1.0)
    assert max(map(abs, scenes.prune_scene(run, "random", 0.5).correlation)) < 0.3
    assert min(scenes.prune_scene(run, "gradient-dot", 0.5).correlation) > 0.5


def test_rank_correlation_by_hand():
    """1, 2, 3 against 1, 3, 2: 1 − 6·2 / (3·8) = 0.5; ties share the mean of their ranks."""
    assert scenes.rank_correlation(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(0.5)
    assert scenes.rank_correlation(np.array([1.0, 2, 3]), np.array([-1.0, -2, -3])) == pytest.approx(-1)
    assert scenes.rank_correlation(np.array([1.0, 1, 2]), np.array([5.0, 5, 9])) == pytest.approx(1)
    assert scenes.rank_correlation(np.ones(3), np.arange(3.0)) == 0.0


def test_a_live_run_reaches_its_ratio_and_is_bounded(run):
    states = list(scenes.prune_live(run, "gradient-dot", 0.5, steps=40))
    assert len(states) == 20
    assert states[-1].step == 40
    assert [int((~np.asarray(mask)).sum()) for mask in states[-1].network.masks] == [48, 32]
    assert run.state.network.masks == (None, None)  # the shipped one is untouched


def test_times_are_measured(run):
    scene = scenes.prune_scene(run, "estimate", 0.5)
    assert all(t > 0 for t in scenes.forward_times(scene, run.task, budget_s=0.0))


def test_the_file_can_be_made_again(monkeypatch, tmp_path):
    """The whole road on a few steps: pretrain, adapt, score, save, read."""
    short = Settings("full", 3, 3e-3, report_every=3)
    monkeypatch.setattr(scenes, "pretrain", lambda seed: pretrain(seed, settings=short))
    monkeypatch.setattr(scenes, "STEPS", 2)
    monkeypatch.setattr(scenes, "score", lambda criterion, seen: (np.arange(96.0), np.arange(64.0)))
    scenes.make(tmp_path / "run.safetensors")
    made = scenes.shipped_run(tmp_path / "run.safetensors")
    assert made.state.step == 2
    assert made.removal[1].shape == (64,)
    assert made.seen.net.widths == (64, 96, 64, 10)


def test_what_cannot_be_is_our_error(run, tmp_path):
    with pytest.raises(ConfigError, match="criterion"):
        scenes.prune_scene(run, "magic", 0.5)
    with pytest.raises(ConfigError, match="ratio"):
        scenes.prune_scene(run, "estimate", 1.5)
    with pytest.raises(RunFileError):
        scenes.shipped_run(tmp_path / "nothing")
