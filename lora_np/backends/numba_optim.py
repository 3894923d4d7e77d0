"""Adam and AdamW in one pass.  Floor 3.

Written with arrays, a step of Adam makes a dozen temporaries as large as the parameters; here every number is read
once and its three new values are written once.  The same pass looks for a gradient, or a square of one, that is not
finite.  What is not plainly sound (a wrong shape, a rate out of range, such a gradient) goes to the reference, which
says what is wrong with it; nothing was changed by then, for a step writes into new arrays only.
"""

import math
from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.backends.numba_threads import kernel, kernels_take, over_slices
from lora_np.optim import adam
from lora_np.optim._fields import Params, Rate, rebuild
from lora_np.optim.adam import AdamState

SMALL = 2**15  # numbers below which a second thread costs more than it saves


def adam_step(
    params: Params,
    grads: Params,
    state: AdamState,
    *,
    lr: Rate,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Params, AdamState]:
    """Take one step of Adam, in one pass.  [optim-adam]

    Result and errors are those of `optim.adam_step`.
    """
    moved = _fused_step(params, grads, state, lr, betas, eps, 0.0)
    return moved or adam.adam_step(params, grads, state, lr=lr, betas=betas, eps=eps)


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
    """Take one step of AdamW, in one pass.  [optim-adamw]

    Result and errors are those of `optim.adamw_step`.
    """
    moved = _fused_step(params, grads, state, lr, betas, eps, weight_decay)
    return moved or adam.adamw_step(
        params, grads, state, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay
    )


def _fused_step(
    params: Params, grads: Params, state: Any, lr: Rate, betas: Any, eps: Any, decay: Any
) -> tuple[Params, AdamState] | None:
    """Take the step; return None where the reference must see to it."""
    rates = lr if isinstance(lr, tuple) else (lr,) * len(params if isinstance(params, tuple) else ())
    if not (_sound_numbers(rates, betas, eps, decay) and _sound_arrays(params, grads, state, rates)):
        return None
    step = state.step + 1
    bias = [-math.expm1(step * math.log(beta)) if beta else 1.0 for beta in betas]
    moved = []
    for p, g, m, v, rate in zip(params, grads, state.first, state.second, rates, strict=True):
        if not eps >= np.finfo(p.dtype).smallest_normal:
            return None
        # subtle: 1 − β is rounded after it is taken, as the reference does; in float32 it would lose four digits
        rest = [1 - beta for beta in betas]
        numbers = np.array([rate, 1 - rate * decay, *betas, *rest, *bias, eps], dtype=p.dtype)
        new = _update(p, g, m, v, numbers)
        if new is None:
            return None
        moved.append(new)
    fields = [rebuild(params, [new[i] for new in moved]) for i in range(3)]
    return fields[0], AdamState(step, fields[1], fields[2])


def _sound_numbers(rates: Any, betas: Any, eps: Any, decay: Any) -> bool:
    """Tell whether every hyper-parameter is a plain number in its range."""
    if not isinstance(betas, tuple) or len(betas) != 2:
        return False
    if not all(type(x) in (int, float) and math.isfinite(x) for x in (*rates, *betas, eps, decay)):
        return False
    return bool(min((*rates, decay, *betas)) >= 0 and max(betas) < 1 and eps > 0)


def _sound_arrays(params: Any, grads: Any, state: Any, rates: tuple[float, ...]) -> bool:
    """Tell whether parameters, gradients and averages are contiguous NumPy arrays that belong together."""
    if not (isinstance(state, AdamState) and type(state.step) is int and state.step >= 0):
        return False
    fields = (params, grads, state.first, state.second)
    if not all(isinstance(field, tuple) and len(field) == len(rates) for field in fields):
        return False
    return all(
        kernels_take(*arrays)
        and len({(x.shape, x.dtype) for x in arrays}) == 1
        and all(x.flags.c_contiguous for x in arrays)
        for arrays in zip(*fields, strict=True)
    )


def _update(p: Array, g: Array, m: Array, v: Array, numbers: Array) -> tuple[Array, Array, Array] | None:
    """Return new parameters and averages; None where a gradient or its square is not finite."""
    new = np.empty_like(p), np.empty_like(p), np.empty_like(p)
    flat = [x.reshape(-1) for x in (p, g, m, v, *new)]
    finite = over_slices(
        lambda start, stop: _adam(numbers, *(x[start:stop] for x in flat)), p.size, least=SMALL
    )
    return new if all(finite) else None


@kernel
def _adam(numbers: Array, p: Array, g: Array, m: Array, v: Array, p1: Array, m1: Array, v1: Array) -> bool:
    """One step for a slice of numbers; tell whether every squared gradient was finite."""
    rate, kept, beta1, beta2, rest1, rest2, bias1, bias2, eps = numbers
    finite = True
    for i in range(p.size):
        square = g[i] * g[i]
        finite &= np.isfinite(square)
        m1[i] = beta1 * m[i] + rest1 * g[i]
        v1[i] = beta2 * v[i] + rest2 * square
        p1[i] = kept * p[i] - rate * ((m1[i] / bias1) / (np.sqrt(v1[i] / bias2) + eps))
    return finite
