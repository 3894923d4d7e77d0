"""LoRA on a table of embeddings: each token t picks a row.  Floor 6.

The table W0 (V, d) stands for a weight on one-hot inputs, so the row of token t becomes W0[t] + s B A[:, t], with
A (r, V) and B (d, r).  `padding` names a token whose column of A is never trained: it is looked up like any other, but
its gradient is 0 (what torch's `padding_idx` does to the lookup in A).
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, minus, plus
from lora_np.conformance.definitions.lora import scale
from lora_np.conformance.exact.loops import dot
from lora_np.conformance.exact.tape import plain


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y_n = W0[t_n] + s B A[:, t_n]; the padding column of A is taken off the tape."""
    s = scale(config)
    rows = []
    for token in t["X"]:
        column = [a[token] for a in t["A"]]
        if token == config.get("padding"):
            column = [plain(a) for a in column]
        rows.append([e + s * dot(b, column) for e, b in zip(t["W0"][token], t["B"], strict=True)])
    return {"Y": rows}


def increment(t: Tensors, config: Config) -> Any:
    """Compute s (B A)ᵀ: row t is s B A[:, t]."""
    s = scale(config)
    tokens = range(len(t["A"][0]))
    return [[s * dot(b, [a[token] for a in t["A"]]) for b in t["B"]] for token in tokens]


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0 + s (B A)ᵀ, the row of the padding token included."""
    return {"W": plus(t["W0"], increment(t, config))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W − s (B A)ᵀ."""
    return {"W0": minus(t["W"], increment(t, config))}


DEFINITION = Definition(
    "lora-embedding",
    trainable=("B", "A"),
    forward=forward,
    others={"merge": merge, "unmerge": unmerge},
    inputs=(),
)
