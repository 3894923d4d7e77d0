"""Training as a generator of states.  Floor 4.

A `State` holds all that the next step depends on: network, optimizer, and where the random numbers stand.  `train`
takes a state and yields later ones; whoever consumes it may stop at any of them, keep it, save it, and go on from it
later with the same numbers to the last bit.  No state is ever changed.  Learning rates fall linearly to 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from lora_np import checks, optim
from lora_np._typing import Array, Float, Int
from lora_np.errors import ConfigError, StateError
from lora_np.nn.losses import accuracy, cross_entropy, cross_entropy_gradient
from lora_np.nn.network import Network, Signals, Trace, backward, forward
from lora_np.training import plans
from lora_np.training.tasks import Task

OPTIMIZERS: Mapping[str, tuple[Callable[..., Any], Callable[..., Any], type]] = MappingProxyType(
    {
        "sgd": (optim.sgd_init, optim.sgd_step, optim.SgdState),
        "momentum": (optim.momentum_init, optim.momentum_step, optim.MomentumState),
        "adam": (optim.adam_init, optim.adam_step, optim.AdamState),
        "adamw": (optim.adam_init, optim.adamw_step, optim.AdamState),
    }
)
GENERATORS = ("PCG64", "PCG64DXSM")


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train: the method (see `plans`), how long, and the optimizer.

    `weight_decay` acts with ``"adamw"`` only.  A state is yielded every `report_every` steps.
    """

    method: str = "full"
    steps: int = 1000
    lr: float = 3e-3
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    batch: int = 64
    report_every: int = 50

    def __post_init__(self) -> None:
        checks.require_one_of("method", self.method, plans.METHODS)
        checks.require_one_of("optimizer", self.optimizer, OPTIMIZERS)
        for name in ("steps", "batch", "report_every"):
            checks.require_int(name, getattr(self, name), minimum=1)
        checks.require_number("lr", self.lr, least=0.0)
        checks.require_number("weight_decay", self.weight_decay, least=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Where a run stands after `step` steps, and how well it does.

    `loss` is the training loss of the last batch, before its step (at step 0, of all training rows); `test_loss` and
    `accuracy` are held out.  `scores` are the running averages of importance, one for each hidden layer, while
    pruning; else empty.
    """

    step: int
    network: Network
    optimizer: Any
    rng_state: Mapping[str, Any]
    loss: float
    test_loss: float
    accuracy: float
    scores: tuple[Float[Array, " q"], ...] = ()


def start(net: Network, task: Task, settings: Settings, rng: np.random.Generator) -> State:
    """Make the state before the first step; `rng` itself is not used up.

    Raises `ConfigError`, `StateError`, and what `forward` raises where network and task do not fit.
    """
    checks.require_rng(rng)
    if type(rng.bit_generator).__name__ not in GENERATORS:
        raise ConfigError(
            f"rng uses {type(rng.bit_generator).__name__}, whose state cannot be saved as plain numbers",
            fix="pass np.random.default_rng(seed)",
        )
    if settings.batch > task.X.shape[0]:
        raise ConfigError(f"batch is {settings.batch}, but the task has {task.X.shape[0]} rows to train on")
    init, _, _ = OPTIMIZERS[settings.optimizer]
    optimizer = init(plans.parameters(net, plans.plan_for(settings.method, net)))
    loss = float(cross_entropy(forward(task.X, net).logits, task.y))
    return State(0, net, optimizer, rng.bit_generator.state, loss, *evaluate(net, task))


def train(state: State, task: Task, settings: Settings) -> Iterator[State]:
    """Train from a state on, and yield a state every so many steps and after the last.  [net-backward]

    A state that is past the last step yields nothing.  Raises what `forward` and the optimizers raise.
    """
    require_resumable(state, settings)
    rng = generator_at(state.rng_state)
    net, optimizer = state.network, state.optimizer
    for step in range(state.step + 1, settings.steps + 1):
        X, y = draw_batch(task, settings, rng)
        loss, trace, signals = loss_and_signals(X, y, net)
        net, optimizer = update(net, optimizer, trace, signals, step, settings)
        if step % settings.report_every == 0 or step == settings.steps:
            rng_state = rng.bit_generator.state
            yield State(step, net, optimizer, rng_state, loss, *evaluate(net, task))


# ---- one step ----------------------------------------------------------------------------------------------


def draw_batch(
    task: Task, settings: Settings, rng: np.random.Generator
) -> tuple[Float[Array, "N k"], Int[Array, " N"]]:
    """Draw rows without replacement."""
    rows = rng.choice(task.X.shape[0], settings.batch, replace=False)
    return task.X[rows], task.y[rows]


def loss_and_signals(
    X: Float[Array, "N k"], y: Int[Array, " N"], net: Network
) -> tuple[float, Trace, Signals]:
    """Run forward and backward on one batch.  [net-cross-entropy] [net-backward]"""
    trace = forward(X, net)
    signals = backward(cross_entropy_gradient(trace.logits, y), trace, net)
    return float(cross_entropy(trace.logits, y)), trace, signals


def update(
    net: Network, optimizer: Any, trace: Trace, signals: Signals, step: int, settings: Settings
) -> tuple[Network, Any]:
    """Take step number `step` with the gradients of one batch."""
    plan = plans.plan_for(settings.method, net)
    _, take_step, _ = OPTIMIZERS[settings.optimizer]
    options = {"weight_decay": settings.weight_decay} if settings.optimizer == "adamw" else {}
    lr = settings.lr * (1 - (step - 1) / settings.steps)
    grads = plans.gradients(trace, signals, plan)
    arrays, optimizer = take_step(plans.parameters(net, plan), grads, optimizer, lr=lr, **options)
    return plans.with_parameters(net, plan, arrays), optimizer


def evaluate(net: Network, task: Task) -> tuple[float, float]:
    """Return loss and accuracy on the rows held out.  [net-cross-entropy]"""
    logits = forward(task.X_test, net).logits
    return float(cross_entropy(logits, task.y_test)), accuracy(logits, task.y_test)


# ---- taking a run up again ---------------------------------------------------------------------------------


def generator_at(rng_state: Mapping[str, Any]) -> np.random.Generator:
    """Make a generator that continues where a state's random numbers stood.  Raises `StateError`."""
    name = rng_state.get("bit_generator")
    if name not in GENERATORS:
        raise StateError(f"rng_state is of {name!r}, expected one of {', '.join(GENERATORS)}")
    bits = getattr(np.random, name)()
    try:
        bits.state = dict(rng_state)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise StateError(f"rng_state is not a state of {name}: {error!r}") from None
    return np.random.Generator(bits)


def require_resumable(state: State, settings: Settings) -> None:
    """Raise unless the optimizer that the state holds is the one that the settings ask for."""
    _, _, kind = OPTIMIZERS[settings.optimizer]
    if not isinstance(state.optimizer, kind):
        raise StateError(
            f"the state holds a {type(state.optimizer).__name__}, but the settings ask for {settings.optimizer!r}",
            fix="resume with the settings that the run was started with",
        )
