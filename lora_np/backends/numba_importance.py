"""Importance in one pass over the weight, and in none.  Floor 3.

The sums of (G W)² and |G W| over a row or a column need every entry, but not all at once: two rows of the gradient
U V and of the weight W0 + s B A at a time, `TILE` columns of them, are made, multiplied and added up in the
cache, so W0 is read once and nothing as large is made.  The plain sum of G W factors, as
Σ_j G_ij W_ij = Σ_m U_im (W Vᵀ)_im, so BLAS does it in thin products; from activations it is `group_dot`, a single
pass over gY and Y.  Extra memory is O(N + d + k) times the rank.  What the kernels cannot take goes to the reference.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.backends.numba_low_rank import add_pair, padded
from lora_np.backends.numba_threads import kernels_take, over_slices, summing_kernel
from lora_np.prune import activations, criteria
from lora_np.prune.factored import Adapted, Matrix, Product, shape_of
from lora_np.prune.gradients import require_gradient
from lora_np.prune.groups import Groups, by_part

TILE = 1024  # columns in hand: at rank 8 the factors fill 96 kB of float32, in the second-level cache
MOST_RANK = 64  # of the gradient: above it BLAS, a tile at a time, is as fast
BLOCK = 64  # rows added up before they meet the total: keeps the error of a long sum small
SMALL = 2**15  # entries below which a second thread costs more than it saves


def importance(
    W: Matrix | Mapping[str, Matrix],
    G: Matrix | Mapping[str, Matrix],
    groups: Groups,
    *,
    form: str = "dot-squared",
    tile: int = 64,
) -> Float[Array, " q"]:
    """Score each group, every matrix in one fused pass.  [prune-importance]

    Forms, result and errors are those of `prune.importance`.
    """
    checks.require_one_of("form", form, criteria.FORMS)
    weights = by_part("W", W, groups)
    require_gradient("G", G)
    for name in groups.parts if isinstance(G, Mapping) else ():
        require_gradient(f"G[{name!r}]", G.get(name))
    gradients = by_part("G", G, groups)
    sums = {
        name: line_sums(weights[name], gradients[name], axis=part.axis, form=form, tile=tile)
        for name, part in groups.parts.items()
    }
    return criteria.importance_from_sums(sums, groups, form=form)


def line_sums(W: Matrix, G: Matrix, *, axis: int | None, form: str, tile: int = 64) -> Float[Array, " n"]:
    """Sum the terms of one matrix over each row or column, in one fused pass.  [prune-importance]

    Result and errors are those of `prune.line_sums`.
    """
    if axis not in (0, 1) or form not in criteria.FORMS or not _fused(W, G):
        return criteria.line_sums(W, G, axis=axis, form=form, tile=tile)
    checks.require_int("tile", tile, minimum=1)
    W0, B, A = _base_and_factors(W)
    if form == "dot-squared":
        return _plain_sums(W0, B, A, G, axis)
    return _fused_sums(W0, B, A, G, axis, form == "sum-squared")


def group_dot(
    gY: Float[Array, "N d"],
    Y: Float[Array, "N d"],
    *,
    bias: Float[Array, " d"] | None = None,
    tile: int = 64,
) -> Float[Array, " d"]:
    """Sum G W over each row of the weight, from activations, in one pass.  [prune-group-dot]

    Result and errors are those of `prune.group_dot`.
    """
    if not _streams(gY, Y, tile) or not (bias is None or (kernels_take(bias) and bias.dtype == Y.dtype)):
        return activations.group_dot(gY, Y, bias=bias, tile=tile)
    if bias is not None and bias.shape != Y.shape[-1:]:
        return activations.group_dot(gY, Y, bias=bias, tile=tile)
    return _dots(gY, Y, np.zeros(Y.shape[-1], Y.dtype) if bias is None else np.ascontiguousarray(bias))


def group_dot_columns(
    X: Float[Array, "N k"], gX: Float[Array, "N k"], *, tile: int = 64
) -> Float[Array, " k"]:
    """Sum G W over each column of the weight, from activations, in one pass.  [prune-group-dot]

    Result and errors are those of `prune.group_dot_columns`.
    """
    if not _streams(X, gX, tile):
        return activations.group_dot_columns(X, gX, tile=tile)
    return _dots(gX, X, np.zeros(X.shape[-1], X.dtype))


# ---- what the kernels can take -----------------------------------------------------------------------------


def _streams(x: Any, y: Any, tile: Any) -> bool:
    """Tell whether two arrays can be run through side by side; what cannot, the reference takes or refuses."""
    return (
        kernels_take(x, y)
        and x.dtype == y.dtype
        and x.shape == y.shape
        and x.ndim > 0
        and x.flags.c_contiguous
        and y.flags.c_contiguous
        and isinstance(tile, int)
        and tile > 0
    )


def _fused(W: Any, G: Any) -> bool:
    """Tell whether W, an array or an `Adapted`, and G, a `Product` of low rank, can be fused."""
    if not isinstance(G, Product) or not (isinstance(W, Adapted) or type(W) is np.ndarray):
        return False
    arrays = (W.W0, *W.p, *G) if isinstance(W, Adapted) else (W, *G)
    if not kernels_take(*arrays) or len({x.dtype for x in arrays}) > 1 or any(x.ndim != 2 for x in arrays):
        return False
    if isinstance(W, Adapted):
        checks.require_weight("W0", W.W0, W.p, W.scale)
    m = G.U.shape[1]
    return (
        arrays[0].flags.c_contiguous and m == G.V.shape[0] and m <= MOST_RANK and shape_of(W) == shape_of(G)
    )


def _base_and_factors(W: Any) -> tuple[Array, Array, Array]:
    """Return W0, s B and A; factors of rank 0 for a plain weight."""
    if isinstance(W, Adapted):
        return W.W0, float(W.scale) * W.p[0], W.p[1]
    d, k = W.shape
    return W, np.zeros((d, 0), W.dtype), np.zeros((0, k), W.dtype)


# ---- the plain sum: thin products --------------------------------------------------------------------------


def _plain_sums(W0: Array, B: Array, A: Array, G: Product, axis: int | None) -> Float[Array, " n"]:
    """Σ_j G W = Σ_m U (W Vᵀ) for each row, Σ_i G W = Σ_m V (Uᵀ W) for each column; W = W0 + B A is never made."""
    U, V = G
    if axis == 0:
        return np.einsum("im,im->i", U, W0 @ V.T + B @ (A @ V.T))  # (d,)
    return np.einsum("mj,mj->j", V, U.T @ W0 + (U.T @ B) @ A)  # (k,)


# ---- the sums of squares and of absolute values: one fused pass --------------------------------------------


def _fused_sums(
    W0: Array, B: Array, A: Array, G: Product, axis: int | None, square: bool
) -> Float[Array, " n"]:
    """Run the kernel over slices of rows, and join or add what it returns."""
    factors = [padded(B, 1.0), _tall(A), padded(G.U, 1.0), _tall(G.V)]
    least = max(2, SMALL // max(1, W0.shape[1]))

    def task(start: int, stop: int) -> Array:
        Bi, Ui = factors[0][start:stop], factors[2][start:stop]
        return _sum_lines(W0[start:stop], Bi, factors[1], Ui, factors[3], axis == 0, square)

    parts = over_slices(task, W0.shape[0], least=least)
    return np.concatenate(parts) if axis == 0 else np.sum(parts, axis=0)


def _tall(M: Float[Array, "r k"]) -> Float[Array, "r4 k"]:
    """Copy a short, wide factor, with zero rows up to a multiple of four."""
    return np.ascontiguousarray(padded(M.T, 1.0).T)


@summing_kernel
def _sum_lines(
    W0: Array, B: Array, A: Array, U: Array, V: Array, by_row: bool, square: bool
) -> Float[Array, " n"]:
    """Sum (U V ∘ (W0 + B A))², or its absolute value, over each row or each column of a slice of rows."""
    d, k = W0.shape
    sums = np.zeros(d if by_row else k, dtype=W0.dtype)
    g, w = np.zeros((2, TILE), dtype=W0.dtype), np.zeros((2, TILE), dtype=W0.dtype)
    for left in range(0, k, TILE):
        n = min(TILE, k - left)
        for i in range(0, d, 2):
            h = min(i + 1, d - 1)  # the last row of an odd number is done twice and counted once
            w[0, :n], w[1, :n] = W0[i, left : left + n], W0[h, left : left + n]
            add_pair(w[0, :n], w[1, :n], B[i], B[h], A, left)
            g[:, :n] = 0
            add_pair(g[0, :n], g[1, :n], U[i], U[h], V, left)
            for row in range(h - i + 1):
                if by_row:
                    sums[i + row] += _total(g[row, :n], w[row, :n], square)
                else:
                    _add_terms(sums[left : left + n], g[row, :n], w[row, :n], square)
    return sums


@summing_kernel
def _total(g: Array, w: Array, square: bool) -> Any:
    """Σ_j (g w)², or Σ_j |g w|."""
    total = g.dtype.type(0)
    if square:
        for j in range(g.size):
            total += (g[j] * w[j]) * (g[j] * w[j])
    else:
        for j in range(g.size):
            total += abs(g[j] * w[j])
    return total


@summing_kernel
def _add_terms(sums: Array, g: Array, w: Array, square: bool) -> None:
    """sums_j += (g w)², or |g w|."""
    if square:
        for j in range(g.size):
            sums[j] += (g[j] * w[j]) * (g[j] * w[j])
    else:
        for j in range(g.size):
            sums[j] += abs(g[j] * w[j])


# ---- from activations: one pass over two streams -----------------------------------------------------------


def _dots(g: Array, values: Array, bias: Array) -> Float[Array, " n"]:
    """Σ_n g_ni (values − bias)_ni, the rows split over threads."""
    n = g.shape[-1]
    g, values = (
        g.reshape(-1, n) if n else g.reshape(0, 0),
        values.reshape(-1, n) if n else values.reshape(0, 0),
    )
    least = max(1, SMALL // max(1, n))
    parts = over_slices(
        lambda start, stop: _sum_products(g[start:stop], values[start:stop], bias), g.shape[0], least=least
    )
    return np.sum(parts, axis=0)


@summing_kernel
def _sum_products(g: Array, values: Array, bias: Array) -> Float[Array, " n"]:
    """Σ_n g_ni (values − bias)_ni for a slice of rows, `BLOCK` rows at a time."""
    N, n = g.shape
    total, part = np.zeros(n, dtype=g.dtype), np.zeros(n, dtype=g.dtype)
    for start in range(0, N, BLOCK):
        part[:] = 0
        for i in range(start, min(start + BLOCK, N)):
            gi, vi = g[i], values[i]
            for j in range(n):
                part[j] += gi[j] * (vi[j] - bias[j])
        for j in range(n):
            total[j] += part[j]
    return total
