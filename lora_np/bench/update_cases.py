"""The rank-r update, importance in both ways, and a step of Adam.  Floor 6."""

from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.backends import REFERENCE, Backend
from lora_np.bench import peers
from lora_np.bench.machine import Machine
from lora_np.bench.measure import SCALE, extra_bytes, in_turns
from lora_np.bench.row import Row, Target
from lora_np.bench.same import require_same
from lora_np.lora import LoraParams
from lora_np.optim import adam_init
from lora_np.prune import Adapted
from lora_np.prune.gradients import estimated_product
from lora_np.prune.groups import rows


def _draw(*shapes: tuple[int, ...]) -> list[Array]:
    """Draw float32 arrays; the same every time."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def _times(calls: dict[str, Any], budget_s: float) -> dict[str, Any]:
    """Time the contestants that are there, as fields of a row."""
    present = {name: call for name, call in calls.items() if call is not None}
    return {f"{name}_ms": ms for name, ms in in_turns(present, budget_s=budget_s).items()}


def low_rank_update(shape: tuple[int, int, int], backend: Backend, machine: Machine, budget_s: float) -> Row:
    """Time Y += s Z Bᵀ in place.  [lora-2]"""
    N, d, r = shape
    Y, Z, B = _draw((N, d), (N, r), (d, r))
    theirs = peers.torch_update(Y, Z, B)
    results = {
        "numpy": (Y + SCALE * (Z @ B.T),),
        "ours": (backend.add_low_rank(Y.copy(), Z, B, scale=SCALE),),
    }
    if theirs is not None:
        results["torch"] = (theirs().numpy().copy(),)
    require_same(results)
    calls = {
        "ours": lambda: backend.add_low_rank(Y, Z, B, scale=SCALE),
        "numpy": lambda: Y + SCALE * (Z @ B.T),
        "torch": theirs,
    }
    return Row(
        "low-rank-update",
        f"{N}x{d} r{r}",
        **_times(calls, budget_s),
        floor_ms=machine.floor_ms(2 * N * d * r, 8 * N * d),
        extra_bytes=extra_bytes(calls["ours"]),  # type: ignore[arg-type]
        threads=machine.kernel_threads,
        targets=(Target("numpy", "ours", 3.0, at_most=False),),
        bound="one read and one write of Y",
        words="Y += s Z Bᵀ, in place; NumPy written plainly",
    )


def importance_exact(shape: tuple[int, int, int], backend: Backend, machine: Machine, budget_s: float) -> Row:
    """Time the importance of rows with the exact gradient, against forming it.  [prune-group-dot] [prune-exact]"""
    N, d, k = shape
    gY, X, W = _draw((N, d), (N, k), (d, k))
    W /= np.float32(k**0.5)
    Y = X @ W.T
    calls = {
        "ours": lambda: backend.group_dot(gY, Y) ** 2,
        "numpy": lambda: ((gY.T @ X) * W).sum(axis=1) ** 2,
        "torch": peers.torch_exact(gY, X, W),
    }
    require_same({name: (call(),) for name, call in calls.items() if call is not None})
    return Row(
        "importance-exact",
        f"{N}x{d}x{k}",
        **_times(calls, budget_s),
        floor_ms=machine.floor_ms(2 * N * d, 8 * N * d),
        extra_bytes=extra_bytes(calls["ours"]),  # type: ignore[arg-type]
        threads=machine.kernel_threads,
        targets=(Target("numpy", "ours", 20.0, at_most=False),),
        bound="one read of gY and of Y",
        words="(Σ G W)² of rows read off activations; theirs form G",
    )


def importance_estimated(
    shape: tuple[int, int, int], backend: Backend, machine: Machine, budget_s: float
) -> Row:
    """Time the importance of rows by LoRAPrune's estimate, against forming it.  [prune-estimate]"""
    d, k, r = shape
    W0, B, A, gB, gA = _draw((d, k), (d, r), (r, k), (d, r), (r, k))
    p, g, groups = LoraParams(B, A), LoraParams(gB, gA), rows(d)

    def score(chosen: Backend) -> Array:
        return chosen.importance(Adapted(W0, p, SCALE), estimated_product(p, g), groups, form="sum-squared")

    calls = {
        "ours": lambda: score(backend),
        "numpy": lambda: score(REFERENCE),
        "torch": peers.torch_estimated(W0, p, g),
    }
    require_same({name: (call(),) for name, call in calls.items() if call is not None})
    return Row(
        "importance-estimated",
        f"{d}x{k} r{r}",
        **_times(calls, budget_s),
        floor_ms=machine.floor_ms(2 * 3 * r * d * k, 4 * d * k),
        extra_bytes=extra_bytes(calls["ours"]),  # type: ignore[arg-type]
        threads=machine.kernel_threads,
        targets=(Target("torch", "ours", 5.0, at_most=False),),
        bound="3 r products for each weight, at the rate of a compiled loop, not of BLAS; one read of W0",
        words="Σ (Ĝ W)² of rows in one pass; NumPy a tile at a time, torch with Ĝ formed",
    )


def adam(shape: tuple[int], backend: Backend, machine: Machine, budget_s: float) -> Row:
    """Time one step of Adam on as many numbers.  [optim-adam]"""
    p, g = _draw(shape, shape)
    state = adam_init((p,))
    calls = {
        "ours": lambda: backend.adam_step((p,), (g,), state, lr=1e-3),
        "numpy": lambda: REFERENCE.adam_step((p,), (g,), state, lr=1e-3),
        "torch": peers.torch_adam(p, g, 1e-3),
    }
    require_same({name: calls[name]()[0] for name in ("ours", "numpy")})  # type: ignore[misc]
    return Row(
        "adam",
        f"{shape[0]}",
        **_times(calls, budget_s),
        floor_ms=machine.floor_ms(0, 7 * 4 * shape[0]),
        extra_bytes=extra_bytes(calls["ours"]),  # type: ignore[arg-type]
        threads=machine.kernel_threads,
        bound="four arrays read and three written",
        words="one step into new arrays; torch's works in place",
    )
