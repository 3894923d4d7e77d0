"""Vectors of AdaLoRA's rules: penalty, importance, schedule, and which triples to keep.  Floor 6."""

from __future__ import annotations

from typing import Any

import numpy as np

from lora_np.conformance.vectors.format import Tensor
from lora_np.conformance.vectors.generate.inputs import Draws
from lora_np.conformance.vectors.generate.plan import Plan, Recipe
from lora_np.conformance.vectors.generate.situations import Sizes, plans, situations

TRIPLES = {"P": ("d", "r"), "lam": ("r",), "Q": ("r", "k")}


# ---- penalty ------------------------------------------------------------------------------------------------


def penalties() -> list[Plan]:
    """List matrices in every situation that has no rows."""
    listed = situations(zeros=("P",), rows="", scaled=())
    shapes = {name: sides for name, sides in TRIPLES.items() if name != "lam"}
    return plans(
        "adalora/penalty", shapes, lambda sizes, number: {"rank": sizes["r"]}, listed, flags=("Transposed",)
    )


def penalty_road(plan: Plan) -> dict[str, Any]:
    """Take value and gradients by autograd."""
    from autograd import numpy as xp
    from autograd import value_and_grad

    def penalty(P: Any, Q: Any) -> Any:
        eye = np.eye(P.shape[1])
        return xp.sum((P.T @ P - eye) ** 2) + xp.sum((Q @ Q.T - eye) ** 2)

    t = plan.arrays()
    value, (gP, gQ) = value_and_grad(penalty, argnum=(0, 1))(t["P"], t["Q"])
    return {"penalty": value, "gP": gP, "gQ": gQ}


# ---- importance ---------------------------------------------------------------------------------------------

BETAS = ((0.85, 0.85), (0.5, 0.75), (0.9, 0.25))


def averages(arrays: dict[str, np.ndarray], sizes: Sizes, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """Averages of absolute values are not negative."""
    return {name: abs(x) if name.startswith(("mean", "spread")) else x for name, x in arrays.items()}


def importances() -> list[Plan]:
    """List layers with weights, gradients, and the averages so far."""
    shapes = {
        f"{kind}{name}": sides for kind in ("", "g", "mean.", "spread.") for name, sides in TRIPLES.items()
    }
    listed = situations(zeros=("mean.P", "glam"), rows="", scaled=(), half=False)
    return plans(
        "adalora/importance",
        shapes,
        lambda sizes, number: dict(
            zip(("rank", "beta1", "beta2"), (sizes["r"], *BETAS[number % len(BETAS)]), strict=True)
        ),
        listed,
        flags=("FactorsSwapped", "MeanForSum"),
        adjust=averages,
    )


def importance_road(plan: Plan) -> dict[str, Any]:
    """Smooth and score in float64 arrays."""
    t, c = plan.arrays(), plan.config
    found: dict[str, Any] = {}
    score: dict[str, Any] = {}
    for name in TRIPLES:
        now = np.abs(t[name] * t[f"g{name}"])
        mean = c["beta1"] * t[f"mean.{name}"] + (1 - c["beta1"]) * now
        spread = c["beta2"] * t[f"spread.{name}"] + (1 - c["beta2"]) * np.abs(now - mean)
        found |= {f"mean.{name}": mean, f"spread.{name}": spread}
        score[name] = mean * spread
    return found | {"scores": score["lam"] + score["P"].mean(axis=0) + score["Q"].mean(axis=1)}


# ---- schedule -----------------------------------------------------------------------------------------------

SCHEDULES = (
    {"total": 100, "initial": 12, "final": 8, "warmup": 10, "cooldown": 30},
    {"total": 50, "initial": 96, "final": 16, "warmup": 0, "cooldown": 0},
    {"total": 77, "initial": 31, "final": 5, "warmup": 7, "cooldown": 13},
)
MOMENTS = (0, 1, 5, 10, 11, 12, 17, 20, 27, 33, 40, 49, 50, 63, 64, 65, 69, 70, 71, 90)


def schedules() -> list[Plan]:
    """List steps before, within and after the window of three schedules."""
    return [
        Plan(
            config={**schedule, "step": step},
            dtype="float64",
            inputs={},
            comment="before the window" if step <= schedule["warmup"] else "within the window or after it",
        )
        for schedule in SCHEDULES
        for step in MOMENTS
        if step <= schedule["total"]
    ]


def schedule_road(plan: Plan) -> dict[str, Any]:
    """Count in whole numbers: ⌊final + (initial − final) left³ / window³⌋."""
    c = plan.config
    window = c["total"] - c["cooldown"] - c["warmup"]
    left = min(max(c["total"] - c["cooldown"] - c["step"], 0), window)
    return {"budget": np.array(c["final"] + (c["initial"] - c["final"]) * left**3 // window**3)}


# ---- which to keep ------------------------------------------------------------------------------------------

LAYERS = ((3, 2), (4,), (2, 3, 1), (5, 5))


def budgets() -> list[Plan]:
    """List scores of several layers and every budget, with equal scores in a third of the cases."""
    made = []
    for number, ranks in enumerate(LAYERS):
        for budget in range(1, sum(ranks) + 1):
            draws, tied = Draws(f"adalora/budget/{number}/{budget}"), budget % 3 == 2
            scores = [np.abs(draws.values("integers" if tied else "short", (rank,))) for rank in ranks]
            nothing = not all(part.any() for part in _kept(scores, budget))
            flags = (*(("TiedScores",) if tied else ()), *(("NothingKept",) if nothing else ()))
            made += [
                Plan(
                    {"budget": budget},
                    dtype,
                    {f"scores.{at}": Tensor(one, dtype) for at, one in enumerate(scores)},
                    "equal scores: the earlier one is kept" if tied else "all scores differ",
                    flags,
                )
                for dtype in ("float64", "float32")
            ]
    return made


def _kept(scores: list[np.ndarray], budget: int) -> list[np.ndarray]:
    """Sort all scores by NumPy's stable sort, and mark the first ones."""
    together = np.concatenate(scores)
    keep = np.zeros(together.size)
    keep[np.argsort(-together, kind="stable")[:budget]] = 1
    return np.split(keep, np.cumsum([len(one) for one in scores])[:-1])


def budget_road(plan: Plan) -> dict[str, Any]:
    """Name the parts."""
    scores = [plan.inputs[f"scores.{at}"].values for at in range(len(plan.inputs))]
    return {f"keep.{at}": part for at, part in enumerate(_kept(scores, plan.config["budget"]))}


def recipes() -> list[Recipe]:
    """List this module's files."""
    arrays = "array formula, in float64"
    return [
        Recipe("adalora", "penalty", penalties, road=penalty_road, road_name="autograd, in float64"),
        Recipe("adalora", "importance", importances, road=importance_road, road_name=arrays),
        Recipe("adalora", "schedule", schedules, road=schedule_road, road_name="whole numbers"),
        Recipe("adalora", "budget", budgets, road=budget_road, road_name="a stable sort of arrays"),
    ]
