"""Combine by magnitude: the largest entries of each increment w s B A, added (PEFT: magnitude_prune_svd).  Floor 6."""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.combine_parts import added, combination, increments, trimmed
from lora_np.conformance.definitions.definition import Config, Tensors


def combine(t: Tensors, config: Config) -> dict[str, Any]:
    """Trim, then add."""
    return {"delta": added([trimmed(delta, config["density"]) for delta in increments(t, config)])}


DEFINITION = combination("combine-magnitude", combine)
