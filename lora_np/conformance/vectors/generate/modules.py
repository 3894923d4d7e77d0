"""Vectors of the adapters of Houlsby and of Pfeiffer, for each activation.  Floor 6."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from lora_np.conformance.vectors.generate.pieces import (
    WRONG_WIDTH,
    Arrays,
    moderate,
    refusing,
    spoilt,
    with_leading_axes,
    wrong_tensor,
)
from lora_np.conformance.vectors.generate.plan import Plan, Recipe
from lora_np.conformance.vectors.generate.roads import ARRAYS, AUTOGRAD, of_arrays, of_autograd
from lora_np.conformance.vectors.generate.situations import Situation, Sizes, plans, situations

ADAPTER = {"X": ("N", "k"), "W_down": ("r", "k"), "b_down": ("r",), "W_up": ("k", "r"), "b_up": ("k",)}
ADAPTER_SIZES = (
    {"N": 2, "k": 5, "r": 2},
    {"N": 3, "k": 2, "r": 1},
    {"N": 4, "k": 3, "r": 4},
    {"N": 3, "k": 3, "r": 3},
)
ADAPTER_FLAGS = ("Transposed", "FactorsSwapped", "MissingBias", "MissingResidual")


def _gaussian_integral(u: Any) -> Any:
    """Compute Φ(u) = (1 + erf(u / √2)) / 2 with a derivative for autograd: the normal density."""
    from autograd.extend import defvjp, primitive

    phi = primitive(np.vectorize(lambda x: math.erfc(-x / math.sqrt(2)) / 2, otypes=[float]))
    defvjp(phi, lambda _, x: lambda g: g * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))
    return phi(u)


def adapter(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Down, a non-linearity, up, and the input added back."""
    from autograd import numpy as anp

    U = anp.dot(t["X"], t["W_down"].T) + t["b_down"]
    if config["activation"] == "relu":
        H = anp.where(U > 0, U, 0.0)
    elif config["activation"] == "tanh":
        H = anp.tanh(U)
    elif config["gelu"] == "erf":
        H = U * _gaussian_integral(U)
    else:
        H = 0.5 * U * (1 + anp.tanh(math.sqrt(2 / math.pi) * (U + 0.044715 * U**3)))
    return t["X"] + (anp.dot(H, t["W_up"].T) + t["b_up"])


def _moderate_down(arrays: Arrays, _: Sizes, __: dict[str, Any]) -> Arrays:
    """Keep what enters the non-linearity small: beyond 12 there is nothing left but rounding to see."""
    small = {name: moderate(arrays[name]) / 4 for name in ("X", "W_down", "b_down")}
    return {**arrays, **small}


def _alive(arrays: Arrays, _: Sizes, __: dict[str, Any]) -> Arrays:
    """Turn the sign of every unit that lets no row through."""
    rows, weights, shifts = arrays["X"], arrays["W_down"], arrays["b_down"]
    through = (rows[:, None, :] * weights[None]).sum(axis=2) + shifts > 0
    signs = np.where(through.any(axis=0), 1.0, -1.0)
    return {**arrays, "W_down": weights * signs[:, None], "b_down": shifts * signs}


def adapter_recipes(method: str) -> list[Recipe]:
    """Make the recipes of the bottleneck adapter, for each activation."""
    made = refusing(
        [_adapter_recipe(method, "forward"), _adapter_recipe(method, "backward")],
        {
            "forward 1": spoilt(
                lambda arrays: {**arrays, "X": arrays["X"][:, 1:]}, "ShapeError", ["X"], "X lacks a column"
            ),
            "forward 2": spoilt(
                lambda arrays: {**arrays, "b_up": arrays["b_up"][1:]},
                "ShapeError",
                ["b_up"],
                "b_up is too short",
            ),
            **{
                f"{operation} more": WRONG_WIDTH[operation]
                for operation in ("forward 3", "backward 2", "backward 3")
            },
            **wrong_tensor("W_down"),
            **wrong_tensor("b_down"),
            **wrong_tensor("W_up"),
            "forward 3": spoilt(
                dict,
                "ConfigError",
                ["activation", "swish"],
                "no such activation",
                config={"activation": "swish"},
            ),
            "backward 1": spoilt(
                lambda arrays: {**arrays, "gY": arrays["gY"][:, 1:]},
                "ShapeError",
                ["gY"],
                "gY lacks a column",
            ),
        },
    )
    return with_leading_axes(made)


def _adapter_recipe(method: str, operation: str) -> Recipe:
    name, back = f"{method}/{operation}", operation == "backward"
    shapes = {**ADAPTER, "gY": ("N", "k")} if back else ADAPTER

    def made() -> list[Plan]:
        found: list[Plan] = []
        for activation in ("relu", "gelu erf", "gelu tanh", "tanh"):
            smooth = activation != "relu"
            bent, _, form = activation.partition(" ")
            chosen = {"activation": bent, "gelu": form} if form else {"activation": bent}
            flags = (*ADAPTER_FLAGS, *(["MeanForSum"] if back else []))
            found += plans(
                f"{name}/{bent}",
                shapes,
                partial(_chosen, chosen),
                _adapter_situations(back=back, smooth=smooth),
                flags=(*flags, "ActivationApproximated") if form == "erf" else flags,
                optional=(),
                adjust=_moderate_down if smooth else _alive,
                option=("gelu", form) if form else None,
            )
        return found

    if back:
        road = of_autograd(adapter, ("X", "W_down", "b_down", "W_up", "b_up"))
        return Recipe(method, operation, made, road=road, road_name=AUTOGRAD)
    return Recipe(
        method, operation, made, road=of_arrays(adapter, "Y"), road_name=ARRAYS, without=_without_up
    )


def _chosen(chosen: dict[str, str], sizes: Sizes, _: int) -> dict[str, Any]:
    return {"rank": sizes["r"], **chosen}


def _without_up(t: Mapping[str, Any]) -> dict[str, Any]:
    """Take the adapter out of effect: W_up = 0 and b_up = 0."""
    return {**t, "W_up": [[0 * w for w in row] for row in t["W_up"]], "b_up": [0 * b for b in t["b_up"]]}


def _adapter_situations(*, back: bool, smooth: bool) -> list[Situation]:
    """List the situations; those of a smooth activation are fewer and keep to ordinary numbers."""
    found = situations(
        ADAPTER_SIZES,
        smallest={"N": 1, "k": 1, "r": 1},
        zeros=("W_down", "W_up"),
        scaled=("gY",) if back else ("X", "b_down", "b_up"),
        full_rank=False,
    )
    if not smooth:
        return found
    away = {"Integers", "WideRange", "HugeValues", "NonContiguous", "ReadOnlyInput"}
    return [one for one in found if not away & set(one.flags) and one.dtype in ("float64", "float32")]


def recipes() -> list[Recipe]:
    """List this module's files."""
    return [*adapter_recipes("houlsby"), *adapter_recipes("pfeiffer")]
