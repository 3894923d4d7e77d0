"""Elimination over the rationals: exact rank and exact factors of integers and Fractions.  Floor 1.

Rows are cleared of denominators and eliminated in whole numbers (Bareiss: every division is exact), so nothing is
rounded and no tolerance is needed.  Accepts integer arrays, object arrays, and nested lists of int or Fraction.
"""

import math
import numbers
from fractions import Fraction
from typing import Any

import numpy as np

from lora_np import checks
from lora_np._typing import Array
from lora_np.errors import DTypeError, ShapeError


def is_exact(M: Any) -> bool:
    """Tell whether M is to be read exactly: nested lists, integer or object arrays.

    >>> is_exact([[1, 2]]), is_exact(np.eye(2))
    (True, False)
    """
    if isinstance(M, (list, tuple)):
        return True
    return hasattr(M, "dtype") and checks.dtype_name(M).startswith(("int", "uint", "object"))


def read_exact(name: str, M: Any) -> Array:
    """Return M as an (m, n) object array of Fraction.

    Raises `ShapeError` for anything but two axes of rows equally long, `DTypeError` for an entry that is not
    rational.

    >>> read_exact("M", [[1, Fraction(1, 2)]])
    array([[Fraction(1, 1), Fraction(1, 2)]], dtype=object)
    """
    if hasattr(M, "shape"):
        _require_two_axes(name, tuple(M.shape))
        m, n = M.shape
        read = (lambda entry: entry) if checks.dtype_name(M) == "object" else int
        rows = [[read(M[i, j]) for j in range(n)] for i in range(m)]
    else:
        rows, n = list(M), _width(name, M)
    found = np.empty((len(rows), n), dtype=object)
    for i, row in enumerate(rows):
        for j, entry in enumerate(row):
            found[i, j] = _fraction(name, i, j, entry)
    return found


def eliminate_exactly(F: Array) -> tuple[Array, list[int]]:
    """Bring rational rows to their reduced row echelon form.  [rank-rref]

    Returns the nonzero rows C as Fractions and the pivot columns, leftmost first: F = F[:, columns] C, exactly.

    >>> C, columns = eliminate_exactly(read_exact("M", [[1, 2], [2, 4]]))
    >>> C.tolist(), columns
    ([[Fraction(1, 1), Fraction(2, 1)]], [0])
    """
    rows, n = _clear_denominators(F), F.shape[1]
    columns: list[int] = []
    divisor = 1
    for j in range(n):
        k = len(columns)
        below = [i for i in range(k, rows.shape[0]) if rows[i, j]]
        if not below:
            continue
        rows[[k, below[0]]] = rows[[below[0], k]]
        pivot_row, pivot = rows[k].copy(), rows[k, j]
        rows = (pivot * rows - np.multiply.outer(rows[:, j], pivot_row)) // divisor  # exact: Bareiss
        rows[k], divisor = pivot_row, pivot
        columns.append(j)
    reduced = [[Fraction(entry, divisor) for entry in rows[k]] for k in range(len(columns))]
    return _object_array(reduced, len(columns), n), columns


def _clear_denominators(F: Array) -> Array:
    """Multiply each row by its common denominator: the row space, and so the echelon form, stays."""
    cleared = []
    for row in F:
        common = math.lcm(*(entry.denominator for entry in row))
        cleared.append([int(entry * common) for entry in row])
    return _object_array(cleared, *F.shape)


def _object_array(rows: list[list[Any]], m: int, n: int) -> Array:
    """Make an (m, n) object array; NumPy would take the entries of an empty one for floats."""
    found = np.empty((m, n), dtype=object)
    found[...] = rows if m * n else found
    return found


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require_two_axes(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise ShapeError(f"{name} has {len(shape)} axes (shape {shape}), expected 2: (m, n)")


def _width(name: str, rows: Any) -> int:
    """Return the common length of nested lists; raise where there is none."""
    nested = [row for row in rows if isinstance(row, (list, tuple))]
    if not nested or len(nested) != len(rows):
        raise ShapeError(
            f"{name} must be a list of rows, got a list of {type(rows[0]).__name__ if rows else 'nothing'}",
            fix=f"write [[...], [...]]; for no rows pass np.zeros((0, n), dtype=int) as {name}",
        )
    widths = sorted({len(row) for row in nested})
    if len(widths) > 1:
        raise ShapeError(
            f"{name} is a ragged list: rows of {widths[0]} and of {widths[-1]} entries",
            fix="make every row equally long",
        )
    return widths[0]


def _fraction(name: str, i: int, j: int, entry: Any) -> Fraction:
    """Read one entry; only rational numbers are exact."""
    if isinstance(entry, bool) or not isinstance(entry, numbers.Rational):
        raise DTypeError(
            f"{name}[{i}, {j}] is {type(entry).__name__} {entry!r}; exact elimination takes int or Fraction",
            fix=f"for floats pass np.asarray({name}, dtype=float)",
        )
    return Fraction(int(entry.numerator), int(entry.denominator))
