"""What the room on merging shows of one adapter: merged, taken out and swapped, in four number types.  Floor 6.

Types of 16 bits are followed as a graphics card handles them: what is stored is rounded, sums are made in float32.
NumPy has no bfloat16, so float32 carries such numbers.  Nothing here trains; the adapters ship with the package.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.adapters.rounding import FORMATS, rounded
from lora_np.lora import LoraParams
from lora_np.merging import Merged
from lora_np.nn.activations import activation
from lora_np.nn.dense import Dense
from lora_np.nn.losses import accuracy
from lora_np.nn.network import Network, forward
from lora_np.training.experiments.task_adapters import (
    SHIFTED,
    TaskAdapters,
    shipped_task_adapters,
    task_of,
)
from lora_np.training.tasks import Task

UPRIGHT = "upright"
TASKS = (UPRIGHT, *SHIFTED)
UNITS = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""The number types, and the unit roundoff u of each: the largest relative error of one rounding."""

SWAPS = (1, 2, 4, 8, 16, 32, 64)


@functools.cache
def library() -> TaskAdapters:
    """Read the base and the adapters that ship, once; nobody writes into them."""
    return shipped_task_adapters()


@functools.cache
def tasks() -> Mapping[str, Task]:
    """Make the task of every adapter and, first, the upright digits that the base knows."""
    return {name: task_of(None if name == UPRIGHT else name) for name in TASKS}


# ---- one number type -----------------------------------------------------------------------------------------


def stored(x: Array, dtype: str) -> Array:
    """Round numbers to a type, as storing them does; 16-bit types are carried in float32.

    >>> stored(np.array([1.0, 1.001, 1.01]), "bfloat16")
    array([1.      , 1.      , 1.0078125], dtype=float32)
    """
    checks.require_one_of("dtype", dtype, UNITS)
    return rounded(x, dtype).astype(np.float32) if dtype in FORMATS else np.asarray(x).astype(dtype)


def stored_network(net: Network, dtype: str) -> Network:
    """Store every weight, bias and factor of a network in a type."""
    layers = tuple(Dense(stored(W, dtype), stored(b, dtype)) for W, b in net.layers)
    factors = (None if p is None else LoraParams(*(stored(F, dtype) for F in p)) for p in net.adapters)
    return replace(net, layers=layers, adapters=tuple(factors))


def merge_stored(
    W: Float[Array, "d k"], p: LoraParams, *, scale: float, dtype: str, sign: int = 1
) -> Float[Array, "d k"]:
    """Merge, or with sign -1 unmerge, and store every result in a type.  [lora-merge] [lora-unmerge]

    W ± s (B A), rounded after the product, after the scaling and after the sum.  The arguments are stored already.

    >>> p = LoraParams(B=np.array([[0.001]]), A=np.array([[1.0]]))
    >>> merge_stored(np.ones((1, 1)), p, scale=1.0, dtype="bfloat16")
    array([[1.]], dtype=float32)
    """
    delta = stored(float(scale) * stored(p.B @ p.A, dtype), dtype)
    return stored(W + delta if sign > 0 else W - delta, dtype)


def logits_stored(X: Float[Array, "N k"], net: Network, *, dtype: str) -> Float[Array, "N c"]:
    """Send rows through a stored network, and store every result in the type.  [lora-2]

    Y = X W0ᵀ + s (X Aᵀ) Bᵀ + b, rounded after each product, scaling and sum.
    """
    sigma = activation(net.activation).apply
    H = X = stored(X, dtype)
    for (W, b), p in zip(net.layers, net.adapters, strict=True):
        Y = stored(X @ W.T, dtype)
        if p is not None:
            branch = stored(stored(X @ p.A.T, dtype) @ p.B.T, dtype)
            Y = stored(Y + stored(net.scale * branch, dtype), dtype)
        H = stored(Y + b, dtype)
        X = sigma(H)
    return H


# ---- merging and taking out ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MergedIn:
    """What merging and unmerging one adapter does in one number type.

    `output_error` is max |merged − unmerged| over the logits of the held-out digits and `output_size` the largest
    logit; `weight_error` is max |W0 − W0'| after merging and unmerging, over all layers.  The shares of all weights
    are: `untouched`, which merging does not change, for the increment there is 0 or below half a step of W0;
    `returned`, which unmerging brings back bit for bit; `off`, which it does not.  `answers_changed` counts digits
    that are read otherwise.
    """

    dtype: str
    output_error: float
    output_size: float
    weight_error: float
    untouched: float
    returned: float
    off: float
    answers_changed: int
    digits: int


def merge_scene(adapter: str, *, strength: float = 1.0) -> tuple[MergedIn, ...]:
    """Merge and unmerge an adapter in every number type, on real digits.  [lora-merge] [lora-unmerge]

    `strength` multiplies the trained increment.  Raises `ConfigError`.

    >>> [row.output_error > 0 for row in merge_scene("rotated-45")]
    [True, True, True, True]
    """
    checks.require_one_of("adapter", adapter, SHIFTED)
    checks.require_number("strength", strength)
    net = library().network(adapter)
    net = replace(net, scale=strength * net.scale)
    return tuple(_merged_in(net, tasks()[adapter].X_test, dtype) for dtype in UNITS)


