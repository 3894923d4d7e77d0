"""Lesson 02, two strips: what they cost, elimination, the nearest matrix, the rank that is enough.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lora_np._typing import Array, Float, Int
from lora_np.rank import energy_kept, factored_size, matrix_rank, rank_factorization, svd, truncate
from lora_np.teach.exercise import Exercise, Given, Quiz, Reverse, Suspect
from lora_np.teach.exercises._parts import Parts, combined

# ---- 02.1: do strips save? ---------------------------------------------------------------------------------


def _shapes(rng: np.random.Generator) -> Iterator[Given]:
    yield {"m": 4, "n": 4, "r": 3}  # break-even at a whole rank
    yield {"m": 1, "n": int(rng.integers(2, 9)), "r": 1}  # strips never save
    for m, n in ((6, 12), (5, 9), (64, 96), (768, 3072)):
        yield {"m": m, "n": n, "r": int(rng.integers(2, m))}


_SIZE: Parts = (
    (lambda m, n, r: r * (m + n), "", ""),
    (lambda m, n, r: r * m, "OneStripOnly", "r m is one strip, B; C has r n numbers more"),
    (lambda m, n, r: r * n, "OneStripOnly", "r n is one strip, C; B has m r numbers more"),
    (lambda m, n, r: m + n, "RankForgotten", "the strips are r wide: m + n is their size at rank 1"),
    (lambda m, n, r: m * r * r * n, "SizesMultiplied", "the strips stand side by side: m r and r n add up"),
    (lambda m, n, r: r * m * n, "SizesMultiplied", "r m n is not the size of two strips: m r and r n add up"),
    (lambda m, n, r: m * n, "WholeMatrix", "m n is the size of the matrix, not of its strips"),
)
_SAVES: Parts = (
    (lambda m, n, r: (m * n - 1) // (m + n), "", ""),
    (
        lambda m, n, r: m * n // (m + n),
        "EqualCounted",
        "at break-even itself nothing is saved: fewer numbers are asked",
    ),
    (
        lambda m, n, r: m * n // (m + n) - 1,
        "AlwaysOneLess",
        "one less than break-even is right only if that is whole",
    ),
    (
        lambda m, n, r: m * n // (m + n) + 1,
        "OneTooMany",
        "it is past break-even: there strips are larger than the matrix",
    ),
    (lambda m, n, r: -(-m * n // (m + n)), "RoundedUp", "m n / (m + n) rounded up is past break-even"),
    (
        lambda m, n, r: round(m * n / (m + n)),
        "RoundedUp",
        "rounding m n / (m + n) may go up, past break-even",
    ),
    (lambda m, n, r: m * n / (m + n), "NotWhole", "a rank is a whole number, the highest below break-even"),
    (
        lambda m, n, r: min(m, n),
        "SmallerSide",
        "strips stop saving before the smaller side, at m n / (m + n)",
    ),
    (
        lambda m, n, r: min(m, n) - 1,
        "SmallerSide",
        "strips stop saving before the smaller side, at m n / (m + n)",
    ),
    (
        lambda m, n, r: min(m, n) // 2,
        "HalfTheSide",
        "half of the smaller side is break-even for squares only",
    ),
    (
        lambda m, n, r: (min(m, n) - 1) // 2,
        "HalfTheSide",
        "half of the smaller side is break-even for squares only",
    ),
    (
        lambda m, n, r: m * n - r * (m + n),
        "SavedNumbers",
        "the second number is a rank, not how many numbers are saved",
    ),
    (
        lambda m, n, r: 1,
        "ExampleOnly",
        "the second number is that of the example; it must follow from m and n",
    ),
    (lambda m, n, r: r - 1, "DependsOnRank", "the second number depends on the shape alone, not on r"),
)

STRIPS = Exercise(
    id="02.1",
    title="Do strips save?",
    stars=1,
    signature="strips(m, n, r)",
    returns=("the size of the strips", "the highest rank that saves"),
    given=_shapes,
    expected=lambda m, n, r: (factored_size(m, n, r), (m * n - 1) // (m + n)),
    suspects=tuple(combined(_SIZE, _SAVES)),
    hints=(
        "First count the numbers in B and in C. Then: r (m + n) must be less than m n; which is the highest whole r?",
        "Divide m n by m + n. If that comes out whole, this rank saves nothing, and the answer is one below it. "
        "(m * n - 1) // something does both cases at once; a loop over r does, too.",
    ),
    equations=("rank-factored-size", "rank-break-even"),
)

# ---- 02.2: two strips by elimination -----------------------------------------------------------------------


def _whole_matrices(rng: np.random.Generator) -> Iterator[Given]:
    yield {"M": int(rng.integers(1, 5)) * np.array([[2, 4], [3, 6]])}
    yield {"M": np.array([[0, 2, 4], [3, 0, 6]]) * int(rng.integers(1, 5))}  # rows must be swapped
    for m, n, r in ((4, 3, 2), (3, 6, 2), (6, 5, 3)):
        yield {"M": _of_rank(rng, m, n, r)}
    blank = _of_rank(rng, 4, 7, 3)
    blank[:, 0] = 0  # the first pivot is not in the first column
    yield {"M": blank}


def _of_rank(rng: np.random.Generator, m: int, n: int, r: int) -> Int[Array, "m n"]:
    """Mix r rows of small whole numbers; draw again until the rank is r and a pivot is not where it is easy."""
    while True:
        M: Array = rng.integers(-2, 4, size=(m, r)) @ rng.integers(-2, 4, size=(r, n))
        if matrix_rank(M) == r and (M[:, 1:] != 0).any(axis=0).all():
            return M


def _exactly(M: Array) -> tuple[Array, Array]:
    B, C = rank_factorization(M, "rref")
    return B.astype(float), C.astype(float)


def _eliminated(
    M: Array, *, upwards: bool = True, divide: bool = True
) -> tuple[Array, Array, list[int], list[int]]:
    """Eliminate in floats; return M, its rows in the end, the pivot columns, and the rows of M they came from."""
    rows, came = np.array(M, dtype=float), list(range(len(M)))
    pivots: list[int] = []
    for j in range(M.shape[1]):
        used = len(pivots)
        below = np.flatnonzero(np.abs(rows[used:, j]) > 1e-9) if used < len(rows) else np.zeros(0, int)
        if not below.size:
            continue
        found = used + int(below[0])
        rows[[used, found]] = rows[[found, used]]
        came[used], came[found] = came[found], came[used]
        if divide:
            rows[used] = rows[used] / rows[used, j]
        for i in range(len(rows)):
            if i > used or (upwards and i < used):
                rows[i] = rows[i] - rows[i, j] / rows[used, j] * rows[used]
        pivots.append(j)
    return np.asarray(M, dtype=float), rows, pivots, came[: len(pivots)]


def _downwards_only(M: Array) -> tuple[Array, Array]:
    whole, rows, pivots, _ = _eliminated(M, upwards=False)
    return whole[:, pivots], rows[: len(pivots)]


def _not_divided(M: Array) -> tuple[Array, Array]:
    whole, rows, pivots, _ = _eliminated(M, divide=False)
    return whole[:, pivots], rows[: len(pivots)]


def _reduced_columns(M: Array) -> tuple[Array, Array]:
    _, rows, pivots, _ = _eliminated(M)
    return rows[:, pivots], rows[: len(pivots)]


def _swapped(M: Array) -> tuple[Array, Array]:
    whole, rows, pivots, _ = _eliminated(M)
    return rows[: len(pivots)], whole[:, pivots]


def _zero_rows_kept(M: Array) -> tuple[Array, Array]:
    whole, rows, pivots, _ = _eliminated(M)
    return whole[:, pivots], rows


def _first_columns(M: Array) -> tuple[Array, Array]:
    whole, rows, pivots, _ = _eliminated(M)
    return whole[:, : len(pivots)], rows[: len(pivots)]


def _rows_of_matrix(M: Array) -> tuple[Array, Array]:
    whole, _, pivots, came = _eliminated(M)
    return whole[:, pivots], whole[came]


def _as_floats(answer: Any, _given: Given) -> Mapping[str, Any]:
    """Read two factors: fractions become floats."""
    B, C = answer
    return {"B": np.array(B, dtype=float), "C": np.array(C, dtype=float)}


def _room(given: Given) -> Mapping[str, Any]:
    """Leave room for floats that divide by pivots: numbers up to 1000 times as large on the way."""
    B, C = _exactly(given["M"])
    return {"B": 1000 * np.abs(B).max(), "C": 1000 * np.abs(C).max()}


ELIMINATE = Exercise(
    id="02.2",
    title="Two strips by elimination",
    stars=3,
    signature="eliminate(M)",
    returns=("B", "C"),
    given=_whole_matrices,
    expected=_exactly,
    seen=_as_floats,
    size=_room,
    suspects=(
        Suspect(
            "OutputsSwapped",
            "B and C are exchanged: return B, C in this order",
            _swapped,
        ),
        Suspect(
            "DownwardsOnly",
            "C has numbers above its pivots: clear the column above each pivot, too, as in the lesson's last step",
            _downwards_only,
        ),
        Suspect(
            "NotDivided",
            "C's rows are not divided by their pivots: the pivot columns of C must be those of the identity",
            _not_divided,
        ),
        Suspect(
            "ReducedColumns",
            "B is taken from the rows after elimination; its columns must be columns of M itself",
            _reduced_columns,
        ),
        Suspect(
            "ZeroRowsKept",
            "C still holds the rows that became zero: keep the first r rows only",
            _zero_rows_kept,
        ),
        Suspect(
            "FirstColumns",
            "B is made of the first r columns of M; take the columns in which the pivots were found",
            _first_columns,
        ),
        Suspect(
            "RowsOfMatrix",
            "C holds rows of M itself; it must hold what elimination left of them",
            _rows_of_matrix,
        ),
        Suspect(
            "WholeAndIdentity",
            "B is all of M and C the identity: a product, but no strips; keep r columns only",
            lambda M: (M, np.eye(M.shape[1])),
        ),
    ),
    hints=(
        "Eliminate as in exercise 01.2, but clear the pivot's column above as well as below, and divide each row "
        "by its pivot. Write down in which columns the pivots stood. C is what is left, B is those columns of M.",
        "After each pivot its column must look like a column of the identity. With `pivots` the list of columns, "
        "return M[:, pivots] and np.array(rows[:len(pivots)], dtype=float). Is B @ C equal to M?",
    ),
    equations=("rank-rref", "rank-factorization"),
    forbidden=("numpy.linalg.svd", "numpy.linalg.qr", "numpy.linalg.lstsq", "numpy.linalg.pinv"),
)

# ---- 02.3: the nearest matrix of rank r --------------------------------------------------------------------


def _spread_matrices(rng: np.random.Generator) -> Iterator[Given]:
    """Draw matrices whose singular values fall in equal steps, so that the nearest one is well defined."""
    for m, n, r in ((2, 2, 1), (4, 3, 2), (3, 6, 1), (7, 5, 3), (5, 8, 4), (4, 6, 4)):
        q = min(m, n)
        U, V = (np.linalg.qr(rng.normal(size=(side, q)))[0] for side in (m, n))
        yield {"M": (U * (rng.uniform(1, 2) * np.arange(q, 0, -1))) @ V.T, "r": r}


def _parts(M: Array) -> tuple[Array, Array, Array]:
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    return U, sigma, Vt


def _only(M: Array, r: int, kept: slice) -> Array:
    """Add up some of the tables of rank 1."""
    U, sigma, Vt = _parts(M)
    place = slice(*kept.indices(len(sigma)))
    made: Array = (U[:, place] * sigma[place]) @ Vt[place]
    return made


def _largest_entries(M: Array, r: int) -> Array:
    """Keep as many entries as two strips would hold numbers."""
    count = min(M.size, r * sum(M.shape))
    least = np.sort(np.abs(M).ravel())[-count]
    return np.where(np.abs(M) >= least, M, 0.0)


def _v_for_its_transpose(M: Array, r: int) -> Array:
    U, sigma, Vt = np.linalg.svd(M)
    made: Array = (U[:, :r] * sigma[:r]) @ Vt[:, :r].T
    return made


NEAREST = Exercise(
    id="02.3",
    title="The nearest matrix of rank r",
    stars=2,
    signature="nearest(M, r)",
    returns=("the cut matrix",),
    given=_spread_matrices,
    expected=lambda M, r: truncate(M, r).matrix(),
    size=lambda given: np.full(given["M"].shape, 4 * np.linalg.norm(given["M"])),
    suspects=(
        Suspect(
            "OtherEnd",
            "the r weakest directions are kept; keep the first r, the strongest",
            lambda M, r: _only(M, r, slice(min(M.shape) - r, None)),
        ),
        Suspect(
            "DropsForKeeps",
            "r directions are dropped; r are to be kept",
            lambda M, r: _only(M, r, slice(r, None)),
        ),
        Suspect(
            "OffByOne",
            "it keeps r + 1 directions",
            lambda M, r: _only(M, r, slice(0, r + 1)),
        ),
        Suspect(
            "OffByOne",
            "it keeps r − 1 directions",
            lambda M, r: _only(M, r, slice(0, r - 1)),
        ),
        Suspect(
            "OneTableOnly",
            "it is the table of number r alone; add up the first r of them",
            lambda M, r: _only(M, r, slice(r - 1, r)),
        ),
        Suspect(
            "StrengthsMissing",
            "the singular values are left out: U and V only say which way",
            lambda M, r: _parts(M)[0][:, :r] @ _parts(M)[2][:r],
        ),
        Suspect(
            "StrengthsSquared",
            "the singular values are in it twice",
            lambda M, r: (_parts(M)[0][:, :r] * _parts(M)[1][:r] ** 2) @ _parts(M)[2][:r],
        ),
        Suspect(
            "VNotTransposed",
            "V comes back from NumPy already transposed: its first r rows are wanted, Vt[:r]",
            _v_for_its_transpose,
        ),
        Suspect(
            "QRForSVD",
            "it cuts QR factors: the first columns are not the strongest directions",
            lambda M, r: np.linalg.qr(M)[0][:, :r] @ np.linalg.qr(M)[1][:r],
        ),
        Suspect(
            "NothingCut",
            "it is M itself: nothing was cut",
            lambda M, r: M,
        ),
        Suspect(
            "EntriesCut",
            "it drops small entries; low rank is about directions and not about zeros",
            _largest_entries,
        ),
        Suspect(
            "RowsCut",
            "it keeps the first r rows and makes the others zero: that has rank r, but it is not the nearest",
            lambda M, r: np.where(np.arange(len(M))[:, None] < r, M, 0.0),
        ),
    ),
    hints=(
        "Take the SVD, keep the r strongest of its tables of rank 1, and add them up.",
        "U[:, :r] has shape (m, r), Vt[:r] has shape (r, n). The r singular values belong between them: "
        "U[:, :r] * sigma[:r] multiplies each column of U by its own.",
    ),
    equations=("rank-truncation", "rank-eckart-young"),
)

# ---- 02.4: the rank that is enough -------------------------------------------------------------------------


def _spectra(rng: np.random.Generator) -> Iterator[Given]:
    """Draw spectra and shares; whole numbers and powers of two, so that a share can be met exactly."""
    unit = 2.0 ** int(rng.integers(-3, 4))
    yield {"sigma": unit * np.array([3.0, 1.0]), "share": 0.875}
    yield {"sigma": unit * np.array([3.0, 1.0]), "share": 0.9375}
    yield {"sigma": unit * np.array([2.0, 2.0, 2.0, 2.0]), "share": 0.5}  # met exactly by rank 2
    yield {"sigma": unit * np.array([1.0, 1.0]), "share": 0.0}
    yield {"sigma": unit * np.array([4.0, 0.0, 0.0]), "share": 1.0}
    for q, share in ((6, 0.75), (8, 0.5), (7, 0.99)):
        yield {"sigma": np.sort(rng.uniform(0.1, 1, size=q))[::-1] ** 2, "share": share}
    yield {"sigma": np.full(8, unit), "share": 1.0}


def _counted(heads: Array, share: float) -> int:
    """Count the ranks, 0 among them, that keep too little."""
    return sum(bool(kept < share) for kept in heads[:-1])


def _heads(energy: Array) -> Array:
    total = np.concatenate([[0.0], np.cumsum(energy)])
    return np.asarray(total / total[-1])


_HEADS: tuple[tuple[Callable[[Array], Array], str, str], ...] = (
    (lambda sigma: _heads(sigma**2), "", ""),
    (
        lambda sigma: _heads(sigma),
        "SquaresMissing",
        "the σ are added as they are; energy is made of their squares",
    ),
    (lambda sigma: np.sqrt(_heads(sigma**2)), "RootTaken", "energy is the square of the norm: take no root"),
)
_COUNTS: tuple[tuple[Callable[[Array, float], int], str, str], ...] = (
    (lambda heads, share: _counted(heads, share), "", ""),
    (
        lambda heads, share: max(_counted(heads, share), 1),
        "RankZeroForgotten",
        "it starts at rank 1; a share of 0 is kept by rank 0",
    ),
    (
        lambda heads, share: int((heads[:-1] <= share).sum()),
        "MoreForAtLeast",
        "it looks for more than the share; exactly the share is enough",
    ),
    (
        lambda heads, share: max(_counted(heads, share) - 1, 0),
        "OneTooFew",
        "it is one less than the rank: a place in the list is counted from 0, a rank from 1",
    ),
    (
        lambda heads, share: _counted(heads, share) - 1,
        "OneTooFew",
        "it is one less than the rank: a place in the list is counted from 0, a rank from 1",
    ),
    (
        lambda heads, share: _counted(heads, share) + 1,
        "OneTooMany",
        "it is one more than the rank that is enough",
    ),
)


def _suspects_of_enough() -> Iterator[Suspect]:
    """Combine each way to add up with each way to count, single mistakes first."""
    pairs = [(head, count) for head in _HEADS for count in _COUNTS]
    for (heads, one, why), (count, two, reason) in sorted(pairs, key=lambda p: bool(p[0][1]) + bool(p[1][1]))[
        1:
    ]:
        words = "; and ".join(text for text in (why, reason) if text)
        yield Suspect(
            one or two, words, lambda sigma, share, heads=heads, count=count: count(heads(sigma), share)
        )


_ENOUGH = tuple(_suspects_of_enough())

ENOUGH = Exercise(
    id="02.4",
    title="The rank that is enough",
    stars=2,
    signature="enough(sigma, share)",
    returns=("the rank",),
    given=_spectra,
    expected=lambda sigma, share: _counted(energy_kept(sigma), share),
    suspects=(
        *_ENOUGH,
        Suspect(
            "ShareOfLargest",
            "it counts the singular values above a share of the largest; the share is of all the energy",
            lambda sigma, share: int((sigma >= share * sigma[0]).sum()),
        ),
        Suspect(
            "ShareOfCount",
            "it takes a share of how many there are, not of their energy",
            lambda sigma, share: int(np.ceil(share * len(sigma))),
        ),
    ),
    hints=(
        "Square the singular values. Add them up from the first on until you have the share of the whole sum. How "
        "many did it take?",
        "Start with r = 0 and what it keeps, (sigma[:r] ** 2).sum(), and go up while that is less than share times "
        "the sum of all squares. Compare with <, so that exactly the share is enough.",
    ),
    equations=("rank-energy",),
)

# ---- 02.5: write the test ----------------------------------------------------------------------------------

Factors = tuple[Float[Array, "m r"], Float[Array, "r n"]]


def _by(method: str, M: Array) -> Factors:
    B, C = rank_factorization(np.array(M, dtype=float), method)
    return B, C


def _by_elimination(M: Array) -> Factors:
    return _by("rref", M)


def _by_qr(M: Array) -> Factors:
    return _by("qr", M)


def _by_svd(M: Array) -> Factors:
    return _by("svd", M)


def _no_strips(M: Array) -> Factors:
    return np.array(M, dtype=float), np.eye(M.shape[1])


def _of_transpose(M: Array) -> Factors:
    return _by_svd(np.asarray(M, dtype=float).T)


def _one_direction(M: Array) -> Factors:
    U, sigma, Vt = svd(np.array(M, dtype=float))
    return U[:, :1] * sigma[:1], Vt[:1]


def _weakest_lost(M: Array) -> Factors:
    """Lose the last direction, which is small where the rank is full."""
    B, C = _by_svd(M)
    return (B[:, :-1], C[:-1]) if B.shape[1] > 2 else (B, C)


def _strengths_twice(M: Array) -> Factors:
    U, sigma, Vt = truncate(np.array(M, dtype=float), matrix_rank(np.array(M, dtype=float)))
    return U * sigma, sigma[:, None] * Vt


def _wide_unsupported(M: Array) -> Factors:
    """Forget the columns beyond the number of rows."""
    m, n = np.shape(M)
    B, C = _by_elimination(M)
    return (B, np.where(np.arange(n) < m, C, 0.0)) if n > m else (B, C)


def _always_smaller_side(M: Array) -> Factors:
    """Return min(m, n) columns, zero ones among them where the rank is less."""
    U, sigma, Vt = svd(np.array(M, dtype=float))
    return U * np.sqrt(sigma), np.sqrt(sigma)[:, None] * Vt


WRITE_TEST = Reverse(
    id="02.5",
    title="Write the test",
    stars=3,
    signature="test_factors(factor)",
    right=(_by_svd, _by_elimination, _by_qr),
    mutants=(
        Suspect(
            "NoStrips",
            "it returns M itself and the identity: the product is right, no strip is thin",
            _no_strips,
        ),
        Suspect("Transposed", "it factors Mᵀ: a symmetric matrix does not show it", _of_transpose),
        Suspect(
            "OneDirection", "it keeps one direction only: a matrix of rank 1 does not show it", _one_direction
        ),
        Suspect("WeakestLost", "it loses the last direction where the rank is above 2", _weakest_lost),
        Suspect("StrengthsTwice", "each direction is multiplied by its strength twice", _strengths_twice),
        Suspect("WideWrong", "it is wrong for matrices with more columns than rows", _wide_unsupported),
        Suspect(
            "NotRankWide",
            "its strips are min(m, n) wide, with zeros in them: a matrix of full rank does not show it",
            _always_smaller_side,
        ),
    ),
    hints=(
        "Make matrices whose rank you know, as products of two random strips. Hand each to `factor`, and look at "
        "what comes back: three things must hold.",
        "The shape of B, the shape of C, and np.allclose(B @ C, M). Try several shapes: more rows than columns, more "
        "columns than rows; and several ranks: 1, 3 or more, less than full.",
    ),
    equations=("rank-factorization",),
)

QUIZ = Quiz(
    id="02.quiz",
    answers=("8350d52065dc", "6cdfad6ae89a", "ed87e28f1929", "284e4a4faa66", "0e6fa12950a0"),
    again=(
        "section 1, what two strips cost",
        "section 5, cutting, and what it costs",
        "section 6, how much is kept",
        "section 7, the strips are not unique",
        "section 8, can every matrix be cut?",
    ),
)

EXERCISES = (STRIPS, ELIMINATE, NEAREST, ENOUGH, WRITE_TEST, QUIZ)
