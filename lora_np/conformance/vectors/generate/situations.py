"""The situations that every layer is put into: sizes, kinds of numbers, zeros, memory, element types.  Floor 6.

`situations` lists them for a method, `plans` draws the inputs.  A method says with `Shapes` which tensors it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lora_np.conformance.vectors.format import HALF_TYPES, Tensor
from lora_np.conformance.vectors.generate.inputs import HUGE, TINY, Draws
from lora_np.conformance.vectors.generate.plan import Plan

Shapes = Mapping[str, tuple[str | int, ...]]
"""For each tensor the names of its sides: {"X": ("N", "k"), "W0": ("d", "k")}."""

Sizes = Mapping[str, int]

USUAL_SIZES: tuple[Sizes, ...] = (
    {"N": 2, "d": 3, "k": 5, "r": 2},
    {"N": 3, "d": 5, "k": 2, "r": 1},
    {"N": 4, "d": 4, "k": 3, "r": 3},
    {"N": 3, "d": 3, "k": 3, "r": 2},
)
"""Sides that differ, so that nothing fits by accident; and once a square, where everything does."""

SMALLEST_SIZES: Sizes = {"N": 1, "d": 1, "k": 1, "r": 1}
MEMORY = ("F", "strided", "reversed", "readonly")


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """Sizes, kind of numbers, and what is done to some tensors: {"X": "tiny"}; see `changed` for the words."""

    comment: str
    sizes: Sizes
    values: str = "short"
    flags: tuple[str, ...] = ()
    changes: Mapping[str, str] = field(default_factory=dict)
    memory: str = "C"
    dtype: str = "float64"


def changed(array: np.ndarray, change: str) -> np.ndarray:
    """Return an array with a change: "zero", "zero rows" (every second one), "tiny" or "huge"."""
    if change == "zero rows":
        keep = np.arange(array.shape[0]) % 2 == 1 if array.ndim else 0.0
        return np.where(np.reshape(keep, (-1, *[1] * (array.ndim - 1))), array, 0.0)
    return array * {"zero": 0.0, "tiny": TINY, "huge": HUGE}[change]


def situations(
    sizes: Iterable[Sizes] = USUAL_SIZES,
    *,
    smallest: Sizes | None = SMALLEST_SIZES,
    zeros: Iterable[str] = ("B", "A"),
    rows: str = "X",
    scaled: tuple[str, ...] = ("X", "bias"),
    full_rank: bool = True,
    half: bool = True,
) -> list[Situation]:
    """List the situations of a layer, in both element types, some in the 16-bit ones as well.

    `zeros` names the tensors that get a case in which they are zero, `rows` the one whose rows are zeroed and that
    counts as the batch, `scaled` those that are made huge and tiny together.  Pass `rows=""` where there is no batch,
    `smallest=None` where no side may be 1, `full_rank=False` where there is no rank "r".
    """
    usual = list(sizes)
    first, second = usual[0], usual[1 % len(usual)]
    found = [
        Situation("sides of different length" if n < 3 else "a square weight", size)
        for n, size in enumerate(usual)
    ]
    found += [
        Situation("every bit of the inputs counts", size, "full", ("InputRoundedToBfloat16",))
        for size in usual[:2]
    ]
    found += [
        Situation("small whole numbers: every sum is exact", first, "integers", ("Integers",)),
        Situation("magnitudes over six orders", second, "wide", ("WideRange",)),
    ]
    if scaled:
        words = " and ".join(scaled)
        found += [
            Situation(
                f"{words} near 1e-30", first, flags=("TinyValues",), changes=dict.fromkeys(scaled, "tiny")
            ),
            Situation(
                f"{words} near 1e30", second, flags=("HugeValues",), changes=dict.fromkeys(scaled, "huge")
            ),
        ]
    found += [
        Situation(f"{name} = 0", first, flags=("ZeroFactor",), changes={name: "zero"}) for name in zeros
    ]
    found += _shape_situations(first, smallest, rows, full_rank)
    found += [
        Situation(
            f"memory order: {memory}",
            second if memory == "F" else first,
            flags=("ReadOnlyInput" if memory == "readonly" else "NonContiguous",),
            memory=memory,
        )
        for memory in MEMORY
    ]
    both = [replace(one, dtype=dtype) for one in found for dtype in ("float64", "float32")]
    low = [replace(one, dtype=dtype) for one in (found[0], found[1]) for dtype in HALF_TYPES] if half else []
    return both + low


def _shape_situations(first: Sizes, smallest: Sizes | None, rows: str, full_rank: bool) -> list[Situation]:
    """List the situations about shapes: rows, rank, single elements."""
    found = []
    if rows:
        found += [
            Situation(
                f"zero rows in {rows}", {**first, "N": 3}, flags=("ZeroRows",), changes={rows: "zero rows"}
            ),
            Situation("no rows", {**first, "N": 0}, flags=("EmptyBatch",)),
            Situation("one row", {**first, "N": 1}, flags=("SingleRow",)),
        ]
    if smallest is not None:
        found.append(Situation("every side is 1", smallest, flags=("SingleElement",)))
    if full_rank and "r" in first:
        above = min(n for side, n in first.items() if side in ("d", "k")) + 1
        found.append(Situation("rank above the shape", {**first, "r": above}, flags=("RankExceedsShape",)))
    return found


# ---- from situations to plans -------------------------------------------------------------------------------

Configuration = Callable[[Sizes, int], dict[str, Any]]
"""From the sizes and the number of the situation to a configuration."""

ALPHAS = (3.0, 1.0, 0.75, 16.0, 5.0)


def rank_and_alpha(sizes: Sizes, number: int) -> dict[str, Any]:
    """{"rank": r, "alpha": one of five}; few of them make a power of two, hardly any makes 1."""
    return {"rank": sizes["r"], "alpha": ALPHAS[number % len(ALPHAS)]}


def plans(
    name: str,
    shapes: Shapes,
    config: Configuration,
    listed: Iterable[Situation],
    *,
    flags: tuple[str, ...] = (),
    optional: tuple[str, ...] = ("bias",),
    adjust: Callable[[dict[str, np.ndarray], Sizes, dict[str, Any]], dict[str, np.ndarray]] | None = None,
    option: tuple[str, str] | None = None,
    salt: str = "",
) -> list[Plan]:
    """Draw the inputs of each situation, seeded by `name` and its number.

    Where chance makes a case that is refused because the adapter hardly counts, another `salt` draws all anew.

    `flags` go to the cases with nothing special; tensors in `optional` are there in every second pair of cases;
    `adjust` may change the drawn arrays or add whole new ones.
    """
    made = []
    for number, one in enumerate(listed):
        draws, chosen = Draws(f"{name}{salt}/{number}"), config(one.sizes, number // 2)
        present = [tensor for tensor in shapes if tensor not in optional or number // 2 % 2 == 0]
        arrays = {
            tensor: changed(
                draws.values(one.values, _shape(shapes[tensor], one.sizes), one.dtype),
                one.changes.get(tensor, "as it is"),
            )
            if tensor in one.changes
            else draws.values(one.values, _shape(shapes[tensor], one.sizes), one.dtype)
            for tensor in present
        }
        if adjust is not None:
            arrays = adjust(arrays, one.sizes, chosen)
        made.append(
            Plan(
                config=chosen,
                dtype=one.dtype,
                inputs={tensor: _tensor(array, one) for tensor, array in arrays.items()},
                comment=one.comment,
                flags=_all_flags(one, flags),
                option=option,
                result="acceptable" if option else "valid",
            )
        )
    return made


def _shape(sides: tuple[str | int, ...], sizes: Sizes) -> tuple[int, ...]:
    return tuple(side if isinstance(side, int) else sizes[side] for side in sides)


def _tensor(array: np.ndarray, one: Situation) -> Tensor:
    """Wrap an array; whole-number tensors keep their own type."""
    return Tensor(array, "int64" if array.dtype.kind == "i" else one.dtype, one.memory)


def _all_flags(one: Situation, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Flag a case by what is special about it; the usual mistakes are those of the usual cases."""
    if one.flags == ("InputRoundedToBfloat16",) and one.dtype == "float64":
        return (*one.flags, "InputRoundedToFloat32")
    return one.flags or tuple(dict.fromkeys(usual))
