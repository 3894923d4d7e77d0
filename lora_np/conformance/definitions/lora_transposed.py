"""LoRA on a weight stored the other way round, (k, d), as GPT-2's Conv1D does: Y = X W0.  Floor 6.

B and A keep their shapes (d, r) and (r, k); the increment of the stored weight is s (B A)ᵀ.
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
from lora_np.conformance.exact.loops import dot, times_vector, total


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = X W0 + s (X Aᵀ) Bᵀ + b."""
    s = scale(config)
    rows = []
    for x in t["X"]:
        Z = times_vector(t["A"], x)
        y = []
        for o, b in enumerate(t["B"]):
            frozen = total(x_i * w[o] for x_i, w in zip(x, t["W0"], strict=True))
            y.append(frozen + s * dot(b, Z))
        rows.append(with_bias(y, t))
    return {"Y": rows}


def increment(t: Tensors, config: Config) -> Any:
    """Compute s (B A)ᵀ: entry (i, o) is s Σ_q B[o, q] A[q, i]."""
    s = scale(config)
    inputs = range(len(t["A"][0]))
    return [[s * dot(b, (a[i] for a in t["A"])) for b in t["B"]] for i in inputs]


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0 + s (B A)ᵀ."""
    return {"W": plus(t["W0"], increment(t, config))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W − s (B A)ᵀ."""
    return {"W0": minus(t["W"], increment(t, config))}


DEFINITION = Definition(
    "lora-transposed",
    trainable=("B", "A"),
    forward=forward,
    others={"merge": merge, "unmerge": unmerge},
)
