"""The adapter of Pfeiffer et al. 2020 (AdapterFusion, arXiv 2005.00247; MAD-X, arXiv 2005.00052).  Floor 6.

It stands once in a block, after the feed-forward part.  The module is that of Houlsby et al.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.bottleneck import activation, adapter
from lora_np.conformance.definitions.definition import Config, Definition, Tensors


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = H + f(H W_downᵀ + b_down) W_upᵀ + b_up, with the rows H = X."""
    weights = (t[name] for name in ("W_down", "b_down", "W_up", "b_up"))
    return {"Y": adapter(t["X"], *weights, f=activation(config))}


DEFINITION = Definition("pfeiffer", trainable=("W_down", "b_down", "W_up", "b_up"), forward=forward)
