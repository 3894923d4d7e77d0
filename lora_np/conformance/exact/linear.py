"""Inverses, orthogonal projections and singular vectors of small matrices of numbers.  Floor 6.

Inverses and projections are by elimination, exact on exact numbers.  Singular values and vectors are mpmath's, at its
working precision.  What they return carries values only in its `value`s: an algorithm's bound S is the condition of the
problem, so whoever calls sets it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from lora_np.conformance.exact.loops import Matrix, dot, flat
from lora_np.conformance.exact.number import Exact, high_precision


def magnitude(x: Any) -> float:
    """|x| as a float."""
    return float(abs(x.value if isinstance(x, Exact) else x))


def signed(x: Any) -> Any:
    """Return the value itself: what numbers are put in order by."""
    return x.value if isinstance(x, Exact) else x


def frobenius(M: Matrix) -> float:
    """‖M‖, the root of the sum of the squares, as a float.

    >>> frobenius([[3.0, 4.0]])
    5.0
    """
    return math.hypot(*(magnitude(x) for x in flat(M)))


def inverse(M: Matrix) -> Matrix:
    """Invert by Gauss and Jordan's elimination, with the largest pivot of each column.  Raises `ZeroDivisionError`.

    >>> inverse([[2.0, 0.0], [1.0, 4.0]])
    [[0.5, 0.0], [-0.125, 0.25]]
    """
    n = len(M)
    rows = [[*row, *(1 if i == j else 0 for j in range(n))] for i, row in enumerate(M)]
    for column in range(n):
        best = max(range(column, n), key=lambda i: magnitude(rows[i][column]))
        rows[column], rows[best] = rows[best], rows[column]
        pivot = [x / rows[column][column] for x in rows[column]]
        rows = [
            pivot if i == column else [x - row[column] * p for x, p in zip(row, pivot, strict=True)]
            for i, row in enumerate(rows)
        ]
    return [row[n:] for row in rows]


def orthogonal(columns: Matrix) -> Matrix:
    """Make vectors orthogonal by Gram and Schmidt, without normalizing: no root is taken.

    >>> orthogonal([[1.0, 0.0], [1.0, 1.0]])
    [[1.0, 0.0], [0.0, 1.0]]
    """
    found: Matrix = []
    for column in columns:
        rest = list(column)
        for q in found:
            share = dot(q, column) / dot(q, q)
            rest = [x - share * y for x, y in zip(rest, q, strict=True)]
        found.append(rest)
    return found


def projector(columns: Matrix) -> Matrix:
    """Σ q qᵀ / (qᵀ q) over orthogonal vectors q: the projection onto what `columns` span."""
    spanned = orthogonal(columns)
    n = len(columns[0])
    return [[sum(q[i] * q[j] / dot(q, q) for q in spanned) for j in range(n)] for i in range(n)]


class Singular(NamedTuple):
    """The parts of a matrix: left vectors, values from large to small, right vectors (as lists of vectors)."""

    left: Matrix
    values: list[Any]
    right: Matrix


def singular(M: Matrix) -> Singular:
    """Take the singular value decomposition of exact numbers, in mpmath's working precision."""
    import mpmath

    U, S, V = mpmath.svd_r(
        mpmath.matrix([[high_precision(x.value) for x in row] for row in M]), full_matrices=False
    )
    n = len(S)
    return Singular(
        [[U[i, q] for i in range(U.rows)] for q in range(n)],
        [S[q] for q in range(n)],
        [[V[q, j] for j in range(V.cols)] for q in range(n)],
    )
