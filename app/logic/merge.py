"""Merging, swapping, combining: the shipped task adapters in four number types, together, and in one batch."""

import numpy as np
import streamlit as st

from lora_np import merging
from lora_np.adapters import (
    combine_cat,
    combine_dare,
    combine_linear,
    combine_magnitude,
    combine_ties,
    forward_mixed,
)
from lora_np.figures import combine_scene as combining
from lora_np.figures import merge_scene as types
from lora_np.figures import mixed_scene as mixing
from lora_np.rank.decomposition import truncate
from lora_np.training import SHIFTS
from lora_np.training.experiments.task_adapters import RANK, SHIFTED

LOOKS = ["merge", "swap", "combine", "mix"]
QUESTIONS = {
    "merge": "one adapter merged into the weight and taken out again, in four number types",
    "swap": "every adapter on every task, and what swapping costs",
    "combine": "several adapters made into one",
    "mix": "one batch whose rows use different adapters",
}
STRENGTHS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
LAYERS = {"first": 0, "second": 1, "last": 2}
METHODS, TASKS, UPRIGHT = combining.METHODS, types.TASKS, types.UPRIGHT
ADAPTERS = SHIFTED
MOST_RANK = 16  # four adapters of rank 4: beyond, svd is the exact sum
MOST_ROWS, SIZES = mixing.MOST_ROWS, list(mixing.LAYERS)
numbers_to_move, remembered = types.numbers_to_move, types.remembered

EQUATIONS = {
    "cat": ("combine-cat",),
    "svd": ("combine-svd",),
    "linear": ("combine-linear", "combine-linear-cross"),
    "ties": ("combine-trim", "combine-ties-elect", "combine-ties"),
    "dare": ("combine-dare",),
    "magnitude": ("combine-trim", "combine-magnitude"),
}
SOURCES = {
    "cat": combine_cat,
    "svd": truncate,
    "linear": combine_linear,
    "ties": combine_ties,
    "dare": combine_dare,
    "magnitude": combine_magnitude,
}
CODE = {
    "output": (types.merge_stored, types.logits_stored),
    "unmerge": (types.merged_and_back, merging.Merged.unmerge),
    "matrix": (types.swap_matrix, types.accuracies),
    "drift": (types.swap_drift,),
    "accuracy": (combining.combined_network,),
    "rows": (mixing.logits_mixed, forward_mixed),
    "costs": (mixing.serving_costs,),
}


# ---- what is drawn -------------------------------------------------------------------------------------------


@st.cache_resource(max_entries=32, show_spinner=False)
def merged(adapter: str, strength: float) -> tuple[types.MergedIn, ...]:
    """Merge and unmerge one adapter in every number type."""
    return types.merge_scene(adapter, strength=strength)


@st.cache_resource(max_entries=1, show_spinner=False)
def matrix() -> np.ndarray:
    """Measure every adapter on every task, once for all."""
    return types.swap_matrix()


@st.cache_resource(max_entries=1, show_spinner=False)
def drift() -> dict[str, list[float]]:
    """Swap without the base, once for all."""
    return types.swap_drift()


@st.cache_resource(max_entries=64, show_spinner=False)
def combined(
    method: str, weights: tuple[float, ...], *, rank: int, density: float, layer: str
) -> combining.CombineScene:
    """Combine the four adapters."""
    return combining.combine_scene(method, weights, rank=rank, density=density, layer=LAYERS[layer])


@st.cache_resource(max_entries=64, show_spinner=False)
def mixed(names: tuple[str, ...], rows: int, *, layers: str) -> mixing.MixedScene:
    """Send one batch through all its adapters; without any name, through the base."""
    return mixing.mixed_scene(names or (UPRIGHT,), rows, layers=layers)


def own(accuracies: np.ndarray) -> list[float]:
    """Read each task's accuracy with its own adapter."""
    return np.diagonal(accuracies).tolist()


def words(task: str) -> str:
    """Say what became of the digits."""
    return SHIFTS[task].words


def layer_shapes(layer: str) -> dict[str, tuple[int, ...]]:
    """Say how large one layer's letters are, for a card."""
    d, k = types.library().base.layers[LAYERS[layer]].W.shape
    return {"W_0": (d, k), "B": (d, RANK), "A": (RANK, k), "r": (RANK,)}


def counts(names: list[str]) -> dict[str, int]:
    """Count the rows of each task."""
    return {name: names.count(name) for name in dict.fromkeys(names)}


def sizes(layers: str) -> tuple[list[tuple[int, int]], int]:
    """Say how large the layers are that costs are counted for, and the adapters' rank."""
    found, rank = mixing.LAYERS[layers]
    return list(found), rank


# ---- what is taken along -------------------------------------------------------------------------------------

