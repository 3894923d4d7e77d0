"""One convention and its dictionary: the paper's matrices, the row form, and promotion of element types.  Floor 1.

This package computes with the paper's matrices on batches of rows: W0 (d, k), B (d, r), A (r, k), X (N, k).
Seeds 001 and 004 write weights to the right of X.  A sits next to the input and B next to the output in both, so
the dictionary is one transpose and no letter changes its job.
"""

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import DTypeError, RankError, ShapeError


def to_row_form(
    W0: Float[Array, "d k"], B: Float[Array, "d r"], A: Float[Array, "r k"]
) -> tuple[Float[Array, "k d"], Float[Array, "k r"], Float[Array, "r d"]]:
    """Write a layer in the row form of seed 001: W (n, m), A (n, r), B (r, m), with n = k and m = d.  [lora-1]

    W = W0ᵀ, A_row = Aᵀ, B_row = Bᵀ, returned in the order they act on a row: W, A, B.  Views, no copies.

    >>> import numpy as np
    >>> W, A, B = to_row_form(np.zeros((5, 3)), np.zeros((5, 2)), np.zeros((2, 3)))
    >>> W.shape, A.shape, B.shape
    ((3, 5), (3, 2), (2, 5))
    """
    checks.require_ndim("W0", W0, 2, "d, k")
    checks.require_factors((B, A), *W0.shape)
    checks.require_same_dtype(W0=W0, B=B, A=A)
    return W0.T, A.T, B.T


def from_row_form(
    W: Float[Array, "k d"], A: Float[Array, "k r"], B: Float[Array, "r d"]
) -> tuple[Float[Array, "d k"], Float[Array, "d r"], Float[Array, "r k"]]:
    """Read a layer written in the row form of seed 001; the inverse of `to_row_form`.  [lora-1]

    Returns W0 = Wᵀ, B = B_rowᵀ, A = A_rowᵀ, in the order of the paper.

    >>> import numpy as np
    >>> W0, B, A = from_row_form(np.zeros((3, 5)), np.zeros((3, 2)), np.zeros((2, 5)))
    >>> W0.shape, B.shape, A.shape
    ((5, 3), (5, 2), (2, 3))
    """
    checks.require_ndim("W", W, 2, "n, m")
    checks.require_ndim("A", A, 2, "n, r")
    checks.require_ndim("B", B, 2, "r, m")
    checks.require_same_dtype(W=W, A=A, B=B)
    n, m = W.shape
    if (A.shape[0], B.shape[1]) != (n, m):
        raise ShapeError(
            f"A {tuple(A.shape)} and B {tuple(B.shape)} do not fit a weight of shape (n, m) = ({n}, {m})",
            fix="in row form A is (n, r) and B is (r, m); to_row_form makes them from the paper's",
        )
    if A.shape[1] != B.shape[0]:
        raise RankError(f"A has rank {A.shape[1]} (its columns) and B has rank {B.shape[0]} (its rows)")
    return W.T, B.T, A.T


def promote(*arrays: Array) -> tuple[Array, ...]:
    """Cast arrays of floats to their common element type, the smallest that holds them all.

    Functions of this package refuse mixed types, so that no precision is lost or gained unseen; this is the
    explicit way to mix them.  Raises `DTypeError` for an array that is not of floats or of another library.

    >>> import numpy as np
    >>> [a.dtype.name for a in promote(np.zeros(2, np.float32), np.zeros(2))]
    ['float64', 'float64']
    """
    for i, x in enumerate(arrays):
        checks.require_array(f"array {i}", x)
    if not arrays:
        return ()
    try:
        xp = array_namespace(*arrays)
    except TypeError:
        libraries = ", ".join(sorted({type(x).__module__.partition(".")[0] for x in arrays}))
        raise DTypeError(
            f"the arrays come from several libraries: {libraries}", fix="move them into one first"
        ) from None
    dtype = xp.result_type(*arrays)
    return tuple(xp.astype(x, dtype, copy=False) for x in arrays)
