"""Vectors of long runs: four optimizers over given gradients, and a LoRA layer that learns.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from lora_np.conformance.definitions.optim_lora import train
from lora_np.conformance.vectors.format import Tensor
from lora_np.conformance.vectors.generate.answers import RefusedError
from lora_np.conformance.vectors.generate.inputs import Draws
from lora_np.conformance.vectors.generate.plan import Plan, Recipe

CHECKPOINTS = [1, 10, 100, 1000]
SETTINGS = (
    ("one gradient, over and over", 1, "short", 1.0, "C"),
    ("two gradients in turn", 2, "short", 1.0, "C"),
    ("three gradients in turn", 3, "short", 1.0, "C"),
    ("seven gradients in turn", 7, "short", 1.0, "C"),
    ("every bit of the gradients counts", 5, "full", 1.0, "C"),
    ("gradients over six orders of magnitude", 3, "wide", 1.0, "C"),
    ("gradients near 1e-6, where eps counts", 3, "short", 2.0**-20, "C"),
    ("gradients near 1e3", 2, "short", 2.0**10, "C"),
    ("some gradients are zero", 4, "zeros", 1.0, "C"),
    ("one gradient, then many zeros", 9, "first", 1.0, "C"),
    ("memory order: strided", 3, "short", 1.0, "strided"),
)
RATES = (0.01, 0.125, 0.003)
CONFIGS: dict[str, tuple[dict[str, float], ...]] = {
    "sgd": ({},),
    "momentum": ({"momentum": 0.9}, {"momentum": 0.5}, {"momentum": 0.99}),
    "adam": (
        {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        {"beta1": 0.5, "beta2": 0.75, "eps": 0.01},
        {"beta1": 0.9, "beta2": 0.98, "eps": 1e-6},
    ),
}
CONFIGS["adamw"] = tuple(
    {**one, "weight_decay": decay} for one, decay in zip(CONFIGS["adam"], (0.01, 0.5, 0.1), strict=True)
)
FLAGS = {
    "sgd": ("LongRun", "SignFlipped"),
    "momentum": ("LongRun", "RateInsideVelocity"),
    "adam": ("LongRun", "BiasCorrectionMissing", "EpsInsideRoot"),
    "adamw": ("LongRun", "BiasCorrectionMissing", "EpsInsideRoot", "DecayCoupled"),
}


# ---- optimizers ---------------------------------------------------------------------------------------------


def runs(method: str) -> list[Plan]:
    """List runs over few gradients, in both element types."""
    made = []
    for number, (comment, count, kind, size, memory) in enumerate(SETTINGS):
        config = {"lr": RATES[number % len(RATES)], **CONFIGS[method][number % len(CONFIGS[method])]}
        for dtype in ("float64", "float32"):
            draws, shape = Draws(f"{method}/train/{number}/{dtype}"), ((1, 2), (2,))[number % 2]
            arrays = {"p": draws.values("short", shape, dtype)}
            for i in range(count):
                arrays[f"g.{i}"] = size * gradient(draws, kind, shape, dtype, i)
            made.append(
                Plan(
                    {**config, "checkpoints": CHECKPOINTS},
                    dtype,
                    {name: Tensor(x, dtype, memory) for name, x in arrays.items()},
                    comment,
                    FLAGS[method],
                )
            )
    return made


def gradient(draws: Draws, kind: str, shape: tuple[int, ...], dtype: str, i: int) -> Any:
    """Draw a gradient; of "zeros" about half the entries are 0, of "first" all but the first gradient's."""
    if kind in ("zeros", "first"):
        keep = draws.array(lambda: float(draws.below(2)), shape) if kind == "zeros" else float(i == 0)
        return draws.values("short", shape, dtype) * keep
    return draws.values(kind, shape, dtype)


def run_road(method: str, plan: Plan) -> dict[str, Any]:
    """Step whole arrays in float64."""
    t, c = plan.arrays(), plan.config
    cycle = [t[f"g.{i}"] for i in range(len(t) - 1)]
    p, found = t["p"], {}
    m = v = np.zeros_like(p)
    for step in range(1, CHECKPOINTS[-1] + 1):
        g = cycle[(step - 1) % len(cycle)]
        if method == "sgd":
            p = p - c["lr"] * g
        elif method == "momentum":
            v = c["momentum"] * v + g
            p = p - c["lr"] * v
        else:
            m, v = m + (1 - c["beta1"]) * (g - m), v + (1 - c["beta2"]) * (g * g - v)
            unbiased = np.sqrt(v) / np.sqrt(1 - c["beta2"] ** step)
            rate = c["lr"] / (1 - c["beta1"] ** step)
            p = p * (1 - c["lr"] * c.get("weight_decay", 0.0)) - rate * m / (unbiased + c["eps"])
        if step in CHECKPOINTS:
            found[f"p.{step}"] = p
    return found


