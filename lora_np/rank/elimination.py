"""Gauss-Jordan elimination on floats, the largest remaining entry as pivot, from scratch.  Floor 1.

Expects entries of about unit size (see `scaling`).  On exact numbers see `exact`, which takes the leftmost pivot.
"""

from array_api_compat import array_namespace

from lora_np._typing import Array, Float


def eliminate(M: Float[Array, "m n"], stop: float) -> tuple[Float[Array, "r n"], list[int]]:
    """Reduce M to r rows that hold the identity in their pivot columns.  [rank-rref]

    The pivot is the largest entry of the rows not yet used; elimination ends when that is no larger than `stop`.
    Returns those rows C, in the order of their pivot columns, and the columns: M = M[:, columns] C.

    >>> import numpy as np
    >>> eliminate(np.array([[1.0, 2.0], [2.0, 4.0]]), stop=1e-12)
    (array([[0.5, 1. ]]), [1])
    """
    xp, (m, n) = array_namespace(M), M.shape
    rows, columns = xp.asarray(M, copy=True), []
    for k in range(min(m, n)):
        rest = xp.reshape(xp.abs(rows[k:, :]), (-1,))
        largest = int(xp.argmax(rest))
        if not float(rest[largest]) > stop:
            break
        i, j = k + largest // n, largest % n
        pivot_row = rows[i, :] / rows[i, j]
        rows[i, :] = rows[k, :]
        rows[k, :] = 0.0
        rows = rows - rows[:, j][:, None] * pivot_row[None, :]
        rows[:, j] = 0.0  # what the subtraction left by rounding
        rows[k, :] = pivot_row
        rows[k, j] = 1.0
        columns.append(j)
    order = sorted(range(len(columns)), key=columns.__getitem__)
    return xp.take(rows, xp.asarray(order, dtype=xp.int64), axis=0), sorted(columns)
