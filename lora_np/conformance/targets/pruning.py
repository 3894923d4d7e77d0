"""Pruning by this package: gradients, importance, schedule, masks and averages, under their capabilities.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lora_np.lora import LoraParams, scaling

Config = Mapping[str, Any]
Tensors = Mapping[str, np.ndarray]


def numbered(t: Tensors, name: str) -> list[np.ndarray]:
    """List the tensors name.0, name.1, ..."""
    return [t[f"{name}.{i}"] for i in range(sum(key.startswith(f"{name}.") for key in t))]


def gradient(config: Config, t: Tensors) -> dict[str, Any]:
    """Make the gradient of the weight in one of three ways."""
    from lora_np.prune import gradients

    if config["gradient"] == "exact":
        return {"G": gradients.exact(t["gY"], t["X"])}
    p = LoraParams(t["B"], t["A"])
    if config["gradient"] == "estimated":
        return {"G": gradients.estimated(p, LoraParams(t["gB"], t["gA"]), lr=config["lr"])}
    before, scale = LoraParams(t["B_before"], t["A_before"]), scaling(config["alpha"], config["rank"])
    return {"G": gradients.from_previous_step(before, p, lr=config["lr"], scale=scale)}


def importance(config: Config, t: Tensors) -> dict[str, Any]:
    """Score groups, neither weight nor gradient ever whole."""
    from lora_np.prune import gradients
    from lora_np.prune.criteria import importance as score
    from lora_np.prune.factored import Adapted
    from lora_np.prune.groups import Groups, Part

    p = LoraParams(t["B"], t["A"])
    G = (
        gradients.exact_product(t["gY"], t["X"])
        if config["gradient"] == "exact"
        else gradients.estimated_product(p, LoraParams(t["gB"], t["gA"]), lr=config["lr"])
    )
    groups = Groups(config["groups"], {"W": Part(t["labels"], config["axis"])})
    W = Adapted(t["W0"], p, scaling(config["alpha"], config["rank"]))
    return {"importance": score(W, G, groups, form=config["form"])}


def released(config: Config, t: Tensors) -> dict[str, Any]:
    """Score as LoRAPrune's program does."""
    from lora_np.prune.groups import Part
    from lora_np.prune.released import module_scores

    p, g = LoraParams(t["B"], t["A"]), LoraParams(t["gB"], t["gA"])
    part, scale = Part(t["labels"], config["axis"]), scaling(config["alpha"], config["rank"])
    return {"scores": module_scores(t["W0"], p, g, part, config["groups"], scale=scale)}


def group_dot(config: Config, t: Tensors) -> dict[str, Any]:
    """Sum gradient times weight over rows or columns, from activations."""
    from lora_np.prune import activations

    if config["axis"] == 1:
        return {"dots": activations.group_dot_columns(t["X"], t["gX"])}
    return {"dots": activations.group_dot(t["gY"], t["Y"], bias=t.get("bias"))}


def schedule(config: Config, _: Tensors) -> dict[str, Any]:
    """Say which share is to be pruned by a step."""
    from lora_np.prune.schedule import cubic

    names = ("total", "final", "initial", "warmup", "cooldown")
    return {"ratio": np.asarray(cubic(config["step"], **{name: config[name] for name in names}))}


def mask(config: Config, t: Tensors) -> dict[str, Any]:
    """Choose the groups that stay."""
    from lora_np.prune import masks

    kept = t["kept"].astype(bool) if "kept" in t else None
    return {"mask": masks.mask(t["scores"], config["ratio"], kept=kept)}


def average(config: Config, t: Tensors) -> dict[str, Any]:
    """Blend scores one after the other, and take the bias of the start out."""
    from lora_np.prune.schedule import debiased, moving_average

    scores, found = numbered(t, "scores"), None
    for one in scores:
        found = moving_average(found, one, decay=config["decay"])
    return {"average": found, "debiased": debiased(found, decay=config["decay"], steps=len(scores))}


PRUNING: dict[str, Callable[[Config, Tensors], Any]] = {
    "prune.gradient": gradient,
    "prune.importance": importance,
    "prune.released": released,
    "prune.group_dot": group_dot,
    "prune.schedule": schedule,
    "prune.mask": mask,
    "prune.average": average,
}
"""Every operation of pruning by its capability."""
