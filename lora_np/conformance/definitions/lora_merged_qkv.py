"""LoRA on one weight that holds several, such as q, k and v, each adapted or not.  Floor 6.

W0 (d, k) has n equal parts.  The i-th enabled part has its own factors: rows i r ... (i+1) r of A (n_on r, k), and its
own d / n rows of B (n_on d / n, r).  Parts that are not enabled stay as they are.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import (
    Config,
    Definition,
    Tensors,
    minus,
    plus,
    with_bias,
)
from lora_np.conformance.definitions.lora import scale
from lora_np.conformance.exact.loops import dot, product, times_vector


def parts(t: Tensors, config: Config) -> list[tuple[Any, Any] | None]:
    """List the factors (B_i, A_i) of each part of the weight, None for one that is not enabled."""
    enabled, rank = config["enabled"], config["rank"]
    height = len(t["B"]) // sum(enabled) if any(enabled) else 0
    found: list[tuple[Any, Any] | None] = []
    taken = 0
    for on in enabled:
        if not on:
            found.append(None)
            continue
        found.append(
            (
                t["B"][taken * height : (taken + 1) * height],
                t["A"][taken * rank : (taken + 1) * rank],
            )
        )
        taken += 1
    return found


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = X W0ᵀ + b, and s B_i (A_i x) added to the outputs of each enabled part."""
    s, factors = scale(config), parts(t, config)
    height = len(t["W0"]) // len(factors)
    rows = []
    for x in t["X"]:
        y = times_vector(t["W0"], x)
        for i, pair in enumerate(factors):
            if pair is not None:
                B, A = pair
                Z = times_vector(A, x)
                for row, b in enumerate(B, start=i * height):
                    y[row] = y[row] + s * dot(b, Z)
        rows.append(with_bias(y, t))
    return {"Y": rows}


def increment(t: Tensors, config: Config) -> Any:
    """Compute s B_i A_i in the rows of each enabled part, 0 elsewhere."""
    s, factors = scale(config), parts(t, config)
    weight = t["W0"] if "W0" in t else t["W"]
    height = len(weight) // len(factors)
    rows: list[Any] = []
    for pair in factors:
        if pair is None:
            rows += [[0 for _ in weight[0]] for _ in range(height)]
        else:
            rows += [[s * entry for entry in row] for row in product(*pair)]
    return rows


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0, and s B_i A_i added to the rows of each enabled part."""
    return {"W": plus(t["W0"], increment(t, config))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W, and s B_i A_i taken from the rows of each enabled part."""
    return {"W0": minus(t["W"], increment(t, config))}


DEFINITION = Definition(
    "lora-merged-qkv",
    trainable=("B", "A"),
    forward=forward,
    others={"merge": merge, "unmerge": unmerge},
)
