"""Vectors of the steps that belong to a method: LoRA+'s two rates, LoRA-FA's corrected gradient.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lora_np.conformance.vectors.generate.plan import Plan, Recipe
from lora_np.conformance.vectors.generate.situations import Sizes, plans, rank_and_alpha, situations

FACTORS = {"B": ("d", "r"), "A": ("r", "k")}
GRADIENTS = {"gB": ("d", "r"), "gA": ("r", "k")}
MOMENTS = {"mB": ("d", "r"), "mA": ("r", "k"), "vB": ("d", "r"), "vA": ("r", "k")}
RATES = ((0.1, 16.0), (0.125, 5.0), (0.3, 1.0), (0.05, 4.0))
BETAS = ((0.5, 0.75), (0.75, 0.875))


# ---- LoRA+ --------------------------------------------------------------------------------------------------


def rates(sizes: Sizes, number: int) -> dict[str, Any]:
    """Choose rank, alpha, rate and ratio."""
    lr, ratio = RATES[number % len(RATES)]
    return {**rank_and_alpha(sizes, number), "optimizer": "sgd", "lr": lr, "ratio": ratio}


def adam_rates(sizes: Sizes, number: int) -> dict[str, Any]:
    """Choose Adam's numbers as well.

    eps is large enough to be seen.  With betas near 1, 1 − betaᵗ would lose digits, and bounds would be wide.
    """
    beta1, beta2 = BETAS[number % len(BETAS)]
    adam = {"optimizer": "adam", "beta1": beta1, "beta2": beta2, "eps": 0.01, "step": 1 + number % 4}
    return {**rates(sizes, number), **adam}


def plausible(arrays: dict[str, np.ndarray], sizes: Sizes, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Let first moments point where gradients do, so that the step is seen, and second moments be positive."""
    first = {name: np.copysign(arrays[name], arrays[f"g{name[1]}"]) for name in ("mB", "mA")}
    second = {name: np.abs(arrays[name]) for name in ("vB", "vA")}
    return {**arrays, **first, **second}


def steps() -> list[Plan]:
    """List plain steps, then Adam's."""
    listed = situations(zeros=("gB",), rows="", scaled=(), half=False)
    flags = ("RatioOnWrongFactor", "SignFlipped", "FactorsSwapped")
    name = "lora-plus/step"
    return [
        *plans(name, {**FACTORS, **GRADIENTS}, rates, listed, flags=flags),
        *plans(
            f"{name}/adam",
            {**FACTORS, **GRADIENTS, **MOMENTS},
            adam_rates,
            [one for one in listed if "WideRange" not in one.flags],  # Adam's move has one size for all
            flags=flags,
            adjust=plausible,
        ),
    ]


def step_road(plan: Plan) -> dict[str, np.ndarray]:
    """Step in float64 arrays."""
    t, c, found = plan.arrays(), plan.config, {}
    for name, rate in (("B", c["lr"] * c["ratio"]), ("A", c["lr"])):
        move = t[f"g{name}"]
        if c["optimizer"] == "adam":
            first = c["beta1"] * t[f"m{name}"] + (1 - c["beta1"]) * move
            second = c["beta2"] * t[f"v{name}"] + (1 - c["beta2"]) * move**2
            debiased = second / (1 - c["beta2"] ** c["step"])
            move = first / (1 - c["beta1"] ** c["step"]) / (np.sqrt(debiased) + c["eps"])
        found[name] = t[name] - rate * move
    return found


def standing_still(t: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take gradients and first moments away: the step must then be another one."""
    return {name: _zeroed(x) if name[0] in "gm" else x for name, x in t.items()}


def _zeroed(nested: Any) -> Any:
    return [_zeroed(item) for item in nested] if isinstance(nested, list) else nested * 0


# ---- LoRA-FA ------------------------------------------------------------------------------------------------


def damped(sizes: Sizes, number: int) -> dict[str, Any]:
    """Choose rank and alpha, with the released damping."""
    return {**rank_and_alpha(sizes, number), "damping": 1e-8}


def corrections() -> list[Plan]:
    """List the situations in which A Aᵀ can be inverted without losing much."""
    listed = [
        one
        for one in situations(zeros=("gB",), rows="", scaled=("gB",), half=False)
        if not {"RankExceedsShape", "WideRange"} & set(one.flags)
    ]
    flags = ("MissingScale", "SquaredScale", "ScaleInverted", "Transposed")
    made = plans("lora-fa/step", {"gB": ("d", "r"), "A": ("r", "k")}, damped, listed, flags=flags)
    return [plan for plan in made if np.linalg.cond(plan.arrays()["A"]) < 30]


def correction_road(plan: Plan) -> dict[str, np.ndarray]:
    """Correct in float64 arrays, with NumPy's pseudo-inverse."""
    t, c = plan.arrays(), plan.config
    gram = t["A"] @ t["A"].T + c["damping"] * np.eye(len(t["A"]))
    return {"gB": t["gB"] @ np.linalg.pinv(gram) / (c["alpha"] / c["rank"]) ** 2}


def recipes() -> list[Recipe]:
    """List this module's files."""
    arrays = "array formula, in float64"
    return [
        Recipe("lora-plus", "step", steps, road=step_road, road_name=arrays, without=standing_still),
        Recipe("lora-fa", "step", corrections, road=correction_road, road_name=f"{arrays}, with LAPACK"),
    ]
