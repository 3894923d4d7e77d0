"""What the room on pruning shows: one network's units scored, masked and taken away.  Floor 6.

The network is a real one: pretrained on the digits, then adapted by LoRA for a while to the shifted digits of the
experiments.  It ships beside this file, so that the room opens at once; ``python -m lora_np.figures.prune_scene``
makes it again.  Its `scores` hold the true removal losses, the one criterion that takes long.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Bool, Float
from lora_np.bench.measure import in_turns
from lora_np.nn.network import Network, forward
from lora_np.training import loop, saving
from lora_np.training.experiments.adapting import adapted_start
from lora_np.training.experiments.base import SHIFT, pretrain
from lora_np.training.experiments.pruning import RANK, TRAINING
from lora_np.training.loop import Settings, State, evaluate, loss_and_signals
from lora_np.training.pruning import PruneSettings, mask_units, physically_shrunk, prune_and_train
from lora_np.training.scores import CRITERIA, Seen, score
from lora_np.training.tasks import Task, digit_tasks

PATH = Path(__file__).with_name("prune_run.safetensors")
SEED, STEPS = 10, 100


@dataclass(frozen=True, slots=True, eq=False)
class PruneRun:
    """The shipped network in its adapted state, the shifted task, and both passes over all training rows."""

    state: State
    task: Task
    seen: Seen

    @property
    def removal(self) -> tuple[Float[Array, " q"], ...]:
        """The true squared change of the loss when each unit goes."""
        return self.state.scores


@dataclass(frozen=True, slots=True, eq=False)
class PruneScene:
    """A criterion's scores and what becomes of the network that is cut by them.

    Accuracies are on held-out digits; `flops` are those of one digit's forward pass, products only, for the masked
    network and the smaller one; `correlation` is the rank correlation with the true removal loss, by hidden layer.
    """

    scores: tuple[Float[Array, " q"], ...]
    kept: tuple[Bool[Array, " q"], ...]
    correlation: tuple[float, ...]
    masked: Network
    smaller: Network
    accuracy_before: float
    accuracy_masked: float
    accuracy_smaller: float
    flops: tuple[int, int]


def shipped_run(path: str | Path = PATH) -> PruneRun:
    """Read the network that ships and run every training row through it.  [net-backward]

    Raises `RunFileError`.
    """
    state, _ = saving.load(path)
    task = digit_tasks(np.random.default_rng([SEED, 0]), shift=SHIFT)[1]
    return PruneRun(state, task, _seen(state.network, task))


def prune_scene(run: PruneRun, criterion: str, ratio: float) -> PruneScene:
    """Score all hidden units, cut the lowest share of each layer, and look.  [prune-mask] [prune-shrink]

    Raises `ConfigError`.
    """
    checks.require_one_of("criterion", criterion, CRITERIA)
    seen = run.seen._replace(rng=np.random.default_rng(SEED))
    scores = run.removal if criterion == "removal" else score(criterion, seen)
    masked = mask_units(seen.net, scores, ratio)
    smaller = physically_shrunk(masked)
    return PruneScene(
        scores=scores,
        kept=tuple(np.asarray(kept) for kept in masked.masks),
        correlation=tuple(rank_correlation(s, true) for s, true in zip(scores, run.removal, strict=True)),
        masked=masked,
        smaller=smaller,
        accuracy_before=evaluate(seen.net, run.task)[1],
        accuracy_masked=evaluate(masked, run.task)[1],
        accuracy_smaller=evaluate(smaller, run.task)[1],
        flops=(forward_flops(masked), forward_flops(smaller)),
    )


def forward_flops(net: Network) -> int:
    """Count the FLOPs of one row's forward pass, products of frozen weights and adapters only.  [cost-product]"""
    weights = sum(2 * int(layer.W.size) for layer in net.layers)
    return weights + sum(2 * int(p.B.size + p.A.size) for p in net.adapters if p is not None)


def rank_correlation(x: Float[Array, " n"], y: Float[Array, " n"]) -> float:
    """Correlate the ranks of two lists of numbers (Spearman): 1 for the same order, -1 for the opposite one.

    Ties share the mean of their ranks; 0 where all numbers of one list are equal.

    >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 10.0, 100.0]))
    1.0
    """
    a, b = _ranks(x), _ranks(y)
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def _ranks(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """Rank numbers around 0, ties at the mean of their ranks."""
    x = np.asarray(x)
    below, upto = (np.searchsorted(np.sort(x), x, side=side) for side in ("left", "right"))
    ranks: Array = (below + upto - 1) / 2 - (x.size - 1) / 2
    return ranks


# ---- what takes longer ---------------------------------------------------------------------------------------


def prune_live(
    run: PruneRun, criterion: str, ratio: float, *, steps: int = TRAINING.steps
) -> Iterator[State]:
    """Prune while LoRA adapts the pretrained network from the start; states as they come.  [prune-cubic] [prune-ema]

    Bounded: `steps` batches of 64 digits.  Raises `ConfigError`.
    """
    training = replace(TRAINING, steps=steps, report_every=max(1, steps // 20))
    settings = PruneSettings(criterion, ratio, training=training)
    rng = np.random.default_rng([SEED, 4])
    pretrained = Network(run.state.network.layers, activation=run.state.network.activation)
    state = loop.start(adapted_start(pretrained, RANK, rng), run.task, training, rng)
    return prune_and_train(state, run.task, settings)


def forward_times(scene: PruneScene, task: Task, *, budget_s: float = 0.2) -> tuple[float, float]:
    """Measure one forward pass over the held-out digits, masked and physically smaller, in seconds."""
    times = in_turns(
        {
            "masked": lambda: forward(task.X_test, scene.masked),
            "smaller": lambda: forward(task.X_test, scene.smaller),
        },
        budget_s=budget_s,
    )
    return times["masked"] / 1e3, times["smaller"] / 1e3


def make(path: str | Path = PATH) -> None:
    """Pretrain, adapt, measure every unit's true removal loss, and write the file that ships."""
    base = pretrain(SEED)
    settings = Settings("lora", STEPS, TRAINING.lr, report_every=STEPS)
    rng = np.random.default_rng([SEED, 2])
    state = loop.start(adapted_start(base.network, RANK, rng), base.shifted, settings, rng)
    *_, final = loop.train(state, base.shifted, settings)
    removal = score("removal", _seen(final.network, base.shifted))
    saving.save(path, replace(final, scores=removal), settings)


def _seen(net: Network, task: Task) -> Seen:
    """Run every training row forward and backward."""
    _, trace, signals = loss_and_signals(task.X, task.y, net)
    return Seen(net, task.X, task.y, trace, signals, np.random.default_rng(SEED))


if __name__ == "__main__":
    make()
