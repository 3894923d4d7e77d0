"""The LoRA layer as one larger matrix, so that two BLAS products do what six do.  Floor 3.

M = [[W0, s B], [A, 0]] is kept beside training and takes the new factors after every step, r (d + k) numbers; it
stands in for W0, so that no second copy of the weight is needed.  Forward and backward then add the adapter's share
inside the big product instead of in a pass of its own.  What bounds it: the big product, plus four thin ones and one
copy each of X and gY.  NumPy arrays only; the reference is `lora_np.lora`.
"""

from typing import NamedTuple

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.errors import ShapeError
from lora_np.lora import LoraParams


class PackedLayer(NamedTuple):
    """The matrix M (d + r, k + r), its rank r and its scale.  [lora-packed]"""

    M: Float[Array, "d+r k+r"]
    rank: int
    scale: float

    @property
    def sizes(self) -> tuple[int, int]:
        """The layer's d and k."""
        return self.M.shape[0] - self.rank, self.M.shape[1] - self.rank


def pack(W0: Float[Array, "d k"], p: LoraParams, *, scale: float) -> PackedLayer:
    """Build the packed layer from a weight and its factors.  [lora-packed]

    M = [[W0, s B], [A, 0]].  Raises `ShapeError`, `DTypeError`, `RankError`, `ConfigError`.

    >>> pack(np.ones((1, 2)), LoraParams(B=np.full((1, 1), 3.0), A=np.full((1, 2), 5.0)), scale=2.0).M
    array([[1., 1., 6.],
           [5., 5., 0.]])
    """
    checks.require_weight("W0", W0, p, scale)
    (d, k), r = W0.shape, p[1].shape[0]
    layer = PackedLayer(np.zeros((d + r, k + r), dtype=W0.dtype), r, float(scale))
    layer.M[:d, :k] = W0
    return repack(layer, p)


def repack(layer: PackedLayer, p: LoraParams) -> PackedLayer:
    """Put new factors into a packed layer, in place, and return it.  [lora-packed]

    Raises `ShapeError`, `DTypeError`, `RankError`; a failing call writes nothing.
    """
    (d, k), r = layer.sizes, layer.rank
    checks.require_factors(p, d, k)
    checks.require_same_dtype(M=layer.M, B=p[0])
    if p[1].shape[0] != r:
        raise ShapeError(
            f"the factors have rank {p[1].shape[0]}, the packed layer has {r}", fix="pack it anew"
        )
    np.multiply(p[0], layer.M.dtype.type(layer.scale), out=layer.M[:d, k:])
    layer.M[d:, :k] = p[1]
    return layer


def forward(
    X: Float[Array, "N k"], layer: PackedLayer, *, bias: Float[Array, " d"] | None = None
) -> tuple[Float[Array, "N d"], Float[Array, "N k+r"]]:
    """Apply a packed layer to rows: one thin product, then one big one.  [lora-packed] [lora-2]

    Z = X Aᵀ,  Y = [X Z] [W0 s B]ᵀ + b.  Returns Y and [X Z], which `backward` needs.  Raises `ShapeError`,
    `DTypeError`.

    >>> layer = pack(np.eye(2), LoraParams(B=np.array([[1.0], [0.0]]), A=np.array([[1.0, 1.0]])), scale=0.5)
    >>> forward(np.array([[1.0, 2.0]]), layer)
    (array([[2.5, 2. ]]), array([[1., 2., 3.]]))
    """
    (d, k), M = layer.sizes, layer.M
    checks.require_rows("X", X, k, "k, the width of the packed layer")
    checks.require_same_dtype(X=X, M=M)
    if bias is not None:
        checks.require_ndim("bias", bias, 1, "d")
        checks.require_rows("bias", bias, d, "d, the height of the packed layer")
        checks.require_same_dtype(bias=bias, M=M)
    rows = flat_rows(X)
    XZ = np.empty((rows.shape[0], M.shape[1]), dtype=M.dtype)  # (N, k + r)
    XZ[:, :k] = rows
    XZ[:, k:] = rows @ M[d:, :k].T  # Z, (N, r)
    Y = XZ @ M[:d, :].T  # (N, d)
    if bias is not None:
        Y += bias
    return Y.reshape(*X.shape[:-1], d), XZ.reshape(*X.shape[:-1], M.shape[1])


def backward(
    gY: Float[Array, "N d"], XZ: Float[Array, "N k+r"], layer: PackedLayer
) -> tuple[Float[Array, "N k"], LoraParams]:
    """Pull gY back through a packed layer: three thin products and one big one.  [lora-packed] [grad-2]

    gZ = gY (s B),  gX = [gY gZ] [W0; A],  gB = s gYᵀ Z,  gA = gZᵀ X.  Raises `ShapeError`, `DTypeError`.

    >>> layer = pack(np.eye(2), LoraParams(B=np.array([[1.0], [0.0]]), A=np.array([[1.0, 1.0]])), scale=0.5)
    >>> gX, g = backward(np.ones((1, 2)), np.array([[1.0, 2.0, 3.0]]), layer)
    >>> gX, g.A
    (array([[1.5, 1.5]]), array([[0.5, 1. ]]))
    """
    (d, k), M = layer.sizes, layer.M
    checks.require_rows("gY", gY, d, "d, the height of the packed layer")
    checks.require_rows("XZ", XZ, M.shape[1], "k + r, as `forward` returned it")
    checks.require_same_rows(gY=gY, XZ=XZ)
    checks.require_same_dtype(gY=gY, XZ=XZ, M=M)
    g, rows = flat_rows(gY), flat_rows(XZ)
    gYZ = np.empty((g.shape[0], M.shape[0]), dtype=M.dtype)  # (N, d + r)
    gYZ[:, :d] = g
    gYZ[:, d:] = gZ = g @ M[:d, k:]  # (N, r)
    gX = gYZ @ M[:, :k]  # (N, k)
    gB = g.T @ rows[:, k:]  # (d, r)
    gB *= layer.scale
    return gX.reshape(*gY.shape[:-1], k), LoraParams(gB, gZ.T @ rows[:, :k])
