"""(IA)³, as its paper defines it: activations rescaled by a learned vector.  Floor 6.

Liu et al. 2022 (arXiv 2205.05638), section 3.3: keys and values are multiplied by l, entry by entry, after their
projection; in the feed-forward part l multiplies what enters the second projection.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, with_bias
from lora_np.conformance.exact.loops import times_vector


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = l ⊙ (W0 x + b), or W0 (l ⊙ x) + b in the feed-forward form."""
    if config["feedforward"]:
        return {"Y": [with_bias(times_vector(t["W0"], times(t["l"], x)), t) for x in t["X"]]}
    return {"Y": [times(t["l"], with_bias(times_vector(t["W0"], x), t)) for x in t["X"]]}


def times(l: list[Any], x: list[Any]) -> list[Any]:  # noqa: E741 (the paper's letter)
    """Compute l ⊙ x."""
    return [a * b for a, b in zip(l, x, strict=True)]


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0 diag(l) in the feed-forward form, else diag(l) W0 (and the bias would be l ⊙ b)."""
    if config["feedforward"]:
        return {"W": [times(t["l"], row) for row in t["W0"]]}
    return {"W": [[factor * w for w in row] for factor, row in zip(t["l"], t["W0"], strict=True)]}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W diag(l)⁻¹, or diag(l)⁻¹ W: only where no entry of l is 0."""
    if config["feedforward"]:
        return {"W0": [[w / factor for factor, w in zip(t["l"], row, strict=True)] for row in t["W"]]}
    return {"W0": [[w / factor for w in row] for factor, row in zip(t["l"], t["W"], strict=True)]}


def init(t: Tensors, config: Config) -> dict[str, Any]:
    """Start at l = 1 for each output (feed-forward: input), so that the layer is the frozen one."""
    return {"l": [1 for _ in (t["W0"][0] if config["feedforward"] else t["W0"])]}


DEFINITION = Definition(
    "ia3", trainable=("l",), forward=forward, others={"merge": merge, "unmerge": unmerge, "init": init}
)
