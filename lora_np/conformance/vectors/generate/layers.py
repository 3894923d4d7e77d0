"""Recipes for a layer: forward, backward, merge and unmerge from its shapes and two array formulas.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from lora_np.conformance.definitions import definition
from lora_np.conformance.vectors.generate.plan import Recipe
from lora_np.conformance.vectors.generate.roads import (
    ARRAYS,
    AUTOGRAD,
    ArrayFormula,
    of_arrays,
    of_autograd,
)
from lora_np.conformance.vectors.generate.situations import (
    Configuration,
    Shapes,
    Situation,
    plans,
    situations,
)

USUAL_FLAGS: tuple[str, ...] = (
    "MissingScale",
    "SquaredScale",
    "ScaleInverted",
    "SignFlipped",
    "Transposed",
    "FactorsSwapped",
)


def layer_recipes(
    method: str,
    shapes: Shapes,
    config: Configuration,
    *,
    forward: ArrayFormula,
    weight: ArrayFormula | None = None,
    take_out: ArrayFormula | None = None,
    zero: Iterable[str] = ("B",),
    zeros: Iterable[str] = ("B", "A"),
    flags: tuple[str, ...] = USUAL_FLAGS,
    listed: Callable[..., list[Situation]] = situations,
    in_backward: tuple[str, ...] = (),
    **options: Any,
) -> list[Recipe]:
    """Make the recipes of a layer's operations.

    `shapes` names every tensor of forward, "X", "W0" and "bias" among them.  `forward`, `weight` (W from W0) and
    `take_out` (W0 from W) are array formulas, the second road; leave out what the method does not have.  Setting the
    tensors `zero` to zero takes the adapter out of effect; each tensor of `zeros` is zero in a case of its own.
    Backward has no bias, whose gradient is a sum of gY, unless `in_backward` names it.
    `listed` makes the situations (a `functools.partial` of `situations`, usually), `options` go to `plans`.
    In huge and tiny cases the tensors `zero` go with the weight, so that the increment still counts.
    """
    found = definition(method)
    names = (*found.inputs, *found.trainable)

    def without(t: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: _zeroed(x) if name in zero else x for name, x in t.items()}

    def recipe(operation: str, of: Shapes, usual: tuple[str, ...], **situation: Any) -> Recipe:
        name = f"{method}/{operation}"
        return Recipe(
            method,
            operation,
            lambda: plans(
                name,
                of,
                config,
                listed(zeros=[tensor for tensor in zeros if tensor in of], **situation),
                flags=usual,
                **options,
            ),
            without=without,
        )

    upstream = {
        **{name: sides for name, sides in shapes.items() if name != "bias" or name in in_backward},
        "gY": ("N", "d"),
    }
    base = {name: sides for name, sides in shapes.items() if name not in ("X", "bias")}
    merged = {("W" if name == "W0" else name): sides for name, sides in base.items()}
    made = [
        replace(
            recipe("forward", shapes, (*flags, "MissingBias", "BiasScaled")),
            road=of_arrays(forward, "Y"),
            road_name=ARRAYS,
        ),
        replace(
            recipe("backward", upstream, (*flags, "MeanForSum"), scaled=("gY",)),
            road=of_autograd(forward, names),
            road_name=AUTOGRAD,
            without=None,
        ),
    ]
    if weight is not None:
        one = recipe("merge", base, flags, rows="", scaled=("W0", *zero))
        made.append(replace(one, road=of_arrays(weight, "W"), road_name=ARRAYS))
    if take_out is not None:
        one = recipe("unmerge", merged, (*flags, "StaleMerge"), rows="", scaled=("W", *zero))
        made.append(replace(one, road=of_arrays(take_out, "W0"), road_name=ARRAYS))
    return made


def _zeroed(nested: Any) -> Any:
    """Put zeros in the place of all numbers."""
    return [_zeroed(item) for item in nested] if isinstance(nested, list) else nested * 0
