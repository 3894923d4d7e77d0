"""LoRA+: LoRA whose B learns `ratio` times as fast as A (Hayou et al. 2024, arXiv 2402.12354, section 3).  Floor 6.

The layer is LoRA's.  A step is plain gradient descent, or Adam (Kingma and Ba 2015, algorithm 1), as
config["optimizer"] says; Adam's moments come in with the tensors, config["step"] counts from 1, and the new moments are
not compared.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, minus, scaled
from lora_np.conformance.definitions.lora import forward, others
from lora_np.conformance.exact.functions import sqrt
from lora_np.conformance.exact.loops import each


def step(t: Tensors, config: Config) -> dict[str, Any]:
    """Move to A − lr u(gA) and B − ratio lr u(gB), with u(g) = g for descent and Adam's quotient for Adam."""
    rates = {"B": config["ratio"] * config["lr"], "A": config["lr"]}
    direction = adam if config["optimizer"] == "adam" else descent
    return {name: minus(t[name], scaled(rate, direction(t, name, config))) for name, rate in rates.items()}


def descent(t: Tensors, name: str, config: Config) -> Any:
    """Take the gradient itself."""
    return t[f"g{name}"]


def adam(t: Tensors, name: str, config: Config) -> Any:
    """m̂ / (√v̂ + eps), with m = beta1 m + (1 − beta1) g, v = beta2 v + (1 − beta2) g², m̂ = m / (1 − beta1ᵗ)."""
    beta1, beta2, steps = config["beta1"], config["beta2"], config["step"]

    def quotient(g: Any, m: Any, v: Any) -> Any:
        first = (beta1 * m + (1 - beta1) * g) / (1 - power(beta1, steps))
        second = (beta2 * v + (1 - beta2) * (g * g)) / (1 - power(beta2, steps))
        return first / (sqrt(second) + config["eps"])

    return each(quotient, t[f"g{name}"], t[f"m{name}"], t[f"v{name}"])


def power(x: Any, n: int) -> Any:
    """Multiply x · x · … · x, n times."""
    result = x
    for _ in range(n - 1):
        result = result * x
    return result


DEFINITION = Definition("lora-plus", trainable=("B", "A"), forward=forward, others={**others, "step": step})
