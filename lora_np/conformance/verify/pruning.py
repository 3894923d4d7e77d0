"""Gradients for pruning, importance of groups, masks against removal.  Floor 6.

Importance is compared with the sums written out on a gradient that is formed; the closed form, which never forms
one, must give the same numbers.  Its S is that of the activations it reads.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lora_np import prune
from lora_np._typing import Array
from lora_np.conformance.bounds import GOLD, forward_scale, gradient_scales
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

LR = 1 / 4

Roads = Callable[[Any, Case], Array]


def polynomial(equation: str, name: str, uses: str, ours: Roads, formula: Formula) -> Check:
    """Make a check of a polynomial of the case."""

    def measure(f: Implementation) -> Iterator[Reading]:
        for c in small_cases():
            want, S = true_value_and_scale(formula, c, LR)
            yield reading(c, ours(f, c), want, S, GOLD)

    return Check(equation, name, tuple(uses.split()), measure)


# ---- gradients ---------------------------------------------------------------------------------------------


def _as_gradient(c: Case) -> LoraParams:
    """Two arrays that stand for gB and gA: the estimate is a polynomial of any."""
    return LoraParams(c.p.B[::-1], c.p.A[:, ::-1])


def _one_step(f: Any, c: Case) -> Array:
    """Read the gradient off one step of SGD."""
    g = _as_gradient(c)
    after = LoraParams(c.p.B - LR * g.B, c.p.A - LR * g.A)
    found: Array = f.previous_step_gradient(c.p, after, lr=LR, scale=c.scale)
    return found


def _estimate(n: Letters, lr: Any = 1) -> Array:
    """Write gB A + B gA − lr gB gA out, with gB and gA as in `_as_gradient`."""
    gB, gA = n.B[::-1], n.A[:, ::-1]
    return gB @ n.A + n.B @ gA + n.minus * lr * (gB @ gA)


def _previous_step(n: Letters) -> Array:
    """Scale the estimate; the two products whose difference it was read from count in S."""
    found = n.s * _estimate(n, n.lr)
    return found if n.minus < 0 else found + n.s * (n.B @ n.A) / n.lr


def _projected(f: Implementation) -> Iterator[Reading]:
    for c in cases():
        _, g = f.backward(c.gY, c.X, c.X @ c.p.A.T, c.W0, c.p, scale=c.scale)
        G = f.exact_gradient(c.gY, c.X)
        B, A = c.p
        linear = f.estimated_gradient(c.p, g, lr=0.0)
        seen = c.scale * ((G @ A.T) @ A + B @ (B.T @ G))
        S = gradient_scales(c.gY, c.X, c.W0, c.p, c.scale)
        S_sum = S["gB"][0] @ positive(A) + positive(B) @ S["gA"][0]
        yield reading(c, linear, seen, S_sum, GOLD)


# ---- importance --------------------------------------------------------------------------------------------


def _terms(W: Any, G: Any, form: str, axis: int) -> Any:
    """Write a form's sum out: over the columns of each row (axis 0), or over the rows of each column (axis 1)."""
    product = G * W
    if form == "dot-squared":
        return product.sum(axis=1 - axis) ** 2
    return (product**2 if form == "sum-squared" else abs(product)).sum(axis=1 - axis)


def importance_of_arrays(form: str, axis: int) -> Callable[[Implementation], Iterator[Reading]]:
    """Measure one form on a weight and a gradient that are arrays, exactly."""

    def measure(f: Implementation) -> Iterator[Reading]:
        for c in small_cases():
            W, G = c.W0, c.gY.T @ c.X
            groups = (prune.groups.rows, prune.groups.columns)[axis](W.shape[axis])
            want = _terms(exactly(W), exactly(G), form, axis)
            S = _terms(positive(W), positive(G), form, axis)
            yield reading(c, f.importance(W, G, groups, form=form), want, S, GOLD)

    return measure


def importance_of_factors(form: str, axis: int) -> Callable[[Implementation], Iterator[Reading]]:
    """Measure one form on an adapted weight and a gradient in two factors, neither of them ever whole."""

    def measure(f: Implementation) -> Iterator[Reading]:
        for c in small_cases():
            W, G = prune.Adapted(c.W0, c.p, c.scale), prune.Product(c.gY.T, c.X)
            groups = (prune.groups.rows, prune.groups.columns)[axis](c.W0.shape[axis])
            want = _terms(c.wide.W, c.wide.gW, form, axis)
            S_W = positive(c.W0) + c.scale * (positive(c.p.B) @ positive(c.p.A))
            S = _terms(S_W, positive(c.gY).T @ positive(c.X), form, axis)
            yield reading(
                c, f.importance(W, G, groups, form=form), want, S, 2 * GOLD if "squared" in form else GOLD
            )

    return measure


