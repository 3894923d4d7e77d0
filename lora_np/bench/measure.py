"""Times and memory of functions, measured so that a busy machine does not decide.  Floor 6.

Contestants take turns, round after round, so that a disturbance of some seconds meets all of them; the fastest round
of each counts, because noise only ever adds.  Read the ratios of one call, not the times.  Nothing here prints.
"""

import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lora_np import checks
from lora_np._typing import Array
from lora_np.backends import Backend, best_backend
from lora_np.errors import ConfigError
from lora_np.lora import LoraParams

FORMS = ("frozen", "lora-2", "lora-1", "full", "merged")
LARGEST_BYTES = 2**30  # of the arrays of one timed layer: beyond it a page would swap, not measure


class LinearTime(NamedTuple):
    """The fastest forward and backward pass of one form of a layer, in milliseconds."""

    forward_ms: float
    backward_ms: float


def in_turns(
    contestants: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 200,
    least: int = 3,
    budget_s: float = 2.0,
) -> dict[str, float]:
    """Time functions in turns; return the fastest call of each, in milliseconds.

    One round that is not counted warms up; then rounds follow until `budget_s` is spent, but `least` of them unless
    they take four times the budget, and never more than `repeats`.  Raises `ConfigError`.

    >>> sorted(in_turns({"sum": lambda: sum(range(9)), "nothing": lambda: None}, budget_s=0.01))
    ['nothing', 'sum']
    """
    checks.require_int("least", least, minimum=1)
    checks.require_int("repeats", repeats, minimum=least)
    checks.require_number("budget_s", budget_s, least=0.0)
    fastest = {name: float("inf") for name in contestants}
    begin = time.perf_counter()
    for function in contestants.values():
        function()
    for turn in range(repeats):
        spent = time.perf_counter() - begin
        if turn and spent >= (budget_s if turn >= least else 4 * budget_s):
            break
        for name, function in contestants.items():
            start = time.perf_counter()
            function()
            fastest[name] = min(fastest[name], time.perf_counter() - start)
    return {name: 1e3 * seconds for name, seconds in fastest.items()}


def extra_bytes(function: Callable[[], object]) -> int:
    """Measure the peak memory of a call beyond what it returns, as far as Python and NumPy allocate it.

    Compiled kernels allocate a few rows besides, which are not seen.

    >>> 8000 <= extra_bytes(lambda: float(np.ones(1000).sum())) < 12000
    True
    """
    function()  # whatever is loaded or compiled at the first call is not the call's own
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = function()
        after, peak = tracemalloc.get_traced_memory()
        del result
        return max(0, peak - max(after, before))
    finally:
        if started:
            tracemalloc.stop()


def time_linear(
    N: int,
    d: int,
    k: int,
    r: int,
    *,
    forms: Sequence[str] = ("frozen", "lora-2", "lora-1"),
    dtype: object = np.float32,
    repeats: int = 50,
    budget_s: float = 1.0,
    backend: Backend | None = None,
) -> dict[str, LinearTime]:
    """Time forward and backward of a (d, k) layer on N rows in several forms, in turns.  [lora-2] [lora-1]

    Forms are those of `cost.linear_costs`: frozen, lora-2, lora-1, full and merged.  Bounded in time as `in_turns`
    is.  `backend` is the best one unless given.  Raises `ConfigError`, also where the arrays would take over 1 GiB.

    >>> sorted(time_linear(8, 4, 4, 2, forms=("lora-2", "lora-1"), budget_s=0.01))
    ['lora-1', 'lora-2']
    """
    for name, value in (("N", N), ("d", d), ("k", k), ("r", r)):
        checks.require_int(name, value, minimum=1)
    for form in forms:
        checks.require_one_of("form", form, FORMS)
    checks.require_float_dtype(dtype)
    size = 2 * (N * (d + k) + d * k) + r * (d + k + N)
    if size * np.dtype(dtype).itemsize > LARGEST_BYTES:  # type: ignore[call-overload]
        raise ConfigError(
            f"a layer with N = {N}, d = {d}, k = {k}, r = {r} takes {size:.1e} numbers: too large to time here",
            fix="make N, d or k smaller",
        )
    passes = layer_passes(layer_arrays(N, d, k, r, dtype), best_backend() if backend is None else backend)
    chosen = {name: run for name, run in passes.items() if name.rpartition(" ")[0] in forms}
    times = in_turns(chosen, repeats=max(3, repeats), budget_s=budget_s)
    return {form: LinearTime(times[f"{form} forward"], times[f"{form} backward"]) for form in forms}


class LayerArrays(NamedTuple):
    """The arrays of a layer and of one batch."""

    X: Array
    W0: Array
    p: LoraParams
    gY: Array  # noqa: N815 (the capital is the matrix)


SCALE = 0.5


def layer_arrays(N: int, d: int, k: int, r: int, dtype: object = np.float32) -> LayerArrays:
    """Draw the arrays of a (d, k) layer with a rank-r adapter, and a batch of N rows; the same every time."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)  # type: ignore[call-overload]

    return LayerArrays(
        draw(N, k), draw(d, k) / k**0.5, LoraParams(draw(d, r), draw(r, k) / k**0.5), draw(N, d)
    )


def layer_passes(arrays: LayerArrays, backend: Backend) -> dict[str, Callable[[], object]]:
    """Name the forward and the backward pass of every form as calls without arguments."""
    X, W0, p, gY = arrays
    Z, W = X @ p.A.T, W0 + SCALE * (p.B @ p.A)
    return {
        "frozen forward": lambda: X @ W0.T,
        "frozen backward": lambda: gY @ W0,
        "lora-2 forward": lambda: backend.forward(X, W0, p, scale=SCALE),
        "lora-2 backward": lambda: backend.backward(gY, X, Z, W0, p, scale=SCALE),
        "lora-1 forward": lambda: backend.forward_via_weight(X, W0, p, scale=SCALE),
        "lora-1 backward": lambda: backend.backward_via_weight(gY, X, W, p, scale=SCALE),
        "full forward": lambda: X @ W0.T,
        "full backward": lambda: (gY @ W0, gY.T @ X),
        "merged forward": lambda: X @ W.T,
        "merged backward": lambda: gY @ W,
    }
