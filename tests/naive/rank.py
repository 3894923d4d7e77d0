"""Rank in plain loops over nested lists of Fractions: elimination, determinant, inverse, entropy."""

import math
from fractions import Fraction


def rank(M):
    """Count the pivots of Gaussian elimination, the leftmost nonzero entry as pivot."""
    return len(reduced_row_echelon(M)[1])


def reduced_row_echelon(M):
    """Textbook Gauss-Jordan: the nonzero rows and the pivot columns."""
    rows = [[Fraction(v) for v in row] for row in M]
    columns = []
    for j in range(len(rows[0]) if rows else 0):
        k = len(columns)
        pivot = next((i for i in range(k, len(rows)) if rows[i][j] != 0), None)
        if pivot is None:
            continue
        rows[k], rows[pivot] = rows[pivot], rows[k]
        rows[k] = [v / rows[k][j] for v in rows[k]]
        for i in range(len(rows)):
            if i != k:
                factor = rows[i][j]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
        columns.append(j)
    return rows[: len(columns)], columns


def determinant(M):
    """Expand by elimination, exactly."""
    rows, value = [[Fraction(v) for v in row] for row in M], Fraction(1)
    for k in range(len(rows)):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k] != 0), None)
        if pivot is None:
            return Fraction(0)
        if pivot != k:
            rows[k], rows[pivot], value = rows[pivot], rows[k], -value
        value *= rows[k][k]
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return value


def inverse(M):
    """Invert exactly: the right half of [M | I] after Gauss-Jordan."""
    n = len(M)
    wide = [list(row) + [Fraction(int(i == j)) for j in range(n)] for i, row in enumerate(M)]
    rows, _ = reduced_row_echelon(wide)
    return [row[n:] for row in rows]


def effective_rank(sigma):
    """exp of the entropy of the shares, one share at a time."""
    total = sum(sigma)
    return math.exp(-sum(s / total * math.log(s / total) for s in sigma if s > 0))
