"""The adapter of Houlsby and of Pfeiffer: down, a non-linearity, up, and the input added back.  Floor 6.

Houlsby et al. 2019 (arXiv 1902.00751), section 2.1 and figure 2: h + W_up f(W_down h + b_down) + b_up.  The same
module is meant by both methods; where it stands in a block is said in their own files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from lora_np.conformance.definitions.definition import Config
from lora_np.conformance.exact.functions import erf, relu, root_of_two_over_pi, sqrt, tanh
from lora_np.conformance.exact.loops import Matrix, dot
from lora_np.conformance.exact.number import Exact
from lora_np.conformance.exact.tape import plain


def gelu(x: Any) -> Any:
    """Compute x Φ(x), with Φ the normal distribution: x (1 + erf(x / √2)) / 2 (Hendrycks and Gimpel, arXiv 1606.08415).

    >>> gelu(0.0), round(gelu(1.0), 6)
    (0.0, 0.841345)
    """
    root = sqrt(Exact.of(2)) if isinstance(plain(x), Exact) else math.sqrt(2)
    return x * (erf(x / root) + 1) / 2


def gelu_by_tanh(x: Any) -> Any:
    """Compute x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, the approximation that the same paper names.

    >>> gelu_by_tanh(0.0), round(gelu_by_tanh(1.0), 6)
    (0.0, 0.841192)
    """
    cubic = Exact(Fraction(44715, 10**6), 0.044715, 1) if isinstance(plain(x), Exact) else 0.044715
    factor = root_of_two_over_pi(x)
    return x * (tanh(factor * (x + cubic * (x * x * x))) + 1) / 2


ACTIVATIONS = {"relu": relu, "gelu erf": gelu, "gelu tanh": gelu_by_tanh, "tanh": tanh}


def activation(config: Config) -> Callable[[Any], Any]:
    """Find the non-linearity of a configuration; of "gelu" there are two forms, told apart by config["gelu"]."""
    name = config["activation"]
    return ACTIVATIONS[f"{name} {config.get('gelu', 'erf')}" if name == "gelu" else name]


def adapter(
    rows: Matrix,
    W_down: Matrix,
    b_down: list[Any],
    W_up: Matrix,
    b_up: list[Any],
    *,
    f: Callable[[Any], Any],
) -> Matrix:
    """Compute h + W_up f(W_down h + b_down) + b_up for each row h.

    >>> adapter([[1, -2]], [[1, 1]], [2], [[3], [5]], [0, 1], f=relu)
    [[4, 4]]
    """
    result = []
    for h in rows:
        inner = [f(dot(weights, h) + shift) for weights, shift in zip(W_down, b_down, strict=True)]
        result.append(
            [h_j + (dot(weights, inner) + shift) for h_j, weights, shift in zip(h, W_up, b_up, strict=True)]
        )
    return result
