"""Vectors of DoRA: its gradient with the norm detached, and attached.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lora_np.conformance.vectors.generate.layers import USUAL_FLAGS, layer_recipes
from lora_np.conformance.vectors.generate.low_rank import FACTORS, LAYER
from lora_np.conformance.vectors.generate.pieces import (
    WRONG_WIDTH,
    Arrays,
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
    return V / _lengths(V, config) * t["m"][:, None]


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
    return [*with_leading_axes(made), _dora_init()]


def _dora_init() -> Recipe:
    """Make the recipe of the starting magnitudes: the lengths of the rows of W0."""

    def listed() -> list[Plan]:
        found = listing(situations, drop=("Integers", "RankExceedsShape"))(rows="", zeros=("W0",), scaled=())
        found += [
            replace(one, comment="zero rows in W0", flags=("ZeroRows",), changes={"W0": "zero rows"})
            for one in found[:2]
        ]
        return plans("dora/init", {"W0": ("d", "k")}, _rank, found, flags=("Transposed", "SquareShapes"))

    return Recipe(
        "dora",
        "init",
        listed,
        road=lambda plan: {"m": np.linalg.norm(plan.arrays()["W0"], axis=1)},
        road_name=ARRAYS,
    )


def _rank(sizes: Sizes, _: int) -> dict[str, Any]:
    return {"rank": sizes["r"]}


def recipes() -> list[Recipe]:
    """List this module's files."""
    return dora_recipes()
