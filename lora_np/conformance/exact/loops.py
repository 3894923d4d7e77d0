"""Matrices as nested lists, and the loops over them: what every definition is written with.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Matrix = list[list[Any]]


def total(terms: Iterable[Any]) -> Any:
    """Add from the first to the last; nothing adds up to 0."""
    result: Any = None
    for term in terms:
        result = term if result is None else result + term
    return 0 if result is None else result


def dot(x: Iterable[Any], y: Iterable[Any]) -> Any:
    """Σ xᵢ yᵢ."""
    return total(a * b for a, b in zip(x, y, strict=True))


def times_vector(M: Matrix, x: list[Any]) -> list[Any]:
    """M x."""
    return [dot(row, x) for row in M]


def product(M: Matrix, P: Matrix, *, columns: int | None = None) -> Matrix:
    """M P; `columns` says how wide the result is where P has no rows.

    >>> product([[1, 2]], [[3], [4]])
    [[11]]
    """
    width = len(P[0]) if P else (columns or 0)
    return [[dot(row, (inner[j] for inner in P)) for j in range(width)] for row in M]


def transpose(M: Matrix) -> Matrix:
    """Mᵀ; an empty list stays empty."""
    return [list(column) for column in zip(*M, strict=True)]


def each(f: Callable[..., Any], *arrays: Any) -> Any:
    """Apply f to every element of nested lists of one shape."""
    if isinstance(arrays[0], list):
        return [each(f, *items) for items in zip(*arrays, strict=True)]
    return f(*arrays)


def flat(array: Any) -> list[Any]:
    """List the elements of nested lists, row by row."""
    if not isinstance(array, list):
        return [array]
    return [element for item in array for element in flat(item)]


def shaped(elements: list[Any], shape: tuple[int, ...]) -> Any:
    """Nest a flat list into a shape, row by row.

    >>> shaped([1, 2, 3, 4], (2, 2))
    [[1, 2], [3, 4]]
    """
    if not shape:
        return elements[0]
    step = len(elements) // shape[0] if shape[0] else 0
    return [shaped(elements[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]
