"""Forward, backward and merge against the written-out formula, without rounding or with less of it.  Floor 6.

Each result has its own bound: the gold level, 16 u, or the certified γ(K)/u where that is tighter.
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.bounds import (
    GOLD,
    forward_scale,
    gamma_in_u,
    gradient_scales,
    merge_scale,
    unmerge_scale,
)
from lora_np.conformance.verify.cases import Case, Wide, cases, reading
from lora_np.conformance.verify.check import Check, Reading
from lora_np.conformance.verify.implementation import Implementation

Compute = Callable[[Any, Case], Array]
Truth = Callable[[Wide], Array]
Scale = Callable[[Case], tuple[Array, int]]


def against_formula(
    equation: str, name: str, uses: str, compute: Compute, truth: Truth, scale: Scale
) -> Check:
    """Make a check of one result of one function: `compute` calls it, `truth` writes its formula out."""

    def measure(implementation: Implementation) -> Iterator[Reading]:
        for case in cases():
            S, K = scale(case)
            got = compute(implementation, case)
            yield reading(case, got, truth(case.wide), S, bound_in_u(K, case.dtype))

    return Check(equation, name, tuple(uses.split()), measure)


def bound_in_u(K: int, dtype: object) -> float:
    """Take the gold level, or the certified bound where that is tighter."""
    return min(GOLD, gamma_in_u(K, dtype))


# ---- calls -------------------------------------------------------------------------------------------------


def _forward(impl: Any, c: Case) -> tuple[Array, Array]:
    Y, Z = impl.forward(c.X, c.W0, c.p, scale=c.scale, bias=c.bias)
    return Y, Z


def _forward_via_weight(impl: Any, c: Case) -> tuple[Array, Array]:
    Y, W = impl.forward_via_weight(c.X, c.W0, c.p, scale=c.scale, bias=c.bias)
    return Y, W


def gradients(impl: Any, c: Case) -> dict[str, Array]:
    """gX, gB, gA through the bottleneck; Z comes from plain arithmetic, so that only backward is under test."""
    gX, g = impl.backward(c.gY, c.X, c.X @ c.p.A.T, c.W0, c.p, scale=c.scale)
    return {"gX": gX, "gB": g.B, "gA": g.A}


def gradients_via_weight(impl: Any, c: Case) -> dict[str, Array]:
    """gX, gB, gA through the weight, which comes from plain arithmetic too."""
    W = c.W0 + c.scale * (c.p.B @ c.p.A)
    gX, g = impl.backward_via_weight(c.gY, c.X, W, c.p, scale=c.scale)
    return {"gX": gX, "gB": g.B, "gA": g.A}


def one_of(compute: Callable[[Any, Case], dict[str, Array]], output: str) -> Compute:
    """Pick one result by name."""
    return lambda f, c: compute(f, c)[output]


# ---- true values -------------------------------------------------------------------------------------------

TRUE_GRADIENT: dict[str, Truth] = {
    "gX": lambda w: w.gY @ w.W,
    "gB": lambda w: w.s * (w.gW @ w.A.T),
    "gA": lambda w: w.s * (w.B.T @ w.gW),
}


def gradient_scale(output: str) -> Scale:
    """S and K of one gradient of a case."""
    return lambda c: gradient_scales(c.gY, c.X, c.W0, c.p, c.scale)[output]


def _output_scale(c: Case) -> tuple[Array, int]:
    return forward_scale(c.X, c.W0, c.p, c.scale, c.bias)


def _weight_scale(c: Case) -> tuple[Array, int]:
    return merge_scale(c.W0, c.p, c.scale)


def _sums(x: Array, y: Array) -> Array:
    """|x| |y|, the scale of a product, in double precision."""
    return np.abs(np.float64(x)) @ np.abs(np.float64(y))


# ---- checks that are no comparison with a formula ----------------------------------------------------------


def _scaling_is_rounded_once(implementation: Implementation) -> Iterator[Reading]:
    for alpha, rank in ((16, 7), (1, 3), (8, 8), (-5, 64)):
        gap = abs(Fraction(float(implementation.scaling(alpha, rank))) - Fraction(alpha, rank))
        yield Reading(float(gap / abs(Fraction(alpha, rank)) * 2**53), 1.0, "float64", (rank,))


def _stabilized_scaling(implementation: Implementation) -> Iterator[Reading]:
    for alpha, rank in ((16, 7), (1, 3), (8, 16), (5, 64)):
        s = Fraction(float(implementation.scaling(alpha, rank, use_rslora=True)))
        gap = abs(s * s * rank / Fraction(alpha) ** 2 - 1) / 2  # to first order the relative error of s
        yield Reading(float(gap * 2**53), 3.0, "float64", (rank,))


def _memory_returns_every_bit(implementation: Implementation) -> Iterator[Reading]:
    for case in cases():
        merged = implementation.Merged(case.W0).merge(case.p, scale=case.scale)
        back = merged.unmerge().W
        same = back.tobytes() == case.W0.tobytes() and back.dtype == case.dtype
        moved = not np.array_equal(merged.W, case.W0)
        yield Reading(0.0 if same and moved else math.inf, 0.0, case.dtype.name, case.shape)


def _unmerged(impl: Any, c: Case) -> Array:
    """Take the increment out of a weight that plain arithmetic merged."""
    back: Array = impl.unmerge(c.W0 + c.scale * (c.p.B @ c.p.A), c.p, scale=c.scale)
    return back


_GRADIENT_KEYS = {"gX": "lora-grad-x", "gB": "lora-grad-b", "gA": "lora-grad-a"}

CHECKS: tuple[Check, ...] = (
    against_formula(
        "lora-fwd",
        "Y of forward",
        "forward",
        lambda f, c: _forward(f, c)[0],
        lambda w: w.X @ w.W.T + w.bias,
        _output_scale,
    ),
    against_formula(
        "lora-z",
        "Z of forward",
        "forward",
        lambda f, c: _forward(f, c)[1],
        lambda w: w.X @ w.A.T,
        lambda c: (_sums(c.X, c.p.A.T), c.X.shape[1]),
    ),
    against_formula(
        "lora-1",
        "Y of forward_via_weight",
        "forward_via_weight",
        lambda f, c: _forward_via_weight(f, c)[0],
        lambda w: w.X @ w.W.T + w.bias,
        _output_scale,
    ),
    against_formula(
        "lora-weight",
        "W of forward_via_weight",
        "forward_via_weight",
        lambda f, c: _forward_via_weight(f, c)[1],
        lambda w: w.W,
        _weight_scale,
    ),
    *(
        against_formula(
            _GRADIENT_KEYS[output],
            f"{output} of backward",
            "backward",
            one_of(gradients, output),
            TRUE_GRADIENT[output],
            gradient_scale(output),
        )
        for output in TRUE_GRADIENT
    ),
    *(
        against_formula(
            "grad-1",
            f"{output} of backward_via_weight",
            "backward_via_weight",
            one_of(gradients_via_weight, output),
            TRUE_GRADIENT[output],
            gradient_scale(output),
        )
        for output in TRUE_GRADIENT
    ),
    against_formula(
        "lora-grad-bias",
        "gb of bias_gradient",
        "bias_gradient",
        lambda f, c: f.bias_gradient(c.gY),
        lambda w: w.gY.sum(axis=0),
        lambda c: (np.abs(np.float64(c.gY)).sum(axis=0), c.gY.shape[0]),
    ),
    against_formula(
        "lora-merge",
        "W of merge",
        "merge",
        lambda f, c: f.merge(c.W0, c.p, scale=c.scale),
        lambda w: w.W,
        _weight_scale,
    ),
    against_formula(
        "lora-unmerge",
        "W0 of unmerge after a merge",
        "unmerge",
        _unmerged,
        lambda w: w.W0,
        lambda c: unmerge_scale(c.W0, c.p, c.scale),
    ),
    Check("lora-unmerge", "every bit of W0 from Merged", ("Merged",), _memory_returns_every_bit),
    against_formula(
        "lora-symmetric",
        "W0 − s B0 A0 of symmetric_base",
        "symmetric_base",
        lambda f, c: f.symmetric_base(c.W0, c.p, scale=c.scale),
        lambda w: w.W0 - w.s * (w.B @ w.A),
        _weight_scale,
    ),
    Check("lora-scale", "alpha / r of scaling", ("scaling",), _scaling_is_rounded_once),
    Check("lora-scale-rs", "alpha / √r of scaling", ("scaling",), _stabilized_scaling),
)
