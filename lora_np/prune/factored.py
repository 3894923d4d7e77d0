"""Matrices whose rows are made when they are wanted: U V, and W0 + s B A.  Floor 2.

The gradient of a weight is a product of two thin factors, exactly (gYᵀ and X) or as LoRAPrune estimates it
([gB | B − gB] and [A ; gA]), and the adapted weight is a frozen one plus such a product.  Functions that sum over a
(d, k) matrix take it a tile of rows at a time, so that none of them is ever whole.  No arithmetic but `rows_of`.
"""

from typing import Any, NamedTuple

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ShapeError
from lora_np.lora import LoraParams


class Product(NamedTuple):
    """A (d, k) matrix as U V."""

    U: Float[Array, "d m"]
    V: Float[Array, "m k"]


class Adapted(NamedTuple):
    """The weight of an adapted layer, W0 + s B A."""

    W0: Float[Array, "d k"]
    p: LoraParams
    scale: float


Matrix = Any
"""A (d, k) array, a `Product` or an `Adapted`."""


def shape_of(M: Matrix) -> tuple[int, int]:
    """Return (d, k)."""
    if isinstance(M, Product):
        return M.U.shape[0], M.V.shape[1]
    d, k = M.W0.shape if isinstance(M, Adapted) else M.shape
    return d, k


def array_of(M: Matrix) -> Array:
    """Return one of the arrays it is made of: its library and element type are those of the matrix."""
    return M.U if isinstance(M, Product) else M.W0 if isinstance(M, Adapted) else M


def rows_of(M: Matrix, start: int, stop: int) -> Float[Array, "t k"]:
    """Make rows start to stop (excluded).

    >>> import numpy as np
    >>> rows_of(Product(np.array([[1.0], [2.0]]), np.array([[3.0, 4.0]])), 1, 2)
    array([[6., 8.]])
    """
    if isinstance(M, Product):
        return M.U[start:stop, :] @ M.V  # (t, k)
    if isinstance(M, Adapted):
        return M.W0[start:stop, :] + float(M.scale) * (M.p[0][start:stop, :] @ M.p[1])  # (t, k)
    return M[start:stop, :]


def require_matrix(name: str, M: Matrix) -> None:
    """Raise unless `M` is a (d, k) matrix in one of its three guises, of one element type."""
    if isinstance(M, Product):
        checks.require_ndim(f"{name}.U", M.U, 2, "d, m")
        checks.require_ndim(f"{name}.V", M.V, 2, "m, k")
        checks.require_same_dtype(**{f"{name}.U": M.U, f"{name}.V": M.V})
        if M.U.shape[1] != M.V.shape[0]:
            raise ShapeError(f"{name} = U V needs U (d, m) and V (m, k), got {M.U.shape} and {M.V.shape}")
    elif isinstance(M, Adapted):
        checks.require_ndim(f"{name}.W0", M.W0, 2, "d, k")
        checks.require_factors(M.p, *M.W0.shape)
        checks.require_same_dtype(W0=M.W0, B=M.p[0], A=M.p[1])
        checks.require_number("scale", M.scale)
    else:
        checks.require_ndim(name, M, 2, "d, k")
