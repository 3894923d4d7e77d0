"""Lesson 01, what a matrix knows: a table of rank 1, rank by elimination, limits, the rank of floats.  Floor 6."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lora_np._typing import Array, Float, Int
from lora_np.rank import matrix_rank
from lora_np.teach.exercise import Exercise, Given, Quiz, Suspect
from lora_np.teach.exercises._parts import Parts, combined

# ---- 01.1: a table from a column and a row -----------------------------------------------------------------


def _columns_and_rows(rng: np.random.Generator) -> Iterator[Given]:
    for m, n in ((1, 1), (2, 3), (4, 4), (5, 1), (1, 6), (7, 3)):
        yield {"u": rng.normal(size=m), "v": rng.normal(size=n)}


def _table(u: Float[Array, " m"], v: Float[Array, " n"]) -> Float[Array, "m n"]:
    return u[:, None] * v[None, :]


def _part(u: Array, v: Array, rows: slice, columns: slice) -> Float[Array, "m n"]:
    """Fill a part of the table only."""
    M = np.zeros((len(u), len(v)))
    M[rows, columns] = _table(u[rows], v[columns])
    return M


TABLE = Exercise(
    id="01.1",
    title="A table from a column and a row",
    stars=1,
    signature="table(u, v)",
    returns=("the table",),
    given=_columns_and_rows,
    expected=_table,
    suspects=(
        Suspect(
            "Transposed",
            "rows and columns are exchanged: u belongs to the rows, v to the columns",
            lambda u, v: v[:, None] * u[None, :],
        ),
        Suspect(
            "SumForProduct",
            "the entries are sums u[i] + v[j]; they must be products",
            lambda u, v: u[:, None] + v[None, :],
        ),
        Suspect(
            "Elementwise",
            "each number of u meets only one number of v; it must meet them all",
            lambda u, v: u * v,
        ),
        Suspect(
            "ReturnsTooEarly",
            "only the first entry is there: does the return stand inside a loop? It ends the function at once",
            lambda u, v: _part(u, v, slice(0, 1), slice(0, 1)),
        ),
        Suspect(
            "FirstSkipped",
            "the first row and the first column are empty: Python counts from 0, and so must the loops",
            lambda u, v: _part(u, v, slice(1, None), slice(1, None)),
        ),
        Suspect(
            "CutToWhole",
            "the products are cut to whole numbers: an array of whole numbers drops what stands after the point",
            lambda u, v: np.trunc(np.outer(u, v)),
        ),
        Suspect(
            "AxisLost",
            "the products are right, but they stand in one long row: shape (m, n) is asked",
            lambda u, v: np.outer(u, v).ravel(),
        ),
    ),
    hints=(
        "Every number of u meets every number of v. The answer has as many rows as u has numbers, and as many "
        "columns as v has.",
        "Make u a column, u[:, None] of shape (m, 1), and v a row, v[None, :] of shape (1, n). What does NumPy do "
        "when it multiplies these two with *? Two loops do as well: start from np.zeros((len(u), len(v))).",
    ),
    equations=("rank-example-1", "rank-factorization-example"),
)

# ---- 01.2: rank by elimination -----------------------------------------------------------------------------


def _whole_matrices(rng: np.random.Generator) -> Iterator[Given]:
    yield {"M": rng.integers(1, 9) * np.array([[1, 2], [2, 4]])}
    yield {"M": rng.integers(1, 9) * np.array([[0, 1], [1, 0]])}  # no pivot where one looks first
    yield {"M": np.zeros((2, 3), dtype=np.int64)}
    first, second = rng.integers(1, 7, size=(2, 5))
    second[0] = first[0] + 1  # never a multiple of the first
    second[1] = first[1]
    yield {"M": np.stack([first, second, first + second, 2 * first - second])}
    for m, n, r in ((6, 4, 3), (3, 7, 3), (7, 5, 4)):
        yield {"M": _of_rank(rng, m, n, r)}
    wide = _of_rank(rng, 4, 5, 2)
    wide[:, 0] = 0  # a column without a pivot does not cost a row
    yield {"M": wide}


def _of_rank(rng: np.random.Generator, m: int, n: int, r: int) -> Int[Array, "m n"]:
    """Mix r rows of small whole numbers; draw again until the rank is r."""
    while True:
        M: Array = rng.integers(-3, 4, size=(m, r)) @ rng.integers(-3, 4, size=(r, n))
        if matrix_rank(M) == r:
            return M


def _eliminated(
    M: Array, *, swap: bool = True, skip: bool = True, whole: bool = False, crumbs: float = 1e-9
) -> int:
    """Eliminate with one habit left out: swapping rows, skipping a column, exact division."""
    rows = np.array(M, dtype=np.int64 if whole else np.float64)
    used = 0
    for j in range(rows.shape[1]):
        if used == rows.shape[0]:
            break
        below = np.flatnonzero(np.abs(rows[used:, j]) > crumbs)
        if not below.size or (not swap and below[0]):
            if skip:
                continue
            break
        rows[[used, used + below[0]]] = rows[[used + below[0], used]]
        for i in range(used + 1, rows.shape[0]):
            times = rows[i, j] // rows[used, j] if whole else rows[i, j] / rows[used, j]
            rows[i] = rows[i] - times * rows[used]
        used += 1
    return used


def _along_the_diagonal(M: Array) -> int:
    """Divide by whatever stands on the diagonal, zero or not."""
    rows = np.array(M, dtype=np.float64)
    for j in range(min(rows.shape)):
        for i in range(j + 1, rows.shape[0]):
            rows[i] -= rows[i, j] / rows[j, j] * rows[j]
    return int((np.abs(rows).max(axis=1) > 1e-9).sum())


def _without_multiples(M: Array) -> int:
    """Count the rows that are no multiple of an earlier one."""
    kept: list[Array] = []
    for row in M:
        if row.any() and all((np.outer(row, one) != np.outer(one, row)).any() for one in kept):
            kept.append(row)
    return len(kept)


COUNT_RANK = Exercise(
    id="01.2",
    title="Rank by elimination",
    stars=3,
    signature="count_rank(M)",
    returns=("the rank",),
    given=_whole_matrices,
    expected=lambda M: matrix_rank(M),
    suspects=(
        Suspect(
            "RowsCounted",
            "it counts the rows that are not zero, before anything was eliminated",
            lambda M: int((M != 0).any(axis=1).sum()),
        ),
        Suspect(
            "SmallerSide",
            "it is the most that the shape allows, min(m, n), not what these numbers give",
            lambda M: min(M.shape),
        ),
        Suspect(
            "RowsDistinct",
            "it counts rows that differ; a row may differ from all others and still be a mixture of them",
            lambda M: len({tuple(row) for row in M.tolist()}),
        ),
        Suspect(
            "PairsOnly",
            "it only drops rows that are multiples of one other row; a row can be a mixture of several",
            _without_multiples,
        ),
        Suspect(
            "SwapMissing",
            "it gives up where the pivot is zero; a lower row may have a number there: swap the two",
            lambda M: _eliminated(M, swap=False),
        ),
        Suspect(
            "SwapMissing",
            "it stops at the first zero pivot; a lower row may have a number there: swap the two",
            lambda M: _eliminated(M, swap=False, skip=False),
        ),
        Suspect(
            "StopsAtEmptyColumn",
            "it stops at the first column without a pivot; go on with the next column and the same row",
            lambda M: _eliminated(M, skip=False),
        ),
        Suspect(
            "WholeDivision",
            "it divides whole numbers with //, which throws the rest away; use Fraction",
            lambda M: _eliminated(M, whole=True),
        ),
        Suspect(
            "FloatsLeaveCrumbs",
            "it compares floats with 0: division leaves crumbs such as 1e-16, which look like a row; use Fraction",
            lambda M: _eliminated(M, crumbs=0.0),
        ),
        Suspect(
            "ZeroPivotDivided",
            "it divides by what stands on the diagonal, even if that is 0; look for a row with a number there",
            _along_the_diagonal,
        ),
        Suspect(
            "ColumnsCounted",
            "it counts the columns that are not zero, before anything was eliminated",
            lambda M: int((M != 0).any(axis=0).sum()),
        ),
        Suspect(
            "EntriesCounted",
            "it counts entries that are not zero; rank is about rows",
            lambda M: int((M != 0).sum()),
        ),
        Suspect(
            "OneTooFew",
            "it is one less than the rank each time: where does the counting start?",
            lambda M: _eliminated(M) - 1,
        ),
        Suspect(
            "OneTooMany",
            "it is one more than the rank each time: where does the counting start?",
            lambda M: _eliminated(M) + 1,
        ),
    ),
    hints=(
        "Take multiples of one row away from the others until each remaining row starts further right than the one "
        "above it. The number of rows that are not zero then is the rank.",
        "Keep a number `used`, the rows that have served already. In column j look at rows used, used + 1, ... for "
        "one with no zero there. Found: swap it up to place `used`, clear the column below it, and used += 1. Not "
        "found: only j moves on, `used` stays.",
    ),
    equations=("rank-example-2", "rank-rref"),
    forbidden=("numpy.linalg.matrix_rank", "numpy.linalg.svd", "numpy.linalg.qr", "numpy.linalg.svdvals"),
)

# ---- 01.3: limits ------------------------------------------------------------------------------------------


def _sizes_and_ranks(rng: np.random.Generator) -> Iterator[Given]:
    scale = int(rng.integers(2, 5))
    for m, n, p, q in ((4, 5, 2, 1), (1, 1, 1, 1), (6, 4, 3, 3), (3, 8, 1, 3), (5, 5, 0, 4), (9, 7, 2, 5)):
        yield {"m": m * scale, "n": n * scale, "p": p * scale, "q": q * scale}


_HIGHEST: Parts = (
    (lambda m, n, p, q: min(p + q, m, n), "", ""),
    (
        lambda m, n, p, q: p + q,
        "ShapeForgotten",
        "a sum of shape (m, n) has no rank above min(m, n), so not always p + q",
    ),
    (
        lambda m, n, p, q: min(p + q, m),
        "ShapeForgotten",
        "the columns limit the rank of the sum as well: look at n, too",
    ),
    (
        lambda m, n, p, q: min(p + q, n),
        "ShapeForgotten",
        "the rows limit the rank of the sum as well: look at m, too",
    ),
    (
        lambda m, n, p, q: min(m, n),
        "RanksForgotten",
        "the rank of the sum is not above p + q, however large the shape",
    ),
    (
        lambda m, n, p, q: max(p, q),
        "GreaterForSum",
        "a sum can have more rank than either part: rows of P and of Q add up",
    ),
    (
        lambda m, n, p, q: min(p, q),
        "LesserForSum",
        "a sum can have more rank than either part: rows of P and of Q add up",
    ),
)
_LOWEST: Parts = (
    (lambda m, n, p, q: abs(p - q), "", ""),
    (
        lambda m, n, p, q: 0,
        "LowestIsZero",
        "the lowest rank of the sum is not always 0: that needs Q = −P, so p = q",
    ),
    (
        lambda m, n, p, q: min(p, q),
        "LowestIsLesser",
        "the lowest rank is not min(p, q): what one brings, the other can cancel",
    ),
    (
        lambda m, n, p, q: max(p, q),
        "LowestIsGreater",
        "the lowest rank is not max(p, q): what one brings, the other can cancel",
    ),
    (
        lambda m, n, p, q: p - q,
        "SignLost",
        "p − q is negative where q is the larger; a rank never is: take the absolute value",
    ),
    (
        lambda m, n, p, q: max(0, p - q),
        "OneSideOnly",
        "the lowest rank is |p − q|: where q is the larger, P cancels a part of Q",
    ),
    (lambda m, n, p, q: 1, "LowestIsOne", "the lowest rank of the sum is |p − q|; 1 fits the example only"),
)
_PRODUCT: Parts = (
    (lambda m, n, p, q: min(p, q), "", ""),
    (
        lambda m, n, p, q: p * q,
        "RanksMultiplied",
        "the rank of a product is not the product of the ranks: neither is exceeded",
    ),
    (
        lambda m, n, p, q: max(p, q),
        "GreaterForLesser",
        "a product has no more rank than the lesser of its factors, not the greater",
    ),
    (
        lambda m, n, p, q: min(m, n),
        "ShapeForRank",
        "the product has the rank that its shape allows; the ranks of P and Q allow less",
    ),
    (
        lambda m, n, p, q: m,
        "ShapeForRank",
        "the product has the rank that its shape (m, m) allows; the ranks of P and Q allow less",
    ),
    (
        lambda m, n, p, q: min(p + q, m, n),
        "SumForProduct",
        "in a product ranks do not add up: it has no more than the lesser of its factors",
    ),
)

LIMITS = Exercise(
    id="01.3",
    title="Limits",
    stars=2,
    signature="limits(m, n, p, q)",
    returns=("the highest rank of P + Q", "the lowest rank of P + Q", "the highest rank of P Qᵀ"),
    given=_sizes_and_ranks,
    expected=lambda m, n, p, q: (min(p + q, m, n), abs(p - q), min(p, q)),
    suspects=(
        Suspect(
            "OutputsSwapped",
            "three right numbers in another order: highest of the sum, lowest of the sum, highest of the product",
            lambda m, n, p, q: (abs(p - q), min(p + q, m, n), min(p, q)),
        ),
        Suspect(
            "OutputsSwapped",
            "three right numbers in another order: highest of the sum, lowest of the sum, highest of the product",
            lambda m, n, p, q: (min(p, q), abs(p - q), min(p + q, m, n)),
        ),
        Suspect(
            "OutputsSwapped",
            "three right numbers in another order: highest of the sum, lowest of the sum, highest of the product",
            lambda m, n, p, q: (min(p + q, m, n), min(p, q), abs(p - q)),
        ),
        *combined(_HIGHEST, _LOWEST, _PRODUCT),
        Suspect(
            "ExampleOnly",
            "it always returns the numbers of the example; they must follow from m, n, p and q",
            lambda m, n, p, q: (3, 1, 1),
        ),
    ),
    hints=(
        "Highest means: choose P and Q as you like, with these ranks, so that the result has as much rank as "
        "possible. Lowest: as little as possible. Each of the three numbers is one short expression.",
        "First: all of p + q rows may be needed, but no matrix has more rank than its shape allows. Second: let Q "
        "cancel as much of P as it can, or P of Q, whichever is smaller. Third: mixtures of P's columns, and of Q's.",
    ),
    equations=("rank-bound", "rank-product"),
)

# ---- 01.4: the rank of floats ------------------------------------------------------------------------------


EPS = float(np.finfo(np.float64).eps)


def _float_matrices(rng: np.random.Generator) -> Iterator[Given]:
    yield {"M": np.diag([1.0, 1e-20])}
    yield {"M": rng.uniform(1, 2, size=(1, 1)) * 1e-20}  # small, but not zero
    yield {"M": np.outer(rng.normal(size=5), rng.normal(size=3))}
    yield {"M": (rng.normal(size=(6, 2)) @ rng.normal(size=(2, 7)) * 2.0**30)}  # rounding above 1e-10
    tight = np.zeros((8, 4))
    tight[[0, 3, 5], [1, 0, 3]] = 1.0, 6 * EPS, 2 * EPS  # τ is 8 ε; 4 ε or ε in its place count more
    yield {"M": tight * 2.0 ** rng.integers(-3, 4)}
    yield {"M": np.outer(rng.normal(size=4), rng.normal(size=6)).astype(np.float32)}
    small = np.diag([1.0, 1e-12, 1e-14])  # smaller than any fixed threshold, and yet there
    yield {"M": small * rng.uniform(1, 2)}
    yield {"M": np.zeros((3, 2))}


def _eps(M: Array) -> float:
    return float(np.finfo(M.dtype).eps)


def _top(M: Array) -> float:
    return float(np.linalg.svd(M, compute_uv=False)[0])


def _share_above(share: float) -> Suspect:
    return Suspect(
        "FixedShare",
        f"it counts what is above {share:g} σ₁, or a share like it: τ is max(m, n) ε σ₁, and depends on the type",
        lambda M: _counted(M, share),
    )


def _above(threshold: float) -> Suspect:
    return Suspect(
        "FixedThreshold",
        f"it counts what is above {threshold:g}, or a number like it, whatever the size of M: τ must grow with σ₁",
        lambda M: int((np.linalg.svd(M, compute_uv=False) > threshold).sum()),
    )


FLOAT_RANK = Exercise(
    id="01.4",
    title="Rank of floats",
    stars=2,
    signature="float_rank(M)",
    returns=("the rank",),
    given=_float_matrices,
    expected=lambda M: matrix_rank(M),
    suspects=(
        Suspect(
            "NoThreshold",
            "it counts every singular value that is not exactly zero; rounding makes some of them: use τ",
            lambda M: int((np.linalg.svd(M, compute_uv=False) > 0).sum()),
        ),
        *(_above(threshold) for threshold in (1e-6, 1e-8, 1e-9, 1e-10, 1e-12, 1e-14, 1e-15, 1e-16)),
        Suspect(
            "EqualCounted",
            "what equals τ does not count: the zero matrix has σ = 0 and τ = 0, and no rank",
            lambda M: int((np.linalg.svd(M, compute_uv=False) >= max(M.shape) * _eps(M) * _top(M)).sum()),
        ),
        *(_share_above(share) for share in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)),
        Suspect(
            "LargestMissing",
            "τ lacks the factor σ₁: then the rank changes with the unit in which you measure",
            lambda M: int((np.linalg.svd(M, compute_uv=False) > max(M.shape) * np.finfo(M.dtype).eps).sum()),
        ),
        Suspect(
            "AlwaysDouble",
            "a float32 matrix is held to the ε of float64: take np.finfo(M.dtype).eps",
            lambda M: _counted(M, max(M.shape) * np.finfo(np.float64).eps),
        ),
        Suspect(
            "SmallerSide",
            "τ has min(m, n) where max(m, n) belongs",
            lambda M: _counted(M, min(M.shape) * float(np.finfo(M.dtype).eps)),
        ),
        Suspect(
            "SizeMissing",
            "τ lacks the factor max(m, n)",
            lambda M: _counted(M, float(np.finfo(M.dtype).eps)),
        ),
        Suspect(
            "FullRank",
            "it is the number of all singular values, min(m, n): count those above τ only",
            lambda M: min(M.shape),
        ),
    ),
    hints=(
        "Find the singular values, work out τ, and count how many singular values are larger.",
        "τ is a product of three: max(M.shape), np.finfo(M.dtype).eps, and the largest singular value, which is "
        "sigma[0]. int((sigma > tau).sum()) counts.",
    ),
    equations=("rank-numerical",),
    forbidden=("numpy.linalg.matrix_rank",),
)


def _counted(M: Array, share: float) -> int:
    """Count the singular values above a share of the largest."""
    sigma = np.linalg.svd(M, compute_uv=False)
    return int((sigma > share * sigma[0]).sum())


QUIZ = Quiz(
    id="01.quiz",
    answers=("9cc477e2f31f", "b637bd5de49c", "0f2726ac90c1", "f645f3043b60"),
    again=(
        "section 4, rank is not about zeros",
        "section 5, which rank a sum can have",
        "section 2, rank counts rows, and the sly matrix",
        "section 6, the threshold τ",
    ),
)

EXERCISES = (TABLE, COUNT_RANK, LIMITS, FLOAT_RANK, QUIZ)
