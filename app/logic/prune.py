"""LoRAPrune: the shipped network cut by any criterion, the shipped curves, and a run while somebody watches."""

import functools
import threading
from collections.abc import Callable, Generator
from typing import Any

import streamlit as st

from lora_np.errors import DatasetError
from lora_np.figures.chart import percent
from lora_np.figures.prune_scene import (
    PruneRun,
    PruneScene,
    forward_times,
    prune_live,
    prune_scene,
    shipped_run,
)
from lora_np.prune import mask
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
SOURCES: dict[str, tuple[Callable[..., Any], ...]] = {
    "estimate": (by_estimate,),
    "gradient-dot": (by_gradient_dot,),
    "gradient-squares": (by_gradient_squares,),
    "released": (by_released,),
    "magnitude": (by_magnitude,),
    "random": (),
    "removal": (by_removal,),
}
CODE = {"importance": (mask,), "truth": (by_removal,), "curves": (mask_units, physically_shrunk)}
EQUATIONS = {
    "estimate": ("prune-estimate", "prune-group-sum"),
    "gradient-dot": ("prune-importance", "prune-group-dot"),
    "gradient-squares": ("prune-weightwise", "prune-group-sum"),
    "released": ("prune-released",),
    "magnitude": (),
    "random": (),
    "removal": ("prune-true",),
}
SCENE = """
from lora_np.figures.prune_scene import prune_scene, shipped_run

run = shipped_run()  # a network that ships: pretrained on digits, then adapted by LoRA
scene = prune_scene(run, criterion, ratio)
scores = scene.scores[layer]
"""
IMPORTANCE = f"""
import numpy as np{SCENE}
order = np.argsort(-scores, kind="stable")
kept = ["yes" if stay else "no" for stay in scene.kept[layer][order]]
numbers = {{"unit": order.tolist(), "importance": scores[order].tolist(), "kept": kept}}
print(numbers)
"""
TRUTH = f"""{SCENE}
truth = run.removal[layer]  # the loss measured again without each unit in turn
numbers = {{"importance": scores.tolist(), "true squared change of loss": truth.tolist()}}
print(numbers)
"""
CURVES = """
from lora_np.training.experiments.records import shipped_records, summary

runs = [row for row in shipped_records("prune at once") if row["adapted_for"] == adapted_for]
rows = summary(runs, by=["criterion", "ratio"])
numbers = {name: [row[name] for row in rows] for name in ("ratio", "mean", "low", "high")}
print(numbers)
"""
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


def sizes(layer: int) -> dict[str, tuple[int, ...]]:
    """Look up the sizes of a hidden layer's letters."""
    net = run().seen.net
    p = net.adapters[layer]
    return {"W_0": net.layers[layer].W.shape, "B": p.B.shape, "A": p.A.shape, "r": (p.A.shape[0],)}


def live(criterion: str, ratio: float) -> Generator[tuple[float, str], None, State]:
    """Prune while adapting: how far it got, at every report; at the end the last state."""
    for state in prune_live(run(), criterion, ratio, steps=STEPS):
        yield state.step / STEPS, f"Step {state.step} of {STEPS}: accuracy {percent(state.accuracy)}"
    return state


def times(criterion: str, ratio: float) -> tuple[float, float]:
    """Measure masked against physically smaller."""
    with _one_at_a_time:
        return forward_times(scene(criterion, ratio), run().task)
