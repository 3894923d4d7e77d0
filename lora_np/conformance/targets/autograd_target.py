"""The target "autograd": our forward passes, pulled back by HIPS autograd.  Floor 6.

Forward, merge and unmerge are the reference's.  A gradient here owes nothing to a backward pass of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from lora_np.conformance.targets import layers
from lora_np.conformance.targets.layers import LAYERS
from lora_np.conformance.targets.operations import Tensors
from lora_np.conformance.targets.reference import Reference

UNTRACED = (
    "dora",
    "oft",
    "lora-conv2d",
    "lora-embedding",
    "lora-merged-qkv",
    "houlsby",
    "pfeiffer",
    "prompt-tuning",
)
"""Layers whose forward autograd does not trace: they slice, index or join arrays."""


class Autograd(Reference):
    """Every layer that autograd can trace."""

    name = "autograd"
    options = {**Reference.options, "errors": "none"}  # noqa: RUF012 (read only)

    def __init__(self) -> None:
        super().__init__()
        kept = {
            name: f for name, f in self.table.items() if name.split(".")[1] in ("forward", "merge", "unmerge")
        }
        pulled = {f"{m}.backward": partial(backward, m) for m in LAYERS if m not in UNTRACED}
        self.table = {**kept, **pulled}


def backward(method: str, config: Mapping[str, Any], t: Tensors) -> dict[str, np.ndarray]:
    """Pull gY back through the forward pass of a layer: to X and to every trainable tensor."""
    from autograd import make_vjp

    layer = LAYERS[method]
    trained = layer.params(t, layer.load(config))._fields
    names = ("X", *trained)

    def output(arrays: tuple[Any, ...]) -> Any:
        return layers.forward(method, config, {**t, **dict(zip(names, arrays, strict=True))})[0]

    pull, _ = make_vjp(output)(tuple(t[name] for name in names))
    return {f"g{name}": g for name, g in zip(names, pull(t["gY"]), strict=True)}