_TYPES = """
from dataclasses import replace
import numpy as np
from lora_np.figures import merge_scene as scene

net = scene.library().network(adapter)  # the shipped base, with this task's strips beside it
net = replace(net, scale=strength * net.scale)
"""
OUTPUT = f"""{_TYPES}X = scene.tasks()[adapter].X_test
errors = []
for dtype in scene.UNITS:
    rounded = scene.stored_network(net, dtype)
    merged, _ = scene.merged_and_back(rounded, dtype)
    apart = scene.logits_stored(X, rounded, dtype=dtype)
    together = scene.logits_stored(X, scene.with_weights(rounded, merged), dtype=dtype)
    errors.append(float(np.max(np.abs(together - apart))))
numbers = {{"number type": list(scene.UNITS), "merged against unmerged": errors}}
print(numbers)
"""
UNMERGE = f"""{_TYPES}off, worst = [], []
for dtype in scene.UNITS:
    rounded = scene.stored_network(net, dtype)
    _, back = scene.merged_and_back(rounded, dtype)
    error = np.concatenate([(V - W).ravel() for V, (W, _) in zip(back, rounded.layers)])
    off.append(float(np.mean(error != 0)))
    worst.append(float(np.max(np.abs(error))))
numbers = {{"not quite back": off, "largest error of a weight": worst}}
print(numbers)
"""
MATRIX = """
from lora_np.training import evaluate
from lora_np.training.experiments.task_adapters import SHIFTED, shipped_task_adapters, task_of

shipped = shipped_task_adapters()
models = [shipped.base, *(shipped.network(name) for name in SHIFTED)]
tasks = {"upright": task_of(None)} | {name: task_of(name) for name in SHIFTED}
numbers = {name: [evaluate(net, task)[1] for net in models] for name, task in tasks.items()}
print(numbers)
"""
DRIFT = """
import numpy as np
from lora_np import LoraParams, merge
from lora_np.adapters import LoraAdapter, swap_merged
from lora_np.training.experiments.task_adapters import shipped_task_adapters

shipped, numbers = shipped_task_adapters(), {"swaps": swaps}
for dtype in ("float64", "float32"):
    W0 = shipped.base.layers[0].W.astype(dtype)
    strips = [LoraParams(*(F.astype(dtype) for F in p[0])) for p in shipped.adapters.values()]
    turns = [LoraAdapter(p, shipped.scale) for p in strips]
    W, errors = merge(W0, turns[0].p, scale=shipped.scale), {}
    for n in range(1, max(swaps) + 1):
        old, new = turns[(n - 1) % 4], turns[n % 4]
        W = swap_merged(W, [old], [new])
        errors[n] = float(np.max(np.abs(W - merge(W0, new.p, scale=new.scale))))
    numbers[dtype] = [errors[n] for n in swaps]
print(numbers)
"""
METHODS_ALL = """
import numpy as np
from lora_np import adapters as ad
from lora_np.backends import best_backend
from lora_np.figures.combine_scene import layer_adapters
from lora_np.rank import truncate

four = layer_adapters(layer)  # one for each task, of rank 4
total = ad.total_increment(four, weights=weights)
rng, (d, k) = np.random.default_rng(0), total.shape
keep = [ad.draw_keep(rng, d, k, density=density) for _ in four]
made = {
    "cat": ad.combine_cat(four, weights=weights).delta(),
    "svd": truncate(best_backend().svd(total), min(rank, d, k)).matrix(),
    "linear": ad.combine_linear(four, weights=weights).delta(),
    "ties": ad.combine_ties(four, density=density, weights=weights),
    "dare": ad.combine_dare(four, keep, density=density, weights=weights),
    "magnitude": ad.combine_magnitude(four, density=density, weights=weights),
}
size = np.linalg.norm(total) or 1.0
numbers = {
    "method": list(made),
    "rank": [best_backend().matrix_rank(delta) for delta in made.values()],
    "error": [float(np.linalg.norm(delta - total) / size) for delta in made.values()],
}
print(numbers)
"""
ACCURACY = """
from lora_np.figures.combine_scene import combined_network
from lora_np.figures.merge_scene import tasks
from lora_np.training import evaluate

net = combined_network(method, weights, rank=rank, density=density)
numbers = {"task": list(tasks()), "combined": [evaluate(net, task)[1] for task in tasks().values()]}
print(numbers)
"""
ROWS = """
from lora_np.figures.mixed_scene import drawn, logits_mixed

X, y = drawn(names)  # one held-out digit a row, as its task shows it
logits = logits_mixed(X, [None if name == "upright" else name for name in names])
read = logits.argmax(axis=1) == y
numbers = {"task": names, "read right": ["yes" if right else "no" for right in read]}
print(numbers)
"""
COSTS = """
FLOPs, moved = [0, 0, 0], [0, 0, 0]  # in one mixed pass, in one pass per adapter, merging each in turn
N, own = sum(rows.values()), [n for name, n in rows.items() if name != "upright"]
T, bare = len(own), "upright" in rows
for d, k in sizes:
    r = min(rank, d, k)
    frozen, strips = 2 * N * d * k, sum(2 * n * r * (k + d) + 2 * n * d for n in own)
    merging = 2 * d * r * k + 2 * d * k
    for way, flops in enumerate((frozen + strips, frozen + strips, frozen + T * merging)):
        FLOPs[way] += flops
    for way, weights in enumerate((1, T + bare, 3 * T + bare)):
        moved[way] += weights * d * k + T * r * (d + k)
numbers = {"FLOPs": FLOPs, "weights moved": moved}
print(numbers)
"""
