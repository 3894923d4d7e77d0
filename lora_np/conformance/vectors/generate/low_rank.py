"""Vectors of the layers that add a product of matrices to the weight, or a sum, or nothing but a bias.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from lora_np.conformance.vectors.generate.layers import USUAL_FLAGS, layer_recipes
from lora_np.conformance.vectors.generate.pieces import overflowing, wrong_tensor
from lora_np.conformance.vectors.generate.plan import Recipe
from lora_np.conformance.vectors.generate.refusals import CONFIG_REFUSALS, FACTOR_REFUSALS, complete
from lora_np.conformance.vectors.generate.situations import Situation, Sizes, rank_and_alpha, situations

LAYER = {"X": ("N", "k"), "W0": ("d", "k"), "bias": ("d",)}
FACTORS = {"B": ("d", "r"), "A": ("r", "k")}
SHAPE_FLAGS = ("SignFlipped", "Transposed")

Tensors = Mapping[str, Any]


def biased(Y: Any, t: Tensors) -> Any:
    """Add the bias where there is one."""
    return Y + t["bias"] if "bias" in t else Y


def few_situations(**options: Any) -> list[Situation]:
    """List a dozen situations, for methods whose layer is LoRA's own."""
    wanted = {"InputRoundedToBfloat16", "Integers", "SingleRow", "RankExceedsShape", "ReadOnlyInput"}
    listed = situations(**{**options, "zeros": ()}, half=False)
    return [one for one in listed[:-2] if not one.flags or set(one.flags) & wanted]


# ---- LoRA, and what has its layer ---------------------------------------------------------------------------


def lora_like(method: str, *, exponent: float = 1.0, few: bool = False, **options: Any) -> list[Recipe]:
    """Make the recipes of a layer of LoRA's form whose scale is alpha / r**exponent."""

    def delta(t: Tensors, config: Mapping[str, Any]) -> Any:
        return config["alpha"] / config["rank"] ** exponent * (t["B"] @ t["A"])

    return layer_recipes(
        method,
        {**LAYER, **FACTORS},
        rank_and_alpha,
        forward=lambda t, config: biased(t["X"] @ (t["W0"] + delta(t, config)).T, t),
        weight=lambda t, config: t["W0"] + delta(t, config),
        take_out=lambda t, config: t["W"] - delta(t, config),
        listed=few_situations if few else situations,
        **options,
    )


def symmetric() -> list[Recipe]:
    """Make the recipes of LoRA that starts away from zero."""

    def delta(t: Tensors, config: Mapping[str, Any]) -> Any:
        return config["alpha"] / config["rank"] * (t["B"] @ t["A"] - t["B0"] @ t["A0"])

    return layer_recipes(
        "symmetric",
        {**LAYER, "B0": ("d", "r"), "A0": ("r", "k"), **FACTORS},
        rank_and_alpha,
        forward=lambda t, config: biased(t["X"] @ (t["W0"] + delta(t, config)).T, t),
        weight=lambda t, config: t["W0"] + delta(t, config),
        take_out=lambda t, config: t["W"] - delta(t, config),
        zero=("B", "B0"),
    )


# ---- other factors ------------------------------------------------------------------------------------------


def rank_only(sizes: Sizes, number: int) -> dict[str, Any]:
    """{"rank": r}."""
    return {"rank": sizes["r"]}


def product_of(
    method: str, shapes: Mapping[str, tuple[str, ...]], delta: Any, config: Any, **options: Any
) -> list[Recipe]:
    """Make the recipes of a layer whose weight is W0 + delta(tensors, configuration)."""
    return layer_recipes(
        method,
        {**LAYER, **shapes},
        config,
        forward=lambda t, config: biased(t["X"] @ (t["W0"] + delta(t, config)).T, t),
        weight=lambda t, config: t["W0"] + delta(t, config),
        take_out=lambda t, config: t["W"] - delta(t, config),
        **options,
    )


