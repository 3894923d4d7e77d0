"""What layers with two factors and a scale must refuse, with the error that is due.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_np.conformance.vectors.generate.pieces import (
    WRONG_WIDTH,
    Arrays,
    overflowing,
    refusing,
    spoilt,
    with_leading_axes,
    wrong_tensor,
)
from lora_np.conformance.vectors.generate.plan import Recipe


def _factors_swapped(arrays: Arrays) -> Arrays:
    return {**arrays, "B": arrays["A"], "A": arrays["B"]}


def _factor_transposed(arrays: Arrays) -> Arrays:
    return {**arrays, "A": arrays["A"].T}


FACTOR_REFUSALS = {
    "forward swapped": spoilt(_factors_swapped, "ShapeError", ["swapped"], "A and B stand for each other"),
    "merge swapped": spoilt(_factors_swapped, "ShapeError", ["swapped"], "A and B stand for each other"),
    "forward transposed": spoilt(_factor_transposed, "ShapeError", ["transposed"], "A is (k, r)"),
    **wrong_tensor("B"),
    **wrong_tensor("A", "RankError"),
    **overflowing("B"),
}
"""What a layer with LoRA's two factors refuses beside `WRONG_WIDTH`."""


def _config(operation: str, entries: dict[str, Any], mentions: list[str], comment: str) -> dict[str, Any]:
    return {f"{operation} {comment}": spoilt(dict, "ConfigError", mentions, comment, config=entries)}


CONFIG_REFUSALS = {
    **_config("forward", {"rank": 0}, ["got 0"], "rank 0"),
    **_config("forward", {"rank": -1}, ["got -1"], "a negative rank"),
    **_config("merge", {"rank": 2.0}, ["int", "2.0"], "a rank that is no int"),
    **_config("merge", {"rank": "2"}, ["int", "'2'"], "a rank that is text"),
    **_config("forward", {"rank": True}, ["int", "True"], "a rank that is a truth value"),
    **_config("forward", {"alpha": float("nan")}, ["alpha"], "alpha NaN"),
    **_config("merge", {"alpha": float("inf")}, ["alpha"], "alpha infinite"),
    **_config("backward", {"alpha": "8"}, ["alpha", "'8'"], "alpha as text"),
}
"""What a scale of alpha and the rank refuses."""


def complete(recipes: list[Recipe], *refusals: Mapping[str, Any]) -> list[Recipe]:
    """Add the cases that must be refused, then rows with two leading axes."""
    further = {**WRONG_WIDTH, **{name: spoil for part in refusals for name, spoil in part.items()}}
    return with_leading_axes(refusing(recipes, further))
