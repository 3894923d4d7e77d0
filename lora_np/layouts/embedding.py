"""LoRA beside an embedding: a table E of V rows, looked up by token.  Floor 2.

Looking up token t is the plain layer on the t-th unit row, so A (r, V) has a column for every token and B (d, r) turns
it into an increment: Y_n = E[t_n] + s B A[:, t_n].  There is no gX: tokens are whole numbers.

The row of a padding token: the formula holds for it as for any other, as in loralib and PEFT, and merging agrees with
it; but its column of A gets no gradient, as in torch.  `init` starts A at zero, as both do, so the increment of the
padding row is zero and stays so; a column that comes from elsewhere is used as it is.
"""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks, merging
from lora_np._typing import Array, Float, Int
from lora_np.batches import flat_rows
from lora_np.errors import ConfigError, DTypeError
from lora_np.lora import LoraParams


def init(rng: np.random.Generator, d: int, V: int, rank: int, *, dtype: object = np.float64) -> LoraParams:
    """Draw the starting factors: A = 0, B ~ N(0, 1), as loralib and PEFT do.  [layout-embedding]

    Raises `ConfigError`, `DTypeError`; warns `RankWarning` where r > min(d, V).

    >>> p = init(np.random.default_rng(0), 4, 100, 2)
    >>> p.B.shape, p.A.shape, bool((p.A == 0).all())
    ((4, 2), (2, 100), True)
    """
    checks.require_rng(rng)
    checks.require_int("d", d, minimum=0)
    checks.require_int("V", V, minimum=0)
    checks.require_rank(rank, d, V)
    checks.require_float_dtype(dtype)
    B, A = rng.normal(size=(d, rank)), np.zeros((rank, V))
    return LoraParams(B.astype(dtype), A.astype(dtype))  # type: ignore[call-overload]