def _row_dot(f: Implementation) -> Iterator[Reading]:
    for c in cases():
        Y = c.X @ (c.W0 + c.scale * (c.p.B @ c.p.A)).T + c.bias
        want = (c.wide.gW * c.wide.W).sum(axis=1)
        S = (positive(c.gY) * (forward_scale(c.X, c.W0, c.p, c.scale, 2 * c.bias)[0])).sum(axis=0)
        yield reading(c, f.group_dot(c.gY, Y, bias=c.bias), want, S, GOLD)


def _column_dot(f: Implementation) -> Iterator[Reading]:
    for c in cases():
        gX = c.gY @ (c.W0 + c.scale * (c.p.B @ c.p.A))
        want = (c.wide.gW * c.wide.W).sum(axis=0)
        S = (positive(c.X) * gradient_scales(c.gY, c.X, c.W0, c.p, c.scale)["gX"][0]).sum(axis=0)
        yield reading(c, f.group_dot_columns(c.X, gX), want, S, GOLD)


def _closed_against_formed(f: Implementation) -> Iterator[Reading]:
    for c in cases():
        W = c.W0 + c.scale * (c.p.B @ c.p.A)
        closed = f.group_dot(c.gY, c.X @ W.T) ** 2
        formed = f.importance(W, f.exact_gradient(c.gY, c.X), prune.groups.rows(len(W)), form="dot-squared")
        S = (positive(c.gY) * (positive(c.X) @ positive(W).T)).sum(axis=0) ** 2
        yield reading(c, closed, formed, S, GOLD)


# ---- taking away -------------------------------------------------------------------------------------------


def _masked_against_shrunk(f: Implementation) -> Iterator[Reading]:
    for c in cases():
        d = c.W0.shape[0]
        kept = np.arange(d) % 3 != 1
        V = c.gY  # (N, d): any matrix that consumes the d channels
        groups = prune.groups.channels(d, producers=["W"], consumers=["V"])
        masked, small = (
            f.masked({"W": c.W0, "V": V}, groups, kept),
            f.shrink({"W": c.W0, "V": V}, groups, kept),
        )
        whole, less = ((c.X @ part["W"].T) @ part["V"].T for part in (masked, small))
        S = (positive(c.X) @ positive(c.W0).T) @ positive(V).T
        found = reading(c, less, whole, S, GOLD)
        yield found if small["W"].shape[0] == kept.sum() else found._replace(error_u=float("inf"))


CHECKS: tuple[Check, ...] = (
    polynomial(
        "prune-exact",
        "gW of exact",
        "exact_gradient",
        lambda f, c: f.exact_gradient(c.gY, c.X),
        lambda n: n.gY.T @ n.X,
    ),
    polynomial(
        "prune-estimate",
        "estimated = gB A + B gA − gB gA",
        "estimated_gradient",
        lambda f, c: f.estimated_gradient(c.p, _as_gradient(c)),
        _estimate,
    ),
    polynomial(
        "prune-estimate-sgd",
        "estimated with the rate in its third term",
        "estimated_gradient",
        lambda f, c: f.estimated_gradient(c.p, _as_gradient(c), lr=LR),
        lambda n: _estimate(n, n.lr),
    ),
    polynomial(
        "prune-previous-step",
        "from_previous_step after one step of SGD = s times the estimate",
        "previous_step_gradient",
        _one_step,
        _previous_step,
    ),
    Check(
        "prune-projected", "gB A + B gA = s (G AᵀA + B BᵀG)", ("estimated_gradient", "backward"), _projected
    ),
    *(
        Check(
            "prune-importance",
            f"importance {form} of {name}, arrays",
            ("importance",),
            importance_of_arrays(form, axis),
        )
        for form in prune.FORMS
        for axis, name in enumerate(("rows", "columns"))
    ),
    *(
        Check(
            "prune-importance",
            f"importance {form} of {name}, factors",
            ("importance",),
            importance_of_factors(form, axis),
        )
        for form in prune.FORMS
        for axis, name in enumerate(("rows", "columns"))
    ),
    Check("prune-group-dot", "group_dot: rows from activations", ("group_dot",), _row_dot),
    Check(
        "prune-group-dot", "group_dot_columns: columns from activations", ("group_dot_columns",), _column_dot
    ),
    Check(
        "prune-group-dot",
        "closed form squared = importance of a formed gradient",
        ("group_dot", "importance"),
        _closed_against_formed,
    ),
    Check("prune-shrink", "shrunk block = masked block", ("masked", "shrink"), _masked_against_shrunk),
)
