"""Checks of a method's own tensors, each under its own name.  Floor 2.  Has no formula of any.

A tensor comes with the letters of its axes, `{"P": (P, "d r")}`; W0 says what d and k are, and the first tensor that
has a letter binds it for those after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lora_np import checks
from lora_np.errors import ConfigError, RankError, ShapeError, StateError
from lora_np.lora import LoraParams
from lora_np.merging import Merged

Tensors = Mapping[str, tuple[Any, str]]
"""Tensors by name, each with the letters of its axes."""


def require_params(p: Any, kind: type, name: str = "p") -> None:
    """Raise unless `p` is the method's NamedTuple: a plain tuple could hold its tensors in another order."""
    if not isinstance(p, kind):
        fields = ", ".join(f"{field}=..." for field in kind._fields)  # type: ignore[attr-defined]
        raise ConfigError(
            f"{name} must be {kind.__name__}, got {type(p).__name__}", fix=f"pass {kind.__name__}({fields})"
        )


def require_tensors(tensors: Tensors, **sizes: int) -> None:
    """Raise unless all tensors have the axes that their letters name, and one element type."""
    for name, (x, letters) in tensors.items():
        axes = letters.split()
        checks.require_ndim(name, x, len(axes), ", ".join(axes))
        expected = tuple(sizes.get(axis, n) for axis, n in zip(axes, x.shape, strict=True))
        if expected != tuple(x.shape):
            _raise_misfit(name, x, axes, sizes)
        sizes.update(zip(axes, expected, strict=True))
    checks.require_same_dtype(**{name: x for name, (x, _) in tensors.items()})


def require_weight(name: str, W: Any, tensors: Tensors, scale: Any = 1.0) -> None:
    """Raise unless a weight W (d, k), the tensors and the scale fit together."""
    require_tensors({name: (W, "d k"), **tensors})
    checks.require_number("scale", scale)


def require_layer(X: Any, W0: Any, tensors: Tensors, *, scale: Any = 1.0, bias: Any = None) -> None:
    """Raise unless rows X (..., k), the weight, the tensors, the scale and the bias make one layer."""
    require_weight("W0", W0, tensors if bias is None else {**tensors, "bias": (bias, "d")}, scale)
    checks.require_rows("X", X, W0.shape[1], f"k, the width of W0 {tuple(W0.shape)}")
    checks.require_same_dtype(X=X, W0=W0)


def require_backward(gY: Any, X: Any, W0: Any, tensors: Tensors, kept: Tensors, *, scale: Any = 1.0) -> None:
    """Raise unless the output gradient gY (..., d), and what forward kept, belong to the rows of the layer."""
    require_layer(X, W0, tensors, scale=scale)
    checks.require_rows("gY", gY, W0.shape[0], f"d, the height of W0 {tuple(W0.shape)}")
    widths = {
        letter: n for x, axes in tensors.values() for letter, n in zip(axes.split(), x.shape, strict=True)
    }
    rows = {"X": X, "gY": gY}
    for name, (x, letter) in kept.items():
        checks.require_rows(name, x, widths[letter], letter)
        rows[name] = x
    checks.require_same_rows(**rows)
    checks.require_same_dtype(**rows)


def require_mergeable(name: str, W: Any, tensors: Tensors, scale: Any = 1.0) -> None:
    """Raise unless a plain weight and the tensors fit together, and the tensors are finite; say which is not.

    Whether the weight is finite, `merging` looks itself.
    """
    if isinstance(W, Merged):
        raise StateError(f"{name} is a Merged weight, expected a plain array", fix="pass its W")
    require_weight(name, W, tensors, scale)
    for tensor, (x, _) in tensors.items():
        checks.require_finite(f"the adapter's {tensor}", x)


def _raise_misfit(name: str, x: Any, axes: list[str], sizes: Mapping[str, int]) -> None:
    """Raise for a tensor whose shape is not what its letters name; notice a transpose."""
    shape, wanted = tuple(x.shape), [sizes.get(axis) for axis in axes]
    spelled = ", ".join(axis if n is None else str(n) for axis, n in zip(axes, wanted, strict=True))
    fits = [n in (None, have) for n, have in zip(wanted, shape, strict=True)]
    turned = len(axes) == 2 and all(n in (None, have) for n, have in zip(wanted, shape[::-1], strict=True))
    wrong = [axis for axis, fit in zip(axes, fits, strict=True) if not fit]
    error = RankError if wrong == ["r"] else ShapeError
    raise error(
        f"{name} has shape {shape}, expected ({', '.join(axes)}) = ({spelled})",
        fix=f"this one looks transposed: {name}.T has shape {shape[::-1]}" if turned else "",
    )


def fitting(step: str, build: Callable[[], LoraParams]) -> LoraParams:
    """Build a pair of factors from finite tensors; raise `OverflowInMergeError` where one outgrows its element type."""
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is raised below, by name
        pair = build()
    for factor in pair:
        checks.require_no_overflow(factor, step)
    return pair
