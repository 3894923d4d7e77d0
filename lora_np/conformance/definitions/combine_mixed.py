"""One batch, an adapter for each row: W0 x + s_t B_t (A_t x) + b with t = rows[n], t = -1 for the base alone.  Floor 6.

The operation "mixed" of LoRA: output, and the gradients of the input and of every adapter's factors.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.combine_parts import count
from lora_np.conformance.definitions.definition import Config, Definition, Tensors, backward, with_bias
from lora_np.conformance.definitions.lora import layer
from lora_np.conformance.exact.loops import times_vector


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Apply to each row what belongs to it."""
    Y = []
    for x, at in zip(t["X"], t["rows"], strict=True):
        if at < 0:
            Y.append(with_bias(times_vector(t["W0"], x), t))
        else:
            Y.append(layer(x, config["scales"][at], {**t, "B": t[f"B.{at}"], "A": t[f"A.{at}"]}))
    return {"Y": Y}


def mixed(t: Tensors, config: Config) -> dict[str, Any]:
    """Apply forward, then pull gY back."""
    names = tuple(f"{factor}.{i}" for i in range(count(t)) for factor in "BA")
    return {**forward(t, config), **backward(Definition("lora", names, forward), t, config)}
