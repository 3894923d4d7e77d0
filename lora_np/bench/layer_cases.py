"""The LoRA step beside the frozen layer, torch and PEFT; and lora-2 beside lora-1.  Floor 6."""

from typing import Any

import numpy as np

from lora_np.backends import REFERENCE, Backend, packed
from lora_np.bench import peers
from lora_np.bench.machine import Machine
from lora_np.bench.measure import SCALE, LayerArrays, extra_bytes, in_turns, layer_arrays, time_linear
from lora_np.bench.peers import Call
from lora_np.bench.row import Row, Target
from lora_np.bench.same import require_same
from lora_np.cost.linear import linear_costs

Shape = tuple[int, int, int, int]
STEP_SHAPES: tuple[Shape, ...] = (
    (512, 768, 768, 8),
    (1024, 1024, 4096, 8),
    (2048, 2048, 2048, 16),
    (512, 4096, 4096, 64),
)
FORM_SHAPES: tuple[Shape, ...] = ((64, 768, 768, 8), (4096, 256, 256, 8))


def words_of(shape: Shape) -> str:
    """Write a shape as "512x768x768 r8"."""
    N, d, k, r = shape
    return f"{N}x{d}x{k} r{r}"


def lora_step(shape: Shape, backend: Backend, machine: Machine, budget_s: float) -> Row:
    """Time forward and backward of one layer, packed; beside it the backend's own functions.  [lora-packed]"""
    arrays = layer_arrays(*shape)
    calls = {
        "ours": _packed_step(arrays),
        "unpacked": _step(arrays, backend),
        "numpy": _step(arrays, REFERENCE),
        "torch": peers.torch_step(arrays),
        "peft": peers.peft_step(arrays),
    }
    contestants = {name: call for name, call in calls.items() if call is not None}
    require_same({name: call() for name, call in contestants.items()})
    contestants |= {"frozen": _frozen(arrays)}
    bare = peers.torch_frozen(arrays)
    contestants |= {} if bare is None else {"torch_frozen": bare}
    times: dict[str, Any] = in_turns(contestants, budget_s=budget_s)
    costs = linear_costs(*shape, dtype="float32")
    ratio = costs["lora-2"].step_flops / costs["frozen"].step_flops
    return Row(
        "lora-step",
        words_of(shape),
        **{f"{name}_ms": time for name, time in times.items()},
        floor_ms=_floor(shape, machine),
        extra_bytes=extra_bytes(calls["ours"]),  # type: ignore[arg-type]
        threads=machine.blas_threads,
        targets=(
            Target("ours", "frozen", 1.15),
            Target("ours", "peft", 0.8 if shape == STEP_SHAPES[0] else 1.0),
        ),
        bound=_bound(ratio, times),
        words="forward and lora-2 backward of one packed layer",
    )


def _bound(ratio: float, times: dict[str, float]) -> str:
    """Say what keeps a step above the frozen layer, and what gives torch's contestants a head start or a handicap."""
    text = (
        f"by FLOPs {ratio:.3f} of frozen; "
        "four thin products and a copy each of X and gY, bound by memory"
        f"; not packed {times['unpacked'] / times['frozen']:.2f} of frozen"
    )
    if "torch_frozen" in times:
        text += f"; the frozen products alone take torch {times['torch_frozen'] / times['frozen']:.2f} of NumPy's time"
    return text


def _step(arrays: LayerArrays, backend: Backend) -> Call:
    """Make one forward and backward pass of ours: Y, gX, gB, gA."""
    X, W0, p, gY = arrays

    def step() -> object:
        Y, Z = backend.forward(X, W0, p, scale=SCALE)
        gX, g = backend.backward(gY, X, Z, W0, p, scale=SCALE)
        return Y, gX, *g

    return step


def _packed_step(arrays: LayerArrays) -> Call:
    """Make one pass through the packed layer, the factors put in anew as after an optimizer's step."""
    X, W0, p, gY = arrays
    layer = packed.pack(W0, p, scale=SCALE)

    def step() -> object:
        packed.repack(layer, p)
        Y, XZ = packed.forward(X, layer)
        gX, g = packed.backward(gY, XZ, layer)
        return Y, gX, *g

    return step


def _frozen(arrays: LayerArrays) -> Call:
    """Make what the layer costs without an adapter."""
    X, W0, _, gY = arrays
    return lambda: (X @ W0.T, gY @ W0)


def _floor(shape: Shape, machine: Machine) -> float:
    """Bound both passes from below; every array read and written once."""
    N, d, k, r = shape
    flops = 2 * (2 * N * d * k) + 6 * N * r * (d + k)
    numbers = 2 * (N * d + N * k + d * k) + N * k
    return machine.floor_ms(flops, 4 * numbers)


def forms(shape: Shape, backend: Backend, machine: Machine, budget_s: float) -> Row:
    """Time both forms of a step: ours is lora-2; the words say what lora-1 took.  [lora-1] [lora-2]"""
    times = time_linear(*shape, backend=backend, budget_s=budget_s, dtype=np.float32)
    plain = time_linear(*shape, forms=("lora-2",), backend=REFERENCE, budget_s=budget_s / 3, dtype=np.float32)
    one, two = times["lora-1"], times["lora-2"]
    return Row(
        "forms",
        words_of(shape),
        ours_ms=sum(two),
        numpy_ms=sum(plain["lora-2"]),
        frozen_ms=sum(times["frozen"]),
        floor_ms=_floor(shape, machine),
        threads=machine.blas_threads,
        bound="lora-1 takes d k r products in forward and N d k in backward, whatever r is",
        words=f"lora-1 / lora-2: forward {one.forward_ms / two.forward_ms:.2f}, "
        f"backward {one.backward_ms / two.backward_ms:.2f}",
    )
