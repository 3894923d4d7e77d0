"""Equal forms against each other: two roads through the code under test to one number.  Floor 6.

Both may err, each by its own bound; the sum is held to the gold level all the same.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.bounds import (
    GOLD,
    forward_scale,
    gradient_scales,
    merge_scale,
    unmerge_scale,
)
from lora_np.conformance.verify.cases import Case, cases, reading
from lora_np.conformance.verify.check import Check, Reading
from lora_np.conformance.verify.implementation import Implementation
from lora_np.lora import LoraParams

Two = Callable[[Any, Case], tuple[Array, Array, Array]]


def pair(equation: str, name: str, uses: str, both: Two) -> Check:
    """Make a check of two results that must be equal: `both` returns one, the other and the scale S."""

    def measure(implementation: Implementation) -> Iterator[Reading]:
        for c in cases():
            yield reading(c, *both(implementation, c), GOLD)

    return Check(equation, name, tuple(uses.split()), measure)


def _forwards(f: Any, c: Case) -> tuple[Array, Array, Array]:
    one = f.forward_via_weight(c.X, c.W0, c.p, scale=c.scale, bias=c.bias)[0]
    two = f.forward(c.X, c.W0, c.p, scale=c.scale, bias=c.bias)[0]
    return one, two, forward_scale(c.X, c.W0, c.p, c.scale, c.bias)[0]


def _backwards(which: str) -> Two:
    def both(f: Any, c: Case) -> tuple[Array, Array, Array]:
        W = f.forward_via_weight(c.X, c.W0, c.p, scale=c.scale)[1]
        Z = f.forward(c.X, c.W0, c.p, scale=c.scale)[1]
        sides = []
        for gX, g in (
            f.backward_via_weight(c.gY, c.X, W, c.p, scale=c.scale),
            f.backward(c.gY, c.X, Z, c.W0, c.p, scale=c.scale),
        ):
            sides.append({"gX": gX, "gB": g.B, "gA": g.A}[which])
        return sides[0], sides[1], gradient_scales(c.gY, c.X, c.W0, c.p, c.scale)[which][0]

    return both


def _merged_forward(f: Any, c: Case) -> tuple[Array, Array, Array]:
    merged = c.X @ f.merge(c.W0, c.p, scale=c.scale).T + c.bias
    beside = f.forward(c.X, c.W0, c.p, scale=c.scale, bias=c.bias)[0]
    return merged, beside, forward_scale(c.X, c.W0, c.p, c.scale, c.bias)[0]


def _round_trip(f: Any, c: Case) -> tuple[Array, Array, Array]:
    back = f.unmerge(f.merge(c.W0, c.p, scale=c.scale), c.p, scale=c.scale)
    return back, c.W0, unmerge_scale(c.W0, c.p, c.scale)[0]


def _projected(which: str) -> Two:
    def both(f: Any, c: Case) -> tuple[Array, Array, Array]:
        g1 = f.project_gradient(c.gY.T @ c.X, c.p, scale=c.scale)
        _, g2 = f.backward(c.gY, c.X, c.X @ c.p.A.T, c.W0, c.p, scale=c.scale)
        S = gradient_scales(c.gY, c.X, c.W0, c.p, c.scale)[f"g{which}"][0]
        return getattr(g1, which), getattr(g2, which), S

    return both


def _symmetric_start(f: Any, c: Case) -> tuple[Array, Array, Array]:
    base = f.symmetric_base(c.W0, c.p, scale=c.scale)
    Y = f.forward(c.X, base, c.p, scale=c.scale)[0]
    S = np.abs(np.float64(c.X)) @ unmerge_scale(c.W0, c.p, c.scale)[0].T
    return Y, c.X @ c.W0.T, S


def _two_adapters(f: Any, c: Case) -> tuple[Array, Array, Array]:
    second = LoraParams(c.p.B[::-1], c.p.A[:, ::-1])
    in_turn = f.merge(f.merge(c.W0, c.p, scale=c.scale), second, scale=c.scale)
    both = LoraParams(np.concatenate([c.p.B, second.B], axis=1), np.concatenate([c.p.A, second.A], axis=0))
    return in_turn, f.merge(c.W0, both, scale=c.scale), merge_scale(c.W0, both, c.scale)[0]


def _microbatches(which: str) -> Two:
    def both(f: Any, c: Case) -> tuple[Array, Array, Array]:
        half = len(c.X) // 2

        def part(rows: slice) -> Array:
            X = c.X[rows]
            _, g = f.backward(c.gY[rows], X, X @ c.p.A.T, c.W0, c.p, scale=c.scale)
            found: Array = getattr(g, which)
            return found

        S = gradient_scales(c.gY, c.X, c.W0, c.p, c.scale)[f"g{which}"][0]
        return part(slice(half)) + part(slice(half, None)), part(slice(None)), S

    return both


CHECKS: tuple[Check, ...] = (
    pair("lora-2", "forward = forward_via_weight", "forward forward_via_weight", _forwards),
    *(
        pair(
            "grad-2",
            f"{which} of backward = of backward_via_weight",
            "backward backward_via_weight forward forward_via_weight",
            _backwards(which),
        )
        for which in ("gX", "gB", "gA")
    ),
    *(
        pair(
            "grad-1",
            f"project_gradient of gYᵀ X = g{which} of backward",
            "project_gradient backward",
            _projected(which),
        )
        for which in ("B", "A")
    ),
    *(
        pair("grad-2", f"g{which} of microbatches adds up to the batch's", "backward", _microbatches(which))
        for which in ("B", "A")
    ),
    pair("lora-merge", "merged layer = layer beside its adapter", "merge forward", _merged_forward),
    pair("lora-merge", "two adapters in turn = both at once", "merge", _two_adapters),
    pair("lora-unmerge", "unmerge after merge = W0", "merge unmerge", _round_trip),
    pair("lora-symmetric", "symmetric start = frozen layer", "symmetric_base forward", _symmetric_start),
)
