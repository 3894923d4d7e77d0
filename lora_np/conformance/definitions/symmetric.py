"""LoRA with both factors away from zero: (W0 − s B0 A0) + s B A, s = alpha / r (seed 001).  Floor 6."""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import (
    Config,
    Definition,
    Tensors,
    minus,
    plus,
    scaled,
    with_bias,
)
from lora_np.conformance.definitions.lora import increment, scale
from lora_np.conformance.exact.loops import product, times_vector


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 x − s B0 (A0 x) + s B (A x) + b, for each row x of X."""
    s, Y = scale(config), []
    for x in t["X"]:
        parts = (
            times_vector(t["W0"], x),
            times_vector(t["B0"], times_vector(t["A0"], x)),
            times_vector(t["B"], times_vector(t["A"], x)),
        )
        Y.append(with_bias([(w - s * u0) + s * u for w, u0, u in zip(*parts, strict=True)], t))
    return {"Y": Y}


def start(t: Tensors, config: Config) -> Any:
    """Multiply out s B0 A0."""
    return scaled(scale(config), product(t["B0"], t["A0"]))


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = (W0 − s B0 A0) + s B A."""
    return {"W": plus(minus(t["W0"], start(t, config)), increment(scale(config), t))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = (W − s B A) + s B0 A0."""
    return {"W0": plus(minus(t["W"], increment(scale(config), t)), start(t, config))}


DEFINITION = Definition(
    "symmetric", trainable=("B", "A"), forward=forward, others={"merge": merge, "unmerge": unmerge}
)
