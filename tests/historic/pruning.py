"""Importance, averages, schedules and masks of pruning, as they have been wrong or differ from their equations."""

from fractions import Fraction

import numpy as np

from tests.historic import right
from tests.historic.seeding import bug


def weight(c, t):
    """The weight in use."""
    return t["W0"] + right.scale(c) * t["B"] @ t["A"]


def gradient(c, t, third=1.0):
    """The exact gradient, or LoRAPrune's estimate of it."""
    if c["gradient"] == "exact":
        return t["gY"].T @ t["X"]
    return t["gB"] @ t["A"] + t["B"] @ t["gA"] - third * c["lr"] * t["gB"] @ t["gA"]


def groups(c, t, terms):
    """The sum of each group's terms."""
    lines = terms.sum(axis=1 - c["axis"])
    return np.array([lines[t["labels"] == g].sum() for g in range(c["groups"])], dtype=terms.dtype)


@bug("aim-uofa/LoRAPrune 4da5272 utils.py 77, absolute values", "prune.importance", "AbsoluteForSquare")
def absolute_values_for_squares(c, t):
    return groups(c, t, np.abs(gradient(c, t) * weight(c, t)))


@bug("aim-uofa/LoRAPrune 4da5272, the squared sum of seed 000", "prune.importance", "SquaresForDot")
def squares_for_the_square_of_a_sum(c, t):
    return groups(c, t, (gradient(c, t) * weight(c, t)) ** 2)


@bug("no report: the frozen weight is scored", "prune.importance", "BranchMissing")
def increment_not_in_the_score(c, t):
    found = groups(c, t, terms_of(c, gradient(c, t) * t["W0"]))
    return found**2 if c["form"] == "dot-squared" else found


def terms_of(c, product):
    """What the form adds up."""
    return {"dot-squared": product, "sum-squared": product**2, "sum-abs": np.abs(product)}[c["form"]]


@bug("no report: the module norm left out", "prune.released", "NormalizationMissing")
def scores_not_normalized(c, t):
    G = t["gB"] @ t["A"] + t["B"] @ t["gA"] - t["gB"] @ t["gA"]
    return groups(c, t, np.abs(G * weight(c, t)))


@bug(
    "aim-uofa/LoRAPrune 4da5272 utils.py 57, no correction of the start",
    "prune.average",
    "BiasCorrectionMissing",
)
def average_not_debiased(c, t):
    found = 0 * t["scores.0"]
    for i in range(len(t)):
        found = c["decay"] * found + (1 - c["decay"]) * t[f"scores.{i}"]
    return {"average": found, "debiased": found}


@bug("no report: decay on the wrong side", "prune.average", "BetasComplemented")
def decay_on_the_new_score(c, t):
    decay, found = 1 - c["decay"], 0 * t["scores.0"]
    for i in range(len(t)):
        found = decay * found + (1 - decay) * t[f"scores.{i}"]
    return {"average": found, "debiased": found / (1 - decay ** len(t))}


@bug("no report: a line for the cubic", "prune.schedule", "LinearForCubic")
def ratio_rises_linearly(c, t):
    start, stop = c["warmup"] * c["total"], c["total"] - c["cooldown"] * c["total"]
    if c["step"] <= start or c["step"] >= stop:
        return np.float64(c["initial"] if c["step"] <= start else c["final"])
    return np.float64(c["initial"] + (c["final"] - c["initial"]) * (c["step"] - start) / (stop - start))


@bug("aim-uofa/LoRAPrune 4da5272, ratio < target: one step short", "prune.mask", "OffByOne")
def one_group_too_few(c, t):
    scores = np.where(t["kept"] != 0, t["scores"], -np.inf) if "kept" in t else t["scores"]
    count = int(len(scores) * Fraction(str(float(c["ratio"])))) - 1
    count = max(count, int((t["kept"] == 0).sum()) if "kept" in t else 0)
    mask = np.ones(len(scores), dtype=np.int64)
    mask[np.argsort(scores, kind="stable")[:count]] = 0
    return mask
