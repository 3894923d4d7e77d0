"""Vectors of LoHa, LoKr and (IA)³: increments that are no single product, and factors.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lora_np.conformance.vectors.generate.layers import USUAL_FLAGS, layer_recipes
from lora_np.conformance.vectors.generate.low_rank import LAYER
from lora_np.conformance.vectors.generate.pieces import (
    WRONG_WIDTH,
    joined,
    listing,
    only,
    overflowing,
    refusing,
    scale_of,
    spoilt,
    through,
    with_leading_axes,
    wrong_tensor,
    zero_entry,
)
from lora_np.conformance.vectors.generate.plan import Plan, Recipe
from lora_np.conformance.vectors.generate.roads import ARRAYS, ArrayFormula
from lora_np.conformance.vectors.generate.situations import (
    Sizes,
    plans,
    rank_and_alpha,
    situations,
)


def _added(delta: ArrayFormula) -> dict[str, Any]:
    """Forward, weight and take_out of an increment that is added to W0."""
    return {
        "forward": through(lambda t, config: t["W0"] + delta(t, config)),
        "weight": lambda t, config: t["W0"] + delta(t, config),
        "take_out": lambda t, config: t["W"] - delta(t, config),
    }


def loha_delta(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Multiply two low-rank products entry by entry."""
    return (t["B1"] @ t["A1"]) * (t["B2"] @ t["A2"]) * scale_of(config)


def loha_recipes() -> list[Recipe]:
    """Make LoHa's recipes."""
    shapes = {**LAYER, "B1": ("d", "r"), "A1": ("r", "k"), "B2": ("d", "r"), "A2": ("r", "k")}
    made = layer_recipes(
        "loha", shapes, rank_and_alpha, **_added(loha_delta), zero=("B1",), zeros=("B1", "A1", "B2", "A2")
    )
    further = {**WRONG_WIDTH, **wrong_tensor("B1"), **wrong_tensor("A2", "RankError"), **overflowing("B1")}
    return with_leading_axes(refusing(made, further))


