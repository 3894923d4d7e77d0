"""The rank-r update of a buffer that the caller owns: Y += s Z Bᵀ.  Floor 3.

The one place of the package that writes into an argument, and it says so: the buffer is named `Y`, is returned, and is
checked first.  It is what forward adds to X W0ᵀ, what backward adds to gY W0, and, with Z = B and B = Aᵀ, what merging
adds to a weight.  Nothing here allocates on purpose to avoid writing; for pure functions see `lora_np.lora`.
"""

from typing import Any

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import BufferError_


def add_low_rank(
    Y: Float[Array, "N d"], Z: Float[Array, "N r"], B: Float[Array, "d r"], *, scale: float
) -> Float[Array, "N d"]:
    """Add a product of rank r to a buffer, in place.  [lora-2] [lora-merge]

    Y += s Z Bᵀ.  Returns Y itself.  Raises `BufferError_` where Y cannot be written or shares memory with an input,
    `ShapeError`, `DTypeError`, `ConfigError`; a failing call writes nothing.

    >>> Y = np.ones((2, 2))
    >>> add_low_rank(Y, np.array([[1.0], [2.0]]), np.array([[1.0], [0.0]]), scale=0.5) is Y
    True
    >>> Y
    array([[1.5, 1. ],
           [2. , 1. ]])
    """
    require_low_rank(Y, Z, B, scale)
    Y += float(scale) * (Z @ B.T)  # (N, d)
    return Y


def require_low_rank(Y: Any, Z: Any, B: Any, scale: Any) -> None:
    """Raise unless Y (N, d) may be overwritten by Y + s Z Bᵀ with Z (N, r) and B (d, r)."""
    checks.require_ndim("Y", Y, 2, "N, d")
    checks.require_ndim("Z", Z, 2, "N, r")
    checks.require_ndim("B", B, 2, "d, r")
    checks.require_rows("Z", Z, B.shape[1], f"r, the rank of B {tuple(B.shape)}")
    checks.require_rows("Y", Y, B.shape[0], f"d, the height of B {tuple(B.shape)}")
    checks.require_same_rows(Y=Y, Z=Z)
    checks.require_same_dtype(Y=Y, Z=Z, B=B)
    checks.require_number("scale", scale)
    require_buffer("Y", Y, Z=Z, B=B)


def require_buffer(name: str, buffer: Array, **inputs: Array) -> None:
    """Raise unless `buffer` can be written and shares no memory with the arrays that are read."""
    flags = getattr(buffer, "flags", None)
    if flags is not None and not getattr(flags, "writeable", True):
        raise BufferError_(
            f"{name} is read-only, expected a buffer to write into", fix=f"pass a copy: np.array({name})"
        )
    for other, array in inputs.items():
        if _overlap(buffer, array):
            raise BufferError_(
                f"{name} shares memory with the input {other}, which would change while it is read",
                fix=f"pass a copy of one of them: np.array({other})",
            )


def _overlap(x: Array, y: Array) -> bool:
    """Tell whether two arrays of NumPy share an element; of another library, whether they are one object."""
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        return x is y
    try:
        return bool(np.shares_memory(x, y, max_work=10_000))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:  # strides too odd to solve: where bounds overlap, say so
        return bool(np.may_share_memory(x, y))
