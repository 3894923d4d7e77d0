"""Vectors of the methods that put trained rows before the text: prefix tuning and prompt tuning.  Floor 6."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from lora_np.conformance.vectors.generate.layers import layer_recipes
from lora_np.conformance.vectors.generate.low_rank import LAYER, biased
from lora_np.conformance.vectors.generate.pieces import (
    WRONG_WIDTH,
    Arrays,
    deeper,
    listing,
    moderate,
    refusing,
    spoilt,
)
from lora_np.conformance.vectors.generate.plan import Plan, Recipe
from lora_np.conformance.vectors.generate.roads import ARRAYS, AUTOGRAD, of_arrays, of_autograd
from lora_np.conformance.vectors.generate.situations import Situation, Sizes, plans, situations

# ---- prefix tuning ------------------------------------------------------------------------------------------

PREFIX = {"Q": ("N", "dh"), "K": ("T", "dh"), "V": ("T", "dh"), "P_k": ("l", "dh"), "P_v": ("l", "dh")}
PREFIX_SIZES = (
    {"N": 2, "T": 3, "l": 2, "dh": 3},
    {"N": 3, "T": 2, "l": 1, "dh": 2},
    {"N": 1, "T": 4, "l": 3, "dh": 5},
    {"N": 3, "T": 3, "l": 3, "dh": 3},
)


def attention(t: Mapping[str, Any], _: Mapping[str, Any]) -> Any:
    """Let each query share out its attention over prefix and text."""
    from autograd import numpy as anp

    keys, values = anp.concatenate([t["P_k"], t["K"]]), anp.concatenate([t["P_v"], t["V"]])
    scores = anp.dot(t["Q"], keys.T) / math.sqrt(keys.shape[1])
    if scores.shape[0]:
        scores = scores - anp.max(scores, axis=1, keepdims=True)
    shares = anp.exp(scores)
    return anp.dot(shares / anp.sum(shares, axis=1, keepdims=True), values)


def _moderate_scores(arrays: Arrays, _: Sizes, __: dict[str, Any]) -> Arrays:
    return {**arrays, **{name: moderate(arrays[name]) / 2 for name in ("Q", "K", "P_k")}}


def prefix_recipes() -> list[Recipe]:
    """Make the recipes of prefix tuning."""

    def recipe(operation: str) -> Recipe:
        back = operation == "backward"
        shapes = {**PREFIX, "gY": ("N", "dh")} if back else PREFIX

        def made() -> list[Plan]:
            found = situations(
                PREFIX_SIZES,
                smallest={"N": 1, "T": 1, "l": 1, "dh": 1},
                zeros=("P_k", "P_v", "Q"),
                rows="Q",
                scaled=("gY",) if back else ("V", "P_v"),
            )
            first = PREFIX_SIZES[0]
            found += [
                Situation("no text: the prefix alone", {**first, "T": 0}, dtype=dtype, flags=("EmptyBatch",))
                for dtype in ("float64", "float32")
            ]
            flags = ("MissingRootOfWidth", "Transposed", "FactorsSwapped")
            return plans(
                f"prefix-tuning/{operation}",
                shapes,
                lambda _, __: {},
                [one for one in found if "Integers" not in one.flags],
                flags=(*flags, "MeanForSum") if back else flags,
                optional=(),
                adjust=_moderate_scores,
            )

        if back:
            road = of_autograd(attention, ("Q", "K", "V", "P_k", "P_v"))
            return Recipe("prefix-tuning", operation, made, road=road, road_name=AUTOGRAD)
        return Recipe(
            "prefix-tuning",
            operation,
            made,
            road=of_arrays(attention, "Y"),
            road_name=ARRAYS,
            without=lambda t: {**t, "P_k": [], "P_v": []} if t["K"] else t,
        )

    further = {
        "forward 1": spoilt(
            lambda arrays: {**arrays, "P_k": arrays["P_k"][:, 1:]},
            "ShapeError",
            ["P_k"],
            "P_k lacks a column",
        ),
        "forward 2": spoilt(
            lambda arrays: {**arrays, "V": arrays["V"][1:]}, "ShapeError", ["V"], "fewer values than keys"
        ),
        "backward 1": spoilt(
            lambda arrays: {**arrays, "gY": arrays["gY"][:, 1:]}, "ShapeError", ["gY"], "gY lacks a column"
        ),
    }
    further |= {
        f"forward {name}": spoilt(
            dict, "DTypeError", [name], f"{name} is of another type", dtypes={name: "float32"}
        )
        for name in PREFIX
    }
    further |= {
        f"forward {name} deep": spoilt(
            deeper(name),
            "ShapeError",
            [name],
            f"{name} has three axes",
        )
        for name in PREFIX
        if name != "Q"
    }
    return refusing([recipe("forward"), recipe("backward")], further)


# ---- prompt tuning ------------------------------------------------------------------------------------------

PROMPT_SIZES = (
    {"N": 2, "l": 3, "d": 3, "k": 5},
    {"N": 3, "l": 1, "d": 5, "k": 2},
    {"N": 1, "l": 2, "d": 4, "k": 3},
    {"N": 3, "l": 3, "d": 3, "k": 3},
)


def prompted(t: Mapping[str, Any], _: Mapping[str, Any]) -> Any:
    """Put the prompt before the text and go through the layer."""
    from autograd import numpy as anp

    return biased(anp.dot(anp.concatenate([t["P"], t["X"]]), t["W0"].T), t)


def prompt_recipes() -> list[Recipe]:
    """Make the recipes of prompt tuning; gY has a row for each row of the prompt and of the text."""
    listed = listing(
        partial(situations, sizes=PROMPT_SIZES, smallest={"N": 1, "l": 1, "d": 1, "k": 1}, full_rank=False),
        derive=lambda sizes: {"text": sizes["N"], "N": sizes["l"] + sizes["N"]},  # gY has N rows
    )
    usual = partial(
        layer_recipes,
        "prompt-tuning",
        config=lambda _, __: {},
        forward=prompted,
        zero=("P",),
        zeros=("P",),
        listed=listed,
    )
    made = usual({**LAYER, "X": ("text", "k"), "P": ("l", "k")}, flags=("PromptBehind", "Transposed"))
    further = {
        **{f"{name} more": spoil for name, spoil in WRONG_WIDTH.items()},
        "forward deep": spoilt(
            lambda arrays: {**arrays, "P": arrays["P"][None]}, "ShapeError", ["P"], "P has three axes"
        ),
        "forward type": spoilt(dict, "DTypeError", ["P"], "P is of another type", dtypes={"P": "float32"}),
        "forward 1": spoilt(
            lambda arrays: {**arrays, "P": arrays["P"][:, 1:]}, "ShapeError", ["P"], "P lacks a column"
        ),
        "backward 1": spoilt(
            lambda arrays: {**arrays, "gY": arrays["gY"][1:]}, "ShapeError", ["gY"], "gY has too few rows"
        ),
    }
    return refusing(made, further)


def recipes() -> list[Recipe]:
    """List this module's files."""
    return [*prefix_recipes(), *prompt_recipes()]
