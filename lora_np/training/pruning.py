"""LoRAPrune on a small network: adapt, score, mask, and in the end take the masked units away.  Floor 4.

The loop of `loop.train` with two things between the gradients and the step: every so many steps the hidden units are
scored, the scores enter a running average, and each layer is masked to the ratio that a cubic schedule asks for.  A
mask never gives a unit back.  Each hidden layer is ranked by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from lora_np import checks, prune
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError
from lora_np.nn.dense import Dense
from lora_np.nn.network import Network
from lora_np.training import loop
from lora_np.training.loop import Settings, State
from lora_np.training.scores import CRITERIA, MAKES, READS, Seen, hidden_units, score
from lora_np.training.tasks import Task


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """How to prune: by which criterion, how much of every hidden layer, how often, and how to train meanwhile.

    `decay` is the weight of the past in the running average of scores; `warmup` and `cooldown` are the shares of
    the steps before the first unit goes and after the last one went.
    """

    criterion: str = "gradient-dot"
    ratio: float = 0.5
    every: int = 10
    decay: float = 0.9
    warmup: float = 0.1
    cooldown: float = 0.3
    training: Settings = field(default_factory=lambda: Settings(method="lora", lr=2e-2))

    def __post_init__(self) -> None:
        checks.require_one_of("criterion", self.criterion, CRITERIA)
        checks.require_number("ratio", self.ratio, least=0.0, below=1.0)
        checks.require_int("every", self.every, minimum=1)
        checks.require_number("decay", self.decay, least=0.0, below=1.0)
        self.ratio_at(0)  # the schedule checks warmup and cooldown
        if self.ratio_at(self.training.steps // self.every * self.every) < self.ratio:
            raise ConfigError(
                f"cooldown {self.cooldown} of {self.training.steps} steps holds no step that {self.every} divides: "
                f"the ratio {self.ratio} would not be reached",
                fix="lower every, or raise cooldown",
            )

    def ratio_at(self, step: int) -> float:
        """Return the share of units to have pruned by a step.  [prune-cubic]"""
        total, warmup, cooldown = self.training.steps, self.warmup, self.cooldown
        return prune.schedule.cubic(step, total=total, final=self.ratio, warmup=warmup, cooldown=cooldown)


def prune_and_train(state: State, task: Task, settings: PruneSettings) -> Iterator[State]:
    """Train and prune from a state on, yielding states as `loop.train` does.  [prune-ema] [prune-mask]

    Importance is taken from the gradients of the batch, before its step.  Begin with `loop.start` and the settings'
    `training`.  Raises what training and the criterion raise.
    """
    training = settings.training
    loop.require_resumable(state, training)
    rng = loop.generator_at(state.rng_state)
    net, optimizer, scores = state.network, state.optimizer, state.scores
    for step in range(state.step + 1, training.steps + 1):
        X, y = loop.draw_batch(task, training, rng)
        loss, trace, signals = loop.loss_and_signals(X, y, net)
        seen = Seen(net, X, y, trace, signals, rng)
        net, optimizer = loop.update(net, optimizer, trace, signals, step, training)
        if step % settings.every == 0:
            scores = averaged(scores, score(settings.criterion, seen), settings)
            net = mask_units(net, scores, settings.ratio_at(step))
        if step % training.report_every == 0 or step == training.steps:
            held_out = loop.evaluate(net, task)
            yield State(step, net, optimizer, rng.bit_generator.state, loss, *held_out, scores)


def averaged(
    averages: tuple[Float[Array, " q"], ...], scores: tuple[Float[Array, " q"], ...], settings: PruneSettings
) -> tuple[Float[Array, " q"], ...]:
    """Blend the scores of every hidden layer into their running averages.  [prune-ema]"""
    pairs = zip(averages or (None,) * len(scores), scores, strict=True)
    return tuple(prune.schedule.moving_average(past, new, decay=settings.decay) for past, new in pairs)


def mask_units(net: Network, scores: tuple[Float[Array, " q"], ...], ratio: float) -> Network:
    """Mask the given share of every hidden layer's units, the lowest scores first.  [prune-mask] [net-mask]

    >>> from lora_np.nn.network import init
    >>> net = init(np.random.default_rng(0), (2, 4, 2))
    >>> mask_units(net, (np.array([3.0, 1.0, 2.0, 4.0]),), 0.5).masks[0]
    array([ True, False, False,  True])
    """
    masks = tuple(
        prune.mask(layer_scores, ratio, kept=kept, layer=f"hidden layer {hidden}")
        for hidden, (layer_scores, kept) in enumerate(zip(scores, net.masks, strict=True))
    )
    return replace(net, masks=masks)


def physically_shrunk(net: Network) -> Network:
    """Take the masked units away: a smaller network with the same outputs up to rounding.  [prune-shrink]

    >>> from lora_np.nn.network import init
    >>> net = mask_units(init(np.random.default_rng(0), (2, 4, 2)), (np.arange(4.0),), 0.5)
    >>> physically_shrunk(net).widths
    (2, 2, 2)
    """
    layers, adapters = list(net.layers), list(net.adapters)
    for hidden, kept in enumerate(net.masks):
        if kept is None:
            continue
        both = {MAKES: hidden, READS: hidden + 1}
        tensors = {name: (*layers[at], adapters[at]) for name, at in both.items()}
        smaller = prune.shrink(tensors, hidden_units(net, hidden), kept)
        for name, at in both.items():
            W, b, p = smaller[name]
            layers[at], adapters[at] = Dense(W, b), p
    return replace(net, layers=tuple(layers), adapters=tuple(adapters), masks=())


def sparsity(net: Network) -> float:
    """Return the share of hidden units that are masked.

    >>> from lora_np.nn.network import init
    >>> sparsity(init(np.random.default_rng(0), (2, 4, 2)))
    0.0
    """
    kept = [
        np.ones(width, bool) if mask is None else mask
        for width, mask in zip(net.widths[1:], net.masks, strict=False)
    ]
    return float(1 - np.mean(np.concatenate(kept))) if kept else 0.0
