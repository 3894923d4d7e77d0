"""Exercises of lesson 12, pruning by Taylor expansion.  Floor 6.

The suspects are what students write: a sum where the square belongs, the seed's sign, the other axis.
Long, because every exercise stands with its suspects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lora_np import prune
from lora_np._typing import Array, Float
from lora_np.prune.groups import columns, heads, rows
from lora_np.teach.exercise import Exercise, Quiz, Suspect

Given = dict[str, Any]

# ---- least squares: 12.1 and 12.3 ----------------------------------------------------------------------------


def _given_squares(rng: np.random.Generator) -> Iterator[Given]:
    """Draw a layer and its targets: (N, d, k), all different; d < k only where a row for a column would raise."""
    for N, d, k in ((1, 3, 2), (2, 4, 1), (5, 4, 3), (4, 1, 3), (3, 2, 6)):
        yield {"X": rng.normal(size=(N, k)), "W": rng.normal(size=(d, k)), "T": rng.normal(size=(N, d))}


def _half_square(X: Array, W: Array, T: Array) -> float:
    return float(0.5 * np.sum((X @ W.T - T) ** 2))


def _without(W: Array, j: int) -> Array:
    return W * (np.arange(W.shape[1]) != j)


def _columns(W: Array) -> range:
    return range(W.shape[1])


def _row_zeroed(W: Array, j: int) -> Array:
    V = W.copy()
    V[j] = 0
    return V


def _changes(X: Array, W: Array, T: Array) -> Float[Array, " k"]:
    """Loss before minus loss without each column."""
    return np.array([_half_square(X, W, T) - _half_square(X, _without(W, j), T) for j in range(W.shape[1])])


def _expected_removal(X: Array, W: Array, T: Array) -> Array:
    removal = prune.true_removal_loss(lambda V: _half_square(X, V, T), W, columns(W.shape[1]))
    return removal.difference


def _size_squares(given: Given) -> Array:
    """Size of a difference of two losses, in either way of computing it."""
    X, W, T = (np.abs(given[name]) for name in ("X", "W", "T"))
    R = X @ W.T + T
    return np.sum(R**2) + ((R.T @ X) * W).sum(axis=0)


def _rows_removed(X: Array, W: Array, T: Array) -> Array:
    keep = np.arange(W.shape[0])
    zeroed = [W * (keep != i)[:, None] for i in keep]
    return np.array([_half_square(X, W, T) - _half_square(X, V, T) for V in zeroed])


def _one_after_the_other(X: Array, W: Array, T: Array) -> Array:
    changes, V = [], W
    for j in range(W.shape[1]):
        V = _without(V, j)
        changes.append(_half_square(X, W, T) - _half_square(X, V, T))
    return np.array(changes)


def _all_others_removed(X: Array, W: Array, T: Array) -> Array:
    only = [W - _without(W, j) for j in range(W.shape[1])]
    return np.array([_half_square(X, W, T) - _half_square(X, V, T) for V in only])


REMOVAL = Exercise(
    id="12.1",
    title="Leave one out",
    stars=1,
    signature="removal(X, W, T)",
    returns=("f",),
    given=_given_squares,
    expected=_expected_removal,
    size=_size_squares,
    hints=(
        "For each column j: copy W, set column j of the copy to zero, and compute the loss again.",
        "f is loss before minus loss after, in this order; each column is removed from the whole W, alone.",
    ),
    equations=("prune-true",),
    suspects=(
        Suspect(
            "WholeNumbers",
            "cut to whole numbers: an array made with dtype=int, or by //, cannot hold them",
            lambda X, W, T: _changes(X, W, T).astype(int),
        ),
        Suspect(
            "LossNotSummed",
            "each output has a loss of its own here: the loss is one number, summed over rows and outputs",
            lambda X, W, T: np.array(
                [
                    0.5 * (((X @ W.T - T) ** 2).sum(0) - ((X @ _without(W, j).T - T) ** 2).sum(0))
                    for j in _columns(W)
                ]
            ),
        ),
        Suspect(
            "AxisWrong",
            "row j of W is set to zero; the inputs are its columns, W[:, j]",
            lambda X, W, T: np.array(
                [_half_square(X, W, T) - _half_square(X, _row_zeroed(W, j), T) for j in _columns(W)]
            ),
        ),
        Suspect(
            "SignWrong",
            "the sign: f is the loss before minus the loss after, not the other way round",
            lambda X, W, T: -_changes(X, W, T),
        ),
        Suspect(
            "Squared",
            "these are the squares of f, the importance; the exercise asks for f with its sign",
            lambda X, W, T: _changes(X, W, T) ** 2,
        ),
        Suspect(
            "HalfMissing",
            "it is twice of what it must be: the loss has a ½",
            lambda X, W, T: 2 * _changes(X, W, T),
        ),
        Suspect(
            "MeanForSum",
            "a mean where the loss is a sum over all rows and outputs",
            lambda X, W, T: _changes(X, W, T) / T.size,
        ),
        Suspect(
            "MeanForSum",
            "a mean over the rows where the loss is a sum over all rows and outputs",
            lambda X, W, T: _changes(X, W, T) / T.shape[0],
        ),
        Suspect(
            "MeanForSum",
            "twice a mean: the loss is half of a sum over all rows and outputs",
            lambda X, W, T: 2 * _changes(X, W, T) / T.size,
        ),
        Suspect(
            "AxisWrong", "these are rows of W removed; the inputs are its columns, W[:, j]", _rows_removed
        ),
        Suspect(
            "NotRestored",
            "columns that were removed earlier stay removed: start from the whole W for each j",
            _one_after_the_other,
        ),
        Suspect("OthersRemoved", "all columns but j are removed; only column j goes", _all_others_removed),
        Suspect(
            "DifferenceMissing",
            "these are the losses after removal; f is the loss before minus each of them",
            lambda X, W, T: _half_square(X, W, T) - _changes(X, W, T),
        ),
        Suspect("SignLost", "an absolute value: f keeps its sign", lambda X, W, T: np.abs(_changes(X, W, T))),
    ),
)


def _first(X: Array, W: Array, T: Array) -> Array:
    return (((X @ W.T - T).T @ X) * W).sum(axis=0)


def _bend(X: Array, W: Array) -> Array:
    return (X**2).sum(axis=0) * (W**2).sum(axis=0)


def _expected_both(X: Array, W: Array, T: Array) -> Array:
    G = prune.gradients.exact(X @ W.T - T, X)
    return prune.taylor_2(W, G, lambda V: (V @ X.T) @ X, columns(W.shape[1]))


BOTH = Exercise(
    id="12.3",
    title="Both terms",
    stars=2,
    signature="both_terms(X, W, T)",
    returns=("f",),
    given=_given_squares,
    expected=_expected_both,
    size=_size_squares,
    hints=(
        "Two things for each column: the sum of G ⊙ W, and the bend. Then first term minus half the bend.",
        "Sum over rows is axis=0. The bend of column j is (Σ_n X_nj²)(Σ_i W_ij²); G is (X Wᵀ − T)ᵀ X.",
    ),
    equations=("prune-taylor-2",),
    suspects=(
        Suspect(
            "BendOfAll",
            "one bend for all columns together: each column has its own, so leave j out of the sum",
            lambda X, W, T: _first(X, W, T) - _bend(X, W).sum() / 2,
        ),
        Suspect(
            "BendOfAll",
            "the bend is that of the whole output: the bend of column j has X_nj W_ij alone",
            lambda X, W, T: _first(X, W, T) - ((X @ W.T) ** 2).sum() / 2,
        ),
        Suspect(
            "SquaredTwice",
            "the bend is squared twice: X_nj W_ij is squared once, and then added up",
            lambda X, W, T: _first(X, W, T) - _bend(X, W) ** 2 / 2,
        ),
        Suspect(
            "SquareMissing",
            "the bend is not squared: it has (X_nj W_ij)²",
            lambda X, W, T: _first(X, W, T) - X.sum(axis=0) * W.sum(axis=0) / 2,
        ),
        Suspect("BendMissing", "this is the first term alone: the bend is left out", _first),
        Suspect(
            "HalfMissing",
            "the bend is taken off whole: only half of it belongs there",
            lambda X, W, T: _first(X, W, T) - _bend(X, W),
        ),
        Suspect(
            "SignWrong",
            "the bend is added: removal costs what the loss bends, so half of it is subtracted",
            lambda X, W, T: _first(X, W, T) + _bend(X, W) / 2,
        ),
        Suspect(
            "SignWrong",
            "the sign of the whole: f is loss before minus loss after, first term minus half the bend",
            lambda X, W, T: _bend(X, W) / 2 - _first(X, W, T),
        ),
        Suspect(
            "SignWrong",
            "the sign of the first term: the step is −W and the gradient of f is −G, so it is plus Σ G W",
            lambda X, W, T: -_first(X, W, T) - _bend(X, W) / 2,
        ),
        Suspect(
            "FirstMissing",
            "this is minus half the bend alone: the first term Σ G W is left out",
            lambda X, W, _T: -_bend(X, W) / 2,
        ),
        Suspect(
            "AxisWrong",
            "sums over each row of W; each column j is wanted, which is axis=0",
            lambda X, W, T: (((X @ W.T - T).T @ X) * W - (X**2).sum(axis=0) * W**2 / 2).sum(axis=1),
        ),
        Suspect(
            "TargetMissing",
            "the gradient is that of targets 0: it is (X Wᵀ − T)ᵀ X",
            lambda X, W, _T: _bend_free(X, W) - _bend(X, W) / 2,
        ),
        Suspect(
            "SquareOfSum",
            "the bend squares a sum: Σ_n (X_nj)² is a sum of squares, square first and then add",
            lambda X, W, T: _first(X, W, T) - X.sum(axis=0) ** 2 * (W**2).sum(axis=0) / 2,
        ),
        Suspect(
            "SquareOfSum",
            "the bend squares a sum over i: Σ_i W_ij² is a sum of squares, square first and then add",
            lambda X, W, T: _first(X, W, T) - (X**2).sum(axis=0) * W.sum(axis=0) ** 2 / 2,
        ),
        Suspect(
            "SquareOfSum",
            "the bend squares the sums over n and i: square first and then add",
            lambda X, W, T: _first(X, W, T) - X.sum(axis=0) ** 2 * W.sum(axis=0) ** 2 / 2,
        ),
        Suspect(
            "GradientDivided",
            "the gradient is divided by N: the loss is a sum over the rows, not a mean",
            lambda X, W, T: _first(X, W, T) / len(X) - _bend(X, W) / 2,
        ),
        Suspect(
            "WeightMissing",
            "the weight is missing in the bend: the step is −W, so the bend has W_ij²",
            lambda X, W, T: _first(X, W, T) - (X**2).sum(axis=0) / 2,
        ),
    ),
)


def _bend_free(X: Array, W: Array) -> Array:
    """First term with targets of zero."""
    return (((X @ W.T).T @ X) * W).sum(axis=0)


# ---- a weight and its gradient: 12.2 and 12.4 ----------------------------------------------------------------


def _given_weights(rng: np.random.Generator) -> Iterator[Given]:
    for d, k in ((1, 2), (2, 1), (3, 4), (5, 3), (2, 6)):
        yield {"W": rng.normal(size=(d, k)), "G": rng.normal(size=(d, k))}


FIRST = Exercise(
    id="12.2",
    title="The first term",
    stars=1,
    signature="first_term(W, G)",
    returns=("f",),
    given=_given_weights,
    expected=lambda W, G: prune.taylor_1(W, G, rows(W.shape[0])),
    hints=(
        "Multiply W and G element by element, and add up each row.",
        "Adding up along a row is axis=1 and leaves d numbers; the sign stays plus and nothing is squared.",
    ),
    equations=("prune-taylor-1", "prune-grad-sign"),
    suspects=(
        Suspect(
            "SumsApart",
            "W and G are added up before they are multiplied: multiply entry by entry first",
            lambda W, G: W.sum(axis=1) * G.sum(axis=1),
        ),
        Suspect(
            "ProductForHadamard",
            "a matrix product Wᵀ G for an elementwise one: W and G meet entry by entry, G * W",
            lambda W, G: (W.T @ G).sum(axis=1),
        ),
        Suspect(
            "ProductForHadamard",
            "a matrix product W Gᵀ for an elementwise one: W and G meet entry by entry, G * W",
            lambda W, G: W @ G.T,
        ),
        Suspect(
            "ProductForHadamard",
            "a matrix product, added up, for an elementwise one: W and G meet entry by entry, G * W",
            lambda W, G: (W @ G.T).sum(axis=1),
        ),
        Suspect(
            "SignWrong",
            "the sign: the step is −W and the gradient of f is −G, and minus times minus is plus",
            lambda W, G: -(G * W).sum(axis=1),
        ),
        Suspect(
            "AxisWrong",
            "these are sums over columns; each row has one sum, along axis=1",
            lambda W, G: (G * W).sum(axis=0),
        ),
        Suspect(
            "Squared",
            "the first term is squared; the exercise asks for it with its sign",
            lambda W, G: (G * W).sum(axis=1) ** 2,
        ),
        Suspect(
            "Squared",
            "these are sums of squares; the first term is a plain sum",
            lambda W, G: ((G * W) ** 2).sum(axis=1),
        ),
        Suspect(
            "SignLost",
            "absolute values are added: the first term is a plain sum, where plus and minus cancel",
            lambda W, G: np.abs(G * W).sum(axis=1),
        ),
        Suspect(
            "SignLost",
            "the absolute value of the sum: f keeps its sign",
            lambda W, G: np.abs((G * W).sum(axis=1)),
        ),
        Suspect("MeanForSum", "a mean along each row for a sum", lambda W, G: (G * W).mean(axis=1)),
        Suspect(
            "SumMissing",
            "G ⊙ W, weight by weight: add up each row",
            lambda W, G: G * W,
        ),
        Suspect(
            "AllSummed",
            "everything is added up to one number; each row has its own",
            lambda W, G: (G * W).sum(),
        ),
        Suspect(
            "ProductForHadamard",
            "a matrix product G Wᵀ for an elementwise one: W and G meet entry by entry, G * W",
            lambda W, G: G @ W.T,
        ),
        Suspect("GradientMissing", "the gradient is left out: multiply by G", lambda W, _G: W.sum(axis=1)),
        Suspect(
            "WeightMissing", "the weight is left out: the step has the size of W", lambda _W, G: G.sum(axis=1)
        ),
    ),
)


def _given_heads(rng: np.random.Generator) -> Iterator[Given]:
    for d, k, q in ((2, 1, 1), (2, 3, 2), (6, 4, 3), (6, 5, 2), (8, 3, 2), (4, 7, 4)):
        yield {"W": rng.normal(size=(d, k)), "G": rng.normal(size=(d, k)), "q": q}


def _blocks(P: Array, q: int) -> Array:
    """Give the rows of each head as one row."""
    return P.reshape(q, -1)


HEADS = Exercise(
    id="12.4",
    title="Heads",
    stars=2,
    signature="head_importance(W, G, q)",
    returns=("scores",),
    given=_given_heads,
    expected=lambda W, G, q: prune.importance(W, G, heads(W.shape[0], q), form="dot-squared"),
    hints=(
        "Add up G ⊙ W over all rows and columns of a head, and square the sum: one number for each head.",
        "Head h holds rows h · (d / q) up to (h + 1) · (d / q): neighbours. Square after adding, not before.",
    ),
    equations=("prune-importance",),
    suspects=(
        Suspect(
            "AllSummed",
            "everything is added up to one number: each head has its own",
            lambda W, G, _q: (G * W).sum() ** 2,
        ),
        Suspect(
            "RowsApart",
            "each row is scored by itself: add up the rows of a head, then square",
            lambda W, G, _q: (G * W).sum(axis=1) ** 2,
        ),
        Suspect(
            "AxisWrong",
            "the heads are added to each other, axis=0: add within each head, axis=1 after a reshape to (q, -1)",
            lambda W, G, q: _blocks(G * W, q).sum(axis=0) ** 2,
        ),
        Suspect(
            "Overlapping",
            "the heads overlap: head h begins at row h · (d / q), not at row h",
            lambda W, G, q: np.array([(G * W)[h : h + len(W) // q].sum() ** 2 for h in range(q)]),
        ),
        Suspect(
            "SquaredFirst",
            "squares are added: this is LoRAPrune's form; add first, then square",
            lambda W, G, q: (_blocks(G * W, q) ** 2).sum(axis=1),
        ),
        Suspect(
            "SquaredFirst",
            "each row's sum is squared, then the rows of a head are added: add over the whole head, then square",
            lambda W, G, q: _blocks((G * W).sum(axis=1) ** 2, q).sum(axis=1),
        ),
        Suspect(
            "SquareMissing",
            "the sum is right, but it is not squared",
            lambda W, G, q: _blocks(G * W, q).sum(axis=1),
        ),
        Suspect(
            "SignLost",
            "an absolute value for the square",
            lambda W, G, q: np.abs(_blocks(G * W, q).sum(axis=1)),
        ),
        Suspect(
            "SignLost",
            "absolute values are added: this is the form of the released program",
            lambda W, G, q: np.abs(_blocks(G * W, q)).sum(axis=1),
        ),
        Suspect(
            "Interleaved",
            "head h has every q-th row; its rows are neighbours: the first d / q rows are head 0",
            lambda W, G, q: (G * W).reshape(-1, q, W.shape[1]).sum(axis=(0, 2)) ** 2,
        ),
        Suspect(
            "MeanForSum",
            "a mean over the head for a sum",
            lambda W, G, q: _blocks(G * W, q).mean(axis=1) ** 2,
        ),
        Suspect(
            "MeanForSum",
            "the rows of a head are averaged where they are to be added",
            lambda W, G, q: _blocks((G * W).sum(axis=1), q).mean(axis=1) ** 2,
        ),
        Suspect(
            "HeadWidth",
            "q is taken for the rows of a head: it is the number of heads, each has d / q rows",
            lambda W, G, q: np.add.reduceat((G * W).sum(axis=1), np.arange(0, W.shape[0], q)) ** 2,
        ),
        Suspect(
            "AxisWrong",
            "columns are cut into blocks: a head is a block of rows",
            lambda W, G, q: np.array([block.sum() for block in np.array_split(G * W, q, axis=1)]) ** 2,
        ),
        Suspect(
            "SumsApart",
            "the sum of G times the sum of W: multiply entry by entry before adding",
            lambda W, G, q: (_blocks(G, q).sum(axis=1) * _blocks(W, q).sum(axis=1)) ** 2,
        ),
    ),
)


# ---- off the activations: 12.5 -------------------------------------------------------------------------------


def _given_activations(rng: np.random.Generator) -> Iterator[Given]:
    for N, d in ((1, 2), (3, 1), (4, 3), (2, 5), (6, 4)):
        yield {"gY": rng.normal(size=(N, d)), "Y": rng.normal(size=(N, d)), "b": rng.normal(size=d)}


DOTS = Exercise(
    id="12.5",
    title="Read it off the activations",
    stars=3,
    signature="row_sums(gY, Y, b)",
    returns=("sums",),
    given=_given_activations,
    expected=lambda gY, Y, b: prune.group_dot(gY, Y, bias=b),
    size=lambda given: (np.abs(given["gY"]) * (np.abs(given["Y"]) + np.abs(given["b"]))).sum(axis=0),
    hints=(
        "Swap the two sums: what is left is a sum over the batch of gY times the output without its bias.",
        "X Wᵀ is Y − b. Multiply it by gY entry by entry and add up over n, which is axis=0.",
    ),
    equations=("prune-group-dot", "prune-exact"),
    suspects=(
        Suspect(
            "AllSummed",
            "everything is added up to one number: each output has its own sum",
            lambda gY, Y, b: (gY * (Y - b)).sum(),
        ),
        Suspect("SumMissing", "add up over the batch: axis=0", lambda gY, Y, b: gY * (Y - b)),
        Suspect(
            "SignLost",
            "absolute values are added: the sum is a plain one, where plus and minus cancel",
            lambda gY, Y, b: np.abs(gY * (Y - b)).sum(axis=0),
        ),
        Suspect(
            "SignLost",
            "the absolute value of the sum: it keeps its sign",
            lambda gY, Y, b: np.abs((gY * (Y - b)).sum(axis=0)),
        ),
        Suspect(
            "BiasTimesAll",
            "the bias is multiplied by the sum of all gY: entry i of it meets column i of gY alone",
            lambda gY, Y, b: (gY * Y).sum(axis=0) - gY.sum() * b,
        ),
        Suspect(
            "ProductForHadamard",
            "a matrix product over the batch has every pair of outputs; multiply entry by entry, gY * (Y - b)",
            lambda gY, Y, b: gY.T @ Y - b,
        ),
        Suspect(
            "BiasIncluded",
            "the bias is still in Y: X Wᵀ is Y − b, and the bias is not one of the row's weights",
            lambda gY, Y, _b: (gY * Y).sum(axis=0),
        ),
        Suspect(
            "SignWrong",
            "the bias is added, where Y holds it already: subtract it",
            lambda gY, Y, b: (gY * (Y + b)).sum(axis=0),
        ),
        Suspect("SignWrong", "the sign of the whole", lambda gY, Y, b: (gY * (b - Y)).sum(axis=0)),
        Suspect(
            "AxisWrong",
            "the sum runs over the outputs; it runs over the batch, axis=0, and leaves one number for each output",
            lambda gY, Y, b: (gY * (Y - b)).sum(axis=1),
        ),
        Suspect(
            "MeanForSum", "a mean over the batch for a sum", lambda gY, Y, b: (gY * (Y - b)).mean(axis=0)
        ),
        Suspect(
            "Squared",
            "squared: the exercise asks for the plain sum",
            lambda gY, Y, b: (gY * (Y - b)).sum(axis=0) ** 2,
        ),
        Suspect(
            "Squared",
            "squares are added: only the plain sum can be read off the activations",
            lambda gY, Y, b: ((gY * (Y - b)) ** 2).sum(axis=0),
        ),
        Suspect(
            "SumsApart",
            "each is summed over the batch before they are multiplied: multiply row by row first",
            lambda gY, Y, b: gY.sum(axis=0) * (Y - b).sum(axis=0),
        ),
        Suspect(
            "ProductForHadamard",
            "a matrix product over the batch: gYᵀ (Y − b) has every pair of outputs; only its diagonal is wanted",
            lambda gY, Y, b: gY.T @ (Y - b),
        ),
        Suspect(
            "BiasOnce",
            "the bias is subtracted once from the sum: it stands in every row of Y, and gY multiplies it there",
            lambda gY, Y, b: (gY * Y).sum(axis=0) - b,
        ),
    ),
)


QUIZ = Quiz(
    id="12.quiz",
    answers=("0ad99a0452a1", "5dfcf99f0945", "4cf037047c06", "c0a5a16c2499"),
    again=(
        "Small is not unimportant",
        "Where it fails",
        "A group: add first, or square first",
        "The gradient for free",
    ),
)

EXERCISES = (REMOVAL, FIRST, BOTH, HEADS, DOTS, QUIZ)
