"""Combine by DARE and TIES: entries dropped at random in place of trimmed, then sign and average as TIES.  Floor 6."""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.combine_dare import dropped
from lora_np.conformance.definitions.combine_parts import agreed, combination
from lora_np.conformance.definitions.definition import Config, Tensors


def combine(t: Tensors, config: Config) -> dict[str, Any]:
    """Drop, rescale, elect, average."""
    return {"delta": agreed(dropped(t, config))}


DEFINITION = combination("combine-dare-ties", combine)