def lora_xs() -> list[Recipe]:
    """Make the recipes of LoRA-XS."""
    return product_of(
        "lora-xs",
        {"B": ("d", "r"), "A": ("r", "k"), "R": ("r", "r")},
        lambda t, config: t["B"] @ t["R"] @ t["A"],
        rank_only,
        zero=("R",),
        zeros=("R",),
        flags=SHAPE_FLAGS,
    )


def vera() -> list[Recipe]:
    """Make the recipes of VeRA."""
    return product_of(
        "vera",
        {**FACTORS, "lambda_b": ("d",), "lambda_d": ("r",)},
        lambda t, config: (t["lambda_b"].reshape(-1, 1) * t["B"]) @ (t["lambda_d"].reshape(-1, 1) * t["A"]),
        rank_only,
        zero=("lambda_b",),
        zeros=("lambda_b", "lambda_d"),
        flags=(*SHAPE_FLAGS, "FactorsSwapped"),
    )


SCALES = (1.0, 1.5, 0.7, 4.0, 8 / (4 + 1e-5))


def adalora() -> list[Recipe]:
    """Make the recipes of AdaLoRA's layer."""
    return product_of(
        "adalora",
        {"P": ("d", "r"), "lam": ("r",), "Q": ("r", "k")},
        lambda t, config: config["scale"] * ((t["P"] * t["lam"]) @ t["Q"]),
        lambda sizes, number: {"rank": sizes["r"], "scale": SCALES[number % len(SCALES)]},
        zero=("lam",),
        zeros=("lam", "P"),
        flags=(*USUAL_FLAGS,),
    )


BLOCK_SIZES: tuple[Sizes, ...] = (
    {"N": 2, "d": 4, "k": 6, "r": 2},
    {"N": 3, "d": 5, "k": 2, "r": 1},
    {"N": 3, "d": 6, "k": 3, "r": 3},
    {"N": 2, "d": 4, "k": 4, "r": 2},
)


def additive() -> list[Recipe]:
    """Make the recipes of the additive increment."""

    def delta(t: Tensors, config: Mapping[str, Any]) -> Any:
        from autograd import numpy as xp

        (d, r), k = t["B"].shape, t["A"].shape[1]
        return xp.tile(t["B"], (1, k // r)) + xp.tile(t["A"], (d // r, 1))

    return product_of(
        "additive",
        FACTORS,
        delta,
        rank_only,
        zero=("B", "A"),
        flags=(*SHAPE_FLAGS, "FactorsSwapped"),
        listed=partial(situations, BLOCK_SIZES, full_rank=False),
    )


def bitfit() -> list[Recipe]:
    """Make the recipes of the layer that trains its bias."""
    return layer_recipes(
        "bitfit",
        LAYER,
        lambda sizes, number: {},
        forward=lambda t, config: biased(t["X"] @ t["W0"].T, t),
        zero=("bias",),
        zeros=("bias",),
        flags=("Transposed", "MissingBias"),
        listed=partial(situations, full_rank=False),
        optional=(),
        in_backward=("bias",),
    )


def recipes() -> list[Recipe]:
    """List this module's files."""
    same_layer = [
        recipe
        for method in ("lora-plus", "pissa", "milora", "olora")
        for recipe in lora_like(method, few=True)
    ]
    return [
        *complete(lora_like("lora"), FACTOR_REFUSALS, CONFIG_REFUSALS),
        *complete(lora_like("rslora", exponent=0.5, salt="+"), FACTOR_REFUSALS, CONFIG_REFUSALS),
        *complete(lora_like("lora-fa"), wrong_tensor("B"), wrong_tensor("A", "RankError"), overflowing("B")),
        *complete(same_layer),
        *complete(symmetric(), wrong_tensor("B0"), wrong_tensor("A", "RankError"), overflowing("B")),
        *complete(lora_xs(), wrong_tensor("R", "RankError"), wrong_tensor("B")),
        *complete(vera(), wrong_tensor("lambda_b"), wrong_tensor("lambda_d", "RankError")),
        *complete(adalora(), wrong_tensor("lam", "RankError"), wrong_tensor("P")),
        *complete(additive(), wrong_tensor("B"), wrong_tensor("A", "RankError")),
        *complete(bitfit()),
    ]
