"""Vectors of pruning: gradients, importance in three forms, schedule, masks, averages.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from lora_np.conformance.vectors.format import Tensor
from lora_np.conformance.vectors.generate.inputs import Draws
from lora_np.conformance.vectors.generate.plan import Plan, Recipe
from lora_np.conformance.vectors.generate.situations import ALPHAS, Situation, Sizes, plans, situations

WEIGHT = {"W0": ("d", "k"), "B": ("d", "r"), "A": ("r", "k")}
GRADIENTS = {
    "exact": {"gY": ("N", "d"), "X": ("N", "k")},
    "estimated": {"gB": ("d", "r"), "gA": ("r", "k")},
    "last-step": {"B_before": ("d", "r"), "A_before": ("r", "k")},
}
FORMS = ("dot-squared", "sum-squared", "sum-abs")
USUAL = ("MissingScale", "SquaredScale", "Transposed")
RATES = (1.0, 0.3, 0.01)


def listed(**options: Any) -> list[Situation]:
    """List situations whose numbers survive being squared twice."""
    kept = (
        "InputRoundedToBfloat16",
        "Integers",
        "SingleRow",
        "SingleElement",
        "NonContiguous",
        "ReadOnlyInput",
    )
    found = situations(zeros=(), scaled=(), half=False, **options)
    return [one for one in found if not one.flags or set(one.flags) & set(kept)]


# ---- gradients ----------------------------------------------------------------------------------------------


def gradients(kind: str) -> list[Plan]:
    """List the situations of one kind of gradient."""
    factors = {} if kind == "exact" else {"B": ("d", "r"), "A": ("r", "k")}
    rate = {} if kind == "exact" else {"lr": 1.0}

    def config(sizes: Sizes, number: int) -> dict[str, Any]:
        chosen = {name: RATES[number % len(RATES)] for name in rate}
        scale = {"rank": sizes["r"], "alpha": ALPHAS[number % len(ALPHAS)]} if kind == "last-step" else {}
        return {"gradient": kind, **scale, **chosen}

    flags = {"exact": ("Transposed", "MeanForSum"), "estimated": ("ThirdTermMissing", "Transposed")}
    rows = "X" if kind == "exact" else ""
    return plans(
        f"prune/gradient/{kind}",
        {**factors, **GRADIENTS[kind]},
        config,
        listed(rows=rows),
        flags=flags.get(kind, ("MissingScale", "SignFlipped")),
    )


def gradient_road(plan: Plan) -> dict[str, Any]:
    """Compute in float64 arrays."""
    return {"G": gradient_of(plan.arrays(), plan.config)}


def gradient_of(t: Mapping[str, np.ndarray], c: Mapping[str, Any]) -> Any:
    """Multiply the gradient out, term by term."""
    if c["gradient"] == "exact":
        return np.einsum("ni,nj->ij", t["gY"], t["X"])
    if c["gradient"] == "estimated":
        return t["gB"] @ t["A"] + t["B"] @ t["gA"] - c["lr"] * (t["gB"] @ t["gA"])
    return c["alpha"] / c["rank"] / c["lr"] * (t["B_before"] @ t["A_before"] - t["B"] @ t["A"])


# ---- importance ---------------------------------------------------------------------------------------------


def labels_of(draws: Draws, length: int, free: bool) -> Any:
    """Label lines with groups in no order, every group with at least one line; perhaps one line is free."""
    count = max(1, (length + 1) // 2)
    labels = [*range(count), *(draws.below(count) for _ in range(length - count))]
    if free and length > count:
        labels[-1] = -1
    order = sorted(range(length), key=lambda i: (draws.bits(), i))
    return np.array([labels[i] for i in order], dtype=np.int64)


def scored(name: str, config: Mapping[str, Any], shapes: Mapping[str, Any], **options: Any) -> list[Plan]:
    """Draw layers and label their rows, in every second pair of cases their columns."""

    def chosen(sizes: Sizes, number: int) -> dict[str, Any]:
        rate = {"lr": RATES[number % len(RATES)]} if config.get("gradient") == "estimated" else {}
        axis = number % 2
        groups = max(1, (sizes["dk"[axis]] + 1) // 2)
        scale = {"rank": sizes["r"], "alpha": ALPHAS[number % len(ALPHAS)]}
        return {**config, **scale, **rate, "axis": axis, "groups": groups}

    def labelled(arrays: dict[str, np.ndarray], sizes: Sizes, c: dict[str, Any]) -> dict[str, np.ndarray]:
        length = sizes["dk"[c["axis"]]]
        draws = Draws(f"{name}/labels/{c['axis']}/{length}/{c['alpha']}")
        return {**arrays, "labels": labels_of(draws, length, free=c["alpha"] != ALPHAS[0])}

    return plans(
        name,
        shapes,
        chosen,
        listed(**options),
        flags=(*USUAL, "SquareOfSum", "GroupsShifted"),
        adjust=labelled,
    )


def importances() -> list[Plan]:
    """List the three forms with the exact and with the estimated gradient."""
    return [
        plan
        for kind, rows in (("exact", "X"), ("estimated", ""))
        for form in FORMS
        for plan in scored(
            f"prune/importance/{kind}/{form}",
            {"form": form, "gradient": kind},
            {**WEIGHT, **GRADIENTS[kind]},
            rows=rows,
        )
    ]


def sums(plan: Plan, G: np.ndarray, form: str) -> Any:
    """Sum over groups with an indicator matrix."""
    t, c = plan.arrays(), plan.config
    terms = G * (t["W0"] + c["alpha"] / c["rank"] * (t["B"] @ t["A"]))
    of_form: dict[str, Any] = {"sum-squared": np.square, "sum-abs": np.abs, "dot-squared": np.asarray}
    terms = of_form[form](terms)
    member = t["labels"][None, :] == np.arange(c["groups"])[:, None]
    found: np.ndarray = member @ terms.sum(axis=1 - c["axis"])
    return found**2 if form == "dot-squared" else found


def importance_road(plan: Plan) -> dict[str, Any]:
    """Score in float64 arrays."""
    return {"importance": sums(plan, gradient_of(plan.arrays(), plan.config), plan.config["form"])}


def released_road(plan: Plan) -> dict[str, Any]:
    """Score and divide in float64 arrays."""
    G = gradient_of(plan.arrays(), {"gradient": "estimated", "lr": 1.0})
    scores = sums(plan, G, "sum-abs")
    return {"scores": scores / (np.linalg.norm(scores) + 1e-8)}


def releases() -> list[Plan]:
    """List layers for the released score; and one whose norm is so small that the 1e-8 counts."""
    made = scored("prune/released", {}, {**WEIGHT, **GRADIENTS["estimated"]}, rows="")
    small = {name: Tensor(made[0].inputs[name].values * 2.0**-26, "float64") for name in ("gB", "gA")}
    plan = made[0]
    return [
        *made,
        Plan(
            plan.config,
            "float64",
            {**plan.inputs, **small},
            "gradients near 1e-8: the constant counts",
            ("TinyValues",),
        ),
    ]


def dots() -> list[Plan]:
    """List activations: outputs with and without a bias, then inputs."""
    return [
        *plans(
            "prune/group-dot/rows",
            {"gY": ("N", "d"), "Y": ("N", "d"), "bias": ("d",)},
            lambda _sizes, _number: {"axis": 0},
            listed(),
            flags=("MissingBias", "MeanForSum"),
        ),
        *plans(
            "prune/group-dot/columns",
            {"X": ("N", "k"), "gX": ("N", "k")},
            lambda _sizes, _number: {"axis": 1},
            listed(),
            flags=("MeanForSum",),
        ),
    ]


def dots_road(plan: Plan) -> dict[str, Any]:
    """Sum products of arrays over the rows."""
    t = plan.arrays()
    if plan.config["axis"] == 1:
        return {"dots": np.einsum("nj,nj->j", t["X"], t["gX"])}
    return {"dots": np.einsum("ni,ni->i", t["gY"], t["Y"] - t.get("bias", 0.0))}


# ---- schedule -----------------------------------------------------------------------------------------------

SCHEDULES = (
    {"total": 100, "initial": 0.0, "final": 0.5, "warmup": 0.125, "cooldown": 0.25},
    {"total": 312, "initial": 0.0, "final": 0.5, "warmup": 0.1, "cooldown": 0.1},
    {"total": 64, "initial": 0.25, "final": 0.75, "warmup": 0.0, "cooldown": 0.0},
    {"total": 77, "initial": 0.05, "final": 0.2, "warmup": 0.3, "cooldown": 0.05},
)
PARTS = (0.0, 0.05, 0.1, 0.13, 0.2, 0.31, 0.4, 0.5, 0.63, 0.7, 0.8, 0.88, 0.93, 0.97, 1.0)


def schedules() -> list[Plan]:
    """List steps before, within and after the window of four schedules."""
    return [
        Plan(
            {**one, "step": int(part * one["total"])},
            "float64",
            {},
            _where(one, part),
            ("WindowIgnored", *_empty(one, part)),
        )
        for one in SCHEDULES
        for part in PARTS
    ]


def _where(one: Mapping[str, Any], part: float) -> str:
    if int(part * one["total"]) <= one["warmup"] * one["total"]:
        return "warm-up"
    return "within the window" if part < 1 - one["cooldown"] else "cool-down"


def _empty(one: Mapping[str, Any], part: float) -> tuple[str, ...]:
    return ("NothingKept",) if one["initial"] == 0 and _where(one, part) == "warm-up" else ()


def schedule_road(plan: Plan) -> dict[str, Any]:
    """Blend with the share that is left, clipped, expanded as a polynomial."""
    c = plan.config
    window = (1 - c["warmup"] - c["cooldown"]) * c["total"]
    left = np.clip(((1 - c["cooldown"]) * c["total"] - c["step"]) / window, 0.0, 1.0)
    return {"ratio": np.asarray(c["initial"] * left**3 + c["final"] * (1 - left**3))}


# ---- masks --------------------------------------------------------------------------------------------------

RATIOS = (0.0, 0.25, 0.3, 0.5, 0.7, 0.9)


def masks() -> list[Plan]:
    """List scores of 10 and of 7 groups at several ratios, with equal scores, and with groups that are gone."""
    made = []
    for number, (count, kind, earlier) in enumerate(
        ((10, "short", False), (7, "short", True), (10, "integers", False), (10, "integers", True))
    ):
        for at, ratio in enumerate(RATIOS):
            draws = Draws(f"prune/mask/{number}/{at}")
            scores = np.abs(draws.values(kind, (count,)))
            kept = np.array([draws.below(3) > 0 for _ in range(count - 1)] + [True]).astype(np.int64)
            flags = (*(("TiedScores",) if kind == "integers" else ()), *(("PrunedAgain",) if earlier else ()))
            comment = (
                "equal scores: the lowest index goes first" if kind == "integers" else "all scores differ"
            )
            made += [
                Plan(
                    {"ratio": ratio},
                    dtype,
                    {"scores": Tensor(scores, dtype), **({"kept": Tensor(kept, "int64")} if earlier else {})},
                    comment + (", some are gone" if earlier else ""),
                    flags,
                )
                for dtype in ("float64", "float32")
            ]
    return made


def mask_road(plan: Plan) -> dict[str, Any]:
    """Sort arrays, what is gone as minus infinity; count in thousandths."""
    t = plan.arrays()
    kept = t.get("kept", np.ones(len(t["scores"]), dtype=np.int64))
    gone = max(len(kept) * round(plan.config["ratio"] * 1000) // 1000, int((kept == 0).sum()))
    found = np.ones(len(kept))
    found[np.argsort(np.where(kept == 1, t["scores"], -np.inf), kind="stable")[:gone]] = 0
    return {"mask": found}


# ---- averages -----------------------------------------------------------------------------------------------

DECAYS = (0.9, 0.5, 0.99, 0.75)


def averages() -> list[Plan]:
    """List runs of one to six scores."""
    made = []
    for number, steps in enumerate((1, 2, 3, 4, 5, 6, 1, 2, 3, 6)):
        for dtype in ("float64", "float32"):
            draws, kind = Draws(f"prune/average/{number}/{dtype}"), "full" if number > 5 else "short"
            inputs = {
                f"scores.{i}": Tensor(np.abs(draws.values(kind, (4,), dtype)), dtype) for i in range(steps)
            }
            comment = f"{steps} scores" if steps > 1 else "the first score"
            made.append(
                Plan({"decay": DECAYS[number % 4]}, dtype, inputs, comment, ("BiasCorrectionMissing",))
            )
    return made


def average_road(plan: Plan) -> dict[str, Any]:
    """Weigh all scores at once, (1 − decay) decay^(n − 1 − i)."""
    decay, scores = plan.config["decay"], np.stack([one.values for one in plan.inputs.values()])
    weights = (1 - decay) * decay ** np.arange(len(scores) - 1, -1, -1.0)
    found = weights @ scores
    return {"average": found, "debiased": found / (1 - decay ** len(scores))}


def recipes() -> list[Recipe]:
    """List this module's files."""
    arrays = "array formula, in float64"

    def all_gradients() -> list[Plan]:
        return [plan for kind in GRADIENTS for plan in gradients(kind)]

    one = partial(Recipe, "prune")
    return [
        one("gradient", all_gradients, road=gradient_road, road_name=arrays),
        one("importance", importances, road=importance_road, road_name=arrays),
        one("released", releases, road=released_road, road_name=arrays),
        one("group_dot", dots, road=dots_road, road_name=arrays),
        one(
            "schedule", schedules, road=schedule_road, road_name="another form of the polynomial, in float64"
        ),
        one("mask", masks, road=mask_road, road_name="a stable sort of arrays"),
        one("average", averages, road=average_road, road_name="closed form, in float64"),
    ]
