"""Vectors of DoRA: its gradient with the norm detached, and attached.  Floor 6."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lora_np.conformance.vectors.format import Tensor
from lora_np.conformance.vectors.generate.layers import USUAL_FLAGS, layer_recipes
from lora_np.conformance.vectors.generate.low_rank import FACTORS, LAYER
from lora_np.conformance.vectors.generate.pieces import (
    WRONG_WIDTH,
    Arrays,
    followed,
    joined,
    listing,
    only,
    refusing,
    scale_of,
    spoilt,
    through,
    with_leading_axes,
    wrong_tensor,
    zero_entry,
)
from lora_np.conformance.vectors.generate.plan import Plan, Recipe
from lora_np.conformance.vectors.generate.roads import ARRAYS
from lora_np.conformance.vectors.generate.situations import (
    Sizes,
    plans,
    rank_and_alpha,
    situations,
)


def _lengths(V: Any, config: Mapping[str, Any]) -> Any:
    """Take the norms of rows, as a column; where detached, without their derivative."""
    from autograd import numpy as anp
    from autograd.tracer import getval, isbox

    lengths = anp.sqrt(anp.sum(V * V, axis=1))[:, None]
    while config.get("norm") == "detached" and isbox(lengths):
        lengths = getval(lengths)
    return lengths


def dora_weight(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """V rescaled row by row to the lengths m."""
    V = t["W0"] + scale_of(config) * (t["B"] @ t["A"])
    U = V * _towards_one(V)  # the same direction
    return U / _lengths(U, config) * t["m"][:, None]


def _towards_one(V: Any) -> np.ndarray:
    """For each row the power of two that brings its largest number into [1/2, 1), as a column of constants."""
    from autograd.tracer import getval, isbox

    while isbox(V):
        V = getval(V)
    exponents = np.frexp(np.abs(V).max(axis=1))[1]
    return np.asarray(np.ldexp(1.0, -exponents))[:, None]


# ---- rows whose squares leave the range ---------------------------------------------------------------------

FAR = 664
"""2**664 is about 1e200: its square overflows, that of 2**-664 underflows."""


def _stretched(arrays: Arrays) -> Arrays:
    """Make row 0 of V huge and row 1 tiny: the rows of W0 and B, or what stands for them when unmerging."""
    powers = np.ldexp(1.0, np.array([FAR, -FAR] + [0] * (len(arrays["B"]) - 2)))
    rows: Arrays = {name: array * powers[:, None] for name, array in arrays.items() if name in ("W0", "B")}
    if "lengths" in arrays:
        rows["lengths"] = arrays["lengths"] * powers
    return {**arrays, **rows}


def _pointing(arrays: Arrays) -> Arrays:
    """Make V's row 0 huge and nowhere positive, (−3, −4, 0, ...), and its row 1 tiny, (3, 4, 0, ...)."""
    away = np.arange(len(arrays["B"])) > 1
    rows = {"B": arrays["B"] * away[:, None]}
    for name in ("W0", "W"):
        if name in arrays:
            rows[name] = arrays[name].copy()
            rows[name][:2] = 0.0
            rows[name][:2, :2] = [[-3.0, -4.0], [3.0, 4.0]]
    return _stretched({**arrays, **rows})


FAR_ROWS = {
    "a row near 1e200, a row near 1e-200": _stretched,
    "rows 1e200 (-3, -4, 0, ...) and 1e-200 (3, 4, 0, ...)": _pointing,
}


def _far_plans(recipe: Recipe) -> list[Plan]:
    """Take the first plan of each form of the gradient to rows whose squares overflow and underflow."""
    first: dict[Any, Plan] = {}
    for plan in recipe.plans():
        first.setdefault(plan.option, plan) if plan.result != "invalid" else None
    return [
        replace(
            plan,
            inputs={name: Tensor(array, plan.dtype) for name, array in change(plan.arrays()).items()},
            comment=comment,
            flags=("HugeValues", "TinyValues"),
        )
        for plan in first.values()
        for comment, change in FAR_ROWS.items()
    ]


def _zero_row(arrays: Arrays) -> Arrays:
    keep = np.arange(len(arrays["W0"])) != 1
    return {**arrays, "W0": arrays["W0"] * keep[:, None], "B": arrays["B"] * keep[:, None]}


def _positive_lengths(arrays: Arrays, _: Sizes, __: dict[str, Any]) -> Arrays:
    return {name: np.abs(array) if name == "lengths" else array for name, array in arrays.items()}


