"""The plain sum Σ G W of a row or a column, read off activations: no gradient of the weight is made.  Floor 2.

With the exact gradient G = gYᵀ X and an output Y = X Wᵀ + b,

    Σ_j G_ij W_ij = Σ_n gY_ni Σ_j X_nj W_ij = Σ_n gY_ni (Y − b)_ni       a row      O(N d)
    Σ_i G_ij W_ij = Σ_n X_nj Σ_i gY_ni W_ij = Σ_n X_nj gX_nj             a column   O(N k)

both of which forward and backward have at hand.  W is the weight in use, so this holds for any adapter and scale, and
needs neither W0 nor B A.  A head or a channel is a sum of rows and columns: `importance_from_sums`.  Only the plain
sum factors so, not the squares and not the absolute values.  gX must be this layer's own share, gY W: where several
layers read the same X (q, k and v do), keep their shares apart.
"""

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.errors import ShapeError
from lora_np.prune.gradients import require_gradient


def group_dot(
    gY: Float[Array, "N d"],
    Y: Float[Array, "N d"],
    *,
    bias: Float[Array, " d"] | None = None,
    tile: int = 64,
) -> Float[Array, " d"]:
    """Sum G W over each row of the weight, from the output and its gradient.  [prune-group-dot]

    Σ_j G_ij W_ij = Σ_n gY_ni (Y − b)_ni.  Pass the bias that Y holds; without it, the row's bias counts as one of
    its weights, as where removing an output removes its bias.  Extra memory O(tile d), for `tile` rows of the batch.
    Raises `StateError` where gY or Y was not kept, `ShapeError`, `DTypeError`.

    >>> import numpy as np
    >>> X, W, gY = np.array([[1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 2.0]]), np.array([[1.0, 3.0]])
    >>> group_dot(gY, X @ W.T), ((gY.T @ X) * W).sum(axis=1)
    (array([ 3., 12.]), array([ 3., 12.]))
    """
    require_gradient("gY", gY)
    require_gradient("Y", Y, fix="keep the outputs of the forward pass, then call backward first")
    _require_alike("gY", gY, "Y", Y)
    if bias is not None:
        checks.require_ndim("bias", bias, 1, "d")
        checks.require_rows("bias", bias, Y.shape[-1], "d, the width of Y")
        checks.require_same_dtype(Y=Y, bias=bias)
    return _dots(flat_rows(gY), flat_rows(Y), bias, tile)


def group_dot_columns(
    X: Float[Array, "N k"], gX: Float[Array, "N k"], *, tile: int = 64
) -> Float[Array, " k"]:
    """Sum G W over each column of the weight, from the input and its gradient.  [prune-group-dot]

    Σ_i G_ij W_ij = Σ_n X_nj gX_nj, where gX = gY W is what this layer alone sends back.  Raises what `group_dot`
    raises.

    >>> import numpy as np
    >>> X, W, gY = np.array([[1.0, 2.0]]), np.array([[1.0, 1.0], [0.0, 2.0]]), np.array([[1.0, 3.0]])
    >>> group_dot_columns(X, gY @ W), ((gY.T @ X) * W).sum(axis=0)
    (array([ 1., 14.]), array([ 1., 14.]))
    """
    require_gradient("gX", gX)
    require_gradient("X", X, fix="keep the inputs of the forward pass, then call backward first")
    _require_alike("X", X, "gX", gX)
    return _dots(flat_rows(gX), flat_rows(X), None, tile)


def _dots(
    g: Float[Array, "N n"], values: Float[Array, "N n"], bias: Float[Array, " n"] | None, tile: int
) -> Float[Array, " n"]:
    """Multiply column by column: Σ_n g_ni (values − bias)_ni, `tile` rows at a time."""
    checks.require_int("tile", tile, minimum=1)
    xp = array_namespace(g)
    total = xp.zeros(g.shape[1], dtype=g.dtype)
    for start in range(0, g.shape[0], tile):
        stop = min(start + tile, g.shape[0])
        centred = values[start:stop, :] if bias is None else values[start:stop, :] - bias  # (t, n)
        total = total + xp.sum(g[start:stop, :] * centred, axis=0)  # (n,)
    return total


def _require_alike(first: str, x: Array, second: str, y: Array) -> None:
    """Raise unless both arrays have one shape (..., n) and one element type."""
    for name, array in ((first, x), (second, y)):
        checks.require_array(name, array)
    checks.require_same_dtype(**{first: x, second: y})
    if tuple(x.shape) != tuple(y.shape) or x.ndim == 0:
        raise ShapeError(
            f"{first} {tuple(x.shape)} and {second} {tuple(y.shape)} must share a shape (..., n)"
        )
