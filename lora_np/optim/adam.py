"""Adam and AdamW, with bias correction.  Floor 2.  No AMSGrad, no L2 term in the gradient."""

import math
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array
from lora_np.errors import ConfigError
from lora_np.optim._fields import Params, Rate, names_of, rebuild, require_step, zeros_like


class AdamState(NamedTuple):
    """The moving averages of the gradient and of its square, and the number of steps taken."""

    step: int
    first: tuple[Array, ...]
    second: tuple[Array, ...]


def adam_init(params: Params) -> AdamState:
    """Start Adam, or AdamW, at step 0 with both averages zero.  [optim-adam]

    >>> adam_init((np.ones(1),))
    AdamState(step=0, first=(array([0.]),), second=(array([0.]),))
    """
    return AdamState(0, zeros_like(params), zeros_like(params))


def adam_step(
    params: Params,
    grads: Params,
    state: AdamState,
    *,
    lr: Rate,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Params, AdamState]:
    """Take one step of Adam, with bias correction.  [optim-adam]

    t ← t + 1,  m ← β1 m + (1 − β1) g,  v ← β2 v + (1 − β2) g²,
    p ← p − lr m̂ / (√v̂ + eps) with m̂ = m / (1 − β1ᵗ) and v̂ = v / (1 − β2ᵗ): both averages start at zero, and the
    division takes that bias out.  `eps` stands outside the root.  Raises what `sgd_step` raises.

    >>> start = (np.array([1.0]),)
    >>> adam_step(start, (np.array([3.0]),), adam_init(start), lr=2.0, betas=(0.5, 0.5), eps=1.0)
    ((array([-0.5]),), AdamState(step=1, first=(array([1.5]),), second=(array([4.5]),)))
    """
    rates = require_step(params, grads, state, AdamState, lr)
    _require_eps(eps, params)
    state = _averages(params, grads, state, betas)
    updates = _adam_updates(state, betas, eps)
    moved = [p - rate * update for p, update, rate in zip(params, updates, rates, strict=True)]
    return rebuild(params, moved), state


def adamw_step(
    params: Params,
    grads: Params,
    state: AdamState,
    *,
    lr: Rate,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> tuple[Params, AdamState]:
    """Take one step of AdamW: Adam, and beside it a decay of the parameters.  [optim-adamw]

    p ← (1 − lr λ) p − lr m̂ / (√v̂ + eps) with λ = `weight_decay`: the decay is decoupled, it does not pass through
    the averages.  Begin with `adam_init`.  Raises what `sgd_step` raises.

    >>> start = (np.array([1.0]),)
    >>> adamw_step(start, (np.zeros(1),), adam_init(start), lr=0.5, weight_decay=0.5)[0]
    (array([0.75]),)
    """
    checks.require_number("weight_decay", weight_decay, least=0)
    rates = require_step(params, grads, state, AdamState, lr)
    _require_eps(eps, params)
    state = _averages(params, grads, state, betas)
    updates = _adam_updates(state, betas, eps)
    kept = [1 - rate * float(weight_decay) for rate in rates]
    moved = [q * p - rate * update for p, update, rate, q in zip(params, updates, rates, kept, strict=True)]
    return rebuild(params, moved), state


def _averages(params: Params, grads: Params, state: AdamState, betas: tuple[float, float]) -> AdamState:
    """Move both averages one step on."""
    beta1, beta2 = _require_betas(betas)
    with np.errstate(over="ignore"):  # an overflow is raised below, by name
        squares = [g * g for g in grads]
    for name, square in zip(names_of(params), squares, strict=True):
        checks.require_finite(f"the squared gradient of {name}", square)
    first = [beta1 * m + (1 - beta1) * g for m, g in zip(state.first, grads, strict=True)]
    second = [beta2 * v + (1 - beta2) * square for v, square in zip(state.second, squares, strict=True)]
    return AdamState(state.step + 1, rebuild(params, first), rebuild(params, second))


def _adam_updates(state: AdamState, betas: tuple[float, float], eps: float) -> list[Array]:
    """m̂ / (√v̂ + eps) of every field."""
    bias1, bias2 = (_one_minus_power(float(beta), state.step) for beta in betas)
    return [
        (m / bias1) / (array_namespace(v).sqrt(v / bias2) + float(eps))
        for m, v in zip(state.first, state.second, strict=True)
    ]


def _one_minus_power(beta: float, step: int) -> float:
    """1 − βᵗ; subtle: the plain difference cancels for β near 1, and expm1 keeps every digit."""
    return -math.expm1(step * math.log(beta)) if beta else 1.0


def _require_eps(eps: Any, params: tuple[Array, ...]) -> None:
    """Raise unless `eps` is positive, also in the element type of every parameter: it keeps 0 / 0 away."""
    checks.require_number("eps", eps, above=0)
    for name, p in zip(names_of(params), params, strict=True):
        least = float(array_namespace(p).finfo(p.dtype).smallest_normal)
        if eps < least:
            problem = f"eps = {eps:g} vanishes in {checks.dtype_name(p)}, the type of {name}"
            raise ConfigError(problem, fix=f"pass at least {least:g}")


def _require_betas(betas: Any) -> tuple[float, float]:
    """Raise unless `betas` are two numbers in [0, 1)."""
    if not isinstance(betas, tuple) or len(betas) != 2:
        raise ConfigError(
            f"betas must be a tuple of two numbers, got {betas!r}", fix="the usual ones: (0.9, 0.999)"
        )
    for i, beta in enumerate(betas):
        checks.require_number(f"betas[{i}]", beta, least=0, below=1)
    return float(betas[0]), float(betas[1])