def lokr_delta(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Place C and D on four axes, then flatten: autograd's own kron is not asked."""
    C, D = t["C"], (t["D"] if config["second"] == "full" else t["B"] @ t["A"])
    four = C[:, None, :, None] * D[None, :, None, :]
    return scale_of(config) * four.reshape(C.shape[0] * D.shape[0], C.shape[1] * D.shape[1])


LOKR_SIZES = (
    {"N": 2, "d1": 2, "d2": 3, "k1": 3, "k2": 2, "r": 2},
    {"N": 3, "d1": 1, "d2": 4, "k1": 2, "k2": 1, "r": 1},
    {"N": 2, "d1": 2, "d2": 2, "k1": 1, "k2": 3, "r": 1},
    {"N": 3, "d1": 2, "d2": 2, "k1": 2, "k2": 2, "r": 1},
)


def _whole(sizes: Sizes) -> dict[str, int]:
    return {"d": sizes["d1"] * sizes["d2"], "k": sizes["k1"] * sizes["k2"]}


def lokr_recipes() -> list[Recipe]:
    """Make LoKr's recipes: with a full second factor, and with a factored one."""
    seconds = {
        "full": {"D": ("d2", "k2")},
        "factored": {"B": ("d2", "r"), "A": ("r", "k2")},
    }
    parts = []
    for second, shapes in seconds.items():

        def config(sizes: Sizes, number: int, second: str = second) -> dict[str, Any]:
            return {**rank_and_alpha(sizes, number), "second": second}

        parts.append(
            layer_recipes(
                "lokr",
                {**LAYER, "C": ("d1", "k1"), **shapes},
                config,
                **_added(lokr_delta),
                zero=("C",),
                zeros=("C", next(iter(shapes))),
                flags=(*USUAL_FLAGS, "KroneckerOrder"),
                listed=partial(
                    listing(situations, derive=_whole),
                    sizes=[{**size, **_whole(size)} for size in LOKR_SIZES],
                    smallest=dict.fromkeys(("N", "d1", "d2", "k1", "k2", "r"), 1),
                    full_rank=second == "factored",
                ),
            )
        )
    further = {**WRONG_WIDTH, **wrong_tensor("C"), **wrong_tensor("D"), **overflowing("D")}
    return with_leading_axes(refusing(joined(*parts), further))


# ---- (IA)³ --------------------------------------------------------------------------------------------------

IA3_SIZES = (
    {"N": 2, "d": 3, "k": 5},
    {"N": 3, "d": 5, "k": 2},
    {"N": 4, "d": 4, "k": 3},
    {"N": 3, "d": 3, "k": 3},
)


def ia3_weight(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Rescale columns in the feed-forward form, rows else."""
    return t["W0"] * (t["l"] if config["feedforward"] else t["l"][:, None])


def ia3_forward(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Apply the rescaled weight; the bias is rescaled, too, unless in the feed-forward form."""
    Y = t["X"] @ ia3_weight(t, config).T
    if "bias" not in t:
        return Y
    return Y + (t["bias"] if config["feedforward"] else t["l"] * t["bias"])


def ia3_recipes() -> list[Recipe]:
    """Make the recipes of (IA)³: after the projection, and in the feed-forward form."""
    parts: list[list[Recipe]] = []
    inits = []
    for feedforward, side in ((False, "d"), (True, "k")):

        def config(_: Sizes, __: int, feedforward: bool = feedforward) -> dict[str, Any]:
            return {"feedforward": feedforward}

        usual = partial(
            layer_recipes,
            "ia3",
            {**LAYER, "l": (side,)},
            config,
            forward=ia3_forward,
            zero=(),
            flags=("Transposed", "MissingVector", "WrongSide"),
        )
        listed = partial(situations, sizes=IA3_SIZES, smallest={"N": 1, "d": 1, "k": 1})
        parts.append(
            [
                replace(recipe, without=None if recipe.without is None else _ones_for("l"))
                for recipe in usual(weight=ia3_weight, zeros=("l",), listed=listed)
            ]
        )
        inverse = usual(
            take_out=lambda t, config: t["W"] / (t["l"] if config["feedforward"] else t["l"][:, None]),
            zeros=(),
            listed=listing(listed, drop=("Integers",)),
        )
        parts.append([replace(recipe, without=_ones_for("l")) for recipe in only(inverse, "unmerge")])
        inits.append((config, feedforward))
    further = {
        **WRONG_WIDTH,
        **wrong_tensor("l"),
        "merge l 4": overflowing("l")["merge l 4"],
        **{
            f"{operation} feedforward": spoilt(
                dict, "ConfigError", ["feedforward"], "a word for a bool", config={"feedforward": "false"}
            )
            for operation in ("forward", "merge", "unmerge")
        },
        "unmerge 1": spoilt(
            zero_entry("l"), "NotInvertibleError", ["l", "1"], "l[1] is zero", ("ZeroFactor",)
        ),
    }
    return [*with_leading_axes(refusing(joined(*parts), further)), _ia3_init(inits)]


def _ones_for(name: str) -> Any:
    """Take the adapter out of effect: ones in place of its numbers."""
    return lambda t: {**t, name: [1 for _ in t[name]]}


def _ia3_init(parts: list[Any]) -> Recipe:
    def listed() -> list[Plan]:
        sizes = [
            {"N": 1, "d": 3, "k": 5},
            {"N": 1, "d": 5, "k": 2},
            {"N": 1, "d": 4, "k": 4},
            {"N": 1, "d": 1, "k": 1},
        ]
        found = situations(sizes, rows="", zeros=(), scaled=(), smallest=None)[:8]
        shapes = {"W0": ("d", "k")}
        return [
            plan
            for config, _ in parts
            for plan in plans("ia3/init", shapes, config, found, flags=("WrongSide",))
        ]

    def ones(plan: Plan) -> dict[str, np.ndarray]:
        return {"l": np.ones(plan.arrays()["W0"].shape[1 if plan.config["feedforward"] else 0])}

    return Recipe("ia3", "init", listed, road=ones, road_name=ARRAYS)


def recipes() -> list[Recipe]:
    """List this module's files."""
    return [*loha_recipes(), *lokr_recipes(), *ia3_recipes()]
