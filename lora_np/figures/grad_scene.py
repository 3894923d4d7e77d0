"""What the room on gradients shows: a layer small enough to check by hand, every sum behind its gradients.  Floor 6.

Two rows of k = 2 inputs, d = 3 outputs, r = 2; all numbers are small integers, so every gradient is an integer too and
double precision holds it exactly.  What finite differences lose is then their own error and nobody else's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.conformance.bounds import unit_roundoff
from lora_np.conformance.verify.derivatives import by_autograd, by_central_differences
from lora_np.errors import ConfigError
from lora_np.lora import LoraParams, backward, backward_via_weight, forward, forward_via_weight

LOSSES = {"squares": 2, "fourth powers": 4}
GRADIENTS = ("gB", "gA", "gX")
EXPONENTS = tuple(step / 2 for step in range(2, 31))  # of the steps h that are tried: 10^-1 down to 10^-15

Loss = Callable[..., Any]


class Layer(NamedTuple):
    """The layer with its batch and the outputs T that are wanted of it."""

    X: Float[Array, "N k"]
    W0: Float[Array, "d k"]
    p: LoraParams
    T: Float[Array, "N d"]
    scale: float

    def loss(self, power: int) -> Loss:
        """Write the loss as a function of X, B and A: L = Σ (Y − T)^m / m."""

        def L(X: Array, B: Array, A: Array) -> Any:
            Y, _ = forward(X, self.W0, LoraParams(B, A), scale=self.scale)
            return ((Y - self.T) ** power).sum() / power

        return L

    @property
    def parts(self) -> dict[str, Array]:
        """What the loss is differentiated by, under the name of its gradient."""
        return {"gX": self.X, "gB": self.p.B, "gA": self.p.A}


class Entry(NamedTuple):
    """One cell of one matrix; rows and columns are counted from one."""

    matrix: str
    row: int
    column: int


class Sum(NamedTuple):
    """How one cell is made: a sum of products of two cells, times s where it is `scaled`."""

    cell: Entry
    scaled: bool
    terms: tuple[tuple[Entry, Entry], ...]


@dataclass(frozen=True, slots=True, eq=False)
class GradScene:
    """One gradient by every road, and the sum behind one of its cells.

    `sums` begins with the cell that is asked for; the cells of g_Z that stand in it follow.  `gradient` is what
    lora-2 gives, `roads` what the other roads give.
    """

    layer: Layer
    which: str
    matrices: dict[str, Array]
    sums: tuple[Sum, ...]
    roads: dict[str, Array]

    @property
    def gradient(self) -> Array:
        """The gradient that is looked at."""
        return self.matrices[self.which]

    @property
    def forms_agree(self) -> bool:
        """Whether lora-1 gives lora-2's numbers, bit by bit."""
        return bool((self.roads["lora-1"] == self.gradient).all())

    def value(self, entry: Entry) -> float:
        """Read one cell."""
        return float(self.matrices[entry.matrix][entry.row - 1, entry.column - 1])


@dataclass(frozen=True, slots=True, eq=False)
class ErrorCurves:
    """The relative error ‖got − g‖ / ‖g‖ of both differences at the steps h = 10^-EXPONENTS, and what theory says.

    `truncation` is what the parabola or the cubic behind the step costs, h ‖L''‖ / 2 and h² ‖L'''‖ / 6 over ‖g‖;
    `rounding` what the rounding of Y and of the loss costs at most, u (L + Σ |g_Y Y|) √n / h over ‖g‖ for n cells.
    """

    steps: list[float]
    errors: dict[str, list[float]]
    truncation: dict[str, list[float]]
    rounding: list[float]

    @property
    def best(self) -> dict[str, float]:
        """The step with the least error, for each kind of difference."""
        return {kind: self.steps[int(np.argmin(errors))] for kind, errors in self.errors.items()}


def small_layer() -> Layer:
    """Make the layer; every number is written out.

    >>> layer = small_layer()
    >>> forward(layer.X, layer.W0, layer.p, scale=layer.scale)[0] - layer.T
    array([[ 1.,  2., -1.],
           [ 3.,  1., -2.]])
    """
    B, A = [[1.0, 2.0], [-1.0, -2.0], [2.0, -1.0]], [[1.0, -2.0], [2.0, 1.0]]
    return Layer(
        X=np.array([[-1.0, 1.0], [1.0, 2.0]]),
        W0=np.array([[2.0, 2.0], [1.0, -2.0], [2.0, 1.0]]),
        p=LoraParams(np.array(B), np.array(A)),
        T=np.array([[-11.0, 5.0, -10.0], [13.0, -14.0, -14.0]]),
        scale=2.0,
    )


def grad_scene(which: str, row: int, column: int, *, h: float, loss: str) -> GradScene:
    """Take the gradient `which` by every road, and one of its cells apart.  [grad-1] [grad-2]

    Raises `ConfigError` where a name is unknown or the cell is none of the gradient's.

    >>> scene = grad_scene("gB", 2, 1, h=1e-8, loss="squares")
    >>> scene.value(scene.sums[0].cell), scene.forms_agree
    (-18.0, True)
    """
    checks.require_one_of("which", which, GRADIENTS)
    checks.require_one_of("loss", loss, LOSSES)
    checks.require_number("h", h, above=0)
    layer, power = small_layer(), LOSSES[loss]
    matrices = everything(layer, power)
    shape = matrices[which].shape
    if not (1 <= row <= shape[0] and 1 <= column <= shape[1]):
        raise ConfigError(f"{which} has cells 1,1 to {shape[0]},{shape[1]}, got {row},{column}")
    return GradScene(layer, which, matrices, chain(which, row, column), roads(layer, power, which, h))


