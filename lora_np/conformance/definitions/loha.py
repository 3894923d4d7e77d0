"""LoHa, as its paper defines it: the entrywise product of two low-rank products.  Floor 6.

Hyeon-Woo et al. 2021 (FedPara, arXiv 2108.06098), proposition 1, and Yeh et al. 2023 (LyCORIS, arXiv 2309.14859),
section 3.2: ΔW = s (B1 A1) ⊙ (B2 A2).
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
from lora_np.conformance.exact.loops import each, product, times_vector


def increment(t: Tensors, config: Config) -> Any:
    """Compute s (B1 A1) ⊙ (B2 A2)."""
    s = scale(config)
    first, second = product(t["B1"], t["A1"]), product(t["B2"], t["A2"])
    return each(lambda a, b: s * (a * b), first, second)


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = X (W0 + ΔW)ᵀ + b."""
    W = plus(t["W0"], increment(t, config))
    return {"Y": [with_bias(times_vector(W, x), t) for x in t["X"]]}


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0 + ΔW."""
    return {"W": plus(t["W0"], increment(t, config))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W − ΔW."""
    return {"W0": minus(t["W"], increment(t, config))}


DEFINITION = Definition(
    "loha",
    trainable=("B1", "A1", "B2", "A2"),
    forward=forward,
    others={"merge": merge, "unmerge": unmerge},
)
