"""Lesson 11, LoRA among its neighbours: counts, the adapter, merging (IA)³, printed numbers.  Floor 6."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np

from lora_np.methods import houlsby, ia3
from lora_np.methods.houlsby import HoulsbyParams
from lora_np.methods.ia3 import Ia3Params
from lora_np.teach.exercise import Exercise, Given, Quiz, Suspect

# ---- 11.1: counts ----------------------------------------------------------------------------------------------


def given_counts(rng: np.random.Generator) -> Iterator[Given]:
    """Draw sizes of stacks: the toy of the lesson first, no two numbers alike after it."""
    yield {"d": 4, "layers": 1, "rank": 1}
    for d, layers, rank in ((6, 2, 1), (10, 3, 4), (64, 5, 3), (768, 12, 8)):
        yield {"d": d + 2 * int(rng.integers(0, 3)), "layers": layers, "rank": rank}


def trained(d: int, layers: int, rank: int) -> tuple[int, ...]:
    """Count what each method trains in a stack of GPT-2's blocks."""
    of_a_block = (12 * d * d + 13 * d, 11 * d, 2 * (2 * d * rank + rank + d), 6 * d, 4 * d * rank)
    return tuple(layers * count for count in of_a_block)


def _counted(**other: Any) -> Any:
    """Make a student's count from what is counted otherwise in a block: functions of d and the rank."""

    def wrong(d: int, layers: int, rank: int) -> tuple[int, ...]:
        right = dict(zip(("full", "bitfit", "adapter", "ia3", "lora"), trained(d, layers, rank), strict=True))
        return tuple({**right, **{name: layers * f(d, rank) for name, f in other.items()}}.values())

    return wrong


COUNT_SUSPECTS = (
    Suspect(
        "LayersMissing",
        "this is one block; there are `layers` of them",
        lambda d, layers, rank: trained(d, 1, rank),
    ),
    Suspect(
        "LayersMissing",
        "BitFit counts one block only here; multiply by the layers",
        lambda d, layers, rank: (trained(d, layers, rank)[0], 11 * d, *trained(d, layers, rank)[2:]),
    ),
    Suspect(
        "LayersMissing",
        "only the last term of full is multiplied by the layers: set brackets",
        lambda d, layers, rank: (12 * d * d + 13 * d * layers, *trained(d, layers, rank)[1:]),
    ),
    Suspect(
        "ExampleOnly",
        "these are the numbers of the example; compute them from d, layers and rank",
        lambda d, layers, rank: trained(4, 1, 1),
    ),
    Suspect(
        "OutputsSwapped",
        "the last two stand in each other's place: ia3 comes before lora",
        lambda d, layers, rank: (*trained(d, layers, rank)[:3], *trained(d, layers, rank)[:2:-1]),
    ),
    Suspect(
        "LastNormCounted",
        "blocks only: the norm after the last block is not in the stack",
        lambda d, layers, rank: (
            trained(d, layers, rank)[0],
            11 * d * layers + d,
            *trained(d, layers, rank)[2:],
        ),
    ),
    Suspect(
        "NormsMissing",
        "the norms are missing: two a block, each with d factors and d biases",
        _counted(full=lambda d, r: 12 * d * d + 9 * d, bitfit=lambda d, r: 9 * d),
    ),
    Suspect(
        "NormsMissing",
        "BitFit trains the biases of the norms, too: 9 d + 2 d",
        _counted(bitfit=lambda d, r: 9 * d),
    ),
    Suspect(
        "NormsMissing",
        "full fine-tuning trains the norms, too: 4 d more",
        _counted(full=lambda d, r: 12 * d * d + 9 * d),
    ),
    Suspect(
        "BiasesMissing",
        "full fine-tuning trains the biases and norms, too: 13 d more",
        _counted(full=lambda d, r: 12 * d * d),
    ),
    Suspect(
        "NormFactorsCounted",
        "BitFit leaves the factors of the norms alone; it trains their biases only",
        _counted(bitfit=lambda d, r: 13 * d),
    ),
    Suspect(
        "BiasesMissing",
        "an adapter has biases: r going down, d coming up",
        _counted(adapter=lambda d, r: 4 * d * r),
    ),
    Suspect(
        "OneAdapterOnly",
        "there are two adapters in a block",
        _counted(adapter=lambda d, r: 2 * d * r + r + d),
    ),
    Suspect(
        "InputsOfWidthD",
        "the last matrix of a block has 4 d inputs: (IA)³ has d + d + 4 d factors",
        _counted(ia3=lambda d, r: 3 * d),
    ),
    Suspect(
        "InputsForgotten",
        "(IA)³ scales the 4 d inputs of the last matrix, too",
        _counted(ia3=lambda d, r: 2 * d),
    ),
    Suspect(
        "OneMatrixOnly",
        "LoRA adapts two matrices, q and v: 2 · 2 d r",
        _counted(lora=lambda d, r: 2 * d * r),
    ),
    Suspect(
        "OneFactorOnly",
        "each adapted matrix has two factors, B (d, r) and A (r, d)",
        _counted(lora=lambda d, r: d * r),
    ),
    Suspect(
        "AllFourMatrices",
        "only q and v are adapted here, not all four",
        _counted(lora=lambda d, r: 8 * d * r),
    ),
)

