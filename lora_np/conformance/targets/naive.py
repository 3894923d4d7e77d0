"""The target "naive": the definitions themselves, plain loops on Python floats, gradients by the tape.  Floor 6.

It computes in double precision and rounds at the end.  It checks nothing, and so does not claim to refuse bad input.
"""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from lora_np.conformance import definitions
from lora_np.conformance.definitions.definition import Definition
from lora_np.conformance.runner.adapter import own_version
from lora_np.conformance.runner.answer import carrier
from lora_np.conformance.vectors.format import HALF_TYPES

Tensors = Mapping[str, np.ndarray]


def all_definitions() -> dict[str, Definition]:
    """Load every definition there is, by the id of its method."""
    found = {}
    for module in pkgutil.iter_modules(definitions.__path__):
        one = getattr(import_module(f"{definitions.__name__}.{module.name}"), "DEFINITION", None)
        if isinstance(one, Definition):
            found[one.method] = one
    return found


EXACT_ONLY = ("pissa.init", "milora.init", "lora-xs.init")
"""Decompositions that are defined on exact numbers, whose bounds steer them."""


class Naive:
    """Every definition and every operation of it that runs on plain floats."""

    name = "naive"
    dtypes = ("float16", "bfloat16", "float32", "float64")
    options: Mapping[str, str] = {
        "errors": "none",
        "dora.norm": "detached, attached",
        "gelu": "erf, tanh",
        "oft.side": "paper, transposed",
    }

    def __init__(self) -> None:
        self.version = own_version()
        self.definitions = all_definitions()
        self.capabilities = sorted(
            f"{method}.{operation}"
            for method, one in self.definitions.items()
            for operation in ("forward", "backward", *one.others)
            if f"{method}.{operation}" not in EXACT_ONLY
        )

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        """Find the operation called `operation`, if any definition has one of that name."""
        if operation.startswith("_") or operation in ("definitions", "capabilities"):
            raise AttributeError(f"Naive has no operation {operation!r}")
        return lambda method, config, tensors: self._run(method, operation, config, tensors)

    def _run(
        self, method: str, operation: str, config: Mapping[str, Any], tensors: Tensors
    ) -> dict[str, Any]:
        if axes := _leading(method, tensors):
            return _stacked(axes, self._run(method, operation, config, _as_rows(axes, tensors)))
        formula = self.definitions[method].operation(operation)
        lists = {name: x.astype(_wide(x)).tolist() for name, x in tensors.items()}
        found = formula(lists, config)
        shapes = {
            name: _shape(name, found[name], tensors, lambda rows: formula({**lists, **rows}, config))
            for name in found
        }
        dtype = np.dtype("float32" if config["dtype"] in HALF_TYPES else carrier(config["dtype"]))
        with np.errstate(over="ignore"):
            arrays = {name: np.array(x, dtype=dtype).reshape(shapes[name]) for name, x in found.items()}
        if config["dtype"] == "float16":
            return {name: x.astype(np.float16) for name, x in arrays.items()}
        return arrays


# ---- rows with more leading axes than one -----------------------------------------------------------------------


def _leading(method: str, tensors: Tensors) -> tuple[int, ...]:
    """Return the leading axes of X where there are several: a definition knows a list of rows only."""
    if "X" not in tensors:
        return ()
    row = {"lora-embedding": 0, "lora-conv2d": 3}.get(method, 1)
    axes = tensors["X"].shape[: tensors["X"].ndim - row]
    return axes if len(axes) > 1 else ()


def _as_rows(axes: tuple[int, ...], tensors: Tensors) -> dict[str, np.ndarray]:
    """Make one axis of the leading ones, in X and in gY."""
    n = math.prod(axes)
    return {
        name: x.reshape(n, *x.shape[len(axes) :]) if name in ("X", "gY") else x for name, x in tensors.items()
    }


def _stacked(axes: tuple[int, ...], found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Undo that in Y and gX."""
    return {name: x.reshape(*axes, *x.shape[1:]) if name in ("Y", "gX") else x for name, x in found.items()}


def _wide(x: np.ndarray) -> str:
    return "float64" if x.dtype.kind == "f" else x.dtype.name


def _shape(name: str, found: Any, tensors: Tensors, with_rows: Callable[[Any], Any]) -> tuple[int, ...]:
    """Tell the shape of an output, which a list without elements does not."""
    if np.size(found):
        return np.shape(found)
    of = {"W": "W0", "W0": "W"}.get(name, name[1:] if name.startswith("g") else "")
    if of in tensors:
        return tensors[of].shape
    for rows in ("X", "Q"):
        if name == "Y" and rows in tensors and tensors[rows].shape[0] == 0:
            one = np.zeros((1, *tensors[rows].shape[1:]), dtype=tensors[rows].dtype).tolist()
            return (0, *np.shape(with_rows({rows: one})[name])[1:])
    return np.shape(found)
