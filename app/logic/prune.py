"""LoRAPrune: the shipped network cut by any criterion, the shipped curves, and a run while somebody watches."""

import functools
import threading
from collections.abc import Iterator

import streamlit as st

from lora_np import prune
from lora_np.errors import DatasetError
from lora_np.figures.prune_scene import (
    PruneRun,
    PruneScene,
    forward_times,
    prune_live,
    prune_scene,
    shipped_run,
)
from lora_np.training import CRITERIA, SHIFTS
from lora_np.training.experiments.base import SHIFT
from lora_np.training.experiments.records import Record, shipped_records, summary
from lora_np.training.loop import State
from lora_np.training.pruning import mask_units, physically_shrunk
from lora_np.training.scores import (
    by_estimate,
    by_gradient_dot,
    by_gradient_squares,
    by_magnitude,
    by_released,
    by_removal,
)

NAMES = ["estimate", "gradient-dot", "gradient-squares", "released", "magnitude", "random", "removal"]
LAYERS = {"first": 0, "second": 1}
ADAPTED_FOR = [100, 1000]
STEPS = 250  # of a live run: 250 batches of 64 digits, as in the shipped experiments
SOURCES = {
    "estimate": by_estimate,
    "gradient-dot": by_gradient_dot,
    "gradient-squares": by_gradient_squares,
    "released": by_released,
    "magnitude": by_magnitude,
    "removal": by_removal,
}
CODE = (prune.mask, mask_units, physically_shrunk)
_one_at_a_time = threading.Lock()


@functools.cache  # not Streamlit's: it is also read before anybody comes
def run() -> PruneRun:
    """Read the shipped network once per server; nobody writes into it."""
    return shipped_run()


@st.cache_resource(max_entries=128, show_spinner=False)
def scene(criterion: str, ratio: float) -> PruneScene:
    """Cut it by a criterion."""
    return prune_scene(run(), criterion, ratio)


@st.cache_data(show_spinner=False)
def curves(adapted_for: int) -> list[Record]:
    """Summarize the shipped runs over seeds; empty where they are missing."""
    try:
        records = [row for row in shipped_records("prune at once") if row["adapted_for"] == adapted_for]
    except DatasetError:
        return []
    return summary(records, by=["criterion", "ratio"])


def shift() -> str:
    """Say what became of the digits."""
    return SHIFTS[SHIFT].words


def words(criterion: str) -> str:
    """Say what a criterion ranks by."""
    return CRITERIA[criterion].words


def live(criterion: str, ratio: float) -> Iterator[State]:
    """Prune while adapting, one visitor at a time."""
    with _one_at_a_time:
        yield from prune_live(run(), criterion, ratio, steps=STEPS)


def times(criterion: str, ratio: float) -> tuple[float, float]:
    """Measure masked against physically smaller."""
    with _one_at_a_time:
        return forward_times(scene(criterion, ratio), run().task)
