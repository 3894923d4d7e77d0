"""LoRA seen from the full gradient: projected steps, what they do to the weight, sums for products.  Floor 6.

The gradient gW is an input here, so exact values are polynomials of what is passed in.  K counts few roundings for
each of a handful of products, none longer than the layer is wide; the gold level is the bound of all of them but
Adam's, which divides by the root of an average: there S carries the gradient's own error through the division.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lora_np import gradient_view, optim
from lora_np._typing import Array
from lora_np.conformance.bounds import GOLD, gradient_scales
from lora_np.conformance.verify.cases import (
    Case,
    Formula,
    Letters,
    cases,
    exactly,
    positive,
    reading,
    small_cases,
    true_value_and_scale,
)
from lora_np.conformance.verify.check import Check, Reading
from lora_np.conformance.verify.implementation import Implementation
from lora_np.lora import LoraParams

LR = 1 / 3

Ours = Callable[[Any, Case, Array], Array]

# ---- the effective update: polynomials of gW, B, A, s and the rate -----------------------------------------


def polynomial(
    equation: str, name: str, uses: str, ours: Callable[[Any, Case, Array], Array], formula: Formula
) -> Check:
    """Make a check of a polynomial of gW, the factors, the scale and the rate."""

    def measure(implementation: Implementation) -> Iterator[Reading]:
        for c in small_cases():
            want, S = true_value_and_scale(formula, c, LR)
            yield reading(c, ours(implementation, c, c.gY.T @ c.X), want, S, GOLD)

    return Check(equation, name, tuple(uses.split()), measure)


def _effective_gradient(n: Letters) -> Array:
    gB, gA = n.s * n.gW @ n.A.T, n.s * n.B.T @ n.gW
    return n.s * (gB @ n.A + n.B @ gA)


def _first_order(n: Letters) -> Array:
    return n.minus * n.lr * n.s**2 * (n.gW @ n.A.T @ n.A + n.B @ n.B.T @ n.gW)


def _second_order(n: Letters) -> Array:
    return n.lr**2 * n.s**3 * (n.gW @ n.A.T @ n.B.T @ n.gW)


def _moved(n: Letters) -> Array:
    """Step both factors by SGD and subtract the products; for S, where nothing cancels, the two orders."""
    if n.minus > 0:
        return _first_order(n) + _second_order(n)
    B, A = n.B - n.lr * n.s * n.gW @ n.A.T, n.A - n.lr * n.s * n.B.T @ n.gW
    return n.s * (B @ A - n.B @ n.A)


def _weight_step(n: Letters) -> Array:
    return n.gW + n.s * ((2 * n.B) @ (4 * n.A) + n.minus * (n.B @ n.A))


# ---- steps on the factors ----------------------------------------------------------------------------------


def _direct_gradient(f: Any, c: Case) -> LoraParams:
    """Take the factors' gradients through the layer, which the optimizer's view must equal."""
    _, g = f.backward(c.gY, c.X, c.X @ c.p.A.T, c.W0, c.p, scale=c.scale)
    found: LoraParams = g
    return found


def _sgd(which: str) -> Callable[[Implementation], Iterator[Reading]]:
    def measure(f: Implementation) -> Iterator[Reading]:
        for c in cases():
            _, projected = f.sgd_step(c.W0, c.p, c.gY.T @ c.X, scale=c.scale, lr=LR)
            g = _direct_gradient(f, c)
            direct, _ = f.optim_sgd_step(c.p, g, optim.sgd_init(c.p), lr=LR)
            S_g = gradient_scales(c.gY, c.X, c.W0, c.p, c.scale)[f"g{which}"][0]
            S = np.abs(getattr(c.p, which)) + LR * S_g
            yield reading(c, getattr(projected, which), getattr(direct, which), S, GOLD)

    return measure


def _adam(which: str) -> Callable[[Implementation], Iterator[Reading]]:
    def measure(f: Implementation) -> Iterator[Reading]:
        for c in cases():
            direct = projected = c.p
            states = [optim.adam_init(c.p), optim.adam_init(c.p)]
            W, S = c.W0, np.abs(np.float64(getattr(c.p, which)))
            for turn in range(3):
                seen = _turned(c, turn)
                S_g = gradient_scales(seen.gY, seen.X, seen.W0, seen.p, seen.scale)[f"g{which}"][0]
                g = _direct_gradient(f, seen)
                # the gradients are taken at the first factors, so that an error is not fed back
                direct, states[0] = f.optim_adam_step(direct, g, states[0], lr=LR)
                at = f.project_gradient(seen.gY.T @ seen.X, c.p, scale=c.scale)
                projected, states[1] = f.optim_adam_step(projected, at, states[1], lr=LR)
                root = np.sqrt(np.float64(getattr(states[0].second, which)) / (1 - 0.999 ** (turn + 1)))
                S = S + LR * (1 + 2 * S_g / root)
            W, one, _ = f.adam_step(W, c.p, c.gY.T @ c.X, optim.adam_init(c.p), scale=c.scale, lr=LR)
            first, _ = f.optim_adam_step(c.p, _direct_gradient(f, c), optim.adam_init(c.p), lr=LR)
            for got, want in ((one, first), (projected, direct)):
                yield reading(c, getattr(got, which), getattr(want, which), S, GOLD)

    return measure


def _turned(c: Case, turn: int) -> Case:
    """Another batch of the same layer: the rows of gY moved on by `turn`."""
    other = Case(c.shape, c.dtype, exact=False)
    other.gY = np.roll(c.gY, turn, axis=0) * c.dtype.type(turn + 1)
    return other


def _telescopes(f: Implementation) -> Iterator[Reading]:
    for c in cases():
        start = W = c.W0 + c.scale * (c.p.B @ c.p.A)
        p, S = c.p, np.abs(np.float64(start))
        for _ in range(3):
            W, p = f.sgd_step(W, p, c.gY.T @ c.X, scale=c.scale, lr=1e-4)
            S = S + 2 * c.scale * np.abs(np.float64(p.B)) @ np.abs(np.float64(p.A))
        whole = start + c.scale * (p.B @ p.A - c.p.B @ c.p.A)
        yield reading(c, W, whole, S, GOLD)


# ---- the additive increment --------------------------------------------------------------------------------


def additive(equation: str, name: str, uses: str, which: str) -> Check:
    """Make a check of one result of the additive layer against its formula with the block identities written out."""

    def measure(f: Implementation) -> Iterator[Reading]:
        for d, k, r in ((6, 4, 2), (5, 3, 1), (3, 9, 3)):
            for dtype in (np.float64, np.float32):
                c = Case((4, d, k, r), dtype, exact=True)
                p = gradient_view.AdditiveParams(*c.p)
                want = _additive_truth(exactly, c)[which]
                S = _additive_truth(positive, c)[which]
                yield reading(c, _additive_ours(f, c, p, which), want, S, GOLD)

    return Check(equation, name, tuple(uses.split()), measure)


def _additive_ours(f: Any, c: Case, p: Any, which: str) -> Array:
    E = f.block_identity(c.p.A.shape[0], c.X.shape[1] // c.p.A.shape[0], dtype=c.dtype)
    backward = f.additive_backward(c.gY, c.X, c.X @ E.T, c.W0, p, scale=c.scale)
    projected = f.additive_gradient(c.gY.T @ c.X, p, scale=c.scale)
    found: Array = {
        "W": lambda: f.additive_weight(c.W0, p, scale=c.scale),
        "Y": lambda: f.additive_forward(c.X, c.W0, p, scale=c.scale)[0],
        "gX": lambda: backward[0],
        "gB": lambda: backward[1].B,
        "gA": lambda: backward[1].A,
        "gB, projected": lambda: projected.B,
        "gA, projected": lambda: projected.A,
    }[which]()
    return found


def _additive_truth(widen: Callable[[Any], Any], c: Case) -> dict[str, Array]:
    """W = W0 + s (B E_k + E_dᵀ A), and every gradient by the chain rule through it."""
    X, W0, gY, B, A, s = map(widen, (c.X, c.W0, c.gY, *c.p, c.scale))
    r = c.p.A.shape[0]
    E_k, E_d = (widen(np.tile(np.eye(r), n // r)) for n in (c.X.shape[1], c.gY.shape[1]))
    W, gW = W0 + s * (B @ E_k + E_d.T @ A), gY.T @ X
    gB, gA = s * (gW @ E_k.T), s * (E_d @ gW)
    found = {"W": W, "Y": X @ W.T, "gX": gY @ W, "gB": gB, "gA": gA}
    return found | {"gB, projected": gB, "gA, projected": gA}


CHECKS: tuple[Check, ...] = (
    polynomial(
        "view-projected",
        "effective_gradient = s (gB A + B gA)",
        "effective_gradient",
        lambda f, c, gW: f.effective_gradient(gW, c.p, scale=c.scale),
        _effective_gradient,
    ),
    polynomial(
        "view-first-order",
        "first_order_update",
        "first_order_update",
        lambda f, c, gW: f.first_order_update(gW, c.p, scale=c.scale, lr=LR),
        _first_order,
    ),
    polynomial(
        "view-update",
        "second_order_update",
        "second_order_update",
        lambda f, c, gW: f.second_order_update(gW, c.p, scale=c.scale, lr=LR),
        _second_order,
    ),
    polynomial(
        "view-update",
        "effective_update = s (B' A' − B A)",
        "effective_update",
        lambda f, c, gW: f.effective_update(gW, c.p, scale=c.scale, lr=LR),
        _moved,
    ),
    polynomial(
        "view-weight-step",
        "weight_step by one step of SGD",
        "weight_step",
        lambda f, c, gW: f.weight_step(gW, c.p, LoraParams(2 * c.p.B, 4 * c.p.A), scale=c.scale),
        _weight_step,
    ),
    Check("view-weight-step", "three changes telescope", ("sgd_step", "weight_step"), _telescopes),
    *(
        Check("view-sgd", f"{which} of projected SGD = of direct SGD", ("sgd_step", "backward"), _sgd(which))
        for which in ("B", "A")
    ),
    *(
        Check(
            "view-adam",
            f"{which} of projected Adam = of direct Adam",
            ("adam_step", "backward"),
            _adam(which),
        )
        for which in ("B", "A")
    ),
    additive("additive-weight", "W of additive_weight", "additive_weight", "W"),
    additive("additive-blocks", "Y of additive_forward", "additive_forward", "Y"),
    *(
        additive("additive-blocks-grad", f"{which} of additive_backward", "additive_backward", which)
        for which in ("gX", "gB", "gA")
    ),
    *(
        additive("additive-grad", f"{which} by additive_gradient", "additive_gradient", which)
        for which in ("gB, projected", "gA, projected")
    ),
)
