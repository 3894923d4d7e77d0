"""Importance, averages, schedules and masks of pruning, with one thing wrong.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.question import Tensors
from lora_np.conformance.diagnose.steps import Switched, slips

Config = Mapping[str, Any]


def grouped(terms: Array, t: Tensors, c: Config) -> Array:
    """Add the terms of each group; a label below 0 belongs to none."""
    lines = terms.sum(axis=1 - c["axis"])
    labels, total = t["labels"].astype(int), np.zeros(int(c["groups"]))
    for label, value in zip(labels, lines, strict=True):
        if label >= 0:
            total[label] += value
    return total


def importance(
    t: Tensors,
    c: Config,
    *,
    form: str = "",
    base_only: bool = False,
    unscaled: bool = False,
    third: float = 1.0,
    averaged: bool = False,
) -> dict[str, Any]:
    """Score groups by the gradient and the weight in use."""
    s = 1.0 if unscaled else c["alpha"] / c["rank"]
    W = t["W0"] + (0 if base_only else s * t["B"] @ t["A"])
    if c.get("gradient", "exact") == "exact":
        G = t["gY"].T @ t["X"]
    else:
        G = t["gB"] @ t["A"] + t["B"] @ t["gA"] - third * c["lr"] * (t["gB"] @ t["gA"])
    form = form or c["form"]
    terms = {
        "dot-squared": G * W,
        "sum-squared": (G * W) ** 2,
        "sum-abs": np.abs(G * W),
        "magnitude": np.abs(W),
    }[form]
    found = grouped(terms, t, c)
    found = found**2 if form == "dot-squared" else found
    members = np.bincount(t["labels"][t["labels"] >= 0], minlength=len(found))
    return {"importance": found / np.maximum(members, 1) if averaged else found}


def released(
    t: Tensors,
    c: Config,
    *,
    third: float = 1.0,
    normalized: bool = True,
    unscaled: bool = False,
    squared: bool = False,
) -> dict[str, Any]:
    """Score groups as the released program does: absolute values, then divided by the norm of all scores."""
    s = 1.0 if unscaled else c["alpha"] / c["rank"]
    G = t["gB"] @ t["A"] + t["B"] @ t["gA"] - third * (t["gB"] @ t["gA"])
    terms = G * (t["W0"] + s * t["B"] @ t["A"])
    scores = grouped(terms * terms if squared else np.abs(terms), t, c)
    return {"scores": scores / (np.sqrt((scores * scores).sum()) + 1e-8) if normalized else scores}


def average(
    t: Tensors, c: Config, *, swapped: bool = False, first: bool = False, corrected: bool = True
) -> dict[str, Any]:
    """Blend scores, one after the other, into an average that starts at zero."""
    decay = 1 - c["decay"] if swapped else c["decay"]
    scores = [t[f"scores.{i}"] for i in range(sum(name.startswith("scores.") for name in t))]
    found = scores[0] if first else np.zeros(scores[0].shape)
    for score in scores[1:] if first else scores:
        found = decay * found + (1 - decay) * score
    return {"average": found, "debiased": found / (1 - decay ** len(scores)) if corrected else found}


def schedule(
    _t: Tensors, c: Config, *, power: int = 3, clamped: bool = True, cooldown: bool = True
) -> dict[str, Any]:
    """Compute the cubic share to have pruned."""
    start, stop = c["warmup"] * c["total"], c["total"] - (c["cooldown"] * c["total"] if cooldown else 0)
    if clamped and c["step"] <= start:
        return {"ratio": c["initial"]}
    if clamped and c["step"] >= stop:
        return {"ratio": c["final"]}
    left = 1 - (c["step"] - start) / (stop - start)
    return {"ratio": c["final"] + (c["initial"] - c["final"]) * left**power}


def mask(
    t: Tensors, c: Config, *, off: int = 0, inverted: bool = False, largest: bool = False, up: bool = False
) -> dict[str, Any]:
    """Keep the groups with the highest scores; those pruned before stay pruned."""
    scores = np.where(t["kept"] != 0, t["scores"], -np.inf) if "kept" in t else t["scores"]
    share = len(scores) * Fraction(str(float(c["ratio"])))
    count = max(
        (-(-share // 1) if up else share // 1) + off, int((t["kept"] == 0).sum()) if "kept" in t else 0
    )
    order = np.argsort(-scores if largest else scores, kind="stable")
    keep = np.ones(len(scores))
    keep[order[: int(count)]] = 0
    return {"mask": 1 - keep if inverted else keep}


IMPORTANCE: dict[str, Switched] = {"prune.importance": importance}
RELEASED: dict[str, Switched] = {"prune.released": released}
AVERAGE: dict[str, Switched] = {"prune.average": average}
SCHEDULE: dict[str, Switched] = {"prune.schedule": schedule}
MASK: dict[str, Switched] = {"prune.mask": mask}

HYPOTHESES = (
    slips(IMPORTANCE, "MissingScale", "the increment's scale is left out of the weight", unscaled=True),
    slips(IMPORTANCE, "BranchMissing", "the weight is W0 alone", base_only=True),
    slips(IMPORTANCE, "AbsoluteForSquare", "|g w| is added up", form="sum-abs"),
    slips(IMPORTANCE, "SquaresForDot", "squares are added up for a square of the sum", form="sum-squared"),
    slips(IMPORTANCE, "DotForSquares", "the square of a sum for a sum of squares", form="dot-squared"),
    slips(IMPORTANCE, "WeightMissing", "magnitudes alone are scored", form="magnitude"),
    slips(IMPORTANCE, "ThirdTermMissing", "gB gA is not subtracted", third=0.0),
    slips(IMPORTANCE, "SignFlipped", "gB gA is added for subtracted", third=-1.0),
    slips(IMPORTANCE, "MeanForSum", "a group's score is divided by its rows", averaged=True),
    slips(RELEASED, "MissingScale", "the increment's scale is left out of the weight", unscaled=True),
    slips(RELEASED, "NormalizationMissing", "scores are not divided by their norm", normalized=False),
    slips(RELEASED, "SquareForAbsolute", "squares for absolute values", squared=True),
    slips(RELEASED, "ThirdTermMissing", "gB gA is not subtracted", third=0.0),
    slips(RELEASED, "SignFlipped", "gB gA is added for subtracted", third=-1.0),
    slips(AVERAGE, "BetasComplemented", "1 − decay for decay", swapped=True),
    slips(AVERAGE, "AverageRestarted", "the average starts at the first score", first=True),
    slips(AVERAGE, "BiasCorrectionMissing", "the start at zero is not taken out", corrected=False),
    slips(SCHEDULE, "LinearForCubic", "the ratio rises linearly", power=1),
    slips(SCHEDULE, "SquareForCubic", "the ratio rises by a square", power=2),
    slips(SCHEDULE, "CooldownIgnored", "the cubic ends at the last step", cooldown=False),
    slips(SCHEDULE, "ClampMissing", "the cubic goes on outside its window", clamped=False),
    slips(MASK, "MaskInverted", "what is to be pruned is kept", inverted=True),
    slips(MASK, "LeastForMost", "the highest scores are pruned", largest=True),
    slips(MASK, "RoundedUp", "the number to prune is rounded up", up=True),
    slips(MASK, "OffByOne", "one too many is pruned", off=1),
    slips(MASK, "OffByOne", "one too few is pruned", off=-1),
)
