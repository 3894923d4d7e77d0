"""Gradient descent, plain and with momentum.  Floor 2.  No Nesterov form, no dampening, no L2 term."""

from typing import NamedTuple

from lora_np import checks
from lora_np._typing import Array
from lora_np.optim._fields import Params, Rate, names_of, rebuild, require_step, zeros_like


class SgdState(NamedTuple):
    """How many steps were taken: plain gradient descent remembers nothing else."""

    step: int


def sgd_init(params: Params) -> SgdState:
    """Start gradient descent at step 0.  [optim-sgd]

    >>> import numpy as np
    >>> sgd_init((np.ones(2),))
    SgdState(step=0)
    """
    names_of(params)
    return SgdState(0)


def sgd_step(params: Params, grads: Params, state: SgdState, *, lr: Rate) -> tuple[Params, SgdState]:
    """Take one step of gradient descent.  [optim-sgd]

    p ← p − lr g.  Raises `ShapeError`, `DTypeError`, `ConfigError`, `StateError`, `NonFiniteError`.

    >>> import numpy as np
    >>> sgd_step((np.array([1.0, 2.0]),), (np.array([4.0, -4.0]),), SgdState(0), lr=0.25)
    ((array([0., 3.]),), SgdState(step=1))
    """
    rates = require_step(params, grads, state, SgdState, lr)
    moved = [p - rate * g for p, g, rate in zip(params, grads, rates, strict=True)]
    return rebuild(params, moved), SgdState(state.step + 1)


class MomentumState(NamedTuple):
    """The velocity of every field, and the number of steps taken."""

    step: int
    velocity: tuple[Array, ...]


def momentum_init(params: Params) -> MomentumState:
    """Start the heavy ball at rest: step 0, velocity 0.  [optim-momentum]

    >>> import numpy as np
    >>> momentum_init((np.ones(2),))
    MomentumState(step=0, velocity=(array([0., 0.]),))
    """
    return MomentumState(0, zeros_like(params))


def momentum_step(
    params: Params, grads: Params, state: MomentumState, *, lr: Rate, momentum: float = 0.9
) -> tuple[Params, MomentumState]:
    """Take one step of the heavy ball, in PyTorch's convention.  [optim-momentum]

    v ← μ v + g, then p ← p − lr v: the rate stands outside the velocity, so a change of `lr` acts at once.  There
    is no dampening: the first step is plain gradient descent.  Raises what `sgd_step` raises.

    >>> import numpy as np
    >>> momentum_step(
    ...     (np.ones(1),), (np.ones(1),), MomentumState(1, (np.full(1, 2.0),)), lr=0.5, momentum=0.5
    ... )
    ((array([0.]),), MomentumState(step=2, velocity=(array([2.]),)))
    """
    checks.require_number("momentum", momentum, least=0, below=1)
    rates = require_step(params, grads, state, MomentumState, lr)
    velocity = [float(momentum) * v + g for v, g in zip(state.velocity, grads, strict=True)]
    moved = [p - rate * v for p, v, rate in zip(params, velocity, rates, strict=True)]
    return rebuild(params, moved), MomentumState(state.step + 1, rebuild(params, velocity))
