"""Changes to situations and recipes that several methods need: derived sizes, joined plans, bad input.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
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
    return [replace(same[0], plans=partial(_all_plans, same)) for same in found.values()]


def _all_plans(recipes: list[Recipe]) -> list[Plan]:
    return [plan for recipe in recipes for plan in recipe.plans()]


def only(recipes: Iterable[Recipe], *operations: str) -> list[Recipe]:
    """Keep the recipes of some operations."""
    return [recipe for recipe in recipes if recipe.operation in operations]


def refusing(recipes: Iterable[Recipe], further: Mapping[str, Callable[[Plan], Plan]]) -> list[Recipe]:
    """Add cases that must be refused: for each operation named "forward 1", "merge", ... the first plan, spoilt."""

    def more(recipe: Recipe) -> list[Plan]:
        usual = recipe.plans()
        spoilers = [spoil for name, spoil in further.items() if name.split()[0] == recipe.operation]
        return [*usual, *(spoil(usual[0]) for spoil in spoilers)]

    return [replace(recipe, plans=partial(more, recipe)) for recipe in recipes]


def spoilt(
    change: Callable[[Arrays], Arrays],
    error: str,
    mentions: Iterable[str],
    comment: str,
    flags: tuple[str, ...] = ("BadInput",),
    config: Mapping[str, Any] | None = None,
    dtypes: Mapping[str, str] | None = None,
) -> Callable[[Plan], Plan]:
    """Spoil the inputs of a plan so that an error of class `error` is due, whose words hold all of `mentions`.

    `change` makes other arrays, `config` other entries of the configuration, `dtypes` other element types.
    """

    def spoil(plan: Plan) -> Plan:
        arrays, own = change(dict(plan.arrays())), dtypes or {}
        return replace(
            plan,
            config={**plan.config, **(config or {})},
            inputs={
                name: Tensor(array, "int64" if array.dtype.kind == "i" else own.get(name, plan.dtype))
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


# ---- leading axes -------------------------------------------------------------------------------------------


def rows_of(nested: Any, depth: int = 2) -> Any:
    """Join leading axes until `depth` of them are left."""
    while _depth(nested) > depth:
        nested = [item for part in nested for item in part]
    return nested


def _depth(nested: Any) -> int:
    return 1 + max((_depth(item) for item in nested), default=0) if isinstance(nested, list) else 0


def with_leading_axes(recipes: Iterable[Recipe], of: int = 4, depth: int = 2) -> list[Recipe]:
    """Add the plans `of` and `of` + 1 once more, with the rows of X and gY in two axes, (2, N / 2) or (1, N).

    The outputs are compared in the shape of the second road; the definition gets plain rows, of `depth` axes.
    """
    return [_leading(recipe, of, depth) if recipe.operation in ROWS else recipe for recipe in recipes]


ROWS = {"forward": ("X",), "backward": ("X", "gY")}


def _leading(recipe: Recipe, of: int, depth: int) -> Recipe:
    names, formula = ROWS[recipe.operation], recipe.evaluate()

    def folded(plan: Plan) -> Plan:
        inputs = dict(plan.inputs)
        for name in names:
            values = inputs[name].values
            N = len(values)
            lead = (2, N // 2) if N > 2 and N % 2 == 0 else (1, N)
            inputs[name] = replace(inputs[name], values=values.reshape(*lead, *values.shape[1:]))
        return replace(plan, inputs=inputs, comment="rows with two leading axes", flags=("LeadingAxes",))

    def plain(t: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
        flat = {name: rows_of(t[name], depth if name == "X" else 2) for name in names}
        return formula({**t, **flat}, config)

    def plans() -> list[Plan]:
        usual = recipe.plans()
        return [*usual, folded(usual[of]), folded(usual[of + 1])]

    return replace(recipe, plans=plans, formula=plain)


# ---- spoilt inputs ------------------------------------------------------------------------------------------


def _wider(name: str) -> Callable[[Arrays], Arrays]:
    """Give an input one column too many."""
    return lambda arrays: {**arrays, name: np.concatenate([arrays[name], arrays[name][:, :1]], axis=1)}


def _shorter(name: str) -> Callable[[Arrays], Arrays]:
    """Take the first element, or row, from an input."""
    return lambda arrays: {**arrays, name: arrays[name][1:]}


def deeper(name: str) -> Callable[[Arrays], Arrays]:
    """Give an input one axis too many."""
    return lambda arrays: {**arrays, name: arrays[name][None]}


def _huge(name: str) -> Callable[[Arrays], Arrays]:
    """Make every number of an input as large as a power of two can be in double precision."""
    return lambda arrays: {**arrays, name: np.where(arrays[name] == 0, 0, np.sign(arrays[name]) * 2.0**1023)}


WRONG_WIDTH = {
    "forward 1": spoilt(_wider("X"), "ShapeError", ["X"], "X has a column too many"),
    "forward 2": spoilt(_shorter("bias"), "ShapeError", ["bias"], "the bias is too short"),
    "forward 3": spoilt(dict, "DTypeError", ["X"], "X is of another element type", dtypes={"X": "float32"}),
    "forward 4": spoilt(
        dict, "DTypeError", ["bias"], "the bias is of another type", dtypes={"bias": "float32"}
    ),
    "forward 5": spoilt(deeper("W0"), "ShapeError", ["W0"], "W0 has three axes"),
    "backward 1": spoilt(_wider("gY"), "ShapeError", ["gY"], "gY has a column too many"),
    "backward 2": spoilt(_shorter("gY"), "ShapeError", ["gY"], "gY lacks a row"),
    "backward 3": spoilt(
        dict, "DTypeError", ["gY"], "gY is of another element type", dtypes={"gY": "float32"}
    ),
}
"""What every layer with X, W0, a bias and gY refuses."""


def wrong_tensor(name: str, error: str = "ShapeError") -> dict[str, Callable[[Plan], Plan]]:
    """List what a layer refuses about a tensor that it trains: a row less, an axis more, another type."""
    short = spoilt(_shorter(name), error, [], f"{name} lacks a row or an element")
    deep = spoilt(deeper(name), "ShapeError", [name], f"{name} has an axis too many")
    other = spoilt(dict, "DTypeError", [name], f"{name} is of another type", dtypes={name: "float32"})
    made = {f"{operation} {name} 1": short for operation in ("forward", "backward", "merge", "unmerge")}
    made |= {f"{operation} {name} 2": deep for operation in ("forward", "merge")}
    return made | {f"{operation} {name} 3": other for operation in ("forward", "merge")}


def overflowing(name: str) -> dict[str, Callable[[Plan], Plan]]:
    """List merges that leave the range: a tensor filled with 2**1023."""
    spoil = spoilt(
        _huge(name), "OverflowInMergeError", [], f"{name} is so large that the sum overflows", ("HugeValues",)
    )
    return {f"{operation} {name} 4": spoil for operation in ("merge", "unmerge")}


def zero_entry(name: str) -> Callable[[Arrays], Arrays]:
    """Put a zero at index 1 of a vector."""
    return lambda arrays: {**arrays, name: arrays[name] * (np.arange(arrays[name].size) != 1)}
