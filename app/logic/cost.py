"""Cost: counted along the batch, and measured on this machine with the functions of `lora-np bench`."""

import threading
from dataclasses import replace

import numpy as np
import streamlit as st

from lora_np.bench.machine import Machine, look
from lora_np.bench.measure import LinearTime, time_linear
from lora_np.cost import linear_costs
from lora_np.figures.cost_scene import PHASES, ROWS, cost_scene, floors, seconds
from lora_np.lora import backward, backward_via_weight, forward, forward_via_weight

WIDTHS = [64, 128, 256, 512, 768, 1024]
RANKS = [1, 2, 4, 8, 16, 32, 64]
FORMS = ("frozen", "lora-2", "lora-1", "full")
MOST_FLOPS = 2 * 10**10  # of one step of full fine-tuning: four rounds of all forms stay within a few seconds
CODE = (forward, forward_via_weight, backward, backward_via_weight, linear_costs)
__all__ = [
    "CODE",
    "FORMS",
    "PHASES",
    "RANKS",
    "ROWS",
    "WIDTHS",
    "floors",
    "measurable",
    "measured",
    "scene",
    "seconds",
]

scene = st.cache_data(cost_scene, max_entries=256, show_spinner=False)
_one_at_a_time = threading.Lock()


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


def measured(N: int, d: int, k: int, r: int) -> tuple[dict[str, LinearTime], Machine]:
    """Time the forms in float32, one visitor at a time: two measurements at once would measure each other."""
    with _one_at_a_time:
        return time_linear(N, d, k, r, forms=FORMS, dtype=np.float32, budget_s=0.5), machine()