# ---- the gradients ---------------------------------------------------------------------------------------------


def everything(layer: Layer, power: int) -> dict[str, Array]:
    """Go forward and back, and keep every matrix on the way.  [lora-2] [grad-2] [lora-grad-x]"""
    X, W0, p, T, s = layer
    Y, Z = forward(X, W0, p, scale=s)
    gY = (Y - T) ** (power - 1)  # L = Σ (Y − T)^m / m
    gX, g = backward(gY, X, Z, W0, p, scale=s)
    known = {"X": X, "A": p.A, "Z": Z, "B": p.B, "W0": W0}
    return known | {"gY": gY, "gZ": s * (gY @ p.B), "gB": g.B, "gA": g.A, "gX": gX}


def roads(layer: Layer, power: int, which: str, h: float) -> dict[str, Array]:
    """Take one gradient by the other roads: lora-1, autograd, and both differences with the step h.  [grad-1]"""
    X, W0, p, T, s = layer
    Y, W = forward_via_weight(X, W0, p, scale=s)
    gX, g = backward_via_weight((Y - T) ** (power - 1), X, W, p, scale=s)
    loss = layer.loss(power)
    return {
        "lora-1": {"gX": gX, "gB": g.B, "gA": g.A}[which],
        "autograd": by_autograd(loss, layer.parts, which),
        "forward": by_forward_differences(loss, layer.parts, which, h),
        "central": by_central_differences(loss, layer.parts, which, h),
    }


def chain(which: str, row: int, column: int) -> tuple[Sum, ...]:
    """Write the sum that makes a cell, and the sums of the cells of g_Z in it.  [grad-2] [lora-grad-x]

    >>> chain("gB", 2, 1)[0].terms[0]
    (Entry(matrix='gY', row=1, column=2), Entry(matrix='Z', row=1, column=1))
    """
    rows, d, r = (range(1, size + 1) for size in (2, 3, 2))
    cell = Entry(which, row, column)
    if which == "gB":  # s gYᵀ Z
        return (Sum(cell, True, tuple((Entry("gY", n, row), Entry("Z", n, column)) for n in rows)),)
    if which == "gA":  # gZᵀ X
        terms = tuple((Entry("gZ", n, row), Entry("X", n, column)) for n in rows)
        return (Sum(cell, False, terms), *(_bottleneck(n, row) for n in rows))
    frozen = tuple((Entry("gY", row, i), Entry("W0", i, column)) for i in d)  # gY W0 + gZ A
    thin = tuple((Entry("gZ", row, j), Entry("A", j, column)) for j in r)
    return (Sum(cell, False, frozen + thin), *(_bottleneck(row, j) for j in r))


def _bottleneck(n: int, j: int) -> Sum:
    """Write the sum behind a cell of g_Z = s gY B."""
    return Sum(Entry("gZ", n, j), True, tuple((Entry("gY", n, i), Entry("B", i, j)) for i in (1, 2, 3)))


# ---- finite differences ------------------------------------------------------------------------------------------


def by_forward_differences(loss: Loss, parts: dict[str, Array], which: str, h: float) -> Array:
    """Differentiate one entry at a time, by a step to one side: (L(x + h) − L(x)) / h."""
    here, derivative = loss(*parts.values()), np.empty(parts[which].shape)
    for index in np.ndindex(derivative.shape):
        moved = parts[which].copy()
        moved[index] += h
        derivative[index] = (loss(*(parts | {which: moved}).values()) - here) / h
    return derivative


def bends(loss: Loss, parts: dict[str, Array], which: str) -> tuple[Array, Array]:
    """Take the second and the third derivative by every entry, from whole steps: exact up to the fourth degree."""
    second, third = np.empty(parts[which].shape), np.empty(parts[which].shape)
    for index in np.ndindex(second.shape):
        L = {}
        for step in (-2, -1, 0, 1, 2):
            moved = parts[which].copy()
            moved[index] += step
            L[step] = loss(*(parts | {which: moved}).values())
        second[index] = (16 * (L[1] + L[-1]) - 30 * L[0] - L[2] - L[-2]) / 12
        third[index] = (L[2] - 2 * L[1] + 2 * L[-1] - L[-2]) / 2
    return second, third


def error_curves(which: str, *, loss: str) -> ErrorCurves:
    """Run both differences at every step h.  Raises `ConfigError`.

    >>> error_curves("gB", loss="squares").best["forward"] < 1e-6
    True
    """
    checks.require_one_of("which", which, GRADIENTS)
    checks.require_one_of("loss", loss, LOSSES)
    layer, power = small_layer(), LOSSES[loss]
    known, f, parts = everything(layer, power), layer.loss(power), layer.parts
    g, Y = known[which], forward(layer.X, layer.W0, layer.p, scale=layer.scale)[0]
    size = float(np.linalg.norm(g))
    steps = [10**-exponent for exponent in EXPONENTS]
    takes = {"forward": by_forward_differences, "central": by_central_differences}
    errors = {
        kind: [float(np.linalg.norm(take(f, parts, which, h) - g)) / size for h in steps]
        for kind, take in takes.items()
    }
    second, third = (float(np.linalg.norm(bend)) / size for bend in bends(f, parts, which))
    truncation = {"forward": [h * second / 2 for h in steps], "central": [h**2 * third / 6 for h in steps]}
    felt = float(f(*parts.values()) + np.sum(abs(known["gY"] * Y)))
    rounded = unit_roundoff(np.float64) * felt * g.size**0.5 / size
    return ErrorCurves(steps, errors, truncation, [rounded / h for h in steps])
