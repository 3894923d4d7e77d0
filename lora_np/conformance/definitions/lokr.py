"""LoKr, as its paper defines it: the Kronecker product of a small block and a large one.  Floor 6.

Yeh et al. 2023 (LyCORIS, arXiv 2309.14859), section 3.2: ΔW = s C ⊗ D, where D may itself be a product B A of low
rank.  (C ⊗ D)[i₁ d₂ + i₂, j₁ k₂ + j₂] = C[i₁, j₁] D[i₂, j₂].
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import (
    Config,
    Definition,
    Tensors,
    minus,
    plus,
    with_bias,
)
from lora_np.conformance.definitions.lora import scale
from lora_np.conformance.exact.loops import Matrix, product, times_vector


def kronecker(C: Matrix, D: Matrix) -> Matrix:
    """C ⊗ D: the large block D, once for each entry of C.

    >>> kronecker([[1, 2]], [[3], [4]])
    [[3, 6], [4, 8]]
    """
    return [[c * e for c in row_of_C for e in row_of_D] for row_of_C in C for row_of_D in D]


def increment(t: Tensors, config: Config) -> Any:
    """Compute s C ⊗ D, with D = B A where it is factored."""
    s = scale(config)
    D = product(t["B"], t["A"]) if config["second"] == "factored" else t["D"]
    return [[s * entry for entry in row] for row in kronecker(t["C"], D)]


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = X (W0 + ΔW)ᵀ + b."""
    W = plus(t["W0"], increment(t, config))
    return {"Y": [with_bias(times_vector(W, x), t) for x in t["X"]]}


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0 + ΔW."""
    return {"W": plus(t["W0"], increment(t, config))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W − ΔW."""
    return {"W0": minus(t["W"], increment(t, config))}


DEFINITION = Definition(
    "lokr",
    trainable=("C", "D", "B", "A"),
    forward=forward,
    others={"merge": merge, "unmerge": unmerge},
)
