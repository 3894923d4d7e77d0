"""rsLoRA: LoRA scaled by alpha / √r (Kalajdzievski 2023, arXiv 2312.03732, section 3).  Floor 6."""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition
from lora_np.conformance.definitions.lora import scaled_by
from lora_np.conformance.exact.functions import of_kind, sqrt


def scale(config: Config) -> Any:
    """Divide: s = alpha / √r."""
    return config["alpha"] / sqrt(of_kind(config["rank"], config["alpha"]))


forward, others = scaled_by(scale)
DEFINITION = Definition("rslora", trainable=("B", "A"), forward=forward, others=others)
