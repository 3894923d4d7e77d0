"""The gradients of small networks against HIPS autograd, in double precision.  Floor 6.

The formulas are written out here in autograd's NumPy.  An activation is compared entry by entry, its S the size of
the terms of its derivative; a whole network's gradients normwise, each with its own Frobenius norm as S.
"""

from collections.abc import Callable, Iterator
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np

from lora_np._typing import Array
from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.conformance.verify.cases import SCALE, Case, positive, reading, small_cases
from lora_np.conformance.verify.check import Check, Reading
from lora_np.conformance.verify.implementation import Implementation
from lora_np.lora import LoraParams
from lora_np.nn.dense import Dense
from lora_np.nn.network import Network

WIDTHS, ROWS, RANK = (5, 7, 4), 6, 2

FORMULAS: dict[str, Callable[[Any], Any]] = {
    "relu": lambda h: anp.maximum(h, 0.0),
    "gelu": lambda h: h / 2 * (1 + anp.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3))),
    "tanh": anp.tanh,
}


def _pullback(name: str) -> Callable[[Implementation], Iterator[Reading]]:
    def measure(f: Implementation) -> Iterator[Reading]:
        for c in _double_cases():
            H, gA = c.X, np.roll(c.X, 1)

            def loss(H: Array, gA: Array = gA) -> Any:
                return anp.sum(gA * FORMULAS[name](H))

            S = positive(gA) * (1 + positive(H) + positive(H) ** 3)
            yield reading(c, getattr(f, f"{name}_pullback")(gA, H), autograd.grad(loss)(H), S, GOLD)

    return measure


def _cross_entropy(f: Implementation) -> Iterator[Reading]:
    for c in _double_cases():
        y = np.arange(len(c.gY)) % c.gY.shape[1]

        def loss(L: Array, y: Array = y) -> Any:
            shifted = L - anp.max(L, axis=1, keepdims=True)
            return anp.mean(anp.log(anp.sum(anp.exp(shifted), axis=1)) - shifted[np.arange(len(y)), y])

        want = autograd.grad(loss)(c.gY)
        # a probability's relative error grows with its exponent
        S = (1 + positive(c.gY).max(axis=1, keepdims=True)) * np.ones_like(want) / len(y)
        yield reading(c, f.cross_entropy_gradient(c.gY, y), want, S, GOLD)


def _dense(which: str) -> Callable[[Implementation], Iterator[Reading]]:
    def measure(f: Implementation) -> Iterator[Reading]:
        for c in _double_cases():
            parts = (c.X, c.W0, c.bias)
            gX, g = f.dense_backward(c.gY, c.X, Dense(c.W0, c.bias))
            got = {"gX": gX, "gW": g.W, "gb": g.b}[which]
            index = ("gX", "gW", "gb").index(which)

            def loss(*parts: Array, c: Case = c) -> Any:
                return anp.sum(c.gY * (parts[0] @ parts[1].T + parts[2]))

            X, W, gY = map(positive, (c.X, c.W0, c.gY))
            S = (gY @ W, gY.T @ X, gY.sum(axis=0))[index]
            yield reading(c, got, autograd.grad(loss, index)(*parts), S, GOLD)

    return measure


def _double_cases() -> list[Case]:
    return [c for c in small_cases() if c.dtype == np.float64]


def _network(name: str) -> Callable[[Implementation], Iterator[Reading]]:
    """Measure the gradients of every weight, bias and factor of an adapted network of two layers."""

    def measure(f: Implementation) -> Iterator[Reading]:
        rng = np.random.default_rng(3)
        shapes = tuple(zip(WIDTHS[1:], WIDTHS[:-1], strict=True))
        layers = tuple(Dense(rng.normal(size=shape) / 3, rng.normal(size=shape[0])) for shape in shapes)
        adapters = tuple(
            LoraParams(rng.normal(size=(d, RANK)), rng.normal(size=(RANK, k)) / 3) for d, k in shapes
        )
        X, C = rng.normal(size=(ROWS, WIDTHS[0])), rng.normal(size=(ROWS, WIDTHS[-1]))
        net = Network(layers, adapters, scale=SCALE, activation=name)
        trace = f.network_forward(X, net)
        signals = f.network_backward(C, trace, net)

        def loss(*arrays: Array) -> Any:
            A = X
            for index in range(len(shapes)):
                W, b, P, Q = arrays[4 * index : 4 * index + 4]
                H = A @ (W + SCALE * (P @ Q)).T + b
                A = FORMULAS[name](H)
            return anp.sum(C * H)

        arrays = [x for layer, p in zip(layers, adapters, strict=True) for x in (*layer, *p)]
        wants = autograd.grad(loss, tuple(range(len(arrays))))(*arrays)
        gots = [
            g
            for index in range(len(shapes))
            for g in (
                signals.gY[index].T @ trace.X[index],
                signals.gY[index].sum(axis=0),
                *signals.adapters[index],
            )
        ]
        for got, want in zip(gots, wants, strict=True):
            S = np.full(want.shape, np.linalg.norm(want))
            yield Reading(error_in_u(got, want, S), GOLD, "float64", want.shape)

    return measure


CHECKS: tuple[Check, ...] = (
    *(
        Check(key, f"{name}_pullback by autograd", (f"{name}_pullback",), _pullback(name))
        for key, name in (("net-relu", "relu"), ("net-gelu", "gelu"), ("net-tanh", "tanh"))
    ),
    Check(
        "net-cross-entropy",
        "cross_entropy_gradient by autograd",
        ("cross_entropy_gradient",),
        _cross_entropy,
    ),
    *(
        Check("net-backward", f"{which} of a dense layer by autograd", ("dense_backward",), _dense(which))
        for which in ("gX", "gW", "gb")
    ),
    *(
        Check(
            "net-backward",
            f"an adapted network with {name}, by autograd",
            ("network_forward", "network_backward", f"{name}_pullback"),
            _network(name),
        )
        for name in FORMULAS
    ),
)
