"""The adapter of Houlsby et al. 2019 (arXiv 1902.00751), section 2.1.  Floor 6.

It stands twice in a block, after the attention and after the feed-forward part, each time on what the sub-layer
returns, before the residual sum and its layer norm.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.bottleneck import activation, adapter
from lora_np.conformance.definitions.definition import Config, Definition, Tensors


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = H + f(H W_downᵀ + b_down) W_upᵀ + b_up, with the rows H = X."""
    weights = (t[name] for name in ("W_down", "b_down", "W_up", "b_up"))
    return {"Y": adapter(t["X"], *weights, f=activation(config))}


DEFINITION = Definition("houlsby", trainable=("W_down", "b_down", "W_up", "b_up"), forward=forward)
