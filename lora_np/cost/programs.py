"""The layer's arithmetic as programs: one step per operation, in the order in which the code evaluates.  Floor 2.

Each program lists what `lora.forward`, `lora.backward` and their twins compute (and what a frozen, a fully trained
and a merged layer would), so that FLOPs, bytes and peak memory can all be read off one table.  A name that starts
with "t" is the temporary of an expression and is freed once used; every other result is a local variable and lives
until its function returns.  Nothing here holds numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Step(NamedTuple):
    """One operation: ``result = left kind right``; kind is "@" (product), "*" (by the scalar s) or "+"."""

    result: str
    left: str
    kind: str
    right: str


class Program(NamedTuple):
    """The forward and backward steps of one variant.

    `kept` are results of forward, besides X and Y, that backward needs; `once` is work done before any batch.
    """

    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    kept: tuple[str, ...] = ()
    once: tuple[Step, ...] = ()
    words: str = ""


_WEIGHT = (Step("t1", "B", "@", "A"), Step("t2", "s", "*", "t1"), Step("W", "W0", "+", "t2"))

PROGRAMS: Mapping[str, Program] = MappingProxyType(
    {
        "frozen": Program(
            forward=(Step("Y", "X", "@", "W0.T"),),
            backward=(Step("gX", "gY", "@", "W0"),),
            words="the frozen layer alone: what any method pays",
        ),
        "full": Program(
            forward=(Step("Y", "X", "@", "W0.T"),),
            backward=(Step("gW", "gY.T", "@", "X"), Step("gX", "gY", "@", "W0")),
            words="the whole weight is trained",
        ),
        "lora-1": Program(
            forward=(*_WEIGHT, Step("Y", "X", "@", "W.T")),
            backward=(
                Step("gW", "gY.T", "@", "X"),
                Step("gX", "gY", "@", "W"),
                Step("t1", "gW", "@", "A.T"),
                Step("gB", "s", "*", "t1"),
                Step("t2", "B.T", "@", "gW"),
                Step("gA", "s", "*", "t2"),
            ),
            kept=("W",),
            words="through the weight: builds W0 + s B A and its full gradient",
        ),
        "lora-2": Program(
            forward=(
                Step("Z", "X", "@", "A.T"),
                Step("t1", "X", "@", "W0.T"),
                Step("t2", "Z", "@", "B.T"),
                Step("t3", "s", "*", "t2"),
                Step("Y", "t1", "+", "t3"),
            ),
            backward=(
                Step("t1", "gY", "@", "B"),
                Step("gZ", "s", "*", "t1"),
                Step("t2", "gY", "@", "W0"),
                Step("t3", "gZ", "@", "A"),
                Step("gX", "t2", "+", "t3"),
                Step("t4", "gY.T", "@", "Z"),
                Step("gB", "s", "*", "t4"),
                Step("gA", "gZ.T", "@", "X"),
            ),
            kept=("Z",),
            words="through the bottleneck: never makes a (d, k) array",
        ),
        "merged": Program(
            forward=(Step("Y", "X", "@", "W.T"),),
            backward=(Step("gX", "gY", "@", "W"),),
            once=_WEIGHT,
            words="the increment added to the weight once, which is then frozen",
        ),
    }
)
"""Every variant by name."""
