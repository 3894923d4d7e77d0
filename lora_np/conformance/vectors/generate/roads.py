"""Second roads: an array formula in float64, and its derivative by the autograd package.  Floor 6.

An array formula takes the tensors by name as arrays and the configuration, and returns one array.  Written with
operators and `autograd.numpy` it serves forward and backward; it shares nothing with the loops of the definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lora_np.conformance.vectors.generate.plan import Plan, Road

ArrayFormula = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]

AUTOGRAD = "autograd of an array formula, in float64"
ARRAYS = "array formula, in float64"


def of_arrays(formula: ArrayFormula, name: str) -> Road:
    """Make a road of an array formula whose result is called `name`."""
    return lambda plan: {name: formula(plan.arrays(), plan.config)}


def of_autograd(formula: ArrayFormula, names: tuple[str, ...], upstream: str = "gY") -> Road:
    """Make the road to the gradients of the tensors `names` (those that are there)."""

    def road(plan: Plan) -> dict[str, np.ndarray]:
        from autograd import make_vjp

        t = plan.arrays()
        present = [name for name in names if name in t]

        def layer(*values: Any) -> Any:
            return formula({**t, **dict(zip(present, values, strict=True))}, plan.config)

        pull, _ = make_vjp(layer, argnum=tuple(range(len(present))))(*(t[name] for name in present))
        return {f"g{name}": g for name, g in zip(present, pull(t[upstream]), strict=True)}

    return road
