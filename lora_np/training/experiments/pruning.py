"""Accuracy against sparsity, for every criterion.  Floor 4.

At once: adapt for a while, score every hidden unit on all training rows, remove the lowest share of each layer, and
look, without further training.  While adapting: LoRAPrune, iterative, with training to recover.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from lora_np.training.experiments.adapting import adapted_start
from lora_np.training.experiments.base import SEEDS, SHIFT, Base, last, pretrain
from lora_np.training.experiments.records import Record
from lora_np.training.loop import Settings, evaluate, generator_at, loss_and_signals, start
from lora_np.training.pruning import PruneSettings, mask_units, prune_and_train, sparsity
from lora_np.training.scores import CRITERIA, Seen, score

RANK = 4
RATIOS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
TARGETS = (0.5, 0.75, 0.9)
ADAPTED_FOR = (100, 1000)
TRAINING = Settings("lora", 250, 2e-2, report_every=250)


def prune_at_once(
    *,
    seeds: Iterable[int] = SEEDS,
    criteria: Iterable[str] = tuple(CRITERIA),
    ratios: Iterable[float] = RATIOS,
    adapted_for: Iterable[int] = ADAPTED_FOR,
    shift: str = SHIFT,
) -> Iterator[Record]:
    """Score once and remove at once, after so many steps of LoRA; a record for each ratio.

    Early, the loss still has a slope and gradients tell; late, near a minimum, they hardly do.
    """
    criteria, ratios, adapted_for = tuple(criteria), tuple(ratios), tuple(adapted_for)
    for seed in seeds:
        base = pretrain(seed, shift=shift)
        for steps in adapted_for:
            seen = adapted_and_seen(base, seed=seed, steps=steps)
            for criterion in criteria:
                scores = score(criterion, seen._replace(rng=np.random.default_rng([seed, 3])))
                for ratio in ratios:
                    net = mask_units(seen.net, scores, ratio)
                    facts: Record = {"experiment": "prune at once", "adapted_for": steps, "shift": shift}
                    accuracy = evaluate(net, base.shifted)[1]
                    yield {**facts, **_facts(criterion, ratio, sparsity(net), seed, accuracy)}


def adapted_and_seen(base: Base, *, seed: int, steps: int) -> Seen:
    """Adapt to the shifted task by LoRA, then run every training row forward and backward."""
    settings = replace(TRAINING, steps=steps, report_every=steps)
    rng = np.random.default_rng([seed, 2])
    net = adapted_start(base.network, RANK, rng)
    final = last(start(net, base.shifted, settings, rng), base.shifted, settings)
    X, y = base.shifted.X, base.shifted.y
    _, trace, signals = loss_and_signals(X, y, final.network)
    return Seen(final.network, X, y, trace, signals, generator_at(final.rng_state))


def prune_while_adapting(
    *,
    seeds: Iterable[int] = SEEDS,
    criteria: Iterable[str] = tuple(CRITERIA),
    targets: Iterable[float] = TARGETS,
    shift: str = SHIFT,
    training: Settings = TRAINING,
) -> Iterator[Record]:
    """Prune to every target while LoRA adapts to the shifted task; a record for each run."""
    criteria, targets = tuple(criteria), tuple(targets)
    for seed in seeds:
        base = pretrain(seed, shift=shift)
        for criterion in criteria:
            for target in targets:
                settings = PruneSettings(criterion, target, training=training)
                rng = np.random.default_rng([seed, 4])
                net = adapted_start(base.network, RANK, rng)
                state = start(net, base.shifted, training, rng)
                *_, final = prune_and_train(state, base.shifted, settings)
                facts = _facts(criterion, target, sparsity(final.network), seed, final.accuracy)
                yield {"experiment": "prune while adapting", "shift": shift, **facts}


def _facts(criterion: str, ratio: float, reached: float, seed: int, accuracy: float) -> Record:
    """Make the part of a record that both experiments share."""
    return {"criterion": criterion, "ratio": ratio, "sparsity": reached, "seed": seed, "accuracy": accuracy}
