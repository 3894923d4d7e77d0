"""FLOPs, bytes moved and peak extra memory of one layer, by running its program on shapes alone.  Floor 2.

Conventions.  A multiply-add is 2 FLOPs, so an (m, n) by (n, p) product is 2 m n p; scaling or adding arrays is one
FLOP per element.  Bytes moved count each operand read once and each result written once, as if caches were perfect
within an operation and empty between two.  Peak extra memory is what exists at once beyond the arguments, results
included.  Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lora_np import checks
from lora_np.cost.programs import PROGRAMS, Step
from lora_np.errors import DTypeError

REUSE_FROM = 256 * 1024
"""NumPy adds in place where an operand is a temporary that nobody else holds, from this many bytes on.

It scales in place too where the number casts safely to the array's type: a Python float does to float64 (and wider),
not to float32, where scaling a large temporary makes another.
"""

Shape = tuple[int, int]


class Line(NamedTuple):
    """The cost of one operation: the formula it computes, FLOPs, bytes moved, and the size of its result."""

    formula: str
    flops: int
    bytes_moved: int
    result_bytes: int


@dataclass(frozen=True, slots=True)
class Phase:
    """The cost of a run of operations, line by line, and its peak extra memory."""

    lines: tuple[Line, ...]
    peak_bytes: int

    @property
    def flops(self) -> int:
        """The lines' FLOPs together."""
        return sum(line.flops for line in self.lines)

    @property
    def bytes_moved(self) -> int:
        """The lines' traffic together."""
        return sum(line.bytes_moved for line in self.lines)

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)


class VariantCost(NamedTuple):
    """The cost of one variant: forward, backward, what it holds between the two, and what it does once."""

    forward: Phase
    backward: Phase
    kept_bytes: int
    once: Phase

    @property
    def step_flops(self) -> int:
        """FLOPs of forward and backward."""
        return self.forward.flops + self.backward.flops

    @property
    def step_bytes_moved(self) -> int:
        """Traffic of forward and backward."""
        return self.forward.bytes_moved + self.backward.bytes_moved

    @property
    def step_peak_bytes(self) -> int:
        """Peak extra memory of a step: backward runs beside what forward kept."""
        return max(self.forward.peak_bytes, self.kept_bytes + self.backward.peak_bytes)


@dataclass(frozen=True, slots=True)
class LinearCosts:
    """The costs of a (d, k) layer on N rows with a rank-r adapter, by variant: ``costs["lora-2"].forward.flops``."""

    N: int
    d: int
    k: int
    rank: int
    itemsize: int
    variants: Mapping[str, VariantCost]

    def __getitem__(self, variant: str) -> VariantCost:
        checks.require_one_of("variant", variant, self.variants)
        return self.variants[variant]


def linear_costs(
    N: int, d: int, k: int, r: int, dtype: object = "float64", *, reuse_from: int | None = REUSE_FROM
) -> LinearCosts:
    """Count what one layer costs in every variant: frozen, full, lora-1, lora-2, merged.

    [cost-product] [cost-forward] [cost-backward] [cost-peak]

    `reuse_from` is the size in bytes from which the array library computes in place on temporaries; None for one
    that never does.  Raises `ConfigError`, `DTypeError`.

    >>> costs = linear_costs(512, 768, 768, 8, "float32")
    >>> round(costs["lora-2"].step_flops / costs["frozen"].step_flops, 3)
    1.032
    >>> costs["lora-2"].backward.peak_bytes < costs["lora-1"].backward.peak_bytes
    True
    """
    for name, value, least in (("N", N, 0), ("d", d, 1), ("k", k, 1), ("r", r, 1)):
        checks.require_int(name, value, minimum=least)
    if reuse_from is not None:
        checks.require_int("reuse_from", reuse_from, minimum=0)
    shapes = {"X": (N, k), "gY": (N, d), "W0": (d, k), "W": (d, k), "B": (d, r), "A": (r, k), "Z": (N, r)}
    itemsize = _itemsize(dtype)
    variants = {}
    for name, program in PROGRAMS.items():
        forward, backward, once = (
            _run(steps, shapes, itemsize, reuse_from)
            for steps in (program.forward, program.backward, program.once)
        )
        kept = sum(_size(shapes[array]) * itemsize for array in program.kept)
        variants[name] = VariantCost(forward, backward, kept, once)
    return LinearCosts(N, d, k, r, itemsize, variants)


def _itemsize(dtype: object) -> int:
    """Bytes of one number of a floating type."""
    try:
        found = np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError:
        found = None
    if found is None or found.kind != "f":
        raise DTypeError(f"dtype must be a floating type, got {dtype!r}", fix="for example 'float32'")
    return int(found.itemsize)


# ---- running a program on shapes -----------------------------------------------------------------------------


def _size(shape: Shape) -> int:
    return shape[0] * shape[1]


def _run(
    steps: tuple[Step, ...], arguments: Mapping[str, Shape], itemsize: int, reuse_from: int | None
) -> Phase:
    """Cost every step, and follow what is alive."""
    shapes = dict(arguments)
    lines, alive, peak = [], 0, 0
    for step in steps:
        shapes[step.result] = _shape(step, shapes)
        lines.append(_cost(step, shapes, itemsize))
        made = lines[-1].result_bytes
        used = [_size(shapes[name]) * itemsize for name in (step.left, step.right) if name.startswith("t")]
        can_reuse = step.kind == "+" or (step.kind == "*" and itemsize >= 8)
        in_place = can_reuse and reuse_from is not None and any(b >= reuse_from for b in used)
        peak = max(peak, alive + (0 if in_place else made))
        alive += made - sum(used)
    return Phase(tuple(lines), peak)


def _look_up(name: str, shapes: Mapping[str, Shape]) -> Shape:
    """Find the shape of an operand; ".T" turns it round."""
    shape = shapes[name.removesuffix(".T")]
    return shape[::-1] if name.endswith(".T") else shape


def _shape(step: Step, shapes: Mapping[str, Shape]) -> Shape:
    """Find the shape of a step's result."""
    if step.kind == "@":
        return _look_up(step.left, shapes)[0], _look_up(step.right, shapes)[1]
    return _look_up(step.right, shapes)


def _cost(step: Step, shapes: Mapping[str, Shape], itemsize: int) -> Line:
    """Cost one operation."""
    made = _size(shapes[step.result])
    read = sum(_size(_look_up(name, shapes)) for name in (step.left, step.right) if name != "s")
    per_number = 2 * _look_up(step.left, shapes)[1] if step.kind == "@" else 1
    formula = f"{step.result} = {step.left} {step.kind} {step.right}"
    return Line(formula, made * per_number, (read + made) * itemsize, made * itemsize)
