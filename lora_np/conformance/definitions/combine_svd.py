"""Combine by truncated SVD: the largest svd_rank singular triples of Σ w s B A, nearest of its rank.  Floor 6.

The bound is that of `spectral`, with the sizes of the sum's entries in place of their values: what cancels in the
sum is known no better than its parts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from lora_np.conformance.definitions.combine_parts import added, combination, increments
from lora_np.conformance.definitions.definition import Config, Tensors
from lora_np.conformance.definitions.spectral import part_of
from lora_np.conformance.exact.loops import each, flat
from lora_np.conformance.exact.number import Exact


def combine(t: Tensors, config: Config) -> dict[str, Any]:
    """Sum, decompose, and put the largest triples together again; on floats, too, in mpmath's precision."""
    total = added(increments(t, config))
    known = each(lambda x: x if isinstance(x, Exact) else Exact.of(x), total)
    part = part_of(known, range(config["svd_rank"]))
    delta = replace(part, norm=math.hypot(*(x.size for x in flat(known)))).product()
    return {"delta": delta if isinstance(flat(total)[0], Exact) else each(lambda x: float(x.value), delta)}


DEFINITION = combination("combine-svd", combine)
