"""Optimizer steps against their written-out recurrences, and the rank-r update in place.  Floor 6.

Three steps in extended precision are the truth.  S is the size of what is added up: the parameter, and for each step
the rate times the size of the update.  Adam divides by 1 − βᵗ, whose own rounding counts u / (1 − βᵗ): that factor
is the condition of the formula, whatever the code does, and stands in S.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lora_np import optim
from lora_np._typing import Array
from lora_np.conformance.bounds import GOLD
from lora_np.conformance.verify.cases import Case, cases, positive, reading
from lora_np.conformance.verify.check import Check, Reading
from lora_np.conformance.verify.implementation import Implementation

LR, DECAY, MU, BETAS, EPS, TURNS = 1 / 3, 1 / 7, 0.9, (0.9, 0.999), 1e-8, 3

Truth = Callable[[Case], tuple[Array, Array]]


def _gradient(c: Case, turn: int) -> Array:
    """Give another gradient for W0 at every step."""
    return np.roll(c.gY.T @ c.X, turn, axis=0)


def _descend(c: Case, mu: float) -> tuple[Array, Array]:
    """Write v ← μ v + g, θ ← θ − lr v out, and its S."""
    W: Array = np.longdouble(c.W0)
    S = positive(c.W0)
    v, S_v = np.zeros_like(W), np.zeros_like(S)
    for turn in range(TURNS):
        g = np.longdouble(_gradient(c, turn))
        v, S_v = mu * v + g, mu * S_v + positive(g)
        W, S = W - LR * v, S + LR * S_v
    return W, S


def _adapt(c: Case, decay: float) -> tuple[Array, Array]:
    """Write Adam's averages, their correction and AdamW's decay out, and S."""
    W: Array = np.longdouble(c.W0)
    S = positive(c.W0)
    m, v, S_m = np.zeros_like(W), np.zeros_like(W), np.zeros_like(S)
    b1, b2 = map(np.longdouble, BETAS)
    for turn in range(TURNS):
        g = np.longdouble(_gradient(c, turn))
        m, v, S_m = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g, b1 * S_m + (1 - b1) * positive(g)
        c1, c2 = 1 - b1 ** (turn + 1), 1 - b2 ** (turn + 1)
        root = np.sqrt(v / c2) + EPS
        W = (1 - LR * decay) * W - LR * (m / c1) / root
        S = S + LR * decay * S + LR * (S_m / c1) / root * (1 + 1 / c1 + 0.5 / c2)
    return W, S


def steps(equation: str, name: str, uses: str, init: Any, truth: Truth, **options: float) -> Check:
    """Make a check of three steps of one optimizer from W0."""

    def measure(f: Implementation) -> Iterator[Reading]:
        for c in cases():
            params: Any = (c.W0,)
            state = init(params)
            for turn in range(TURNS):
                step = getattr(f, uses)
                params, state = step(params, (_gradient(c, turn),), state, lr=LR, **options)
            want, S = truth(c)
            yield reading(c, params[0], want, S, GOLD)

    return Check(equation, name, (uses,), measure)


def _in_place(f: Implementation) -> Iterator[Reading]:
    for c in cases():
        Y = c.gY.copy()
        got = f.add_low_rank(Y, c.X @ c.p.A.T, c.p.B, scale=c.scale)
        want = c.wide.gY + c.wide.s * ((c.wide.X @ c.wide.A.T) @ c.wide.B.T)
        S = positive(c.gY) + c.scale * (positive(c.X) @ positive(c.p.A).T) @ positive(c.p.B).T
        found = reading(c, got, want, S, GOLD)
        yield found if f.name == "cupy" or np.shares_memory(got, Y) else found._replace(error_u=float("inf"))


CHECKS: tuple[Check, ...] = (
    Check("lora-2", "Y += s Z Bᵀ of add_low_rank", ("add_low_rank",), _in_place),
    steps("optim-sgd", "three steps of SGD", "optim_sgd_step", optim.sgd_init, lambda c: _descend(c, 0.0)),
    steps(
        "optim-momentum",
        "three steps with momentum",
        "optim_momentum_step",
        optim.momentum_init,
        lambda c: _descend(c, MU),
        momentum=MU,
    ),
    steps("optim-adam", "three steps of Adam", "optim_adam_step", optim.adam_init, lambda c: _adapt(c, 0.0)),
    steps(
        "optim-adamw",
        "three steps of AdamW",
        "optim_adamw_step",
        optim.adam_init,
        lambda c: _adapt(c, DECAY),
        weight_decay=DECAY,
    ),
)
