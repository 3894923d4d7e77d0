"""A thousand steps of gradient descent on a LoRA layer: L = ½ ‖X (W0 + s B A)ᵀ − T‖², s = alpha / rank.  Floor 6.

Both factors step at once, from the gradients at the point before.  Written with residuals R = Y − T and G = RᵀX:
gB = s G Aᵀ, gA = s Bᵀ G.

The bound, to first order: an error e before a step is (I − lr H) e after it, H being the loss's Hessian by B and A, and
each step adds its own roundings.  So E ← ‖I − lr H‖₂ E + ‖own‖₂, with H evaluated at every step; own is lr times the
gradient's formula on absolute values (target included), and the new factors.  Where the loss has contracted H has no
negative eigenvalue, and the norm is 1, since B M, M⁻¹ A is as good for every M: from there on E grows linearly.
E is a norm of the whole error, so it bounds each element; K counts one gradient's roundings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lora_np.conformance.definitions.definition import Config, Tensors, minus, plus, scaled
from lora_np.conformance.definitions.optim import number
from lora_np.conformance.exact.loops import each, product, transpose
from lora_np.conformance.exact.number import Exact


def gradients(X: Any, W0: Any, T: Any, B: Any, A: Any, s: Any) -> tuple[Any, Any]:
    """Compute gB and gA."""
    W = plus(W0, scaled(s, product(B, A)))
    G = product(transpose(minus(product(X, transpose(W)), T)), X)
    return scaled(s, product(G, transpose(A))), scaled(s, product(transpose(B), G))


def train(t: Tensors, config: Config) -> dict[str, Any]:
    """Descend, and note both factors at the checkpoints."""
    X, W0, T, B, A = (each(number, t[name]) for name in ("X", "W0", "T", "B", "A"))
    s, lr = number(config["alpha"]) / config["rank"], number(config["lr"])
    growth = Growth(X, W0, T, float(s), float(lr))
    found: dict[str, Any] = {}
    for step in range(1, config["checkpoints"][-1] + 1):
        gB, gA = gradients(X, W0, T, B, A, s)
        before = B, A
        B, A = minus(B, scaled(lr, gB)), minus(A, scaled(lr, gA))
        growth.step(*before, B, A)
        if step in config["checkpoints"]:
            found |= {f"B.{step}": each(growth.bounded, B), f"A.{step}": each(growth.bounded, A)}
    return found


class Growth:
    """The bound E of the run so far, in floats."""

    def __init__(self, X: Any, W0: Any, T: Any, s: float, lr: float) -> None:
        self.X, self.W0, self.T = (np.array(x, dtype=float) for x in (X, W0, T))
        self.s, self.lr, self.E = s, lr, 0.0
        self.roundings = sum(self.X.shape) + len(self.W0) + 8

    def step(self, B0: Any, A0: Any, B1: Any, A1: Any) -> None:
        """Follow a step from B0, A0 to B1, A1."""
        B, A = np.array(B0, dtype=float), np.array(A0, dtype=float)
        moved = np.linalg.norm(np.eye(B.size + A.size) - self.lr * self.hessian(B, A), 2)
        X, W0, T, B, A = map(np.abs, (self.X, self.W0, self.T, B, A))
        G = (X @ (W0 + self.s * (B @ A)).T + T).T @ X
        own = [self.lr * self.s * (G @ A.T), self.lr * self.s * (B.T @ G), B1, A1]
        self.E = float(moved * self.E + sum(np.linalg.norm(np.array(x, dtype=float)) for x in own))

    def hessian(self, B: np.ndarray, A: np.ndarray) -> Any:
        """Differentiate the gradients in the direction of every entry of B, then of A."""
        s, n = self.s, B.size + A.size
        G = (self.X @ (self.W0 + s * (B @ A)).T - self.T).T @ self.X
        units = np.eye(n)
        dB, dA = units[:, : B.size].reshape(n, *B.shape), units[:, B.size :].reshape(n, *A.shape)
        dG = s * (dB @ A + B @ dA) @ (self.X.T @ self.X)
        left = s * (dG @ A.T + G @ dA.transpose(0, 2, 1))
        right = s * (dB.transpose(0, 2, 1) @ G + B.T @ dG)
        return np.concatenate([left.reshape(n, -1), right.reshape(n, -1)], axis=1)

    def bounded(self, x: Any) -> Any:
        """Give a number the bound of now."""
        return x if isinstance(x, float) else Exact(x, self.E, self.roundings)
