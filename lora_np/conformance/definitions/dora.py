"""DoRA, as its paper defines it: a magnitude for each output, a direction from LoRA.  Floor 6.

Liu et al. 2024 (arXiv 2402.09353), eq. 5: W′ = m (W0 + ΔW) / ||W0 + ΔW||_c with ΔW = s B A.  The norm is that of each
output's weights: a column of the paper's matrix, a row of ours (d, k).  Section 4.3 proposes to treat the norm as a
constant in the gradient ("detached"); the true gradient of the formula is "attached".  W alone does not tell how long
the rows of V were, so unmerge needs their lengths.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, minus, plus, with_bias
from lora_np.conformance.definitions.lora import increment, scale
from lora_np.conformance.exact.functions import sqrt
from lora_np.conformance.exact.loops import dot, times_vector
from lora_np.conformance.exact.tape import plain


def norm(row: list[Any]) -> Any:
    """Take the Euclidean norm of a row: √Σ vⱼ²."""
    return sqrt(dot(row, row))


def weight(t: Tensors, config: Config) -> Any:
    """diag(m / ||V||) V with V = W0 + s B A; a detached norm is taken off the tape."""
    rows = []
    for m, v in zip(t["m"], plus(t["W0"], increment(scale(config), t)), strict=True):
        length = norm(v) if config.get("norm") != "detached" else plain(norm(v))
        rows.append([m * v_j / length for v_j in v])
    return rows


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = X Wᵀ + b; the bias is not scaled."""
    W = weight(t, config)
    return {"Y": [with_bias(times_vector(W, x), t) for x in t["X"]]}


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = diag(m / ||V||) V."""
    return {"W": weight(t, config)}


def init(t: Tensors, _: Config) -> dict[str, Any]:
    """Start at m = ||W0||, row by row: with B = 0 the layer starts as the frozen layer did."""
    return {"m": [norm(row) for row in t["W0"]]}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = diag(lengths / m) W − s B A, where t["lengths"] are the ||V|| of the merge."""
    V = [[length / m * w for w in row] for length, m, row in zip(t["lengths"], t["m"], t["W"], strict=True)]
    return {"W0": minus(V, increment(scale(config), t))}


DEFINITION = Definition(
    "dora",
    trainable=("B", "A", "m"),
    forward=forward,
    others={"merge": merge, "unmerge": unmerge, "init": init},
)
