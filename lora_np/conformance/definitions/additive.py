"""The additive increment: sums in place of products, W0_ij + B_i,(j mod r) + A_(i mod r),j (seed 001).  Floor 6.

In blocks, W0 + B E_k + E_dᵀ A with E = [I_r I_r …]; for r = 1 it is W0_ij + b_i + a_j.  r divides d and k.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, minus, plus, with_bias
from lora_np.conformance.exact.loops import Matrix, dot, total


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """y_i = Σ_j (W0_ij + B_i,(j mod r) + A_(i mod r),j) x_j + b_i, for each row x of X.

    Sums first, each over all of its terms: Σ W0 x, Σ_q B_iq (sum of the x_j with j mod r = q), and Σ A x.
    """
    r, Y = config["rank"], []
    for x in t["X"]:
        sums = [total(x[j] for j in range(q, len(x), r)) for q in range(r)]
        y = [dot(row, x) + (dot(t["B"][i], sums) + dot(t["A"][i % r], x)) for i, row in enumerate(t["W0"])]
        Y.append(with_bias(y, t))
    return {"Y": Y}


def increment(t: Tensors, d: int, k: int, r: int) -> Matrix:
    """B_i,(j mod r) + A_(i mod r),j."""
    return [[t["B"][i][j % r] + t["A"][i % r][j] for j in range(k)] for i in range(d)]


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 + increment."""
    W0 = t["W0"]
    return {"W": plus(W0, increment(t, len(W0), len(W0[0]), config["rank"]))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W − increment."""
    W = t["W"]
    return {"W0": minus(W, increment(t, len(W), len(W[0]), config["rank"]))}


DEFINITION = Definition(
    "additive", trainable=("B", "A"), forward=forward, others={"merge": merge, "unmerge": unmerge}
)