def _merged_in(net: Network, X: Float[Array, "N k"], dtype: str) -> MergedIn:
    """Follow one number type."""
    net = stored_network(net, dtype)
    merged, back = merged_and_back(net, dtype)
    before = [W for W, _ in net.layers]
    apart = logits_stored(X, net, dtype=dtype)
    together = logits_stored(X, with_weights(net, merged), dtype=dtype)
    old, new, again = (np.concatenate([W.ravel() for W in weights]) for weights in (before, merged, back))
    return MergedIn(
        dtype=dtype,
        output_error=float(np.max(np.abs(together - apart))),
        output_size=float(np.max(np.abs(apart))),
        weight_error=float(np.max(np.abs(again - old))),
        untouched=float(np.mean((new == old) & (again == old))),
        returned=float(np.mean((new != old) & (again == old))),
        off=float(np.mean(again != old)),
        answers_changed=int(np.sum(together.argmax(axis=1) != apart.argmax(axis=1))),
        digits=X.shape[0],
    )


def merged_and_back(net: Network, dtype: str) -> tuple[list[Array], list[Array]]:
    """Merge every layer of a stored network, and unmerge it again.  [lora-merge] [lora-unmerge]"""
    merged, back = [], []
    for (W, _), p in zip(net.layers, net.adapters, strict=True):
        if p is not None:
            merged.append(merge_stored(W, p, scale=net.scale, dtype=dtype))
            back.append(merge_stored(merged[-1], p, scale=net.scale, dtype=dtype, sign=-1))
    return merged, back


def remembered(adapter: str, *, strength: float = 1.0) -> bool:
    """Tell whether every bit of W0 comes back where the weight remembers it: `Merged`, in float64.  [lora-unmerge]

    >>> remembered("inverted")
    True
    """
    net = library().network(adapter)
    pairs = [(W, p) for (W, _), p in zip(net.layers, net.adapters, strict=True) if p is not None]
    back = [Merged(W).merge(p, scale=strength * net.scale).unmerge().W for W, p in pairs]
    return all(bool((V == W).all()) for V, (W, _) in zip(back, pairs, strict=True))


def with_weights(net: Network, weights: Sequence[Float[Array, "d k"]]) -> Network:
    """Give a network other weights, without adapters."""
    layers = tuple(Dense(W, b) for W, (_, b) in zip(weights, net.layers, strict=True))
    return replace(net, layers=layers, adapters=())


# ---- swapping ------------------------------------------------------------------------------------------------


def swap_matrix() -> Float[Array, "m n"]:
    """Measure the accuracy of the base and of each adapter (rows) on every task (columns), held out.  [net-lora]

    >>> swap_matrix().shape
    (5, 5)
    """
    nets = [library().base, *(library().network(name) for name in SHIFTED)]
    return np.array([accuracies(net) for net in nets])


def accuracies(net: Network) -> list[float]:
    """Measure a network's accuracy on the held-out digits of every task."""
    return [accuracy(forward(task.X_test, net).logits, task.y_test) for task in tasks().values()]


def swap_drift(*, swaps: Sequence[int] = SWAPS) -> dict[str, list[float]]:
    """Swap merged adapters round and round without the base, and measure how far the weight drifts.  [adapters-swap]

    After n swaps W is compared with the adapter of then merged freshly into W0: max |W − W'| over the first layer,
    which is where the drift is followed.

    >>> len(swap_drift(swaps=[1, 2])["float32"])
    2
    """
    return {dtype: _drift(dtype, swaps) for dtype in UNITS}


def _drift(dtype: str, swaps: Sequence[int]) -> list[float]:
    """Swap in one number type; each swap takes an increment out and puts the next one in, rounded each time."""
    W0 = stored(library().base.layers[0].W, dtype)
    zero, deltas = np.zeros_like(W0), []
    for first, *_ in library().adapters.values():
        p = LoraParams(*(stored(F, dtype) for F in first))
        deltas.append(merge_stored(zero, p, scale=library().scale, dtype=dtype))
    W, found = stored(W0 + deltas[0], dtype), []
    for n in range(1, max(swaps) + 1):
        old, new = deltas[(n - 1) % len(deltas)], deltas[n % len(deltas)]
        W = stored(stored(W - old, dtype) + new, dtype)
        if n in swaps:
            found.append(float(np.max(np.abs(W - stored(W0 + new, dtype)))))
    return found


def numbers_to_move() -> tuple[int, int]:
    """Count the numbers that a swap must move: one adapter's factors, or a whole network's.  [net-lora]

    >>> numbers_to_move()
    (1576, 13098)
    """
    factors = library().adapters[SHIFTED[0]]
    return sum(p.B.size + p.A.size for p in factors), sum(W.size + b.size for W, b in library().base.layers)
