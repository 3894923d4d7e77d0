"""Combine by concatenation: Σ w s B A, factors side by side, as PEFT's `cat`; the exact sum.  Floor 6."""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.combine_parts import combination, count, shares
from lora_np.conformance.definitions.definition import Config, Tensors
from lora_np.conformance.exact.loops import product


def combine(t: Tensors, config: Config) -> dict[str, Any]:
    """[w₁ s₁ B₁, w₂ s₂ B₂, …] [A₁; A₂; …]."""
    n, c = count(t), shares(config)
    height = len(t["B.0"])
    B = [[c[i] * x for i in range(n) for x in t[f"B.{i}"][row]] for row in range(height)]
    A = [row for i in range(n) for row in t[f"A.{i}"]]
    return {"delta": product(B, A)}


DEFINITION = combination("combine-cat", combine)
