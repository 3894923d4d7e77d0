"""A run to be looked at: the same steps as any training, seen at points in between.  Floor 4.

`watch` yields what a picture of training needs: the loss on both halves of the task, and of every layer the sizes of
what trains, of its gradients, and the singular values of what training added.  The learning rate is constant, nothing
decays, and a run whose loss leaves all bounds ends there.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import NonFiniteError
from lora_np.nn import losses
from lora_np.nn.dense import Dense
from lora_np.nn.network import Network, backward, forward
from lora_np.training import plans
from lora_np.training.loop import OPTIMIZERS
from lora_np.training.recipes import RECIPES, adapted
from lora_np.training.tasks import Regression, Task

SIGMAS = 16  # singular values that are kept of a layer
OUT_OF_BOUNDS = 1e4  # times the first loss
SINGLE_STEPS = 10  # at the start, every step is a point

Loss = tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]]
LOSSES: Mapping[type, Loss] = MappingProxyType(
    {
        Task: (losses.cross_entropy, losses.cross_entropy_gradient),
        Regression: (losses.squared_error, losses.squared_error_gradient),
    }
)
"""The loss of every kind of task, and its gradient."""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How to train while somebody looks: method, adapter, optimizer, length; `batch` rows a step, 0 for all.

    `scheme` says how drawn factors start (see `lora.init`); `alpha` and `rank` are the adapter's.

    >>> WatchSettings(steps=300).points
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, ...
    """

    method: str = "lora"
    rank: int = 4
    alpha: float = 8.0
    scheme: str = "kaiming"
    optimizer: str = "adam"
    lr: float = 0.01
    steps: int = 300
    batch: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        checks.require_one_of("method", self.method, RECIPES)
        checks.require_one_of("optimizer", self.optimizer, OPTIMIZERS)
        checks.require_int("steps", self.steps, minimum=1)
        checks.require_int("batch", self.batch, minimum=0)
        checks.require_int("seed", self.seed, minimum=0)
        checks.require_number("lr", self.lr, least=0.0)

    @property
    def points(self) -> tuple[int, ...]:
        """The steps that are looked at: each of the first few, then a hundred of the run, and the last."""
        every = max(1, self.steps // 100)
        later = range(0, self.steps + 1, every)
        return tuple(sorted({*range(min(SINGLE_STEPS, self.steps)), *later, self.steps}))


class Glimpse(NamedTuple):
    """One layer at a point: norms by letter of what trains (changes, for W and b) and of its gradients; the spectrum.

    `sigma` are the singular values of what training added to the weight, the largest `SIGMAS` of them.
    """

    sizes: Mapping[str, float]
    gradients: Mapping[str, float]
    sigma: Float[Array, " q"]


class Point(NamedTuple):
    """A run after `step` steps: the loss on the rows of the next step, the loss held out, every layer."""

    step: int
    loss: float
    held_out: float
    layers: tuple[Glimpse, ...]


def student(task: Regression) -> Network:
    """Make the network that starts where the teacher's change does not show yet: one layer, W0, no bias.

    >>> from lora_np.training.tasks import teacher_student
    >>> student(teacher_student(np.random.default_rng(0), rank=2, d=3, k=5)).widths
    (5, 3)
    """
    return Network((Dense(task.W0, np.zeros(task.W0.shape[0], task.W0.dtype)),))


def watch(
    net: Network, task: Task | Regression, settings: WatchSettings
) -> Generator[Point, None, int | None]:
    """Adapt a network to a task and yield what is to be seen at every point.  [net-backward] [net-squared-error]

    Returns the step at which the loss left all bounds, 10⁴ times the first or not a number; None where the run came
    to its end.  The same settings give the same numbers.  Raises what `adapted` and `forward` raise.
    """
    rng = np.random.default_rng(settings.seed)
    origin, recipe = net, RECIPES[settings.method]
    net = adapted(
        net, rng, method=settings.method, rank=settings.rank, alpha=settings.alpha, scheme=settings.scheme
    )
    plan = plans.plan_for(recipe.trains, net)
    lr = plans.rates(plan, settings.lr, ratio=recipe.ratio)
    init, take_step, _ = OPTIMIZERS[settings.optimizer]
    optimizer: Any = init(plans.parameters(net, plan))
    points, first = frozenset(settings.points), np.inf
    for step in range(settings.steps + 1):
        X, T = _rows(task, settings.batch, rng)
        try:
            loss, grads = _loss_and_gradients(X, T, net, plan, LOSSES[type(task)])
        except NonFiniteError:
            return step
        if step == 0:
            first = max(loss, np.finfo(float).tiny)
        if not loss <= OUT_OF_BOUNDS * first:
            return step
        if step in points:
            yield Point(step, loss, _held_out(net, task), _glimpses(net, origin, plan, grads))
        arrays, optimizer = take_step(plans.parameters(net, plan), grads, optimizer, lr=lr)
        net = plans.with_parameters(net, plan, arrays)
    return None


# ---- one step ------------------------------------------------------------------------------------------------


def _rows(task: Task | Regression, batch: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw the rows of a step, without replacement; all, if `batch` is 0 or more than there are."""
    X, T = task[0], task[1]
    if not 0 < batch < X.shape[0]:
        return X, T
    drawn = rng.choice(X.shape[0], batch, replace=False)
    return X[drawn], T[drawn]


def _loss_and_gradients(
    X: Array, T: Array, net: Network, plan: plans.Plan, loss: Loss
) -> tuple[float, tuple[Array, ...]]:
    """Run forward and backward, and keep the gradients of what trains."""
    with np.errstate(over="ignore", invalid="ignore"):  # told by the loss, which is then not finite
        trace = forward(X, net)
        value, gradient = loss
        signals = backward(gradient(trace.logits, T), trace, net)
        return float(value(trace.logits, T)), plans.gradients(trace, signals, plan)


def _held_out(net: Network, task: Task | Regression) -> float:
    """Compute the loss on the rows held out."""
    value, _ = LOSSES[type(task)]
    with np.errstate(over="ignore", invalid="ignore"):
        return float(value(forward(task[2], net).logits, task[3]))


# ---- what is seen --------------------------------------------------------------------------------------------


def _glimpses(
    net: Network, origin: Network, plan: plans.Plan, grads: tuple[Array, ...]
) -> tuple[Glimpse, ...]:
    """Look at every layer."""
    sizes: list[dict[str, float]] = [{} for _ in net.layers]
    slopes: list[dict[str, float]] = [{} for _ in net.layers]
    for (at, name), array, g in zip(plans.names(plan), plans.parameters(net, plan), grads, strict=True):
        from_zero = array - getattr(origin.layers[at], name) if name in ("W", "b") else array
        sizes[at][name] = float(np.linalg.norm(from_zero))
        slopes[at][name] = float(np.linalg.norm(g))
    return tuple(
        Glimpse(size, slope, np.linalg.svd(increment(net, origin, at), compute_uv=False)[:SIGMAS])
        for at, (size, slope) in enumerate(zip(sizes, slopes, strict=True))
    )


def increment(net: Network, origin: Network, at: int) -> Float[Array, "d k"]:
    """Compute what training added to a layer's weight, wherever it was kept.  [lora-delta] [net-update]

    (W − W_before) + s B A: also where the method moved a part of the weight into its factors first.
    """
    W, p = net.layers[at].W, net.adapters[at]
    moved = W - origin.layers[at].W  # (d, k)
    return moved if p is None else moved + net.scale * (p.B @ p.A)