# ---- a layer that learns ------------------------------------------------------------------------------------

LAYERS = (
    ("rank 1", {"N": 3, "d": 2, "k": 3, "r": 1}, 1.5, 0.03, "learned"),
    ("rank 2", {"N": 4, "d": 3, "k": 2, "r": 2}, 3.0, 0.03, "learned"),
    ("B starts at zero", {"N": 3, "d": 3, "k": 2, "r": 1}, 0.75, 0.3, "zero"),
    ("B starts at zero, rank 2", {"N": 4, "d": 2, "k": 3, "r": 2}, 5.0, 0.03, "zero"),
    ("a target out of reach", {"N": 4, "d": 2, "k": 3, "r": 1}, 2.0, 0.03, "far"),
    ("fewer rows than columns", {"N": 2, "d": 3, "k": 3, "r": 1}, 0.7, 0.3, "learned"),
)


def lessons() -> list[Plan]:
    """List layers with a target; the rates are such that no step raises the loss, see `lesson_road`."""
    made = []
    for number, (comment, sizes, alpha, lr, kind) in enumerate(LAYERS):
        for dtype in ("float64", "float32"):
            draws, (N, d, k, r) = Draws(f"lora/train/{number}"), sizes.values()
            X, W0 = draws.values("integers", (N, k)) / 4, draws.values("integers", (d, k)) / 2
            B, A = draws.values("short", (d, r)) / 2, draws.values("short", (r, k)) / 2
            goal = draws.values("integers", (d, r)) / 4 @ draws.values("integers", (r, k)) / 2
            far = draws.values("integers", (d, k)) / 4 if kind == "far" else 0.0
            t = {"X": X, "W0": W0, "T": X @ (W0 + goal + far).T, "B": B * (kind != "zero"), "A": A}
            made.append(
                Plan(
                    {"rank": r, "alpha": alpha, "lr": lr, "checkpoints": CHECKPOINTS},
                    dtype,
                    {name: Tensor(x, dtype) for name, x in t.items()},
                    comment,
                    ("LongRun", "MissingScale", "SquaredScale", "FactorsInTurn"),
                )
            )
    return made


def losses(t: Mapping[str, Any], c: Mapping[str, Any], lr: float) -> tuple[list[float], dict[str, Any]]:
    """Descend with autograd's gradients in float64; return every loss, and the factors at the checkpoints."""
    from autograd import numpy as xp
    from autograd import value_and_grad

    def loss(B: Any, A: Any) -> Any:
        return xp.sum((t["X"] @ (t["W0"] + c["alpha"] / c["rank"] * (B @ A)).T - t["T"]) ** 2) / 2

    step_of, (B, A) = value_and_grad(loss, argnum=(0, 1)), (t["B"], t["A"])
    values: list[float] = []
    found: dict[str, Any] = {}
    for step in range(1, CHECKPOINTS[-1] + 1):
        value, (gB, gA) = step_of(B, A)
        values.append(float(value))
        B, A = B - lr * gB, A - lr * gA
        if step in CHECKPOINTS:
            found |= {f"B.{step}": B, f"A.{step}": A}
    return values, found


def lesson_road(plan: Plan) -> dict[str, Any]:
    """Descend in float64, by autograd.  Raises `RefusedError` where a step raises the loss."""
    values, found = losses(plan.arrays(), plan.config, plan.config["lr"])
    if any(later > earlier * (1 + 1e-9) + 1e-20 for earlier, later in pairwise(values)):
        raise RefusedError(f"{plan.comment}: the loss does not contract")
    return found


def recipes() -> list[Recipe]:
    """List this module's files."""
    arrays = "whole arrays in another order, in float64"
    return [
        *(
            Recipe(method, "train", partial(runs, method), road=partial(run_road, method), road_name=arrays)
            for method in CONFIGS
        ),
        Recipe(
            "lora",
            "train",
            lessons,
            road=lesson_road,
            road_name="gradients by autograd, in float64",
            formula=train,
            header="LoRA, trained by gradient descent on half the squared distance of its outputs from a target T.",
        ),
    ]
