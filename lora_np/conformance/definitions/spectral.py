"""What the methods share that start at singular vectors: a part of the weight, and how well it is known.  Floor 6.

A part Σ σ u vᵀ over some of the singular values moves by about (1 + σ₁ / gap) when W0 moves by u ‖W0‖, where the gap
is the least distance from a value inside to one outside; so S = ‖W0‖ (1 + σ₁ / gap), the same for every element.  K is
generous, ten for each row and column, because backward errors of SVD algorithms are a small multiple of their sizes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, minus, scaled
from lora_np.conformance.definitions.lora import forward, others, scale
from lora_np.conformance.exact.linear import Singular, frobenius, singular
from lora_np.conformance.exact.loops import each
from lora_np.conformance.exact.number import Exact


@dataclass(frozen=True)
class Part:
    """Some of the singular triples of a weight, with the norm and the condition of their choice."""

    svd: Singular
    inside: tuple[int, ...]
    norm: float
    roundings: int

    @property
    def condition(self) -> float:
        """1 + σ₁ / gap."""
        sigma = [float(x) for x in self.svd.values]
        outside = [x for q, x in enumerate(sigma) if q not in self.inside]
        gap = min((abs(sigma[q] - x) for q in self.inside for x in outside), default=sigma[0])
        return 1 + sigma[0] / gap

    def product(self) -> Any:
        """Σ σ u vᵀ."""
        U, sigma, V = self.svd
        value = [
            [sum(sigma[q] * U[q][i] * V[q][j] for q in self.inside) for j in range(len(V[0]))]
            for i in range(len(U[0]))
        ]
        return each(lambda x: Exact(x, self.norm * self.condition, self.roundings), value)

    def left_gram(self, power: int) -> Any:
        """Σ σ**power u uᵀ: the projector for 0; for 1 what factors that share σ evenly make."""
        U, sigma, _ = self.svd
        value = [
            [sum(sigma[q] ** power * U[q][i] * U[q][j] for q in self.inside) for j in range(len(U[0]))]
            for i in range(len(U[0]))
        ]
        return each(lambda x: Exact(x, self.norm**power * self.condition, self.roundings), value)


def part_of(W0: Any, inside: Iterable[int]) -> Part:
    """Decompose exact numbers and take the triples `inside`, counted from the largest, from behind if negative."""
    svd = singular(W0)
    n = len(svd.values)
    return Part(svd, tuple(q % n for q in inside), frobenius(W0), 10 * (len(W0) + len(W0[0])))


def starting_at(method: str, inside: Any) -> Definition:
    """Define LoRA that starts at the part `inside(rank)` of W0: B = U √(Σ/s), A = √(Σ/s) Vᵀ, base W0 − s B A.

    Vectors have no sign of their own, so `init` is compared on the base, on B A and on B Bᵀ.
    """

    def init(t: Tensors, config: Config) -> dict[str, Any]:
        s, part = scale(config), part_of(t["W0"], inside(config["rank"]))
        share = part.product()
        return {
            "W_base": minus(t["W0"], share),
            "BA": scaled(1 / s, share),
            "BBt": scaled(1 / s, part.left_gram(1)),
        }

    return Definition(method, trainable=("B", "A"), forward=forward, others={**others, "init": init})
