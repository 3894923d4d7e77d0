"""Cost: counted along the batch, and measured on this machine with the functions of `lora-np bench`."""

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import streamlit as st

from lora_np.bench.machine import Machine, look
from lora_np.bench.measure import LinearTime, time_linear
from lora_np.cost import crossovers, linear_costs
from lora_np.figures.cost_scene import PHASES, ROWS, cost_scene, floors, seconds
from lora_np.lora import backward, backward_via_weight, forward, forward_via_weight

WIDTHS = [64, 128, 256, 512, 768, 1024]
RANKS = [1, 2, 4, 8, 16, 32, 64]
FORMS = ("frozen", "lora-2", "lora-1", "full")
MOST_FLOPS = 2 * 10**10  # of one step of full fine-tuning: four rounds of all forms stay within a few seconds
CODE = {
    "work": (forward_via_weight, forward),
    "crossing": (crossovers, backward_via_weight, backward),
    "measured": (time_linear,),
}
WORK = """
from lora_np.cost import linear_costs

costs = linear_costs(N, d, k, r, "float32")
variants = ["frozen", "lora-2", "lora-1", "merged", "full"]
numbers = {"variant": variants}
for phase in ("forward", "backward"):
    parts = [getattr(costs[name], phase) for name in variants]
    numbers[f"{phase} FLOPs"] = [part.flops for part in parts]
    numbers[f"{phase} bytes moved"] = [part.bytes_moved for part in parts]
print(numbers)
"""
ALONG = """
from lora_np.cost import linear_costs


def flops(cost):
    return cost.step_flops if phase == "step" else getattr(cost, phase).flops


numbers = {"rows N": [2**i for i in range(15)]}
along = [linear_costs(N, d, k, r, "float32") for N in numbers["rows N"]]
for name in ("lora-2", "lora-1"):
    numbers[f"{name} / frozen"] = [flops(costs[name]) / flops(costs["frozen"]) for costs in along]
print(numbers)
"""
__all__ = [
    "ALONG",
    "CODE",
    "FORMS",
    "PHASES",
    "RANKS",
    "ROWS",
    "WIDTHS",
    "WORK",
    "floors",
    "measurable",
    "measured",
    "scene",
    "seconds",
]

scene = st.cache_data(cost_scene, max_entries=256, show_spinner=False)


@st.cache_resource(show_spinner=False)
def _best_rates() -> dict[str, float]:
    """Remember the best rates seen on this server: on a busy machine a single look shows too little."""
    return {"gemm_gflops": 0.0, "copy_gbytes": 0.0}


def machine() -> Machine:
    """Describe this machine by the best rates seen so far."""
    now, best = look(budget_s=0.3), _best_rates()
    best.update({name: max(rate, getattr(now, name)) for name, rate in best.items()})
    return replace(now, **best)


def measurable(N: int, d: int, k: int, r: int) -> bool:
    """Tell whether a layer is small enough to be timed while somebody waits."""
    return linear_costs(N, d, k, r)["full"].step_flops <= MOST_FLOPS


def measured(
    N: int, d: int, k: int, r: int
) -> Generator[tuple[float, str], None, tuple[dict[str, LinearTime], Machine]]:
    """Time the forms in float32, then this machine's rates; in turns with others, so nobody measures two at once."""
    yield 0.1, "Timing all forms in turns …"
    times = time_linear(N, d, k, r, forms=FORMS, dtype=np.float32, budget_s=0.5)
    yield 0.7, "Measuring this machine's rates …"
    return times, machine()
