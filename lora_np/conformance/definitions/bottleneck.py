"""The adapter of Houlsby and of Pfeiffer: down, a non-linearity, up, and the input added back.  Floor 6.

Houlsby et al. 2019 (arXiv 1902.00751), section 2.1 and figure 2: h + W_up f(W_down h + b_down) + b_up.  The same
module is meant by both methods; where it stands in a block is said in their own files.
"""

from __future__ import annotations

import math
from typing import Any

from lora_np.conformance.exact.functions import erf, relu, sqrt, tanh
from lora_np.conformance.exact.loops import Matrix, dot
from lora_np.conformance.exact.number import Exact
from lora_np.conformance.exact.tape import plain


def gelu(x: Any) -> Any:
    """Compute x Φ(x), with Φ the normal distribution: x (1 + erf(x / √2)) / 2, not the tanh approximation of it.

    >>> gelu(0.0), round(gelu(1.0), 6)
    (0.0, 0.841345)
    """
    root = sqrt(Exact.of(2)) if isinstance(plain(x), Exact) else math.sqrt(2)
    return x * (erf(x / root) + 1) / 2


ACTIVATIONS = {"relu": relu, "gelu": gelu, "tanh": tanh}


def adapter(
    rows: Matrix, W_down: Matrix, b_down: list[Any], W_up: Matrix, b_up: list[Any], *, activation: str
) -> Matrix:
    """Compute h + W_up f(W_down h + b_down) + b_up for each row h.

    >>> adapter([[1, -2]], [[1, 1]], [2], [[3], [5]], [0, 1], activation="relu")
    [[4, 4]]
    """
    f = ACTIVATIONS[activation]
    result = []
    for h in rows:
        inner = [f(dot(weights, h) + shift) for weights, shift in zip(W_down, b_down, strict=True)]
        result.append(
            [h_j + (dot(weights, inner) + shift) for h_j, weights, shift in zip(h, W_up, b_up, strict=True)]
        )
    return result
