"""LoRA, as its paper defines it: W0 x + (alpha / r) B A x (Hu et al. 2021, arXiv 2106.09685, section 4.1).  Floor 6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lora_np.conformance.definitions.definition import (
    Config,
    Definition,
    Formula,
    Tensors,
    minus,
    plus,
    scaled,
    with_bias,
)
from lora_np.conformance.exact.loops import product, times_vector


def scale(config: Config) -> Any:
    """Divide: s = alpha / r."""
    return config["alpha"] / config["rank"]


def layer(x: list[Any], s: Any, t: Tensors) -> list[Any]:
    """W0 x + s B (A x) + b, for one row x."""
    frozen, adapted = times_vector(t["W0"], x), times_vector(t["B"], times_vector(t["A"], x))
    return with_bias([w + s * u for w, u in zip(frozen, adapted, strict=True)], t)


def increment(s: Any, t: Tensors) -> Any:
    """Multiply out s B A."""
    return scaled(s, product(t["B"], t["A"]))


def scaled_by(scale: Callable[[Config], Any]) -> tuple[Formula, dict[str, Formula]]:
    """Write the formulas of LoRA with the scale that `scale(config)` gives: forward, and merge and unmerge by name."""

    def forward(t: Tensors, config: Config) -> dict[str, Any]:
        """Y = X W0ᵀ + s (X Aᵀ) Bᵀ + b."""
        return {"Y": [layer(x, scale(config), t) for x in t["X"]]}

    def merge(t: Tensors, config: Config) -> dict[str, Any]:
        """W = W0 + s B A."""
        return {"W": plus(t["W0"], increment(scale(config), t))}

    def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
        """W0 = W − s B A."""
        return {"W0": minus(t["W"], increment(scale(config), t))}

    return forward, {"merge": merge, "unmerge": unmerge}


forward, others = scaled_by(scale)
DEFINITION = Definition("lora", trainable=("B", "A"), forward=forward, others=others)
