"""How many numbers a method trains, by formula (LoRA paper, section 5.1, and each own).  Floor 6.

config["of"] names the method.  Those beside a matrix take `shapes`, one (d, k) for each matrix, and `rank` (OFT:
`block`); adapters between layers and prefixes take `width`, `layers`, and `rank` or the lengths `prefix` and `infix`.
What is frozen is not counted: A of LoRA-FA, both bases of LoRA-XS, the shared pair of VeRA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors


def nearest_split(n: int) -> tuple[int, int]:
    """Split n = small · large with small ≤ large and as near as they come (LoKr)."""
    small = max(m for m in range(1, n + 1) if n % m == 0 and m * m <= n)
    return small, n // small


def lokr(d: int, k: int, r: int) -> int:
    """Kronecker factors near the roots of d and k; the second is (rows, r) and (r, columns) where 2r < max of both."""
    (rows1, rows2), (columns1, columns2) = nearest_split(d), nearest_split(k)
    second = r * (rows2 + columns2) if 2 * r < max(rows2, columns2) else rows2 * columns2
    return rows1 * columns1 + second


BESIDE: dict[str, Callable[[int, int, int], int]] = {
    "lora": lambda d, k, r: r * (d + k),
    "dora": lambda d, k, r: r * (d + k) + d,
    "adalora": lambda d, k, r: r * (d + k) + r,
    "lora-fa": lambda d, k, r: d * r,
    "lora-xs": lambda d, k, r: r * r,
    "vera": lambda d, k, r: d + r,
    "loha": lambda d, k, r: 2 * r * (d + k),
    "lokr": lokr,
    "oft": lambda d, k, b: k // b * (b * (b - 1) // 2),
}
"""Numbers beside one matrix (d, k)."""

FORMULAS: dict[str, Callable[[Config], int]] = {
    "adapter-h": lambda c: 2 * c["layers"] * bottleneck(c),
    "adapter-l": lambda c: c["layers"] * bottleneck(c) + 2 * c["layers"] * c["width"],
    "adapter-p": lambda c: c["layers"] * bottleneck(c),
    "prefix-embedding": lambda c: c["width"] * (c["prefix"] + c["infix"]),
    "prefix-layer": lambda c: c["layers"] * c["width"] * (c["prefix"] + c["infix"]),
}
"""Numbers in a whole network."""


def bottleneck(c: Config) -> int:
    """W_down (r, d), b_down (r), W_up (d, r), b_up (d)."""
    down, up = c["rank"] * c["width"] + c["rank"], c["width"] * c["rank"] + c["width"]
    return int(down + up)


def count(t: Tensors, config: Config) -> dict[str, Any]:
    """Add up; "copies" says how often each shape occurs."""
    if config["of"] in FORMULAS:
        return {"trainable": FORMULAS[config["of"]](config)}
    beside, r = BESIDE[config["of"]], config["block"] if config["of"] == "oft" else config["rank"]
    return {"trainable": config["copies"] * sum(beside(d, k, r) for d, k in config["shapes"])}


DEFINITION = Definition("count", trainable=(), forward=count, others={"count": count}, inputs=())
