"""Combine by DARE: drop entries, rescale the rest by 1 / density, add (Yu et al. 2023, arXiv 2311.03099).  Floor 6.

What was drawn comes in: keep.0, keep.1, ... are 1 where an entry of the increment w s B A stays.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.combine_parts import added, combination, increments
from lora_np.conformance.definitions.definition import Config, Tensors
from lora_np.conformance.exact.loops import Matrix, each


def dropped(t: Tensors, config: Config) -> list[Matrix]:
    """τ / density where it stays, 0 elsewhere."""
    return [
        each(lambda x, keep: x / config["density"] if keep else 0, delta, t[f"keep.{i}"])
        for i, delta in enumerate(increments(t, config))
    ]


def combine(t: Tensors, config: Config) -> dict[str, Any]:
    """Drop, rescale, add."""
    return {"delta": added(dropped(t, config))}


DEFINITION = combination("combine-dare", combine)
