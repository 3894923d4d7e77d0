"""AdaLoRA: W0 + scale P diag(lam) Q, and its budget of ranks (Zhang et al. 2023, arXiv 2303.10512).  Floor 6.

Sections 3.1 (the layer and its penalty), 3.2 (importance) and 3.3 (schedule).  The paper prints the schedule with
t_f in the numerator too, which at its start would be above the initial budget; as in the authors' code it runs from
1 to 0 here.
Of equal scores the earlier layer's and the earlier triple's is kept, so that exactly the budget is.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from lora_np.conformance.definitions.definition import (
    Config,
    Definition,
    Tensors,
    minus,
    plus,
    scaled,
    with_bias,
)
from lora_np.conformance.exact.functions import absolute
from lora_np.conformance.exact.linear import signed
from lora_np.conformance.exact.loops import Matrix, each, flat, product, times_vector, total, transpose
from lora_np.conformance.exact.tape import Taped, gradients

TENSORS = ("P", "lam", "Q")


# ---- the layer ----------------------------------------------------------------------------------------------


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 x + scale P (lam ∘ (Q x)) + b, for each row x of X."""
    Y = []
    for x in t["X"]:
        inner = [c * z for c, z in zip(t["lam"], times_vector(t["Q"], x), strict=True)]
        adapted = times_vector(t["P"], inner)
        frozen = times_vector(t["W0"], x)
        Y.append(with_bias([w + config["scale"] * u for w, u in zip(frozen, adapted, strict=True)], t))
    return {"Y": Y}


def increment(t: Tensors, config: Config) -> Any:
    """Scale times P diag(lam) Q."""
    left = [[p * c for p, c in zip(row, t["lam"], strict=True)] for row in t["P"]]
    return scaled(config["scale"], product(left, t["Q"]))


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0 + scale P diag(lam) Q."""
    return {"W": plus(t["W0"], increment(t, config))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W − scale P diag(lam) Q."""
    return {"W0": minus(t["W"], increment(t, config))}


# ---- the penalty --------------------------------------------------------------------------------------------


def penalty(t: Tensors, config: Config) -> dict[str, Any]:
    """‖PᵀP − I‖² + ‖QQᵀ − I‖², and its gradients by P and Q."""
    P, Q = each(Taped, t["P"]), each(Taped, t["Q"])
    value = off_identity(transpose(P)) + off_identity(Q)
    found = gradients([value], [1], [*flat(P), *flat(Q)])
    split, width, breadth = len(flat(P)), len(t["P"][0]), len(t["Q"][0])
    return {
        "penalty": value.value,
        "gP": [found[i : i + width] for i in range(0, split, width)],
        "gQ": [found[i : i + breadth] for i in range(split, len(found), breadth)],
    }


def off_identity(rows: Matrix) -> Any:
    """‖M Mᵀ − I‖² of a matrix M given by its rows."""
    gram = product(rows, transpose(rows))
    return total(
        (x - (1 if i == j else 0)) * (x - (1 if i == j else 0))
        for i, row in enumerate(gram)
        for j, x in enumerate(row)
    )


# ---- the budget ---------------------------------------------------------------------------------------------


def importance(t: Tensors, config: Config) -> dict[str, Any]:
    """Smooth |w g| into mean and spread, and score each triple.

    mean ← beta1 mean + (1 − beta1) |w g|, spread ← beta2 spread + (1 − beta2) ||w g| − mean| with the new
    mean; an entry scores mean times spread, a triple the score of its lam and the averages of those of its column of P
    and row of Q.
    """
    beta1, beta2 = config["beta1"], config["beta2"]
    found: dict[str, Any] = {}
    entry: dict[str, Any] = {}
    for name in TENSORS:
        sensitivity = each(lambda w, g: absolute(w * g), t[name], t[f"g{name}"])
        mean = each(lambda m, i: beta1 * m + (1 - beta1) * i, t[f"mean.{name}"], sensitivity)
        spread = each(
            lambda u, i, m: beta2 * u + (1 - beta2) * absolute(i - m), t[f"spread.{name}"], sensitivity, mean
        )
        found |= {f"mean.{name}": mean, f"spread.{name}": spread}
        entry[name] = each(lambda m, u: m * u, mean, spread)
    columns, rows = transpose(entry["P"]), entry["Q"]
    found["scores"] = [
        lam + total(p) / len(p) + total(q) / len(q)
        for lam, p, q in zip(entry["lam"], columns, rows, strict=True)
    ]
    return found


def schedule(t: Tensors, config: Config) -> dict[str, Any]:
    """Say the budget at a step: `initial` until `warmup`, `final` from `total` − `cooldown`, between them a cubic.

    It is rounded down to a whole number.
    """
    step, start, end = config["step"], config["warmup"], config["total"] - config["cooldown"]
    if step <= start or step >= end:
        return {"budget": config["initial"] if step <= start else config["final"]}
    left = 1 - Fraction(step - start, end - start)
    return {"budget": int(config["final"] + (config["initial"] - config["final"]) * left**3)}


def budget(t: Tensors, config: Config) -> dict[str, Any]:
    """Keep the triples of highest score over all layers: 1 for kept, 0 for masked."""
    layers = sorted((name for name in t if name.startswith("scores.")), key=lambda name: int(name[7:]))
    ranked = sorted(
        (-signed(score), at, i) for at, layer in enumerate(layers) for i, score in enumerate(t[layer])
    )
    kept = {(at, i) for _, at, i in ranked[: config["budget"]]}
    return {
        f"keep.{at}": [1 if (at, i) in kept else 0 for i in range(len(t[layer]))]
        for at, layer in enumerate(layers)
    }


DEFINITION = Definition(
    "adalora",
    trainable=TENSORS,
    forward=forward,
    others={
        "merge": merge,
        "unmerge": unmerge,
        "penalty": penalty,
        "importance": importance,
        "schedule": schedule,
        "budget": budget,
    },
)
