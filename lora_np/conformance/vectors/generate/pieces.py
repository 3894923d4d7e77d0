"""Changes to situations and recipes that several methods need: derived sizes, joined plans, bad input.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lora_np.conformance.vectors.format import Tensor
from lora_np.conformance.vectors.generate.plan import Plan, Recipe
from lora_np.conformance.vectors.generate.roads import ArrayFormula
from lora_np.conformance.vectors.generate.situations import Situation, Sizes

Listing = Callable[..., list[Situation]]
Arrays = dict[str, np.ndarray]


def listing(
    listed: Listing,
    *,
    derive: Callable[[Sizes], Mapping[str, int]] | None = None,
    drop: Iterable[str] = (),
    scaled: Mapping[tuple[str, ...], tuple[str, ...]] | None = None,
) -> Listing:
    """List situations with sizes that follow from others, without those that carry a flag of `drop`.

    `scaled` exchanges what is made huge and tiny together: {("W0", "B"): ("m",)}.
    """
    dropped, exchange = set(drop), scaled or {}

    def made(**situation: Any) -> list[Situation]:
        if "scaled" in situation:
            situation["scaled"] = exchange.get(situation["scaled"], situation["scaled"])
        found = [one for one in listed(**situation) if not dropped & set(one.flags)]
        if derive is None:
            return found
        return [replace(one, sizes={**one.sizes, **derive(one.sizes)}) for one in found]

    return made


def joined(*parts: Iterable[Recipe]) -> list[Recipe]:
    """Join recipes of one file: the plans of the first, then those of the second, ..."""
    found: dict[str, list[Recipe]] = {}
    for recipe in (one for part in parts for one in part):
        found.setdefault(recipe.name, []).append(recipe)
    return [
        replace(same[0], plans=lambda same=same: [plan for one in same for plan in one.plans()])
        for same in found.values()
    ]


def only(recipes: Iterable[Recipe], *operations: str) -> list[Recipe]:
    """Keep the recipes of some operations."""
    return [recipe for recipe in recipes if recipe.operation in operations]


def refusing(recipes: Iterable[Recipe], further: Mapping[str, Callable[[Plan], Plan]]) -> list[Recipe]:
    """Add cases that must be refused: for each operation named "forward 1", "merge", ... the first plan, spoilt."""

    def more(recipe: Recipe) -> list[Plan]:
        usual = recipe.plans()
        spoilers = [spoil for name, spoil in further.items() if name.split()[0] == recipe.operation]
        return [*usual, *(spoil(usual[0]) for spoil in spoilers)]

    return [replace(recipe, plans=lambda recipe=recipe: more(recipe)) for recipe in recipes]


def spoilt(
    change: Callable[[Arrays], Arrays],
    error: str,
    mentions: Iterable[str],
    comment: str,
    flags: tuple[str, ...] = ("BadInput",),
    config: Mapping[str, Any] | None = None,
) -> Callable[[Plan], Plan]:
    """Spoil the inputs of a plan so that an error of class `error` is due, whose words hold all of `mentions`."""

    def spoil(plan: Plan) -> Plan:
        arrays = change(dict(plan.arrays()))
        return replace(
            plan,
            config={**plan.config, **(config or {})},
            inputs={
                name: Tensor(array, "int64" if array.dtype.kind == "i" else plan.dtype)
                for name, array in arrays.items()
            },
            comment=comment,
            flags=flags,
            result="invalid",
            option=None,
            error={"class": error, "mentions": list(mentions)},
        )

    return spoil


def moderate(array: np.ndarray, below: float = 4.0) -> np.ndarray:
    """Bring numbers of `below` or more into [1/2, 1) by a power of two, and leave the others."""
    mantissa, _ = np.frexp(array)
    return np.where(np.abs(array) < below, array, mantissa)


def scale_of(config: Mapping[str, Any]) -> float:
    """Compute alpha / r."""
    return float(config["alpha"]) / int(config["rank"])


def through(weight: ArrayFormula) -> ArrayFormula:
    """Make the array formula Y = X Wᵀ + b of one for the weight W."""

    def forward(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
        Y = t["X"] @ weight(t, config).T
        return Y + t["bias"] if "bias" in t else Y

    return forward


# ---- spoilt inputs ------------------------------------------------------------------------------------------


def _wider(name: str) -> Callable[[Arrays], Arrays]:
    """Give an input one column too many."""
    return lambda arrays: {**arrays, name: np.concatenate([arrays[name], arrays[name][:, :1]], axis=1)}


WRONG_WIDTH = {
    "forward 1": spoilt(_wider("X"), "ShapeError", ["X"], "X has a column too many"),
    "backward 1": spoilt(_wider("gY"), "ShapeError", ["gY"], "gY has a column too many"),
}


def zero_entry(name: str) -> Callable[[Arrays], Arrays]:
    """Put a zero at index 1 of a vector."""
    return lambda arrays: {**arrays, name: arrays[name] * (np.arange(arrays[name].size) != 1)}
