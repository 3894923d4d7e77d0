"""Importance, gradients, schedule and masks of pruning beside LoRA (LoRAPrune, arXiv 2305.18403; seed 000).  Floor 6.

The weight in use is W = W0 + s B A with s = alpha / rank, and G is the loss's gradient by it: exact, gYᵀ X, or
LoRAPrune's estimate gB A + B gA − lr gB gA (equations 7 to 10, lr = 1 there), or the last step's change of s B A over
lr.  Labels give each row (axis 0) or column (axis 1) its group; −1 is in none.  `released` is what the authors'
program computes in place of equation 4.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, minus, plus, scaled
from lora_np.conformance.definitions.lora import increment, scale
from lora_np.conformance.exact.functions import absolute, of_kind, sqrt
from lora_np.conformance.exact.linear import signed
from lora_np.conformance.exact.loops import Matrix, dot, each, product, total, transpose

# ---- gradients ----------------------------------------------------------------------------------------------


def exact(t: Tensors) -> Matrix:
    """gYᵀ X: the gradient by the weight in use."""
    return product(transpose(t["gY"]), t["X"])


def estimated(t: Tensors, lr: Any) -> Any:
    """Estimate gB A + B gA − lr gB gA."""
    third = scaled(lr, product(t["gB"], t["gA"]))
    return minus(plus(product(t["gB"], t["A"]), product(t["B"], t["gA"])), third)


def last_step(t: Tensors, config: Config) -> Any:
    """Compute s (B' A' − B A) / lr, with ' the step before."""
    moved = minus(product(t["B_before"], t["A_before"]), product(t["B"], t["A"]))
    return scaled(scale(config) / config["lr"], moved)


def gradient(t: Tensors, config: Config) -> dict[str, Any]:
    """Make the gradient of config["gradient"]: "exact", "estimated" or "last-step"."""
    if config["gradient"] == "exact":
        return {"G": exact(t)}
    return {"G": estimated(t, config["lr"]) if config["gradient"] == "estimated" else last_step(t, config)}


# ---- importance ---------------------------------------------------------------------------------------------


def members(terms: Matrix, labels: list[int], config: Config) -> list[list[Any]]:
    """List the terms of each group."""
    lines = terms if config["axis"] == 0 else transpose(terms)
    found: list[list[Any]] = [[] for _ in range(config["groups"])]
    for line, label in zip(lines, labels, strict=True):
        if label >= 0:
            found[label] += line
    return found


def taylor_terms(t: Tensors, config: Config, G: Matrix) -> Any:
    """G W, weight by weight, with W = W0 + s B A."""
    return each(lambda g, w: g * w, G, plus(t["W0"], increment(scale(config), t)))


FORMS = {
    "dot-squared": lambda terms: total(terms) * total(terms),
    "sum-squared": lambda terms: total(x * x for x in terms),
    "sum-abs": lambda terms: total(absolute(x) for x in terms),
}
"""(Σ G W)² of seed 000, Σ (G W)² of LoRAPrune's equation 4, Σ |G W| of its program."""


def importance(t: Tensors, config: Config) -> dict[str, Any]:
    """Score every group."""
    terms = taylor_terms(t, config, gradient(t, config)["G"])
    return {"importance": [FORMS[config["form"]](group) for group in members(terms, t["labels"], config)]}


def released(t: Tensors, config: Config) -> dict[str, Any]:
    """Score a module's groups by Σ |Ĝ W|, and divide by ‖scores‖ + 1e-8; Ĝ has no s and lr = 1."""
    terms = taylor_terms(t, config, estimated(t, 1))
    scores = [FORMS["sum-abs"](group) for group in members(terms, t["labels"], config)]
    norm = sqrt(total(x * x for x in scores)) + of_kind(1e-8, scores[0])
    return {"scores": [x / norm for x in scores]}


def group_dot(t: Tensors, config: Config) -> dict[str, Any]:
    """Σ_n gY_ni (Y − b)_ni of each row (axis 0), or Σ_n X_nj gX_nj of each column: Σ G W without any G."""
    if config["axis"] == 1:
        return {"dots": [dot(x, g) for x, g in zip(transpose(t["X"]), transpose(t["gX"]), strict=True)]}
    plain = (
        [[y - b for y, b in zip(row, t["bias"], strict=True)] for row in t["Y"]] if "bias" in t else t["Y"]
    )
    return {"dots": [dot(g, y) for g, y in zip(transpose(t["gY"]), transpose(plain), strict=True)]}


# ---- when, and which ----------------------------------------------------------------------------------------


def schedule(t: Tensors, config: Config) -> dict[str, Any]:
    """Compute final + (initial − final)(1 − (t − w T) / (T − (w + c) T))³ between warm-up and cool-down."""
    first, last, steps, at = config["initial"], config["final"], config["total"], config["step"]
    start, stop = config["warmup"] * steps, steps - config["cooldown"] * steps
    if at <= signed(start) or at >= signed(stop):
        return {"ratio": first if at <= signed(start) else last}
    left = 1 - (at - start) / (stop - start)
    return {"ratio": last + (first - last) * (left * left * left)}


def mask(t: Tensors, config: Config) -> dict[str, Any]:
    """1 for kept, 0 for pruned: ⌊ratio · groups⌋ go, those that are gone first, of equal scores the lowest index.

    The ratio is read as the decimal that it prints as.
    """
    scores = t["scores"]
    kept = t.get("kept", [1] * len(scores))
    gone = max(floor(len(scores) * Fraction(str(float(signed(config["ratio"]))))), kept.count(0))
    ranked = sorted(range(len(scores)), key=lambda i: (kept[i], signed(scores[i]), i))
    pruned = set(ranked[:gone])
    return {"mask": [0 if i in pruned else 1 for i in range(len(scores))]}


def average(t: Tensors, config: Config) -> dict[str, Any]:
    """Ḡ ← decay Ḡ + (1 − decay) G from zero over scores.0, scores.1, ...; debiased by 1 − decayⁿ (equation 11)."""
    steps = sum(name.startswith("scores.") for name in t)
    decay = config["decay"]
    found = [(1 - decay) * x for x in t["scores.0"]]
    rest = decay
    for i in range(1, steps):
        found = [decay * a + (1 - decay) * x for a, x in zip(found, t[f"scores.{i}"], strict=True)]
        rest = rest * decay
    return {"average": found, "debiased": [x / (1 - rest) for x in found]}


DEFINITION = Definition(
    "prune",
    trainable=(),
    forward=importance,
    others={
        "importance": importance,
        "gradient": gradient,
        "schedule": schedule,
        "mask": mask,
        "average": average,
        "group_dot": group_dot,
        "released": released,
    },
    inputs=(),
)
