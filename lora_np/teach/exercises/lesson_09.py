"""Lesson 09: a budget, what two factors share, what chance gives, amplification.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lora_np import subspace
from lora_np._typing import Array
from lora_np.teach.exercise import Exercise, Given, Quiz, Suspect

DIGITS = 1000.0
"""How much more than one rounding a decomposition may be off: singular vectors move by u over their gap."""


# ---- 09.1: the rank that a budget buys ---------------------------------------------------------------------------


def given_budget(rng: np.random.Generator) -> Iterator[Given]:
    """Draw weights of different shapes, and budgets for a few ranks and a rest; once, too little for rank 1."""
    for count, ranks in ((1, 3), (2, 2), (4, 5), (3, 1), (6, 9), (3, 0)):
        shapes = [(int(d), int(k)) for d, k in rng.integers(5, 200, size=(count, 2))]
        cost = sum(d + k for d, k in shapes)
        yield {"shapes": shapes, "budget": ranks * cost + int(rng.integers(cost // 2 + 1, cost))}
    shapes = [(int(d), int(k)) for d, k in rng.integers(5, 200, size=(2, 2))]
    yield {"shapes": shapes, "budget": 4 * sum(d + k for d, k in shapes)}  # to the last number


def bought(shapes: list[tuple[int, int]], budget: int) -> int:
    """Count up until the next rank is too dear."""
    rank = 0
    while sum((rank + 1) * (d + k) for d, k in shapes) <= budget:
        rank += 1
    return rank


def _mean_cost(shapes: list[tuple[int, int]], budget: int) -> Any:
    return budget // (sum(d + k for d, k in shapes) // len(shapes))


def _dearest(shapes: list[tuple[int, int]], budget: int) -> Any:
    return min(budget // len(shapes) // (d + k) for d, k in shapes)


# ---- 09.2: how much is shared ------------------------------------------------------------------------------------

PAIRS = ((2, 2, 3, 1, 2), (3, 3, 5, 2, 1), (2, 4, 6, 2, 3), (5, 3, 7, 4, 2), (4, 4, 6, 3, 3))
"""Rows of both factors, dimensions, and how many directions of each."""


def given_factors(rng: np.random.Generator) -> Iterator[Given]:
    """Draw two factors that share a part."""
    for r1, r2, n, i, j in PAIRS:
        A1, A2 = rng.normal(size=(r1, n)), rng.normal(size=(r2, n))
        A2[0] = A1[-1] + 0.3 * A2[0]
        yield {"A1": A1, "A2": A2, "i": i, "j": j}


def shared(A1: Array, A2: Array, i: int, j: int) -> float:
    """Measure with the engine.  [subspace-phi]"""
    return subspace.similarity(A1, A2, i, j, side="right")


def _overlap(A1: Array, A2: Array, i: int, j: int) -> Array:
    """Make the cosines of the first directions, (i, j)."""
    return np.linalg.svd(A1)[2][:i] @ np.linalg.svd(A2)[2][:j].T


def _raw_rows(A1: Array, A2: Array, i: int, j: int) -> Any:
    return np.sum((A1[:i] @ A2[:j].T) ** 2) / min(i, j)


def _unit_rows(A1: Array, A2: Array, i: int, j: int) -> Any:
    unit = [A / np.linalg.norm(A, axis=1, keepdims=True) for A in (A1, A2)]
    return np.sum((unit[0][:i] @ unit[1][:j].T) ** 2) / min(i, j)


def _left(A1: Array, A2: Array, i: int, j: int) -> Any:
    return np.sum((np.linalg.svd(A1)[0][:, :i].T @ np.linalg.svd(A2)[0][:, :j]) ** 2) / min(i, j)


def _columns(A1: Array, A2: Array, i: int, j: int) -> Any:
    return np.sum((np.linalg.svd(A1)[2][:, :i].T @ np.linalg.svd(A2)[2][:, :j]) ** 2) / min(i, j)


def _thin_columns(A1: Array, A2: Array, i: int, j: int) -> Any:
    V1, V2 = (np.linalg.svd(A, full_matrices=False)[2][:, :n] for A, n in ((A1, i), (A2, j)))
    return np.sum((V1.T @ V2) ** 2) / min(i, j)


def _weighted(A1: Array, A2: Array, i: int, j: int) -> Any:
    (_, S1, V1), (_, S2, V2) = np.linalg.svd(A1), np.linalg.svd(A2)
    return np.sum(((S1[:i, None] * V1[:i]) @ (S2[:j, None] * V2[:j]).T) ** 2) / min(i, j)


def _any_basis(A1: Array, A2: Array, i: int, j: int) -> Any:
    Q1, Q2 = (np.linalg.qr(A.T)[0][:, :n] for A, n in ((A1, i), (A2, j)))
    return np.sum((Q1.T @ Q2) ** 2) / min(i, j)


def _one_direction(A1: Array, A2: Array, i: int, j: int) -> Any:
    return (np.linalg.svd(A1)[2][i - 1] @ np.linalg.svd(A2)[2][j - 1]) ** 2


def _exchanged(A1: Array, A2: Array, i: int, j: int) -> Any:
    return np.sum(_overlap(A1, A2, j, i) ** 2) / min(i, j)


def _of_overlap(measure: Callable[[Array, int, int], Any]) -> Any:
    return lambda A1, A2, i, j: measure(_overlap(A1, A2, i, j), i, j)


# ---- 09.3: beyond chance -----------------------------------------------------------------------------------------


def given_phi(rng: np.random.Generator) -> Iterator[Given]:
    """Draw tables of φ of different shapes."""
    for p, q, n in ((2, 2, 5), (3, 4, 7), (1, 3, 6), (5, 2, 8), (4, 6, 16)):
        yield {"phi": rng.random((p, q)), "n": n}


def excess(phi: Array, n: int) -> Array:
    """Subtract cell by cell.  [subspace-random]"""
    p, q = phi.shape
    chance = [[max(i, j) / n for j in range(1, q + 1)] for i in range(1, p + 1)]
    return phi - np.array(chance)


def _minus(chance: Callable[[Array, Array, int], Any]) -> Any:
    """Subtract another number than chance."""

    def wrong(phi: Array, n: int) -> Array:
        i, j = np.indices(phi.shape) + 1
        return phi - chance(i, j, n)

    return wrong


# ---- 09.4: amplification -----------------------------------------------------------------------------------------


def given_increment(rng: np.random.Generator) -> Iterator[Given]:
    """Draw weights and increments of low rank; at times more directions than are asked for."""
    for d, k, rank, r in ((2, 2, 2, 1), (4, 5, 2, 2), (5, 3, 2, 1), (4, 4, 3, 2), (6, 5, 4, 3)):
        delta = rng.uniform(0.5, 3) * rng.normal(size=(d, rank)) @ rng.normal(size=(rank, k))
        yield {"W": rng.normal(size=(d, k)), "delta": delta, "r": r}


def amplified(W: Array, delta: Array, r: int) -> float:
    """Measure with the engine.  [subspace-amplification]"""
    return subspace.amplification(W, delta, r).factor


def _directions(M: Array, r: int) -> tuple[Array, Array]:
    U, _, Vt = np.linalg.svd(M)
    return U[:, :r], Vt[:r].T


def _own_directions(W: Array, delta: Array, r: int) -> Any:
    U, V = _directions(W, r)
    return np.linalg.norm(delta) / np.linalg.norm(U.T @ W @ V)


def _upside_down(W: Array, delta: Array, r: int) -> Any:
    return 1 / amplified(W, delta, r)


def _whole_weight(W: Array, delta: Array, r: int) -> Any:
    return np.linalg.norm(delta) / np.linalg.norm(W)


def _top_of_delta(W: Array, delta: Array, r: int) -> Any:
    U, V = _directions(delta, r)
    return np.linalg.norm(U.T @ delta @ V) / np.linalg.norm(U.T @ W @ V)


def _all_directions(W: Array, delta: Array, r: int) -> Any:
    U, V = _directions(delta, min(delta.shape))
    return np.linalg.norm(delta) / np.linalg.norm(U.T @ W @ V)


def _spectral(W: Array, delta: Array, r: int) -> Any:
    U, V = _directions(delta, r)
    return np.linalg.norm(delta, 2) / np.linalg.norm(U.T @ W @ V, 2)


def _not_rooted(W: Array, delta: Array, r: int) -> Any:
    return amplified(W, delta, r) ** 2


def _columns_of_vt(W: Array, delta: Array, r: int) -> Any:
    U, _, Vt = np.linalg.svd(delta)
    return np.linalg.norm(delta) / np.linalg.norm(U[:, :r].T @ W @ Vt[:, :r])


def _rows_of_u(W: Array, delta: Array, r: int) -> Any:
    U, _, Vt = np.linalg.svd(delta)
    return np.linalg.norm(delta) / np.linalg.norm(U[:r] @ W @ Vt[:r].T)


def _outputs_only(W: Array, delta: Array, r: int) -> Any:
    U, _ = _directions(delta, r)
    return np.linalg.norm(delta) / np.linalg.norm(U.T @ W)


def _first_direction(W: Array, delta: Array, r: int) -> Any:
    return amplified(W, delta, 1)


def _nuclear(W: Array, delta: Array, r: int) -> Any:
    U, V = _directions(delta, r)
    return np.linalg.norm(delta, "nuc") / np.linalg.norm(U.T @ W @ V, "nuc")


def _one_singular_value(W: Array, delta: Array, r: int) -> Any:
    U, V = _directions(delta, r)
    return np.linalg.norm(delta, 2) / np.linalg.norm(U.T @ W @ V)


def _last_singular_value(W: Array, delta: Array, r: int) -> Any:
    U, V = _directions(delta, r)
    return np.linalg.svd(delta)[1][r - 1] / np.linalg.norm(U.T @ W @ V)


def _sum_of_sizes(W: Array, delta: Array, r: int) -> Any:
    U, V = _directions(delta, r)
    return np.abs(delta).sum() / np.abs(U.T @ W @ V).sum()


# ---- the lesson --------------------------------------------------------------------------------------------------

EXERCISES = (
    Exercise(
        id="09.1",
        title="The rank that a budget buys",
        stars=1,
        signature="rank_for_budget(shapes, budget)",
        returns=("rank",),
        given=given_budget,
        expected=bought,
        hints=(
            "Count what one rank costs on all weights together, then see how often that fits into the budget.",
            "One rank costs d + k on each weight. Add over all weights; whole-number division is budget // cost.",
        ),
        equations=("count-lora",),
        suspects=(
            Suspect(
                "NotWhole",
                "the rank must be a whole number: use // in place of /",
                lambda shapes, budget: budget / sum(d + k for d, k in shapes),
            ),
            Suspect(
                "RoundedUp",
                "this is one rank too many for the budget: round down, not up",
                lambda shapes, budget: -(-budget // sum(d + k for d, k in shapes)),
            ),
            Suspect(
                "RoundedUp",
                "rounding to the nearest can exceed the budget: round down",
                lambda shapes, budget: round(budget / sum(d + k for d, k in shapes)),
            ),
            Suspect(
                "ProductCounted",
                "one rank is counted as d k numbers; it has d + k",
                lambda shapes, budget: budget // sum(d * k for d, k in shapes),
            ),
            Suspect(
                "EachAlone",
                "the whole budget is spent on each weight; all weights share it",
                lambda shapes, budget: min(budget // (d + k) for d, k in shapes),
            ),
            Suspect(
                "EachAlone",
                "only the first weight is paid for; all weights share the budget",
                lambda shapes, budget: budget // sum(shapes[0]),
            ),
            Suspect(
                "EachAlone", "the budget is divided by the mean cost; divide by the cost of all", _mean_cost
            ),
            Suspect(
                "EqualShares",
                "each weight gets an equal share of the budget; a large one may take more than a small one",
                _dearest,
            ),
            Suspect(
                "AtLeastOne",
                "rank 1 does not fit into the budget once: return 0 then",
                lambda shapes, budget: max(1, bought(shapes, budget)),
            ),
            Suspect(
                "OneFactor",
                "only B is paid for, d numbers a rank; A has k more",
                lambda shapes, budget: budget // sum(d for d, _ in shapes),
            ),
            Suspect(
                "OneFactor",
                "only A is paid for, k numbers a rank; B has d more",
                lambda shapes, budget: budget // sum(k for _, k in shapes),
            ),
            Suspect(
                "BudgetNotUsedUp",
                "a rank that costs exactly the budget is still allowed: at most, not less than",
                lambda shapes, budget: (budget - 1) // sum(d + k for d, k in shapes),
            ),
        ),
    ),
    Exercise(
        id="09.2",
        title="How much is shared?",
        stars=2,
        signature="similarity(A1, A2, i, j)",
        returns=("phi",),
        given=given_factors,
        expected=shared,
        size=lambda given: DIGITS,
        hints=(
            "Decompose both factors, take the first directions of each, and add the squares of all their cosines.",
            "Vt[:i] of A1 times Vt[:j].T of A2 has shape (i, j). Square, sum, divide by min(i, j).",
        ),
        equations=("subspace-phi",),
        suspects=(
            Suspect(
                "NotDirections",
                "these are rows of A as they are; take its singular vectors, which are orthonormal",
                _raw_rows,
            ),
            Suspect(
                "NotDirections",
                "rows of unit length are not yet orthogonal; take the singular vectors",
                _unit_rows,
            ),
            Suspect(
                "LeftVectors",
                "these are left singular vectors; A reads its inputs along the right ones, in Vt",
                _left,
            ),
            Suspect(
                "ColumnsOfVt",
                "these are columns of Vt; the directions are its rows: Vt[:i], not Vt[:, :i]",
                _columns,
            ),
            Suspect(
                "ColumnsOfVt",
                "these are columns of Vt; the directions are its rows: Vt[:i], not Vt[:, :i]",
                _thin_columns,
            ),
            Suspect(
                "Weighted", "the directions are weighted by their singular values; leave them out", _weighted
            ),
            Suspect(
                "SquareMissing",
                "the cosines are not squared: add squares, not sizes",
                _of_overlap(lambda M, i, j: np.abs(M).sum() / min(i, j)),
            ),
            Suspect(
                "SquareMissing",
                "the cosines are not squared before they are added",
                _of_overlap(lambda M, i, j: M.sum() / min(i, j)),
            ),
            Suspect(
                "SumThenSquare",
                "the cosines are added and then squared: square each, then add",
                _of_overlap(lambda M, i, j: M.sum() ** 2 / min(i, j)),
            ),
            Suspect(
                "NotStrongest",
                "these span the first rows of A, which need not be its strongest directions: use the SVD",
                _any_basis,
            ),
            Suspect(
                "OneDirection",
                "only direction i meets direction j: take the first i and the first j",
                _one_direction,
            ),
            Suspect("CountsExchanged", "i belongs to A1 and j to A2; here they are exchanged", _exchanged),
            Suspect(
                "RootTaken",
                "a root is taken: φ is the squared norm, divided by min(i, j)",
                _of_overlap(lambda M, i, j: np.linalg.norm(M) / min(i, j)),
            ),
            Suspect(
                "NotDivided",
                "the sum is not divided by min(i, j)",
                _of_overlap(lambda M, i, j: np.sum(M**2)),
            ),
            Suspect(
                "DividedByLarger",
                "it is divided by the larger of i and j; the smaller one is the most that can be shared",
                _of_overlap(lambda M, i, j: np.sum(M**2) / max(i, j)),
            ),
            Suspect(
                "DividedByLarger",
                "it is divided by i j, as a mean; divide by min(i, j)",
                _of_overlap(lambda M, i, j: np.mean(M**2)),
            ),
            Suspect(
                "DividedByLarger",
                "it is divided by i; divide by min(i, j)",
                _of_overlap(lambda M, i, j: np.sum(M**2) / i),
            ),
            Suspect(
                "LargestOnly",
                "this is the largest cosine alone; all of them count",
                _of_overlap(lambda M, i, j: np.linalg.norm(M, 2) ** 2),
            ),
        ),
    ),
    Exercise(
        id="09.3",
        title="Beyond chance",
        stars=2,
        signature="beyond_chance(phi, n)",
        returns=("excess",),
        given=given_phi,
        expected=excess,
        size=lambda given: given["phi"] + np.max(given["phi"].shape) / given["n"],
        hints=(
            "Make a table of chances of the same shape as phi, and subtract it.",
            "The chance in row a and column b is max(a + 1, b + 1) / n: i and j count from 1, indices from 0.",
        ),
        equations=("subspace-random",),
        suspects=(
            Suspect(
                "CountedFromZero",
                "i and j are counted from 0; row 0 is i = 1, and column 0 is j = 1",
                _minus(lambda i, j, n: np.maximum(i - 1, j - 1) / n),
            ),
            Suspect(
                "SmallerTaken",
                "chance is the larger of i and j over n; here it is the smaller",
                _minus(lambda i, j, n: np.minimum(i, j) / n),
            ),
            Suspect(
                "NotDividedBySmaller",
                "i j / n is the sum of the squares; φ divides it by min(i, j), which leaves max(i, j) / n",
                _minus(lambda i, j, n: i * j / n),
            ),
            Suspect(
                "OneChanceForAll",
                "one chance is used for all cells; each has its own i and j",
                _minus(lambda i, j, n: np.max(np.maximum(i, j)) / n),
            ),
            Suspect(
                "OneChanceForAll",
                "1 / n is the chance of one direction with one; each cell has its own i and j",
                _minus(lambda i, j, n: 1 / n),
            ),
            Suspect(
                "RowsOnly",
                "only the row's i is used; the larger of i and j counts",
                _minus(lambda i, j, n: i / n),
            ),
            Suspect(
                "ColumnsOnly",
                "only the column's j is used; the larger of i and j counts",
                _minus(lambda i, j, n: j / n),
            ),
            Suspect(
                "Clipped",
                "what is below chance is cut off at 0; leave it negative",
                lambda phi, n: np.maximum(excess(phi, n), 0),
            ),
            Suspect(
                "DimensionMixedUp",
                "chance is divided by a side of the table; n is the number of dimensions",
                lambda phi, n: excess(phi, phi.shape[1]),
            ),
            Suspect(
                "DimensionMixedUp",
                "chance is divided by a side of the table; n is the number of dimensions",
                lambda phi, n: excess(phi, phi.shape[0]),
            ),
            Suspect(
                "WholeDivision",
                "// cuts chance off to whole numbers: use /",
                _minus(lambda i, j, n: np.maximum(i, j) // n),
            ),
            Suspect(
                "Divided",
                "φ is divided by its chance; subtract it",
                lambda phi, n: phi / (phi - excess(phi, n)),
            ),
            Suspect("SignWrong", "chance minus φ: it is the other way round", lambda phi, n: -excess(phi, n)),
            Suspect(
                "ChanceAlone", "this is the chance; subtract it from φ", lambda phi, n: phi - excess(phi, n)
            ),
        ),
    ),
    Exercise(
        id="09.4",
        title="Amplification",
        stars=3,
        signature="amplification(W, delta, r)",
        returns=("factor",),
        given=given_increment,
        expected=amplified,
        size=lambda given: DIGITS * abs(amplified(**given)),
        hints=(
            "Decompose delta, take its first r directions on both sides, and see how large W is between them.",
            "U[:, :r].T @ W @ Vt[:r].T has shape (r, r). np.linalg.norm(M) is the Frobenius norm.",
        ),
        equations=("subspace-amplification",),
        suspects=(
            Suspect("OwnDirections", "U and V are those of W; take the directions of delta", _own_directions),
            Suspect("UpsideDown", "it is upside down: the size of delta stands above", _upside_down),
            Suspect(
                "NotProjected",
                "this divides by the size of all of W; take Uᵀ W V, along delta alone",
                _whole_weight,
            ),
            Suspect(
                "DeltaCut",
                "the upper norm is of the top r directions of delta; take all of delta",
                _top_of_delta,
            ),
            Suspect("NotCut", "all directions of delta are used below; take the first r", _all_directions),
            Suspect(
                "SpectralNorm",
                "norm(..., 2) is the largest singular value; the Frobenius norm is norm(...) alone",
                _spectral,
            ),
            Suspect("NotRooted", "these are sums of squares; take the root of both", _not_rooted),
            Suspect("ColumnsOfVt", "these are columns of Vt; V is Vt.T, so take Vt[:r].T", _columns_of_vt),
            Suspect("RowsOfU", "these are rows of U; its directions are the columns: U[:, :r]", _rows_of_u),
            Suspect(
                "OneSide", "only the outputs are projected; multiply by V on the right as well", _outputs_only
            ),
            Suspect("FirstOnly", "one direction alone is used; take the first r", _first_direction),
            Suspect(
                "NuclearNorm", "singular values are added; add their squares and take the root", _nuclear
            ),
            Suspect(
                "LargestOnly",
                "above stands the largest singular value of delta; take all of delta",
                _one_singular_value,
            ),
            Suspect(
                "LargestOnly",
                "above stands one singular value of delta; take all of delta",
                _last_singular_value,
            ),
            Suspect(
                "SumOfSizes",
                "sizes are added; the Frobenius norm adds squares and takes the root",
                _sum_of_sizes,
            ),
        ),
    ),
    Quiz(
        id="09.quiz",
        title="Exit quiz",
        answers=("7e20252251d5", "fb5a7610dcee", "7a35c8ba04f8", "177b50440d77"),
        again=("section 1", "section 4", "section 4, the end", "section 5, the end"),
    ),
)