def forward(
    tokens: Int[Array, " N"],
    E: Float[Array, "V d"],
    p: LoraParams,
    *,
    scale: float,
    padding: int | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Look up tokens in the adapted table.  [layout-embedding]

    Y_n = E[t_n] + s B A[:, t_n].  Returns Y and Z, whose rows are the columns A[:, t_n], which `backward` needs.
    `padding` changes nothing here: see the module's words.  Tokens may have any number of axes.  Raises `ConfigError`
    for a token outside of 0 … V − 1, `ShapeError`, `DTypeError`, `RankError`.

    >>> E, p = np.array([[1.0], [2.0], [3.0]]), LoraParams(B=np.array([[2.0]]), A=np.array([[0.0, 5.0, 7.0]]))
    >>> forward(np.array([2, 0]), E, p, scale=0.5)
    (array([[10.],
           [ 1.]]), array([[7.],
           [0.]]))
    """
    _require(tokens, E, p, scale, padding)
    xp, shape = array_namespace(E), tuple(tokens.shape)
    flat = xp.reshape(tokens, (math.prod(shape),))
    Z = xp.take(p[1], flat, axis=1).T  # (N, r)
    Y = xp.take(E, flat, axis=0) + float(scale) * (Z @ p[0].T)  # (N, d)
    return xp.reshape(Y, (*shape, Y.shape[1])), xp.reshape(Z, (*shape, Z.shape[1]))


def backward(
    gY: Float[Array, "N d"],
    tokens: Int[Array, " N"],
    Z: Float[Array, "N r"],
    E: Float[Array, "V d"],
    p: LoraParams,
    *,
    scale: float,
    padding: int | None = None,
) -> LoraParams:
    """Pull gY back to both factors; tokens have no gradient.  [layout-embedding-grad]

    gB = s gYᵀ Z; gA[:, t] is the sum of s gY_n B over the n whose token is t, and 0 for the padding token.  `Z` is
    what `forward` returned.  Raises what `forward` raises.

    >>> E, p = np.array([[1.0], [2.0], [3.0]]), LoraParams(B=np.array([[2.0]]), A=np.array([[0.0, 5.0, 7.0]]))
    >>> Z = np.array([[7.0], [7.0], [0.0]])
    >>> backward(np.array([[1.0], [10.0], [100.0]]), np.array([2, 2, 0]), Z, E, p, scale=0.5, padding=0)
    LoraParams(B=array([[38.5]]), A=array([[ 0., 0., 11.]]))
    """
    _require(tokens, E, p, scale, padding)
    B, A = p
    checks.require_shape("gY", gY, (*tokens.shape, E.shape[1]), "..., d")
    checks.require_shape("Z", Z, (*tokens.shape, A.shape[0]), "..., r")
    checks.require_same_dtype(gY=gY, Z=Z, E=E)
    s, g_rows = float(scale), _flat(gY)
    gZ = s * (g_rows @ B)  # (N, r)
    xp = array_namespace(A)
    gA_rows = xp.zeros_like(A.T)  # (V, r): ours alone, so it may be written
    flat = xp.reshape(tokens, (gZ.shape[0],))
    for n in range(gZ.shape[0]):  # the array API cannot add to several rows at once
        token = int(flat[n])
        if token != padding:
            gA_rows[token, :] = gA_rows[token, :] + gZ[n, :]
    return LoraParams(B=s * (g_rows.T @ _flat(Z)), A=gA_rows.T)


def merge(E: Float[Array, "V d"], p: LoraParams, *, scale: float) -> Float[Array, "V d"]:
    """Add the increment to the table.  [layout-embedding]

    E + s (B A)ᵀ, the padding row included, so that looking up gives what `forward` gave.  Raises what `merging.merge`
    raises.

    >>> merge(np.zeros((2, 1)), LoraParams(B=np.array([[2.0]]), A=np.array([[1.0, 3.0]])), scale=0.5)
    array([[1.],
           [3.]])
    """
    checks.require_ndim("E", E, 2, "V, d")
    return merging.merge(E.T, p, scale=scale).T


def unmerge(W: Float[Array, "V d"], p: LoraParams, *, scale: float) -> Float[Array, "V d"]:
    """Subtract the increment from a merged table, up to rounding.  [layout-embedding]

    W − s (B A)ᵀ.  Raises what `merging.unmerge` raises.

    >>> unmerge(
    ...     np.array([[1.0], [3.0]]), LoraParams(B=np.array([[2.0]]), A=np.array([[1.0, 3.0]])), scale=0.5
    ... )
    array([[0.],
           [0.]])
    """
    checks.require_ndim("W", W, 2, "V, d")
    return merging.unmerge(W.T, p, scale=scale).T


def _flat(x: Float[Array, "... n"]) -> Float[Array, "N n"]:
    """Flatten all leading axes; one row, that of a single token, becomes a matrix."""
    return x[None, :] if x.ndim == 1 else flat_rows(x)


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require(tokens: Array, E: Array, p: LoraParams, scale: float, padding: int | None) -> None:
    """Raise unless the table, the factors and the tokens fit together."""
    checks.require_ndim("E", E, 2, "V, d")
    checks.require_weight("E.T", E.T, p, scale)
    V = E.shape[0]
    if padding is not None:
        checks.require_int("padding", padding, minimum=0)
        if padding >= V:
            raise ConfigError(f"padding = {padding} is no row of E, which has rows 0 to {V - 1}")
    kind = checks.dtype_name(tokens) if hasattr(tokens, "dtype") else type(tokens).__name__
    if not kind.startswith(("int", "uint")):
        raise DTypeError(
            f"tokens must be an array of whole numbers, got {kind}", fix="pass ids, not their embeddings"
        )
    if math.prod(tokens.shape):
        xp = array_namespace(tokens)
        low, high = int(xp.min(tokens)), int(xp.max(tokens))
        if low < 0 or high >= V:
            raise ConfigError(
                f"tokens run from {low} to {high}, but E has rows 0 to {V - 1}",
                fix="a token below 0 would silently read from the end of the table" if low < 0 else "",
            )
