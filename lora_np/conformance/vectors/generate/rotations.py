"""Vectors of OFT: the Cayley transform, its five terms, and the rotation transposed.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from lora_np.conformance.vectors.generate.layers import layer_recipes
from lora_np.conformance.vectors.generate.low_rank import LAYER
from lora_np.conformance.vectors.generate.pieces import (
    WRONG_WIDTH,
    Arrays,
    joined,
    listing,
    moderate,
    only,
    refusing,
    spoilt,
    through,
    with_leading_axes,
    wrong_tensor,
)
from lora_np.conformance.vectors.generate.plan import Recipe
from lora_np.conformance.vectors.generate.situations import (
    Sizes,
    situations,
)

OFT_SIZES = (
    {"N": 2, "d": 3, "k": 4, "blocks": 2, "entries": 1},
    {"N": 3, "d": 2, "k": 6, "blocks": 2, "entries": 3},
    {"N": 2, "d": 3, "k": 4, "blocks": 1, "entries": 6},
    {"N": 3, "d": 3, "k": 3, "blocks": 1, "entries": 3},
)


def rotations(q: Any, config: Mapping[str, Any]) -> Any:
    """Make the rotations (blocks, b, b) by LAPACK's solver, or by the five terms."""
    from autograd import numpy as anp

    b = int((1 + np.sqrt(1 + 8 * q.shape[1])) / 2)
    basis = np.zeros((q.shape[1], b, b))  # the skew matrix of each number
    upper = np.triu_indices(b, 1)
    basis[np.arange(q.shape[1]), upper[0], upper[1]] = 1
    basis[np.arange(q.shape[1]), upper[1], upper[0]] = -1
    Q = anp.einsum("ne,eij->nij", q, basis) * (-1 if config.get("side") == "transposed" else 1)
    one = np.eye(b)[None]
    if config.get("neumann") is None:
        return anp.linalg.solve(one + Q, one - Q)  # (I + Q)⁻¹ and I − Q commute
    return (one - Q) @ (one - Q @ (one - Q @ (one - Q)))


def oft_weight(t: Mapping[str, Any], config: Mapping[str, Any], weight: str = "W0") -> Any:
    """Rotate the columns of a weight, block by block."""
    from autograd import numpy as anp

    R = rotations(t["q"], config)
    W = t[weight].reshape(t[weight].shape[0], R.shape[0], R.shape[1])
    return anp.einsum("dnb,nbc->dnc", W, R).reshape(t[weight].shape)


def oft_unmerge(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Rotate back: by the Cayley transform of −Q, or by LAPACK's inverse of the five terms."""
    if config.get("neumann") is None:
        return oft_weight({**t, "q": -t["q"]}, config, "W")
    R = np.linalg.inv(rotations(t["q"], config))
    return (t["W"].reshape(len(t["W"]), 1, len(R), -1).swapaxes(1, 2) @ R).reshape(t["W"].shape)


def _moderate_q(arrays: Arrays, _: Sizes, __: dict[str, Any]) -> Arrays:
    return {name: moderate(array) / 2 if name == "q" else array for name, array in arrays.items()}


def oft_recipes() -> list[Recipe]:
    """Make OFT's recipes: Cayley and five terms; then the transposed rotation, for those who declare it."""

    def turned(_: Sizes, number: int) -> dict[str, Any]:
        return {"neumann": 5 if number % 4 in (1, 2) else None}

    def turned_back(sizes: Sizes, number: int) -> dict[str, Any]:
        """Ask for the five terms' inverse in blocks of two only: elimination in larger ones has too wide a bound."""
        return turned(sizes, number) if sizes["entries"] == 1 else {"neumann": None}

    usual = partial(
        layer_recipes,
        "oft",
        {**LAYER, "q": ("blocks", "entries")},
        forward=through(oft_weight),
        zero=("q",),
        zeros=("q",),
        flags=("Transposed", "RotationInverted", "TriangleOrder"),
        adjust=_moderate_q,
    )
    listed = partial(situations, sizes=OFT_SIZES, smallest=None, half=False)
    moderated = listing(listed, drop=("Integers",), scaled={("W0", "q"): ("W0",), ("W", "q"): ("W",)})
    valid = usual(config=turned, weight=oft_weight, listed=moderated)
    back = usual(config=turned_back, take_out=oft_unmerge, listed=moderated)

    def transposed(sizes: Sizes, number: int) -> dict[str, Any]:
        return {**turned(sizes, number), "side": "transposed"}

    def few(**situation: Any) -> list[Any]:
        return moderated(**situation)[:8]

    other = usual(config=transposed, weight=oft_weight, listed=few, option=("oft.side", "transposed"))
    further = {
        **WRONG_WIDTH,
        **wrong_tensor("q"),
        **{
            f"{operation} {name}": spoilt(
                dict, "ConfigError", [name], f"no such {name}", config={name: value}
            )
            for operation in ("forward", "backward", "merge", "unmerge")
            for name, value in (("neumann", 4), ("side", "left"))
        },
        "forward bool": spoilt(
            dict, "ConfigError", ["neumann"], "a bool for a number", config={"neumann": True}
        ),
    }
    return with_leading_axes(refusing(joined(valid, only(back, "unmerge"), other), further))


def recipes() -> list[Recipe]:
    """List this module's files."""
    return oft_recipes()
