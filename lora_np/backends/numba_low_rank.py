"""Y += s Z Bᵀ in one pass over Y.  Floor 3.

Written plainly, the update makes Z Bᵀ and s Z Bᵀ, each as large as Y, and reads and writes Y besides.  Here two rows
of Y at a time meet four columns of B, all in registers and the first-level cache, and nothing as large as Y is made.
From `BLAS_RANK` on the arithmetic outweighs the passes, and BLAS does the product, a block of rows at a time.
"""

import numpy as np

from lora_np._typing import Array, Float
from lora_np.backends import low_rank
from lora_np.backends.numba_threads import kernels_take, over_slices, summing_kernel

TILE = 1024  # columns of Y in hand: 4 rows of Bᵀ and 2 of Y fill 24 kB of float32
BLAS_RANK = 32
BLOCK = 2**18  # numbers in a block of rows for BLAS: a megabyte of float32, which stays in cache
SMALL = 2**15  # numbers of Y below which a second thread costs more than it saves


def add_low_rank(
    Y: Float[Array, "N d"], Z: Float[Array, "N r"], B: Float[Array, "d r"], *, scale: float
) -> Float[Array, "N d"]:
    """Add a product of rank r to a buffer, in place and in one pass.  [lora-2] [lora-merge]

    Y += s Z Bᵀ.  Equal to the reference up to rounding; extra memory O((N + d) r).  What the kernel cannot take (half
    precision, a buffer whose rows are not contiguous) goes to the reference.  Raises what the reference raises.
    """
    low_rank.require_low_rank(Y, Z, B, scale)
    if not (kernels_take(Y, Z, B) and Y.flags.c_contiguous):
        return low_rank.add_low_rank(Y, Z, B, scale=scale)
    return add_checked(Y, Z, B, float(scale))


def add_checked(Y: Array, Z: Array, B: Array, s: float) -> Array:
    """Add s Z Bᵀ to a buffer that is known to be sound."""
    if Z.shape[1] >= BLAS_RANK:
        return _add_by_blocks(Y, Z, B, s)
    Zs, Bt = padded(Z, s), np.ascontiguousarray(padded(B, 1.0).T)
    least = max(1, SMALL // max(1, Y.shape[1]))
    over_slices(lambda start, stop: _add_rows(Y[start:stop], Zs[start:stop], Bt), Y.shape[0], least=least)
    return Y


def padded(M: Float[Array, "n r"], s: float) -> Float[Array, "n r4"]:
    """Copy s M, with zero columns up to a multiple of four; zeros on both sides add nothing, even to infinity."""
    n, r = M.shape
    padded = np.zeros((n, r + -r % 4), dtype=M.dtype)
    np.multiply(M, np.asarray(s, dtype=M.dtype), out=padded[:, :r])
    return padded


def _add_by_blocks(Y: Array, Z: Array, B: Array, s: float) -> Array:
    """Let BLAS make s Z Bᵀ for a block of rows, and add it while it is in cache."""
    Zs = Z * np.asarray(s, dtype=Z.dtype)  # (N, r)
    step = max(1, BLOCK // max(1, Y.shape[1]))
    block = np.empty((min(step, Y.shape[0]), Y.shape[1]), dtype=Y.dtype)
    for start in range(0, Y.shape[0], step):
        rows = Y[start : start + step]
        part = block[: rows.shape[0]]
        np.matmul(Zs[start : start + step], B.T, out=part)
        rows += part
    return Y


@summing_kernel
def _add_rows(Y: Array, Z: Array, Bt: Array) -> None:
    """Y += Z Bt with Bt (r, d) and r a multiple of four, `TILE` columns and two rows at a time."""
    N, d = Y.shape
    spare = np.zeros(min(d, TILE), dtype=Y.dtype)
    for left in range(0, d, TILE):
        right = min(left + TILE, d)
        for i in range(0, N - 1, 2):
            add_pair(Y[i, left:right], Y[i + 1, left:right], Z[i], Z[i + 1], Bt, left)
        if N % 2:  # the last row of an odd number is paired with one that nobody reads
            add_pair(Y[N - 1, left:right], spare[: right - left], Z[N - 1], Z[N - 1], Bt, left)


@summing_kernel
def add_pair(y0: Array, y1: Array, z0: Array, z1: Array, Bt: Array, left: int) -> None:
    """y0 += z0 Bt and y1 += z1 Bt, on the columns of Bt from `left` on; four ranks at a time."""
    right = left + y0.size
    for q in range(0, Bt.shape[0], 4):
        b0, b1, b2, b3 = (
            Bt[q, left:right],
            Bt[q + 1, left:right],
            Bt[q + 2, left:right],
            Bt[q + 3, left:right],
        )
        u0, u1, u2, u3 = z0[q], z0[q + 1], z0[q + 2], z0[q + 3]
        v0, v1, v2, v3 = z1[q], z1[q + 1], z1[q + 2], z1[q + 3]
        for j in range(y0.size):
            c0, c1, c2, c3 = b0[j], b1[j], b2[j], b3[j]
            y0[j] += u0 * c0 + u1 * c1 + u2 * c2 + u3 * c3
            y1[j] += v0 * c0 + v1 * c1 + v2 * c2 + v3 * c3