# ---- 11.2: the adapter -----------------------------------------------------------------------------------------


def given_adapter(rng: np.random.Generator) -> Iterator[Given]:
    """Draw adapters whose squeezed numbers are of both signs."""
    for N, k, r in ((1, 2, 1), (3, 4, 2), (2, 5, 3), (6, 3, 4), (4, 1, 2)):
        yield {
            "X": rng.normal(size=(N, k)),
            "W_down": rng.normal(size=(r, k)),
            "b_down": rng.normal(size=r),
            "W_up": rng.normal(size=(k, r)),
            "b_up": rng.normal(size=k),
        }


def adapter(X: Any, W_down: Any, b_down: Any, W_up: Any, b_up: Any) -> Any:
    """Apply the engine's adapter."""
    return houlsby.forward(X, HoulsbyParams(W_down, b_down, W_up, b_up), activation="relu")[0]


def _relu(U: Any) -> Any:
    return np.maximum(U, 0)


ADAPTER_SUSPECTS = (
    Suspect(
        "SkipMissing",
        "the input is not added: an adapter gives X + what it makes of X",
        lambda X, W_down, b_down, W_up, b_up: adapter(X, W_down, b_down, W_up, b_up) - X,
    ),
    Suspect(
        "BendMissing",
        "relu is missing: squeezed numbers below 0 become 0",
        lambda X, W_down, b_down, W_up, b_up: X + (X @ W_down.T + b_down) @ W_up.T + b_up,
    ),
    Suspect(
        "BendMisplaced",
        "relu stands at the end; it belongs between the two matrices",
        lambda X, W_down, b_down, W_up, b_up: X + _relu((X @ W_down.T + b_down) @ W_up.T + b_up),
    ),
    Suspect(
        "BendMisplaced",
        "relu bends the input; it belongs between the two matrices",
        lambda X, W_down, b_down, W_up, b_up: X + (_relu(X) @ W_down.T + b_down) @ W_up.T + b_up,
    ),
    Suspect(
        "BendMisplaced",
        "relu bends the sum of everything; the skip goes around it",
        lambda X, W_down, b_down, W_up, b_up: _relu(X + (X @ W_down.T + b_down) @ W_up.T + b_up),
    ),
    Suspect(
        "BiasMissing",
        "b_down is missing: add it before relu",
        lambda X, W_down, b_down, W_up, b_up: adapter(X, W_down, 0 * b_down, W_up, b_up),
    ),
    Suspect(
        "BiasMissing",
        "b_up is missing",
        lambda X, W_down, b_down, W_up, b_up: adapter(X, W_down, b_down, W_up, 0 * b_up),
    ),
    Suspect(
        "BiasMissing",
        "both biases are missing",
        lambda X, W_down, b_down, W_up, b_up: adapter(X, W_down, 0 * b_down, W_up, 0 * b_up),
    ),
    Suspect(
        "BiasAfterBend",
        "b_down is added after relu; it comes before",
        lambda X, W_down, b_down, W_up, b_up: X + (_relu(X @ W_down.T) + b_down) @ W_up.T + b_up,
    ),
    Suspect(
        "BendTwice",
        "relu is applied twice; it stands between the two matrices only",
        lambda X, W_down, b_down, W_up, b_up: X + _relu(_relu(X @ W_down.T + b_down) @ W_up.T + b_up),
    ),
    Suspect(
        "MinimumForMaximum",
        "this keeps the negative numbers; relu keeps the positive ones: np.maximum(U, 0)",
        lambda X, W_down, b_down, W_up, b_up: X + np.minimum(X @ W_down.T + b_down, 0) @ W_up.T + b_up,
    ),
    Suspect(
        "AnotherBend",
        "this is tanh; relu is asked",
        lambda X, W_down, b_down, W_up, b_up: X + np.tanh(X @ W_down.T + b_down) @ W_up.T + b_up,
    ),
    Suspect(
        "AbsoluteForRelu",
        "this is the absolute value; relu turns negative numbers into 0",
        lambda X, W_down, b_down, W_up, b_up: X + abs(X @ W_down.T + b_down) @ W_up.T + b_up,
    ),
)


