"""A layer applied by building its weight: the checks and the few lines that such methods share.  Floor 2.

DoRA, LoHa, LoKr, (IA)³ and OFT change the weight in ways that are not one thin product beside it.  What differs
between them, the weight and the pull back to their own tensors, is in their files; this one has no formula of any.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Bool, Float
from lora_np.batches import flat_rows
from lora_np.errors import ConfigError, ShapeError


def with_bias(Y: Float[Array, "N d"], bias: Float[Array, " d"] | None) -> Float[Array, "N d"]:
    """Add the bias where there is one."""
    return Y if bias is None else Y + bias


def weight_gradient(gY: Float[Array, "N d"], X: Float[Array, "N k"]) -> Float[Array, "d k"]:
    """Sum the outer products of the batch: gW = gYᵀ X, over all leading axes."""
    return flat_rows(gY).T @ flat_rows(X)  # (d, k)


def build_finite(
    step: str, name: str, W: Array, tensors: dict[str, Array], build: Callable[[], Array]
) -> Array:
    """Build a weight that will be stored: finite parts in, a finite weight out.

    Raises `NonFiniteError` naming the part, `OverflowInMergeError`.
    """
    checks.require_finite(f"the {'base' if name == 'W0' else 'merged'} weight {name}", W)
    for letter, x in tensors.items():
        checks.require_finite(f"the adapter's {letter}", x)
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is raised below, by name
        built = build()
    checks.require_no_overflow(built, step)
    return built


def name_rows(flags: Bool[Array, " d"]) -> str:
    """Name the indices that a vector of flags marks, the first eight of many; nothing where it marks none.

    >>> name_rows(np.array([False, True, True]))
    'rows 1, 2'
    """
    rows = [int(i) for i in array_namespace(flags).nonzero(flags)[0]]
    more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
    return f"row{'s' * (len(rows) > 1)} {', '.join(map(str, rows[:8]))}{more}" if rows else ""


# ---- what a user can get wrong -----------------------------------------------------------------------------


def require_fields(p: object, cls: type) -> None:
    """Raise unless `p` is a tuple of as many tensors as the parameters `cls` have."""
    fields: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
    if not isinstance(p, (tuple, list)) or len(p) != len(fields):
        found = f"{type(p).__name__} of {len(p)}" if isinstance(p, (tuple, list)) else type(p).__name__
        raise ConfigError(
            f"p must be the tensors ({', '.join(fields)}), got {found}",
            fix=f"pass {cls.__name__}({', '.join(f'{name}=...' for name in fields)})",
        )


def require_shape(name: str, x: Array, shape: tuple[int, ...], letters: str) -> None:
    """Raise unless `x` is an array of floats of exactly this shape, whose axes have the given letters."""
    checks.require_array(name, x)
    if tuple(x.shape) != shape:
        raise ShapeError(f"{name} has shape {tuple(x.shape)}, expected ({letters}) = {shape}")


def require_base(name: str, W: Array, **tensors: Array) -> tuple[int, int]:
    """Raise unless a weight (d, k) and the tensors, by name, have one element type; return d and k."""
    checks.require_ndim(name, W, 2, "d, k")
    checks.require_same_dtype(**{name: W, **tensors})
    d, k = W.shape
    return d, k


def require_rows_of(X: Array, W: Array, bias: Array | None) -> None:
    """Raise unless X (..., k) and bias (d,) belong to a checked weight (d, k)."""
    d, k = W.shape
    checks.require_rows("X", X, k, f"k, the width of W0 {(d, k)}")
    checks.require_same_dtype(X=X, W0=W)
    if bias is not None:
        require_shape("bias", bias, (d,), "d,")
        checks.require_same_dtype(W0=W, bias=bias)


def require_upstream(gY: Array, X: Array, W: Array) -> None:
    """Raise unless the output gradient gY (..., d) belongs to the rows X (..., k) of a checked weight (d, k)."""
    require_rows_of(X, W, None)
    checks.require_rows("gY", gY, W.shape[0], f"d, the height of W0 {tuple(W.shape)}")
    checks.require_same_rows(gY=gY, X=X)
    checks.require_same_dtype(gY=gY, X=X)