def _short_lengths(arrays: Arrays) -> Arrays:
    return {**arrays, "lengths": arrays["lengths"][1:]}


def dora_recipes() -> list[Recipe]:
    """Make DoRA's recipes; its gradient with the norm detached, then attached."""
    shapes = {**LAYER, **FACTORS, "m": ("d",)}
    # with one element V / ||V|| is a sign, whatever B is
    listed = listing(situations, drop=("Integers", "SingleElement"), scaled={("W0", "B"): ("m",)})
    usual = partial(layer_recipes, "dora", forward=through(dora_weight))
    parts = [
        only(
            usual(shapes, rank_and_alpha, weight=dora_weight, listed=listed, zeros=("B", "A", "m")),
            "forward",
            "merge",
        )
    ]
    for norm, flag in (("detached", "DetachedNorm"), ("attached", "AttachedNorm")):

        def config(sizes: Sizes, number: int, norm: str = norm) -> dict[str, Any]:
            return {**rank_and_alpha(sizes, number), "norm": norm}

        made = usual(
            shapes,
            config,
            listed=listed,
            zeros=("B", "A", "m"),
            flags=(*USUAL_FLAGS, flag),
            option=("dora.norm", norm),
        )
        parts.append(only(made, "backward"))
    unmerge = usual(
        {**shapes, "lengths": ("d",)},
        rank_and_alpha,
        take_out=lambda t, config: (
            t["W"] * (t["lengths"] / t["m"])[:, None] - scale_of(config) * (t["B"] @ t["A"])
        ),
        listed=listing(situations, drop=("Integers",)),
        adjust=_positive_lengths,
    )
    further = {
        "forward 1": spoilt(_zero_row, "ZeroNormError", ["1"], "row 1 of W0 + s B A is zero", ("ZeroRows",)),
        **{f"{name} more": spoil for name, spoil in WRONG_WIDTH.items()},
        **wrong_tensor("m"),
        **wrong_tensor("B"),
        "unmerge 2": spoilt(_short_lengths, "ShapeError", ["lengths"], "the lengths are too few"),
        "merge 1": spoilt(_zero_row, "ZeroNormError", ["1"], "row 1 of W0 + s B A is zero", ("ZeroRows",)),
        "unmerge 1": spoilt(zero_entry("m"), "NotInvertibleError", ["m"], "m[1] is zero", ("ZeroFactor",)),
    }
    made = refusing([*joined(*parts), *only(unmerge, "unmerge")], further)
    return [*followed(with_leading_axes(made), _far_plans), _dora_init()]


def _dora_init() -> Recipe:
    """Make the recipe of the starting magnitudes: the lengths of the rows of W0."""

    def listed() -> list[Plan]:
        found = listing(situations, drop=("Integers", "RankExceedsShape"))(rows="", zeros=("W0",), scaled=())
        found += [
            replace(one, comment="zero rows in W0", flags=("ZeroRows",), changes={"W0": "zero rows"})
            for one in found[:2]
        ]
        shapes = {"W0": ("d", "k")}
        usual = plans("dora/init", shapes, _rank, found, flags=("Transposed", "SquareShapes"))
        far = [
            replace(one, comment="a row near 1e200, a row near 1e-200", flags=("HugeValues", "TinyValues"))
            for one in situations(rows="", zeros=(), scaled=())[:4]
            if one.dtype == "float64"
        ]
        rows = plans("dora/init", shapes, _rank, far, adjust=_far_rows, salt="+")
        pointing = {"W0": Tensor(POINTING, "float64")}
        return [*usual, *rows, replace(rows[0], inputs=pointing, comment=list(FAR_ROWS)[1])]

    return Recipe(
        "dora",
        "init",
        listed,
        road=lambda plan: {"m": np.array([math.hypot(*row) for row in plan.arrays()["W0"]])},
        road_name=ARRAYS,
    )


def _far_rows(arrays: Arrays, _: Sizes, __: dict[str, Any]) -> Arrays:
    return {"W0": _stretched({"B": arrays["W0"], "W0": arrays["W0"]})["W0"]}


POINTING = np.ldexp([[-3.0, -4.0, 0.0], [3.0, 4.0, 0.0]], [[FAR], [-FAR]])


def _rank(sizes: Sizes, _: int) -> dict[str, Any]:
    return {"rank": sizes["r"]}


def recipes() -> list[Recipe]:
    """List this module's files."""
    return dora_recipes()