def _adapter_size(given: Given) -> dict[str, Any]:
    X, W_down, b_down, W_up, b_up = (np.abs(value) for value in given.values())
    return {"Y": X + (X @ W_down.T + b_down) @ W_up.T + b_up}


# ---- 11.3: merging (IA)³ ---------------------------------------------------------------------------------------


def given_factors(rng: np.random.Generator) -> Iterator[Given]:
    """Draw layers for outputs and for inputs; a square one of each, so that the wrong side fits."""
    sizes = ((2, 3, False), (3, 3, True), (4, 4, False), (4, 2, True), (1, 3, False), (3, 6, True))
    for d, k, feedforward in sizes:
        yield {
            "W0": rng.normal(size=(d, k)),
            "bias": rng.normal(size=d),
            "factors": rng.normal(size=k if feedforward else d),
            "feedforward": feedforward,
        }


def ia3_merge(W0: Any, bias: Any, factors: Any, feedforward: bool) -> tuple[Any, Any]:
    """Merge with the engine."""
    p = Ia3Params(factors)
    return ia3.merge(W0, p, feedforward=feedforward), ia3.merge_bias(bias, p, feedforward=feedforward)


IA3_SUSPECTS = (
    Suspect(
        "BiasNotScaled",
        "the bias is an output as well: where the outputs are scaled, so is the bias",
        lambda W0, bias, factors, feedforward: (ia3_merge(W0, bias, factors, feedforward)[0], bias),
    ),
    Suspect(
        "BiasScaled",
        "where the inputs are scaled the bias stays as it is",
        lambda W0, bias, factors, feedforward: (
            ia3_merge(W0, bias, factors, feedforward)[0],
            bias * factors if bias.shape == factors.shape else bias,
        ),
    ),
    Suspect(
        "SidesSwapped",
        "rows and columns are exchanged: factors of outputs go along the rows, W0 * factors[:, None]; factors of "
        "inputs along the columns",
        lambda W0, bias, factors, feedforward: (
            W0 * factors[:, None] if feedforward else W0 * factors,
            ia3_merge(W0, bias, factors, feedforward)[1],
        ),
    ),
    Suspect(
        "FeedforwardIgnored",
        "the outputs are scaled always; where feedforward is True the factors belong to the inputs",
        lambda W0, bias, factors, feedforward: (W0 * factors[:, None], bias * factors),
    ),
    Suspect(
        "IncrementReturned",
        "this is the increment W − W0; return the merged weight itself",
        lambda W0, bias, factors, feedforward: (
            ia3_merge(W0, bias, factors, feedforward)[0] - W0,
            ia3_merge(W0, bias, factors, feedforward)[1],
        ),
    ),
    Suspect(
        "AddedForMultiplied",
        "the factors are added; (IA)³ multiplies",
        lambda W0, bias, factors, feedforward: (
            W0 + factors if feedforward else W0 + factors[:, None],
            bias if feedforward else bias + factors,
        ),
    ),
    Suspect(
        "Divided",
        "this divides by the factors: that is unmerging",
        lambda W0, bias, factors, feedforward: ia3_merge(W0, bias, 1 / factors, feedforward),
    ),
)

