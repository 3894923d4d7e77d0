"""Vectors of the methods that add a product of matrices to the weight.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_np.conformance.vectors.generate.layers import layer_recipes
from lora_np.conformance.vectors.generate.plan import Recipe
from lora_np.conformance.vectors.generate.situations import rank_and_alpha

LAYER = {"X": ("N", "k"), "W0": ("d", "k"), "bias": ("d",)}
FACTORS = {"B": ("d", "r"), "A": ("r", "k")}


def biased(Y: Any, t: Mapping[str, Any]) -> Any:
    """Add the bias where there is one."""
    return Y + t["bias"] if "bias" in t else Y


def lora_recipes(method: str, exponent: float = 1.0) -> list[Recipe]:
    """Make the recipes of a LoRA whose scale is alpha / r**exponent."""

    def delta(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
        return config["alpha"] / config["rank"] ** exponent * (t["B"] @ t["A"])

    return layer_recipes(
        method,
        {**LAYER, **FACTORS},
        rank_and_alpha,
        forward=lambda t, config: biased(t["X"] @ (t["W0"] + delta(t, config)).T, t),
        weight=lambda t, config: t["W0"] + delta(t, config),
        take_out=lambda t, config: t["W"] - delta(t, config),
    )


def recipes() -> list[Recipe]:
    """List this module's files."""
    return [*lora_recipes("lora")]
