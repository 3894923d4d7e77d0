"""Prefix tuning, as its paper defines it: trained keys and values before those of the text.  Floor 6.

Li and Liang 2021 (arXiv 2101.00190), section 4.2, for one head and without a mask:
softmax(Q [P_k; K]ᵀ / √dh) [P_v; V].
"""

from __future__ import annotations

import math
from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors
from lora_np.conformance.exact.functions import exp, sqrt
from lora_np.conformance.exact.loops import dot, flat, times_vector, total, transpose
from lora_np.conformance.exact.number import Exact
from lora_np.conformance.exact.tape import plain


def softmax(scores: list[Any]) -> list[Any]:
    """exp(xᵢ) / Σ exp(xⱼ); the largest score is subtracted first, as a constant, which changes nothing but overflow."""
    largest = max((plain(x) for x in scores), key=lambda x: x.value if isinstance(x, Exact) else x)
    weights = [exp(x - largest) for x in scores]
    whole = total(weights)
    return [w / whole for w in weights]


def forward(t: Tensors, _: Config) -> dict[str, Any]:
    """Y = softmax(Q [P_k; K]ᵀ / √dh) [P_v; V]."""
    keys, values = t["P_k"] + t["K"], t["P_v"] + t["V"]
    width = len(keys[0])
    exact = any(isinstance(plain(x), Exact) for x in flat(keys))
    root = sqrt(Exact.of(width)) if exact else math.sqrt(width)
    shares = [softmax([dot(key, query) / root for key in keys]) for query in t["Q"]]
    return {"Y": [times_vector(transpose(values), share) for share in shares]}


DEFINITION = Definition("prefix-tuning", trainable=("P_k", "P_v"), forward=forward, inputs=("Q", "K", "V"))
