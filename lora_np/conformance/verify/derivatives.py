"""Gradients against three independent roads to a derivative, in double precision.  Floor 6.

    autograd             HIPS autograd differentiates the written-out formula in reverse
    complex step         Im L(x + ih) / h with h = 1e-30: no cancellation, and a truncation of h², which is below u²
    central differences  (L(x + h) − L(x − h)) / 2h with h = 1 on a loss that is quadratic along each entry: its third
                         derivative is zero, so there is no truncation for any h, and what is left is the rounding
                         of the two losses.  That is why S of this road is (S_L(x + h) + S_L(x − h)) / 2h + S of the
                         gradient, with S_L the loss of absolute values.

The formulas are written out here, not taken from the code under test, so a failure names the backward it is in.
"""

from collections.abc import Callable, Iterator
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np

from lora_np._typing import Array
from lora_np.conformance.bounds import GOLD
from lora_np.conformance.verify.cases import Case, reading, small_cases
from lora_np.conformance.verify.check import Check, Reading
from lora_np.conformance.verify.implementation import Implementation
from lora_np.conformance.verify.layer import gradient_scale, gradients, gradients_via_weight

BENT = 1 / 16  # how much of Y goes into tanh: little enough that its slope does not vanish

Parts = dict[str, Array]
Loss = Callable[..., Any]


def parts_of(c: Case) -> Parts:
    """Name what the loss is differentiated by."""
    return {"gX": c.X, "gB": c.p.B, "gA": c.p.A}


def output(c: Case, X: Array, B: Array, A: Array) -> Array:
    """Compute the layer as its definition has it, with the weight written out."""
    return X @ (c.W0 + c.scale * (B @ A)).T + c.bias


# ---- the losses, and what they send back -------------------------------------------------------------------


def bent_loss(c: Case, xp: Any) -> Loss:
    """L = Σ C tanh(Y / 16), with C in the place of gY."""
    return lambda *parts: xp.sum(c.gY * xp.tanh(BENT * output(c, *parts)))


def bent_upstream(c: Case) -> Array:
    """Its gradient by Y."""
    return BENT * c.gY / np.cosh(BENT * output(c, *parts_of(c).values())) ** 2


def quadratic_loss(c: Case) -> Loss:
    """L = ½ Σ C Y²: of degree 2 in every entry of X, of B and of A."""
    return lambda *parts: float(np.sum(c.gY * output(c, *parts) ** 2) / 2)


def quadratic_upstream(c: Case) -> Array:
    """Its gradient by Y."""
    return c.gY * output(c, *parts_of(c).values())


def with_upstream(c: Case, gY: Array) -> Case:
    """Make the same layer with another gY."""
    other = Case(c.shape, c.dtype, exact=True)
    other.gY = gY
    return other


# ---- the three roads ---------------------------------------------------------------------------------------


def by_autograd(loss: Loss, parts: Parts, which: str) -> Array:
    """Differentiate in reverse."""
    return np.asarray(autograd.grad(loss, list(parts).index(which))(*parts.values()))


def by_complex_step(loss: Loss, parts: Parts, which: str, h: float = 1e-30) -> Array:
    """Differentiate one entry at a time, along the imaginary axis."""
    derivative = np.empty(parts[which].shape)
    for index in np.ndindex(derivative.shape):
        moved = parts[which].astype(complex)
        moved[index] += 1j * h
        derivative[index] = loss(*(parts | {which: moved}).values()).imag / h
    return derivative


def by_central_differences(loss: Loss, parts: Parts, which: str, h: float = 1.0) -> Array:
    """Differentiate one entry at a time, by a step to each side."""
    derivative = np.empty(parts[which].shape)
    for index in np.ndindex(derivative.shape):
        sides = []
        for step in (h, -h):
            moved = parts[which].copy()
            moved[index] += step
            sides.append(loss(*(parts | {which: moved}).values()))
        derivative[index] = (sides[0] - sides[1]) / (2 * h)
    return derivative


def central_difference_scale(c: Case, which: str, h: float = 1.0) -> Array:
    """(S_L(x + h) + S_L(x − h)) / 2h: the loss of absolute values is largest where |entry| grew by h."""
    wide = Case(c.shape, c.dtype, exact=True)
    wide.W0, wide.bias, wide.gY = abs(c.W0), abs(c.bias), abs(c.gY)
    parts = {name: abs(x) for name, x in parts_of(c).items()}
    loss, S = quadratic_loss(wide), np.empty(parts[which].shape)
    for index in np.ndindex(S.shape):
        moved = parts[which].copy()
        moved[index] += h
        S[index] = loss(*(parts | {which: moved}).values()) / h
    return S


# ---- checks ------------------------------------------------------------------------------------------------


def _double_cases() -> list[Case]:
    return [c for c in small_cases() if c.dtype == np.float64]


def _measure(ours: Callable[[Any, Case], Parts], which: str, road: str) -> Callable[[Any], Iterator[Reading]]:
    """Measure one gradient on one road."""

    def measure(implementation: Implementation) -> Iterator[Reading]:
        for c in _double_cases():
            bent = road != "central differences"
            seen = with_upstream(c, bent_upstream(c) if bent else quadratic_upstream(c))
            S = gradient_scale(which)(seen)[0]
            if road == "autograd":
                want = by_autograd(bent_loss(c, anp), parts_of(c), which)
            elif road == "complex step":
                want = by_complex_step(bent_loss(c, np), parts_of(c), which)
            else:
                want = by_central_differences(quadratic_loss(c), parts_of(c), which)
                S = S + central_difference_scale(c, which)
            got = ours(implementation, seen)[which]
            vacuous = np.linalg.norm(want) <= 1e-3  # a gradient of nothing would agree with anything
            found = reading(c, got, want, S, GOLD)
            yield found._replace(error_u=float("inf")) if vacuous else found

    return measure


def _bias_by_autograd(implementation: Implementation) -> Iterator[Reading]:
    for c in _double_cases():
        gY = bent_upstream(c)

        def loss(b: Array, c: Case = c) -> Any:
            Y = output(c, *parts_of(c).values()) - c.bias
            return anp.sum(c.gY * anp.tanh(BENT * (Y + b)))

        want = autograd.grad(loss)(c.bias)
        S = np.abs(gY).sum(axis=0)
        yield reading(c, implementation.bias_gradient(gY), want, S, GOLD)


_KEYS = {"gX": "lora-grad-x", "gB": "lora-grad-b", "gA": "lora-grad-a"}
ROADS = ("autograd", "complex step", "central differences")

CHECKS: tuple[Check, ...] = (
    *(
        Check(_KEYS[which], f"{which} of backward by {road}", ("backward",), _measure(gradients, which, road))
        for road in ROADS
        for which in _KEYS
    ),
    *(
        Check(
            "grad-1",
            f"{which} of backward_via_weight by {road}",
            ("backward_via_weight",),
            _measure(gradients_via_weight, which, road),
        )
        for road in ROADS
        for which in _KEYS
    ),
    Check("lora-grad-bias", "gb of bias_gradient by autograd", ("bias_gradient",), _bias_by_autograd),
)
