"""BitFit: W0 x + b, only b trained (Ben Zaken et al. 2021, arXiv 2106.10199, section 3).  Floor 6."""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, with_bias
from lora_np.conformance.exact.loops import times_vector


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 x + b, for each row x of X."""
    return {"Y": [with_bias(times_vector(t["W0"], x), t) for x in t["X"]]}


DEFINITION = Definition("bitfit", trainable=("bias",), forward=forward)
