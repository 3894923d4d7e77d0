"""What α does, and whether the learning rate can do it: scales against the rank, trades.  Floor 6.

The task is that of `optimizer_scene`: an increment D is wanted, and the weight's full gradient is ΔW − D.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lora_np import checks, optim
from lora_np._typing import Array, Float
from lora_np.figures.examples import example_matrix
from lora_np.figures.optimizer_scene import SIDES, size, slope
from lora_np.gradient_view import adam_step, sgd_step
from lora_np.lora import LoraParams, init, project_gradient, scaling

WIDTH = 64  # of the square layer whose first gradient is measured
RANKS = (1, 2, 4, 8, 16, 32, 64)
RULES = {"α / r": False, "α / √r": True}
STEPS = 16
OPTIMIZERS = ("SGD", "Adam")


class Trade(NamedTuple):
    """What is divided when α is multiplied by c: the rate by c^rate, the start of A by c^start."""

    rate: float
    start: float


TRADES = {
    "lr / c": Trade(1, 0),
    "lr / c²": Trade(2, 0),
    "lr / c, A / √c": Trade(1, 0.5),
    "lr / √c, A / √c": Trade(0.5, 0.5),
}


@dataclass(frozen=True, slots=True, eq=False)
class ScaleScene:
    """The size ‖g_B‖ of the first gradient, for both rules of the scale and each rank; the mean of several starts."""

    ranks: tuple[int, ...]
    gradient: dict[str, list[float]]

    @property
    def slopes(self) -> dict[str, float]:
        """The slope against the rank on logarithmic axes, fitted, for both rules."""
        return {rule: slope(self.ranks, sizes) for rule, sizes in self.gradient.items()}


def scale_scene(alpha: float, *, seeds: int = 8) -> ScaleScene:
    """Measure the first gradient at every rank.  [lora-scale] [lora-scale-rs] [lora-grad-b]

    >>> [round(slope, 1) + 0.0 for slope in scale_scene(16).slopes.values()]
    [-0.5, 0.0]
    """
    gW = example_matrix("random", WIDTH, WIDTH)
    gradient: dict[str, list[float]] = {rule: [] for rule in RULES}
    for rank in RANKS:
        starts = [init(np.random.default_rng(seed), WIDTH, WIDTH, rank) for seed in range(seeds)]
        for rule, stabilized in RULES.items():
            s = scaling(alpha, rank, use_rslora=stabilized)
            sizes = [size(project_gradient(gW, p, scale=s).B) for p in starts]
            gradient[rule].append(sum(sizes) / seeds)
    return ScaleScene(RANKS, gradient)


@dataclass(frozen=True, slots=True, eq=False)
class TradeScene:
    """The losses of runs with (α, lr) and with α c and each trade, by optimizer.

    `base` maps the optimizer to its losses, `traded` and `gaps` also the trade; a gap is ‖ΔW' − ΔW‖ / ‖ΔW‖ at the end.
    """

    base: dict[str, list[float]]
    traded: dict[str, dict[str, list[float]]]
    gaps: dict[str, dict[str, float]]


def run(
    optimizer: str,
    rank: int,
    alpha: float,
    *,
    c: float = 1.0,
    trade: Trade = TRADES["lr / c"],
    steps: int = STEPS,
) -> tuple[list[float], Float[Array, "d k"]]:
    """Train with α c and the traded rate and start; return the losses and the increment.  [view-sgd] [view-adam]

    The rate before the trade is 1 / (4 s² + 16) for SGD and 0.1 / (s + 1) for Adam.

    >>> losses, _ = run("SGD", 4, 8)
    >>> losses[-1] < losses[0]
    True
    """
    checks.require_one_of("optimizer", optimizer, OPTIMIZERS)
    s, D = scaling(alpha, rank), example_matrix("decay", *SIDES)
    B, A = init(np.random.default_rng(0), *SIDES, rank)
    p, W = LoraParams(B, A / c**trade.start), np.zeros(SIDES)
    lr = (1 / (4 * s**2 + 16) if optimizer == "SGD" else 0.1 / (s + 1)) / c**trade.rate
    state, losses = optim.adam_init(p), [size(W - D) ** 2 / 2]
    for _ in range(steps):
        if optimizer == "SGD":
            W, p = sgd_step(W, p, W - D, scale=s * c, lr=lr)
        else:
            W, p, state = adam_step(W, p, W - D, state, scale=s * c, lr=lr)
        losses.append(size(W - D) ** 2 / 2)
    return losses, W


def trade_scene(rank: int, alpha: float, *, c: float) -> TradeScene:
    """Run both optimizers with and without each trade.

    SGD: B' = B / √c, A' = A / √c, lr' = lr / c keeps s c B' A' = s B A at every step.  Adam's steps do not grow with
    the gradient, so there lr' = lr / √c does.

    >>> gaps = trade_scene(4, 8, c=4.0).gaps
    >>> gaps["SGD"]["lr / c, A / √c"] < 1e-12 < gaps["Adam"]["lr / c, A / √c"]
    True
    """
    base, traded, gaps = {}, {}, {}
    for name in OPTIMIZERS:
        base[name], W = run(name, rank, alpha)
        runs = {words: run(name, rank, alpha, c=c, trade=trade) for words, trade in TRADES.items()}
        traded[name] = {words: losses for words, (losses, _) in runs.items()}
        gaps[name] = {words: size(other - W) / size(W) for words, (_, other) in runs.items()}
    return TradeScene(base, traded, gaps)
