"""Combine by TIES: trim, elect signs, average those who agree (Yadav et al. 2023, arXiv 2306.01708).  Floor 6.

On the weighted increments w s B A, the paper's task vectors; sgn(0) = 0, so an entry without majority is 0.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.combine_parts import agreed, combination, increments, trimmed
from lora_np.conformance.definitions.definition import Config, Tensors


def combine(t: Tensors, config: Config) -> dict[str, Any]:
    """Average the trimmed increments, entry by entry, over those of the elected sign."""
    return {"delta": agreed([trimmed(delta, config["density"]) for delta in increments(t, config)])}


DEFINITION = combination("combine-ties", combine)
