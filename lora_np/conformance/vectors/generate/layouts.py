"""Vectors of LoRA on other weights: stored transposed, embeddings, merged q-k-v.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from lora_np.conformance.vectors.generate.layers import USUAL_FLAGS, layer_recipes
from lora_np.conformance.vectors.generate.low_rank import FACTORS, LAYER, biased
from lora_np.conformance.vectors.generate.pieces import (
    WRONG_WIDTH,
    Arrays,
    deeper,
    listing,
    overflowing,
    refusing,
    scale_of,
    spoilt,
    with_leading_axes,
    wrong_tensor,
)
from lora_np.conformance.vectors.generate.plan import Recipe
from lora_np.conformance.vectors.generate.situations import Sizes, rank_and_alpha, situations

# ---- a weight stored the other way round ---------------------------------------------------------------------


def transposed_delta(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Multiply in the stored order: Aᵀ Bᵀ."""
    return t["A"].T @ t["B"].T * scale_of(config)


def transposed_recipes() -> list[Recipe]:
    """Make the recipes of the weight (k, d)."""
    made = layer_recipes(
        "lora-transposed",
        {**LAYER, **FACTORS, "W0": ("k", "d")},
        rank_and_alpha,
        forward=lambda t, config: biased(t["X"] @ (t["W0"] + transposed_delta(t, config)), t),
        weight=lambda t, config: t["W0"] + transposed_delta(t, config),
        take_out=lambda t, config: t["W"] - transposed_delta(t, config),
        flags=(*USUAL_FLAGS, "SquareShapes"),
    )
    further = {**WRONG_WIDTH, **wrong_tensor("B"), **wrong_tensor("A", "RankError"), **overflowing("B")}
    return with_leading_axes(refusing(made, further))


# ---- embeddings ---------------------------------------------------------------------------------------------

EMBEDDING_SIZES = (
    {"N": 4, "V": 3, "d": 5, "r": 2, "padding": 1},
    {"N": 3, "V": 5, "d": 2, "r": 1, "padding": 0},
    {"N": 2, "V": 4, "d": 3, "r": 3, "padding": 3},
    {"N": 4, "V": 3, "d": 3, "r": 2, "padding": 2},
)


