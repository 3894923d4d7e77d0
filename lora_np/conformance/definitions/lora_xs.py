"""LoRA-XS: W0 + B R A, only R trained (Bałazy et al. 2024, arXiv 2405.17604, section 3).  Floor 6.

The paper writes x W + x A R B, A = U_r Σ_r and B = V_rᵀ for weights to the right of x.  For W0 (d, k) to the left
that is B = U_r and A = Σ_r V_rᵀ, of W0's own decomposition.  Singular vectors have no sign of their own, so `init` is
compared on B A and on the projector B Bᵀ.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, minus, plus, with_bias
from lora_np.conformance.definitions.spectral import part_of
from lora_np.conformance.exact.loops import product, times_vector


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = X W0ᵀ + X Aᵀ Rᵀ Bᵀ + b, row by row W0 x + B (R (A x)) + b."""
    Y = []
    for x in t["X"]:
        adapted = times_vector(t["B"], times_vector(t["R"], times_vector(t["A"], x)))
        Y.append(with_bias([w + u for w, u in zip(times_vector(t["W0"], x), adapted, strict=True)], t))
    return {"Y": Y}


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0 + B R A."""
    return {"W": plus(t["W0"], product(product(t["B"], t["R"]), t["A"]))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W − B R A."""
    return {"W0": minus(t["W"], product(product(t["B"], t["R"]), t["A"]))}


def init(t: Tensors, config: Config) -> dict[str, Any]:
    """B A = U_r Σ_r V_rᵀ and B Bᵀ = U_r U_rᵀ."""
    part = part_of(t["W0"], range(config["rank"]))
    return {"BA": part.product(), "BBt": part.left_gram(0)}


DEFINITION = Definition(
    "lora-xs", trainable=("R",), forward=forward, others={"merge": merge, "unmerge": unmerge, "init": init}
)
