"""The cost model's peaks against tracemalloc: what NumPy really allocates while the reference runs."""

import gc
import tracemalloc

import numpy as np
import pytest

from lora_np import LoraParams, backward, backward_via_weight, forward, forward_via_weight
from lora_np.cost import REUSE_FROM, linear_costs


def peak_of(run):
    """Bytes allocated at the worst moment of a call, what it returns included; the second of two calls."""
    run()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        kept = run()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    del kept
    return peak


@pytest.fixture(scope="module")
def reuse_from():
    """Whether this build of NumPy reuses temporaries: where it cannot inspect its callers it never does."""
    a, b = np.ones((512, 8)), np.ones((8, 512))
    return REUSE_FROM if peak_of(lambda: 2.0 * (a @ b)) < 1.5 * 512 * 512 * 8 else None


def test_scaling_a_temporary_reuses_it_in_float64_only(reuse_from):
    """Why the model asks for the element type: a Python float does not cast safely to float32.  [cost-peak]"""
    a, b = np.ones((512, 8)), np.ones((8, 512))
    narrow = a.astype(np.float32), b.astype(np.float32)
    assert (peak_of(lambda: 2.0 * (a @ b)) < 1.5 * 512 * 512 * 8) == (reuse_from is not None)
    assert peak_of(lambda: 2.0 * (narrow[0] @ narrow[1])) > 1.5 * 512 * 512 * 4


def calls(N, d, k, r, dtype):
    """The calls that the model describes, by variant and direction."""
    rng = np.random.default_rng(5)

    def array(*shape):
        return rng.normal(size=shape).astype(dtype)

    X, gY, W0 = array(N, k), array(N, d), array(d, k)
    p = LoraParams(array(d, r), array(r, k))
    _, Z = forward(X, W0, p, scale=0.5)
    _, W = forward_via_weight(X, W0, p, scale=0.5)
    return {
        ("frozen", "forward"): lambda: X @ W0.T,
        ("frozen", "backward"): lambda: gY @ W0,
        ("full", "backward"): lambda: (gY.T @ X, gY @ W0),
        ("lora-1", "forward"): lambda: forward_via_weight(X, W0, p, scale=0.5),
        ("lora-1", "backward"): lambda: backward_via_weight(gY, X, W, p, scale=0.5),
        ("lora-2", "forward"): lambda: forward(X, W0, p, scale=0.5),
        ("lora-2", "backward"): lambda: backward(gY, X, Z, W0, p, scale=0.5),
    }


SHAPES = [
    (64, 48, 80, 3),  # every array below the size from which temporaries are reused
    (300, 200, 260, 4),  # some above it
    (512, 768, 768, 8),
    (64, 1024, 512, 16),
    (1500, 256, 192, 8),
    (40, 600, 600, 300),  # a rank so large that gA and gB are the big arrays
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_peak_is_what_tracemalloc_sees(shape, dtype, reuse_from):
    """[cost-peak]: within 4 kB, the small objects of a call, or 1 %."""
    costs = linear_costs(*shape, dtype, reuse_from=reuse_from)
    for (variant, direction), run in calls(*shape, dtype).items():
        model = getattr(costs[variant], direction).peak_bytes
        measured = peak_of(run)
        assert model <= measured <= model + max(4096, 0.01 * model), (variant, direction)


def test_lora_2_allocates_less_than_one_weight():
    """Property 3: d = k = 2048, r = 4; forward and backward stay below d k numbers."""
    N, d, k, r = 64, 2048, 2048, 4
    run = calls(N, d, k, r, np.float32)
    assert peak_of(run["lora-2", "forward"]) < d * k * 4 / 4
    assert peak_of(run["lora-2", "backward"]) < d * k * 4 / 4
    assert peak_of(run["lora-1", "forward"]) >= d * k * 4
    assert peak_of(run["lora-1", "backward"]) >= d * k * 4


def test_what_forward_keeps_for_backward():
    """Z for lora-2, the weight for lora-1, nothing for the frozen layer.  [cost-peak]"""
    costs = linear_costs(10, 6, 5, 2, "float32")
    X, W0 = np.zeros((10, 5), np.float32), np.zeros((6, 5), np.float32)
    p = LoraParams(np.zeros((6, 2), np.float32), np.zeros((2, 5), np.float32))
    assert costs["lora-2"].kept_bytes == forward(X, W0, p, scale=1.0)[1].nbytes
    assert costs["lora-1"].kept_bytes == forward_via_weight(X, W0, p, scale=1.0)[1].nbytes
    assert costs["frozen"].kept_bytes == 0
