"""Long runs by this package's optimizers, and parameter counts, under their capabilities.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from lora_np import optim
from lora_np.lora import LoraParams, backward, forward, scaling

Config = Mapping[str, Any]
Tensors = Mapping[str, np.ndarray]

RULES: dict[str, tuple[Any, Any]] = {
    "sgd": (optim.sgd_init, optim.sgd_step),
    "momentum": (optim.momentum_init, optim.momentum_step),
    "adam": (optim.adam_init, optim.adam_step),
    "adamw": (optim.adam_init, optim.adamw_step),
}


def run(rule: str, config: Config, t: Tensors) -> dict[str, Any]:
    """Step over the gradients g.0, g.1, ..., over and over."""
    init, step = RULES[rule]
    keywords = {name: config[name] for name in ("lr", "momentum", "eps", "weight_decay") if name in config}
    if "beta1" in config:
        keywords["betas"] = (config["beta1"], config["beta2"])
    cycle = [t[f"g.{i}"] for i in range(sum(name.startswith("g.") for name in t))]
    params, found = (t["p"],), {}
    state = init(params)
    for n in range(1, config["checkpoints"][-1] + 1):
        params, state = step(params, (cycle[(n - 1) % len(cycle)],), state, **keywords)
        if n in config["checkpoints"]:
            found[f"p.{n}"] = params[0]
    return found


def lora_train(config: Config, t: Tensors) -> dict[str, Any]:
    """Descend with a LoRA layer on half the squared distance from T."""
    p, scale = LoraParams(t["B"], t["A"]), scaling(config["alpha"], config["rank"])
    found: dict[str, Any] = {}
    state = optim.sgd_init(p)
    for n in range(1, config["checkpoints"][-1] + 1):
        Y, Z = forward(t["X"], t["W0"], p, scale=scale)
        _, g = backward(Y - t["T"], t["X"], Z, t["W0"], p, scale=scale)
        p, state = optim.sgd_step(p, g, state, lr=config["lr"])
        if n in config["checkpoints"]:
            found |= {f"B.{n}": p.B, f"A.{n}": p.A}
    return found


def counted(config: Config, _: Tensors) -> dict[str, Any]:
    """Count on a network made of nothing but the matrices that are named, or of its width and its blocks."""
    from lora_np.counts import Architecture, Part, count

    layers = config.get("layers", config.get("copies", 1))
    width = config.get("width", 1)
    shapes = config.get("shapes", [])
    parts = tuple(
        Part(f"block.m{i}.weight", tuple(shape), layers, "matrix", f"m{i}") for i, shape in enumerate(shapes)
    )
    network = Architecture("given", "given", width, layers, 1, 1, width, width, 1, parts, "given")
    options = {name: config[name] for name in ("rank", "block", "prefix", "infix") if name in config}
    if shapes:
        options["targets"] = network.targets
    return {"trainable": np.asarray(count(network, config["of"], **options).trainable)}


TRAINING: dict[str, Callable[[Config, Tensors], Any]] = {
    **{f"{rule}.train": partial(run, rule) for rule in RULES},
    "lora.train": lora_train,
    "count.count": counted,
}
"""Every such operation by its capability."""
