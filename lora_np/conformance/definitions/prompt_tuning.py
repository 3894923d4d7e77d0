"""Prompt tuning, as its paper defines it: trained rows before those of the text.  Floor 6.

Lester et al. 2021 (arXiv 2104.08691), section 2: [P; X] goes through the frozen model, here one linear layer.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, with_bias
from lora_np.conformance.exact.loops import times_vector


def forward(t: Tensors, _: Config) -> dict[str, Any]:
    """Y = [P; X] W0ᵀ + b, one row for each row of P and then of X."""
    return {"Y": [with_bias(times_vector(t["W0"], x), t) for x in t["P"] + t["X"]]}


DEFINITION = Definition("prompt-tuning", trainable=("P",), forward=forward)
