"""VeRA: W0 + diag(b) B diag(d) A, only the vectors trained (Kopiczko et al. 2023, arXiv 2310.11454).  Floor 6.

The paper's b is lambda_b here and its d is lambda_d, PEFT's names.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, minus, plus, with_bias
from lora_np.conformance.exact.loops import product, times_vector


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 x + lambda_b ∘ (B (lambda_d ∘ (A x))) + b, for each row x of X."""
    Y = []
    for x in t["X"]:
        inner = [c * z for c, z in zip(t["lambda_d"], times_vector(t["A"], x), strict=True)]
        outer = [c * u for c, u in zip(t["lambda_b"], times_vector(t["B"], inner), strict=True)]
        Y.append(with_bias([w + u for w, u in zip(times_vector(t["W0"], x), outer, strict=True)], t))
    return {"Y": Y}


def increment(t: Tensors) -> Any:
    """diag(lambda_b) B diag(lambda_d) A."""
    left = [
        [b * x * d for x, d in zip(row, t["lambda_d"], strict=True)]
        for b, row in zip(t["lambda_b"], t["B"], strict=True)
    ]
    return product(left, t["A"])


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0 + diag(lambda_b) B diag(lambda_d) A."""
    return {"W": plus(t["W0"], increment(t))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W − diag(lambda_b) B diag(lambda_d) A."""
    return {"W0": minus(t["W"], increment(t))}


DEFINITION = Definition(
    "vera", trainable=("lambda_b", "lambda_d"), forward=forward, others={"merge": merge, "unmerge": unmerge}
)
