"""Combine factor by factor: (Σ √|c| B)(Σ sgn(c) √|c| A) with c = w s, as PEFT's `linear`; not the sum.  Floor 6.

Ranks must be equal.  Beside the sum of the increments it has the cross terms B₁ A₂, B₂ A₁, ....
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.combine_parts import added, combination, shares, sign
from lora_np.conformance.definitions.definition import Config, Tensors, scaled
from lora_np.conformance.exact.functions import absolute, sqrt
from lora_np.conformance.exact.loops import product


def combine(t: Tensors, config: Config) -> dict[str, Any]:
    """Add the factors, each with the root of its share, the sign on A; then multiply."""
    c = shares(config)
    roots = [sqrt(absolute(x)) for x in c]
    B = added([scaled(root, t[f"B.{i}"]) for i, root in enumerate(roots)])
    A = added([scaled(sign(x) * root, t[f"A.{i}"]) for i, (x, root) in enumerate(zip(c, roots, strict=True))])
    return {"delta": product(B, A)}


DEFINITION = combination("combine-linear", combine)