def looked_up(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Multiply one-hot rows by the table; the padding token's row of A reaches it without a derivative."""
    from autograd.tracer import getval, isbox

    table = t["A"].T
    if config.get("padding") is not None:
        fixed = table
        while isbox(fixed):
            fixed = getval(fixed)
        trained = (np.arange(table.shape[0]) != config["padding"])[:, None]
        table = table * trained + fixed * ~trained
    one_hot = np.eye(table.shape[0])[t["X"]]
    return one_hot @ t["W0"] + scale_of(config) * (one_hot @ table) @ t["B"].T


def _as_tokens(arrays: Arrays, sizes: Sizes, _: dict[str, Any]) -> Arrays:
    """Read the drawn rows as tokens; the first row is the padding token, the last one repeats the one before."""
    if "X" not in arrays:
        return arrays
    tokens = (np.abs(np.frexp(arrays["X"])[0]) * 256).astype(np.int64) % sizes["V"]
    other = (sizes["padding"] + 1) % sizes["V"]
    if len(tokens) > 2:
        tokens[0] = sizes["padding"]
        tokens[-1] = tokens[-2] = other
    else:
        tokens = np.where(tokens == sizes["padding"], other, tokens)
    return {**arrays, "X": tokens}


def _last_token_beyond(arrays: Arrays) -> Arrays:
    return {**arrays, "X": np.append(arrays["X"][:-1] % 3, 3)}


def _last_token_below(arrays: Arrays) -> Arrays:
    return {**arrays, "X": np.append(arrays["X"][:-1], -1)}


def embedding_recipes() -> list[Recipe]:
    """Make the recipes of the table (V, d), with and without a padding token."""

    def config(sizes: Sizes, number: int) -> dict[str, Any]:
        return {**rank_and_alpha(sizes, number), "padding": sizes["padding"] if number % 3 else None}

    made = layer_recipes(
        "lora-embedding",
        {"X": ("N",), "W0": ("V", "d"), "B": ("d", "r"), "A": ("r", "V")},
        config,
        forward=looked_up,
        weight=lambda t, config: t["W0"] + transposed_delta(t, config),
        take_out=lambda t, config: t["W"] - transposed_delta(t, config),
        flags=(*USUAL_FLAGS, "PaddingTrained", "RepeatedTokens"),
        listed=partial(
            listing(situations, scaled={("X", "bias"): ("W0", "B")}),
            sizes=EMBEDDING_SIZES,
            smallest={"N": 1, "V": 2, "d": 1, "r": 1, "padding": 1},
        ),
        adjust=_as_tokens,
    )
    further = {
        **wrong_tensor("B"),
        **overflowing("B"),
        "backward 1": WRONG_WIDTH["backward 1"],
        "backward 2": WRONG_WIDTH["backward 2"],
        "backward 3": WRONG_WIDTH["backward 3"],
        "forward mixed": spoilt(_last_token_beyond, "ConfigError", ["3"], "one token beyond the table"),
        "forward mixed below": spoilt(_last_token_below, "ConfigError", ["-1"], "one negative token"),
        **{
            f"{operation} deep": spoilt(
                deeper(name),
                "ShapeError",
                [],
                "a table of three axes",
            )
            for operation, name in (("forward", "W0"), ("merge", "W0"), ("unmerge", "W"))
        },
        "forward padding": spoilt(dict, "ConfigError", ["padding"], "no such row", config={"padding": 3}),
        "forward 1": spoilt(
            lambda arrays: {**arrays, "X": arrays["X"] * 0 + 3},
            "ConfigError",
            ["3"],
            "tokens beyond the table",
        ),
        "forward 2": spoilt(
            lambda arrays: {**arrays, "X": arrays["X"] * 0 - 1}, "ConfigError", ["-1"], "negative tokens"
        ),
        "forward 3": spoilt(
            lambda arrays: {**arrays, "X": arrays["X"] + 0.5},
            "DTypeError",
            ["float"],
            "tokens that are no whole numbers",
        ),
    }
    return with_leading_axes(refusing(made, further), of=0, depth=1)


# ---- several projections in one weight -----------------------------------------------------------------------

QKV_SIZES = (
    {"N": 2, "d": 6, "k": 5, "r": 2, "parts": 3, "mask": 0b101},
    {"N": 3, "d": 4, "k": 3, "r": 1, "parts": 2, "mask": 0b11},
    {"N": 2, "d": 6, "k": 2, "r": 3, "parts": 3, "mask": 0b110},
    {"N": 3, "d": 4, "k": 4, "r": 2, "parts": 2, "mask": 0b10},
    {"N": 2, "d": 3, "k": 4, "r": 1, "parts": 3, "mask": 0b010},
    {"N": 2, "d": 6, "k": 4, "r": 2, "parts": 3, "mask": 0b111},
)


def _enabled(sizes: Sizes) -> list[bool]:
    """Read the mask from the left: 0b110 of three parts is True, True, False."""
    return [bool(sizes["mask"] >> (sizes["parts"] - 1 - part) & 1) for part in range(sizes["parts"])]


def _stacked(sizes: Sizes) -> dict[str, int]:
    on = sum(_enabled(sizes))
    return {"stacked": sizes["r"] * on, "adapted": sizes["d"] // sizes["parts"] * on}


def qkv_delta(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Spread each part's product over the whole weight with 0-1 matrices."""
    enabled = np.array(config["enabled"])
    on, r = int(enabled.sum()), config["rank"]
    height = t["B"].shape[0] // on
    blocks = np.kron(np.eye(on), np.ones((height, r)))  # which entries of the wide B are its own part's
    wide = (t["B"] @ np.kron(np.ones((1, on)), np.eye(r))) * blocks  # (on d/n, on r), block-diagonal
    place = np.kron(np.eye(len(enabled))[:, enabled], np.eye(height))
    return scale_of(config) * (place @ (wide @ t["A"]))


def qkv_recipes() -> list[Recipe]:
    """Make the recipes of a weight that holds several projections."""

    def config(sizes: Sizes, number: int) -> dict[str, Any]:
        return {**rank_and_alpha(sizes, number), "enabled": _enabled(sizes)}

    made = layer_recipes(
        "lora-merged-qkv",
        {**LAYER, "B": ("adapted", "r"), "A": ("stacked", "k")},
        config,
        forward=lambda t, config: biased(t["X"] @ (t["W0"] + qkv_delta(t, config)).T, t),
        weight=lambda t, config: t["W0"] + qkv_delta(t, config),
        take_out=lambda t, config: t["W"] - qkv_delta(t, config),
        flags=(*USUAL_FLAGS, "PartsShifted"),
        listed=partial(
            listing(situations, derive=_stacked),
            sizes=QKV_SIZES,
            smallest={"N": 1, "d": 2, "k": 1, "r": 1, "parts": 2, "mask": 0b01},
        ),
    )
    further = {
        **{f"{name} more": spoil for name, spoil in WRONG_WIDTH.items()},
        **wrong_tensor("B"),
        **wrong_tensor("A", "RankError"),
        **overflowing("B"),
        "forward 2": spoilt(
            dict,
            "ShapeError",
            ["6", "4"],
            "the parts do not divide d",
            config={"enabled": [True, False, False, False]},
        ),
        "forward bool": spoilt(
            dict, "ConfigError", ["enabled"], "a number for a bool", config={"enabled": [1, False, True]}
        ),
        "forward none": spoilt(dict, "ConfigError", ["enabled"], "no parts", config={"enabled": []}),
        "merge 1": spoilt(
            dict,
            "RankError",
            ["A"],
            "factors for two parts, three enabled",
            config={"enabled": [True] * 3},
        ),
    }
    return with_leading_axes(refusing(made, further))


def recipes() -> list[Recipe]:
    """List this module's files."""
    return [*transposed_recipes(), *embedding_recipes(), *qkv_recipes()]