# ---- 11.4: printed numbers -------------------------------------------------------------------------------------


def given_prints(rng: np.random.Generator) -> Iterator[Given]:
    """Draw counts with what a paper might print of them: rounded, cut off, with a zero at the end, or another."""
    yield {"printed": "4.7", "ours": 4_718_592}
    yield {"printed": "18.8", "ours": 18_874_368}
    for places, kind in (
        (1, "cut"),
        (2, "rounded"),
        (1, "other"),
        (2, "cut"),
        (3, "rounded"),
        (1, "below one"),
    ):
        step = 10 ** (6 - places)
        last = int(rng.integers(0 if kind == "below one" else 5, 9)) + 10 * int(rng.integers(1, 40))
        last = int(rng.integers(1, 9)) if kind == "below one" else last
        up = int(rng.integers(step * 6 // 10, step * 9 // 10))  # nearer to the next printable number
        printed = last if kind in ("cut", "below one") else last + 1
        printed = last + 3 if kind == "other" else printed
        yield {"printed": f"{printed / 10**places:.{places}f}", "ours": last * step + up}
    whole = int(rng.integers(3, 30)) * 10**6
    tail = int(rng.integers(1000, 4000))
    for places, ours in ((2, whole + tail), (1, whole + 60_000 + tail), (2, whole + 200_000 - tail)):
        yield {"printed": f"{ours // 10**5 / 10:.{places}f}", "ours": ours}
    yield {"printed": f"{(whole + 200_000) / 10**6:.2f}", "ours": whole + 220_000 + tail}


def verdict(printed: str, ours: int) -> str:
    """Compare in decimal arithmetic."""
    number = Decimal(printed)
    step = Decimal(1).scaleb(int(number.as_tuple().exponent))
    part = Decimal(ours) / 10**6
    if part.quantize(step, ROUND_HALF_UP) == number:
        return "reproduced"
    return "truncated" if part.quantize(step, ROUND_FLOOR) == number else "not reproduced"


def _to_one_place(printed: str, ours: int) -> str:
    return verdict(f"{float(printed):.1f}", ours)


VERDICT_SUSPECTS = (
    Suspect(
        "TruncationMissing",
        "cutting off is never found: 18.8 for 18,874,368 is truncated",
        lambda printed, ours: "reproduced" if verdict(printed, ours) == "reproduced" else "not reproduced",
    ),
    Suspect(
        "TruncationFirst",
        "cut off is tried first: where rounding gives what is printed, it is reproduced, even if cutting off does, too",
        lambda printed, ours: (
            "truncated"
            if ours * 10 ** len(printed.split(".")[1]) // 10**6 == int(printed.replace(".", ""))
            else verdict(printed, ours)
        ),
    ),
    Suspect(
        "PlacesFixed",
        "one decimal place is taken always; take as many as are printed",
        lambda printed, ours: (
            "reproduced"
            if round(ours / 1e6, 1) == float(printed)
            else "truncated"
            if int(ours / 1e5) / 10 == float(printed)
            else "not reproduced"
        ),
    ),
    Suspect(
        "PlacesFixed",
        "two decimal places are taken always; take as many as are printed",
        lambda printed, ours: (
            "reproduced"
            if round(ours / 1e6, 2) == float(printed)
            else "truncated"
            if int(ours / 1e4) / 100 == float(printed)
            else "not reproduced"
        ),
    ),
    Suspect(
        "TrailingZeroLost",
        "0 at the end is a printed place as well: 23.00 has two",
        lambda printed, ours: verdict(
            printed.rstrip("0") + ("0" if printed.rstrip("0").endswith(".") else ""), ours
        ),
    ),
    Suspect(
        "CutToWhole",
        "the count is cut off to whole millions; cut off at the last printed place",
        lambda printed, ours: (
            "reproduced"
            if verdict(printed, ours) == "reproduced"
            else "truncated"
            if int(ours / 1e6) == float(printed)
            else "not reproduced"
        ),
    ),
    Suspect(
        "ToleranceForRounding",
        "the numbers are compared with a tolerance of one printed place, and so what was cut off passes as rounded",
        lambda printed, ours: (
            "reproduced" if verdict(printed, ours) != "not reproduced" else "not reproduced"
        ),
    ),
    Suspect(
        "NeverFound",
        "nothing is ever found: printed is in millions, so 18.8 is 18,800,000; and 18.8 has one place, not two",
        lambda printed, ours: "not reproduced",
    ),
    Suspect(
        "AnotherWord",
        "the words are “reproduced”, “truncated” and “not reproduced”, in small letters",
        lambda printed, ours: verdict(printed, ours).capitalize(),
    ),
    Suspect(
        "AnotherWord",
        "the words are “reproduced”, “truncated” and “not reproduced”; “rounded/truncated” was the table's",
        lambda printed, ours: verdict(printed, ours).replace("truncated", "rounded/truncated"),
    ),
)

EXERCISES = (
    Exercise(
        id="11.1",
        title="Count the neighbours",
        stars=1,
        signature="trained(d, layers, rank)",
        returns=("full", "bitfit", "adapter", "ia3", "lora"),
        given=given_counts,
        expected=trained,
        suspects=COUNT_SUSPECTS,
        hints=(
            "Five whole numbers for a stack of equal blocks: what each method trains in one block, times the layers.",
            "Everything you need is in the list and the table above it. Check each number at the toy: d = 4, one "
            "layer, rank 1. (IA)³ has 4 d factors in the feed-forward layer; an adapter has two biases, r and d.",
        ),
        equations=("count-full", "count-bitfit", "count-adapter", "count-ia3", "count-lora"),
    ),
    Exercise(
        id="11.2",
        title="The adapter",
        stars=2,
        signature="adapter(X, W_down, b_down, W_up, b_up)",
        returns=("Y",),
        given=given_adapter,
        expected=adapter,
        size=_adapter_size,
        suspects=ADAPTER_SUSPECTS,
        hints=(
            "Four steps: squeeze, bend, widen, add the input.",
            "U = X W_downᵀ + b_down is (N, r). relu acts on U and on nothing else: np.maximum(U, 0). Then W_upᵀ, b_up, "
            "and X itself.",
        ),
        equations=("adapter-bottleneck",),
    ),
    Exercise(
        id="11.3",
        title="Merge (IA)³",
        stars=2,
        signature="ia3_merge(W0, bias, factors, feedforward)",
        returns=("W", "b"),
        given=given_factors,
        expected=ia3_merge,
        suspects=IA3_SUSPECTS,
        hints=(
            "The merged layer X Wᵀ + b must give for every X what the layer with its factors gave.",
            "Row i of W0 makes output i, column j reads input j. Which of them does a factor of an output multiply? "
            "And what does the bias belong to, the inputs or the outputs?",
        ),
        equations=("ia3-merge", "ia3-output", "ia3-input"),
    ),
    Exercise(
        id="11.4",
        title="Hold a printed number against a count",
        stars=3,
        signature="verdict(printed, ours)",
        returns=("verdict",),
        given=given_prints,
        expected=verdict,
        suspects=VERDICT_SUSPECTS,
        hints=(
            "One of three words. Try rounding first; only if it fails, cutting off.",
            "Count the places after the point in `printed`, zeros too. In whole numbers nothing can go wrong: one unit "
            "of the last place is 10 ** (6 - places); ours // unit cuts off.",
        ),
        equations=("count-share",),
    ),
    Quiz(
        id="11.quiz",
        answers=("e5dd049aae14", "a2ad85cc05e5", "4998abe0230d", "d7ad5cfa61f3", "3686a243d8bd"),
        again=(
            "Adapters: a small detour in the path",
            "What fewer numbers do not save",
            "What the detour costs",
            "(IA)³: one factor for each output",
            "The paper's tables, recomputed",
        ),
    ),
)
