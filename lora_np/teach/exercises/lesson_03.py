"""Lesson 03, a linear layer and its increment: the layer, one step, the highest rank, the change cut.  Floor 6."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lora_np._typing import Array
from lora_np.nn import dense, losses
from lora_np.nn.dense import Dense
from lora_np.rank import truncate
from lora_np.teach.exercise import Exercise, Given, Quiz, Suspect
from lora_np.teach.exercises._parts import Parts, combined

# ---- 03.1: the layer ---------------------------------------------------------------------------------------


def _layers(rng: np.random.Generator) -> Iterator[Given]:
    for N, k, d in ((1, 1, 1), (1, 2, 3), (2, 4, 3), (5, 3, 5), (4, 4, 4), (6, 5, 1)):
        X, W, b = rng.normal(size=(N, k)), rng.normal(size=(d, k)), rng.normal(size=d)
        yield {"X": X, "W": W, "b": b}


LAYER = Exercise(
    id="03.1",
    title="The layer",
    stars=1,
    signature="layer(X, W, b)",
    returns=("Y",),
    given=_layers,
    expected=lambda X, W, b: dense.forward(X, Dense(W, b)),
    suspects=(
        Suspect(
            "Transposed",
            "Y has one column for each row of X; it must have one row: X Wᵀ and not W Xᵀ",
            lambda X, W, b: W @ X.T + b[:, None],
        ),
        Suspect(
            "BiasMissing",
            "the bias is missing: add b to every row",
            lambda X, W, b: X @ W.T,
        ),
        Suspect(
            "BiasSubtracted",
            "the bias is subtracted; it must be added",
            lambda X, W, b: X @ W.T - b,
        ),
        Suspect(
            "BiasOnFirstRow",
            "only the first row of Y gets the bias; every row must",
            lambda X, W, b: X @ W.T + np.where(np.arange(len(X))[:, None] == 0, b, 0.0),
        ),
        Suspect(
            "FirstRowOnly",
            "only the first row of X is used; Y has a row for each",
            lambda X, W, b: W @ X[0] + b,
        ),
        Suspect(
            "BiasPerProduct",
            "the bias is added to each product, k times in all; it belongs to the neuron, once",
            lambda X, W, b: X @ W.T + X.shape[1] * b,
        ),
        Suspect(
            "BiasOnWeights",
            "the bias is added to the weights, before the product; add it to the product",
            lambda X, W, b: X @ (W.T + b),
        ),
        Suspect(
            "BendAdded",
            "it bends the output by tanh; this layer is linear: no function on top",
            lambda X, W, b: np.tanh(X @ W.T + b),
        ),
        Suspect(
            "BendAdded",
            "it makes negative outputs zero, as relu does; this layer is linear: no function on top",
            lambda X, W, b: np.maximum(X @ W.T + b, 0.0),
        ),
        Suspect(
            "MeanForSum",
            "the products are averaged; a neuron adds them up",
            lambda X, W, b: X @ W.T / X.shape[1] + b,
        ),
    ),
    hints=(
        "Entry (n, i) of Y is the dot product of row n of X and row i of W, plus b[i].",
        "Look at the shapes: X is (N, k), W is (d, k), Y must be (N, d). Which of the two has to be transposed? b "
        "of shape (d,) is added to each row by NumPy itself.",
    ),
    equations=("net-linear",),
)

# ---- 03.2: the increment of one step -----------------------------------------------------------------------


def _steps(rng: np.random.Generator) -> Iterator[Given]:
    for N, k, d in ((1, 2, 3), (2, 1, 4), (3, 5, 2), (6, 4, 4), (7, 3, 5)):
        yield {
            "W0": rng.normal(size=(d, k)),
            "X": rng.normal(size=(N, k)),
            "T": rng.normal(size=(N, d)),
            "lr": float(rng.uniform(0.01, 0.6)),
        }


def _step(W0: Array, X: Array, T: Array, lr: float) -> Array:
    return -lr * dense.weight_gradient(losses.squared_error_gradient(X @ W0.T, T), X)


def _moved(W0: Array, X: Array, T: Array, lr: float) -> Array:
    """Compute the increment, by NumPy alone."""
    made: Array = -lr * (X @ W0.T - T).T @ X / len(X)
    return made


INCREMENT = Exercise(
    id="03.2",
    title="The increment of one step",
    stars=2,
    signature="increment(W0, X, T, lr)",
    returns=("ΔW",),
    given=_steps,
    expected=_step,
    size=lambda given: {
        "ΔW": given["lr"]
        * (np.abs(given["X"]) @ np.abs(given["W0"]).T + np.abs(given["T"])).T
        @ np.abs(given["X"])
        / len(given["X"])
    },
    suspects=(
        Suspect(
            "SignWrong",
            "the sign is wrong: this step climbs, and the miss grows; go against the gradient",
            lambda W0, X, T, lr: -_moved(W0, X, T, lr),
        ),
        Suspect(
            "WeightReturned",
            "it is the new weight W0 + ΔW; the change ΔW alone is asked",
            lambda W0, X, T, lr: W0 + _moved(W0, X, T, lr),
        ),
        Suspect(
            "MeanMissing",
            "the blame of the rows is added up; the mean is asked: divide by N, the number of rows",
            lambda W0, X, T, lr: len(X) * _moved(W0, X, T, lr),
        ),
        Suspect(
            "MeanOverAll",
            "it is divided by all N d entries of the miss; the mean is over the N rows only",
            lambda W0, X, T, lr: _moved(W0, X, T, lr) / T.shape[1],
        ),
        Suspect(
            "WrongSize",
            "it is divided by d, the number of neurons; divide by N, the number of rows",
            lambda W0, X, T, lr: _moved(W0, X, T, lr) * len(X) / T.shape[1],
        ),
        Suspect(
            "HalfForgotten",
            "it is twice as large: the loss has a half in front, which cancels the 2 of the square",
            lambda W0, X, T, lr: 2 * _moved(W0, X, T, lr),
        ),
        Suspect(
            "RateMissing",
            "the rate lr is missing",
            lambda W0, X, T, lr: _moved(W0, X, T, 1.0),
        ),
        Suspect(
            "TargetMissing",
            "the target T is not used: the miss is the output minus the target",
            lambda W0, X, T, lr: _moved(W0, X, 0 * T, lr),
        ),
        Suspect(
            "Transposed",
            "it is transposed: row i belongs to neuron i, so it is Gᵀ X and not Xᵀ G",
            lambda W0, X, T, lr: _moved(W0, X, T, lr).T,
        ),
        Suspect(
            "GradientReturned",
            "it is the gradient; the step goes against it, and only lr times as far",
            lambda W0, X, T, lr: -_moved(W0, X, T, 1.0),
        ),
        Suspect(
            "MissSquared",
            "the miss is squared; the loss has the square, its slope has the miss itself",
            lambda W0, X, T, lr: -lr * ((X @ W0.T - T) ** 2).T @ X / len(X),
        ),
        Suspect(
            "FirstRowOnly",
            "only the first row of X and T has a say; take the mean over all rows",
            lambda W0, X, T, lr: _moved(W0, X[:1], T[:1], lr),
        ),
    ),
    hints=(
        "Work out the output X W0ᵀ, the miss G = output − target, the mean blame Gᵀ X / N. Then go against it, lr "
        "times as far.",
        "Shapes: G is (N, d), X is (N, k), and ΔW must be (d, k). N is len(X). Return the change, and leave W0 as "
        "it is.",
    ),
    equations=("net-squared-error", "net-backward", "optim-sgd"),
)

# ---- 03.3: how high can the rank get? ----------------------------------------------------------------------


def _runs(rng: np.random.Generator) -> Iterator[Given]:
    scale = int(rng.integers(1, 4))
    for d, k, N, steps in (
        (30, 20, 3, 4),
        (96, 64, 1, 1),
        (8, 5, 2, 100),
        (8, 5, 6, 2),
        (5, 8, 7, 2),
        (40, 60, 9, 5),
        (12, 90, 4, 3),
    ):
        yield {"d": d * scale, "k": k * scale, "N": N * scale, "steps": steps}


_BOTH_SIDES = "the shape is (d, k), and both sides limit the rank; here only one is looked at"
_NO_SHAPE = "no matrix of shape (d, k) has a rank above min(d, k), however many rows it has seen"
_FEW_ROWS = "few rows make a low rank: every row of ΔW is a mixture of the rows of X"
_SAME: Parts = (
    (lambda d, k, N, steps: min(d, k, N), "", ""),
    (lambda d, k, N, steps: N, "ShapeForgotten", _NO_SHAPE),
    (lambda d, k, N, steps: min(d * k, N), "ShapeForgotten", _NO_SHAPE),
    (lambda d, k, N, steps: min(k, N), "OneSideOnly", _BOTH_SIDES),
    (lambda d, k, N, steps: min(d, N), "OneSideOnly", _BOTH_SIDES),
    (lambda d, k, N, steps: min(d, k), "FullRank", _FEW_ROWS),
    (lambda d, k, N, steps: 1, "OneForEachStep", "N rows bring up to N directions, not one"),
    (
        lambda d, k, N, steps: min(d, k, steps),
        "OneForEachStep",
        "the same rows bring N directions in all, not one a step",
    ),
    (
        lambda d, k, N, steps: steps,
        "OneForEachStep",
        "the same rows bring N directions in all, not one a step",
    ),
    (
        lambda d, k, N, steps: min(d, k, N * steps),
        "StepsCountTwice",
        "the same rows bring nothing new, however many steps",
    ),
    (
        lambda d, k, N, steps: N * steps,
        "StepsCountTwice",
        "the same rows bring nothing new, however many steps",
    ),
)
_FRESH: Parts = (
    (lambda d, k, N, steps: min(d, k, N * steps), "", ""),
    (lambda d, k, N, steps: N * steps, "ShapeForgotten", f"{_NO_SHAPE}: the second number passes it"),
    (
        lambda d, k, N, steps: min(d * k, N * steps),
        "ShapeForgotten",
        f"{_NO_SHAPE}: the second number passes it",
    ),
    (lambda d, k, N, steps: min(k, N * steps), "OneSideOnly", _BOTH_SIDES),
    (lambda d, k, N, steps: min(d, N * steps), "OneSideOnly", _BOTH_SIDES),
    (lambda d, k, N, steps: min(d, k), "FullRank", _FEW_ROWS),
    (
        lambda d, k, N, steps: min(d, k, N),
        "StepsForgotten",
        "fresh rows bring new directions: the second number grows with the steps",
    ),
    (
        lambda d, k, N, steps: min(d, k, steps),
        "OneForEachStep",
        "a step with N fresh rows brings up to N directions, not one",
    ),
    (
        lambda d, k, N, steps: min(d, k, N + steps),
        "SumForProduct",
        "each of the steps brings N rows: that makes N times steps",
    ),
)

HIGHEST_RANK = Exercise(
    id="03.3",
    title="How high can the rank get?",
    stars=2,
    signature="highest_rank(d, k, N, steps)",
    returns=("the rank with the same rows", "the rank with fresh rows"),
    given=_runs,
    expected=lambda d, k, N, steps: (min(d, k, N), min(d, k, N * steps)),
    suspects=(
        Suspect(
            "StepsCountTwice",
            "the same rows bring nothing new: the first number does not grow with the steps",
            lambda d, k, N, steps: (min(d, k, N * steps), min(d, k, N * steps)),
        ),
        Suspect(
            "OutputsSwapped",
            "the two numbers are exchanged: first the same rows, then fresh rows",
            lambda d, k, N, steps: (min(d, k, N * steps), min(d, k, N)),
        ),
        *combined(_SAME, _FRESH),
        Suspect(
            "ExampleOnly",
            "it always returns the numbers of the example; they must follow from d, k, N and steps",
            lambda d, k, N, steps: (3, 12),
        ),
    ),
    hints=(
        "How many different rows of data has the weight seen, in the first case and in the second? And what does "
        "its shape allow?",
        "Every row of ΔW is a mixture of the rows of data that were used: N of them, or N in each step. The rank "
        "is at most their number, and at most d, and at most k.",
    ),
    equations=("rank-bound", "rank-product"),
)

# ---- 03.4: cut the change ----------------------------------------------------------------------------------


def _tuned(rng: np.random.Generator) -> Iterator[Given]:
    """Draw weights before and after, with changes whose singular values fall in equal steps."""
    for d, k, r in ((2, 2, 1), (3, 4, 2), (6, 3, 1), (5, 7, 3), (8, 5, 4), (4, 6, 4)):
        q = min(d, k)
        U, V = (np.linalg.qr(rng.normal(size=(side, q)))[0] for side in (d, k))
        W0 = rng.normal(size=(d, k))
        yield {"W0": W0, "W1": W0 + (U * (rng.uniform(0.5, 1) * np.arange(q, 0, -1))) @ V.T, "r": r}


def _cut(M: Array, r: int, *, other_end: bool = False) -> Array:
    U, sigma, Vt = np.linalg.svd(M, full_matrices=False)
    part = slice(len(sigma) - r, None) if other_end else slice(0, r)
    made: Array = (U[:, part] * sigma[part]) @ Vt[part]
    return made


def _v_for_its_transpose(W0: Array, W1: Array, r: int) -> Array:
    U, sigma, Vt = np.linalg.svd(W1 - W0)
    made: Array = W0 + (U[:, :r] * sigma[:r]) @ Vt[:, :r].T
    return made


CUT_CHANGE = Exercise(
    id="03.4",
    title="Cut the change",
    stars=3,
    signature="with_cut_change(W0, W1, r)",
    returns=("the weight",),
    given=_tuned,
    expected=lambda W0, W1, r: W0 + truncate(W1 - W0, r).matrix(),
    size=lambda given: np.full(
        given["W0"].shape, 4 * np.linalg.norm(np.abs(given["W0"]) + np.abs(given["W1"]))
    ),
    suspects=(
        Suspect(
            "WeightCut",
            "it cuts the fine-tuned weight W1; only the change W1 − W0 is to be cut, the weight keeps all its "
            "directions",
            lambda W0, W1, r: _cut(W1, r),
        ),
        Suspect(
            "BaseCut",
            "it cuts the weight W0 as well; that must stay whole",
            lambda W0, W1, r: _cut(W0, r) + _cut(W1 - W0, r),
        ),
        Suspect(
            "BaseCut",
            "it cuts the weight W0 and keeps the change whole: the wrong one of the two",
            lambda W0, W1, r: _cut(W0, r) + W1 - W0,
        ),
        Suspect(
            "BaseMissing",
            "it is the cut change alone; W0 is to be added to it",
            lambda W0, W1, r: _cut(W1 - W0, r),
        ),
        Suspect(
            "SignWrong",
            "the change is W1 − W0; here it has the other sign",
            lambda W0, W1, r: W0 + _cut(W0 - W1, r),
        ),
        Suspect(
            "CountedTwice",
            "the cut change is added to W1, which holds the change already; add it to W0",
            lambda W0, W1, r: W1 + _cut(W1 - W0, r),
        ),
        Suspect(
            "OtherEnd",
            "the weakest directions of the change are kept; keep the first r",
            lambda W0, W1, r: W0 + _cut(W1 - W0, r, other_end=True),
        ),
        Suspect(
            "NothingCut",
            "it is W1 itself: nothing was cut",
            lambda W0, W1, r: W1,
        ),
        Suspect(
            "StrengthsMissing",
            "the singular values are left out: U and V only say which way",
            lambda W0, W1, r: W0 + np.linalg.svd(W1 - W0)[0][:, :r] @ np.linalg.svd(W1 - W0)[2][:r],
        ),
        Suspect(
            "VNotTransposed",
            "V comes back from NumPy already transposed: its first r rows are wanted, Vt[:r]",
            _v_for_its_transpose,
        ),
        Suspect(
            "RowsCut",
            "it keeps the first r rows of the change: that has rank r, but it is not the best",
            lambda W0, W1, r: np.where(np.arange(len(W0))[:, None] < r, W1, W0),
        ),
        Suspect(
            "SumForDifference",
            "W0 + W1 is cut; the change is their difference",
            lambda W0, W1, r: W0 + _cut(W0 + W1, r),
        ),
        Suspect(
            "DifferenceOfCuts",
            "both weights are cut and then subtracted; subtract first, then cut",
            lambda W0, W1, r: W0 + _cut(W1, r) - _cut(W0, r),
        ),
    ),
    hints=(
        "Three steps: the change is W1 − W0. Cut the change to rank r, as in 02.3. Add it to W0.",
        "Which matrix goes into np.linalg.svd? Not a weight. And what do you add the cut matrix to? The weight of "
        "before.",
    ),
    equations=("rank-increment", "rank-truncation"),
)

QUIZ = Quiz(
    id="03.quiz",
    answers=("ab1f15bb38aa", "fdc2e14a4c62", "87c81bacc76d", "e0247f52bd7c", "bf5044bd2a60"),
    again=(
        "section 2, a layer of neurons",
        "section 4, few rows, low rank",
        "section 6, cut the change, or cut the weight?",
        "sections 5 and 6, a real change",
        "section 3, which weights are to blame",
    ),
)

EXERCISES = (LAYER, INCREMENT, HIGHEST_RANK, CUT_CHANGE, QUIZ)
