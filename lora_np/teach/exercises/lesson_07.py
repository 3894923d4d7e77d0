"""Lesson 07: a training step, counting what trains, Adam, choosing the rank, another alpha.  Floor 6."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from lora_np import lora, optim
from lora_np._typing import Array
from lora_np.lora import LoraParams
from lora_np.nn import losses
from lora_np.teach.exercise import Exercise, Given, Quiz, Suspect

BETAS, EPS = (0.9, 0.999), 1e-8


# ---- 07.1: one step of both factors ------------------------------------------------------------------------------

STEPS = ((1, 1, 1, 1), (3, 4, 5, 2), (1, 3, 4, 2), (5, 2, 3, 1), (4, 6, 7, 3))
"""Rows, outputs, inputs and rank of the cases."""


def _short(x: float) -> float:
    """Keep three digits of a number, so that a student can read it."""
    return float(f"{x:.3g}")


def given_step(rng: np.random.Generator) -> Iterator[Given]:
    """Draw a layer, its targets, a scale and a rate; once, B is zero."""
    for case, (N, d, k, r) in enumerate(STEPS):
        X, T, W0 = rng.normal(size=(N, k)), rng.normal(size=(N, d)), rng.normal(size=(d, k))
        B, A = rng.normal(size=(d, r)) * (case != 2), rng.normal(size=(r, k))
        scale, lr = _short(rng.uniform(0.4, 3)), _short(rng.uniform(0.05, 0.4))
        yield {"X": X, "T": T, "W0": W0, "B": B, "A": A, "scale": scale, "lr": lr}


def stepped(
    X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float
) -> tuple[Array, Array]:
    """Take the step with the engine.  [net-squared-error] [grad-2] [optim-sgd]"""
    p = LoraParams(B, A)
    Y, Z = lora.forward(X, W0, p, scale=scale)
    _, g = lora.backward(losses.squared_error_gradient(Y, T), X, Z, W0, p, scale=scale)
    moved, _ = optim.sgd_step(p, g, optim.sgd_init(p), lr=lr)
    return moved.B, moved.A


def step_size(given: Given) -> dict[str, Array]:
    """Add the sizes of all terms: every minus becomes a plus, every number its size."""
    X, T, W0, B, A = (np.abs(given[name]) for name in ("X", "T", "W0", "B", "A"))
    s, lr = given["scale"], given["lr"]
    Z = X @ A.T
    gY = (X @ W0.T + s * (Z @ B.T) + T) / X.shape[0]
    return {"B": B + lr * s * (gY.T @ Z), "A": A + lr * s * ((gY @ B).T @ X)}


def _step(
    X: Array,
    T: Array,
    W0: Array,
    B: Array,
    A: Array,
    scale: float,
    lr: float,
    *,
    mean: Any = None,
    forward: Any = None,
    gain: Any = (1.0, 1.0),
    soon: Any = False,
    frozen: Any = 1.0,
) -> Any:
    """Take the step with one thing wrong: the divisor, the forward's scale, the gradients' gains, the order."""
    Z = X @ A.T
    Y = frozen * (X @ W0.T) + (scale if forward is None else forward) * (Z @ B.T)
    gY = (Y - T) / (X.shape[0] if mean is None else mean)
    new_B = B - lr * gain[0] * scale * (gY.T @ Z)
    return new_B, A - lr * gain[1] * scale * (gY @ (new_B if soon else B)).T @ X


def _too_soon(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr, soon=True)


def _forward_again(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    new_B, _ = _step(X, T, W0, B, A, scale, lr)
    return new_B, _step(X, T, W0, new_B, A, scale, lr)[1]


def _uphill(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, -lr)


def _not_mean(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr, mean=1)


def _mean_of_all(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr, mean=T.size)


def _twice(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, 2 * lr)


def _no_scale_in_gradients(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr, gain=(1 / scale, 1 / scale))


def _no_scale_in_gb(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr, gain=(1 / scale, 1.0))


def _no_scale_in_ga(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr, gain=(1.0, 1 / scale))


def _no_scale_in_forward(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr, forward=1.0)


def _no_scale_at_all(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, 1.0, lr)


def _frozen_left_out(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr, frozen=0.0)


def _factors_left_out(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr, forward=0.0)


def _gradients_only(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    new_B, new_A = _step(X, T, W0, B, A, scale, 1.0)
    return B - new_B, A - new_A


def _other_order(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr)[::-1]


def _rate_left_out(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, 1.0)


def _half_kept(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr / 2)


def _loss_for_gradient(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    Z = X @ A.T
    gY = 0.5 * (X @ W0.T + scale * (Z @ B.T) - T) ** 2 / X.shape[0]
    return B - lr * scale * (gY.T @ Z), A - lr * scale * (gY @ B).T @ X


def _scale_twice_in_gb(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr, gain=(scale, 1.0))


def _scale_twice(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr, gain=(scale, scale))


def _only_a(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return B, _step(X, T, W0, B, A, scale, lr)[1]


def _only_b(X: Array, T: Array, W0: Array, B: Array, A: Array, scale: float, lr: float) -> Any:
    return _step(X, T, W0, B, A, scale, lr)[0], A


# ---- 07.2: how many numbers train --------------------------------------------------------------------------------


def given_widths(rng: np.random.Generator) -> Iterator[Given]:
    """Draw networks of one to four layers; some ranks are too high, for its inputs or its outputs."""
    for layers, rank in ((1, 1), (2, 3), (3, 5), (4, 2)):
        yield {"widths": tuple(int(n) for n in rng.integers(6, 40, size=layers + 1)), "rank": rank}
    wide, narrow = (int(n) for n in rng.integers(20, 40, size=2))
    yield {"widths": (wide, narrow, int(rng.integers(2, 5))), "rank": 8}
    yield {"widths": (int(rng.integers(2, 5)), wide, narrow), "rank": 8}


def _count(widths: tuple[int, ...], rank: int, *, size: Any) -> int:
    """Add a size over all layers (d, k)."""
    return sum(size(rank, d, k) for k, d in pairwise(widths))


def counted(widths: tuple[int, ...], rank: int) -> int:
    """Count with the engine: draw the factors, and add their sizes."""
    rng = np.random.default_rng(0)
    pairs = zip(widths[1:], widths[:-1], strict=True)
    return sum(M.size for d, k in pairs for M in lora.init(rng, d, k, min(rank, d, k)))


# ---- 07.3: Adam --------------------------------------------------------------------------------------------------


def given_adam(rng: np.random.Generator) -> Iterator[Given]:
    """Draw parameters and averages at several steps; gradients of all sizes, tiny ones and a zero among them."""
    for case, (shape, t) in enumerate((((1,), 1), ((2, 3), 1), ((4,), 2), ((3, 2), 7), ((5,), 100))):
        P, g = rng.normal(size=shape), rng.normal(size=shape) * 10.0 ** rng.integers(-6, 4, size=shape)
        m, v = (
            (np.zeros(shape), np.zeros(shape))
            if t == 1
            else (0.3 * rng.normal(size=shape), rng.random(shape))
        )
        if case == 1:
            g[0, 1] = 0.0
        yield {"P": P, "g": g, "m": m, "v": v, "t": t, "lr": _short(rng.uniform(0.001, 0.1))}


def adam_stepped(P: Array, g: Array, m: Array, v: Array, t: int, lr: float) -> tuple[Array, Array, Array]:
    """Take the step with the engine.  [optim-adam]"""
    state = optim.AdamState(t - 1, (m,), (v,))
    (moved,), after = optim.adam_step((P,), (g,), state, lr=lr, betas=BETAS, eps=EPS)
    return moved, after.first[0], after.second[0]


def adam_size(given: Given) -> dict[str, Array]:
    """Add the sizes of all terms; 1 − 0.999 has lost three digits already, and may lose them in other ways."""
    absolute = {name: np.abs(given[name]) for name in ("P", "g", "m", "v")}
    moved, m, v = adam_stepped(**absolute, t=given["t"], lr=given["lr"])
    return {"P": absolute["P"] + 1000 * np.abs(moved - absolute["P"]), "m": m, "v": v + given["g"] ** 2}


def _adam(
    P: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    lr: float,
    *,
    inside: Any = False,
    eps: Any = EPS,
    power: Any = None,
    root: Any = True,
    betas: Any = BETAS,
    square: Any = True,
    start: Any = False,
) -> Any:
    """Take the step with one thing wrong."""
    m = betas[0] * m + (1 - betas[0]) * g
    v = betas[1] * v + (1 - betas[1]) * (g**2 if square else g)
    power = t if power is None else power
    repaired = (m / (1 - betas[0] ** power), v / (1 - betas[1] ** power)) if power else (m, v)
    with np.errstate(all="ignore"):
        below = repaired[1] + (eps if inside else 0.0)
        below = (np.sqrt(below) if root else below) + (0.0 if inside else eps)
        return P - lr * repaired[0] / below, *(repaired if start else (m, v))


def _other(**wrong: Any) -> Any:
    return lambda P, g, m, v, t, lr: _adam(P, g, m, v, t, lr, **wrong)


def _one_late(P: Array, g: Array, m: Array, v: Array, t: int, lr: float) -> Any:
    return _adam(P, g, m, v, t, lr, power=t + 1)


def _uphill_adam(P: Array, g: Array, m: Array, v: Array, t: int, lr: float) -> Any:
    return _adam(P, g, m, v, t, -lr)


def _averages_too_late(P: Array, g: Array, m: Array, v: Array, t: int, lr: float) -> Any:
    below = np.sqrt(v / (1 - BETAS[1] ** t)) + EPS
    _, new_m, new_v = _adam(P, g, m, v, t, lr)
    return P - lr * m / (1 - BETAS[0] ** t) / below, new_m, new_v


def _v_before_m(P: Array, g: Array, m: Array, v: Array, t: int, lr: float) -> Any:
    moved, m, v = _adam(P, g, m, v, t, lr)
    return moved, v, m


def _no_share(P: Array, g: Array, m: Array, v: Array, t: int, lr: float) -> Any:
    m, v = BETAS[0] * m + g, BETAS[1] * v + g**2
    return P - lr * m / (1 - BETAS[0] ** t) / (np.sqrt(v / (1 - BETAS[1] ** t)) + EPS), m, v


def _gradient_for_average(P: Array, g: Array, m: Array, v: Array, t: int, lr: float) -> Any:
    _, m, v = _adam(P, g, m, v, t, lr)
    return P - lr * g / (np.sqrt(v / (1 - BETAS[1] ** t)) + EPS), m, v


def _repaired_after_the_root(P: Array, g: Array, m: Array, v: Array, t: int, lr: float) -> Any:
    _, m, v = _adam(P, g, m, v, t, lr)
    return P - lr * m / (1 - BETAS[0] ** t) / (np.sqrt(v) / (1 - BETAS[1] ** t) + EPS), m, v


def _old_averages(P: Array, g: Array, m: Array, v: Array, t: int, lr: float) -> Any:
    moved, *_ = _adam(P, g, m, v, t, lr)
    return moved, m, v


# ---- 07.4: the smallest rank that is good enough -----------------------------------------------------------------


def given_losses(rng: np.random.Generator) -> Iterator[Given]:
    """Draw losses of every size, ranks in any order; the lowest is not always of the largest rank, nor the last."""
    shapes = (
        ([1, 2, 4, 8], [3.0, 1.5, 1.02, 1.0], 0.05, 1.0),
        ([8, 1, 4, 2], [1.0, 2.5, 1.03, 1.4], 0.1, 20.0),
        ([1, 2, 4, 8, 16], [2.0, 1.3, 1.0, 1.01, 1.6], 0.02, 0.01),
        ([16, 4, 32, 8], [1.0, 1.3, 1.25, 1.2], 0.0, 3.0),
        ([2, 32, 8, 4, 1], [1.18, 1.0, 1.1, 1.05, 1.6], 0.15, 0.5),
        ([3], [1.0], 0.2, 7.0),
    )
    for ranks, shares, slack, size in shapes:
        unit = size * rng.uniform(0.9, 1.1)
        yield {"ranks": ranks, "losses": [float(f"{share * unit:.5g}") for share in shares], "slack": slack}


def chosen(ranks: list[int], losses: list[float], slack: float) -> int:
    """Choose from the sorted list: the first that is good enough."""
    limit = (1 + slack) * min(losses)
    return next(rank for rank, loss in sorted(zip(ranks, losses, strict=True)) if loss <= limit)


def _lowest_loss(ranks: list[int], losses: list[float], slack: float) -> Any:
    return ranks[losses.index(min(losses))]


def _slack_added(ranks: list[int], losses: list[float], slack: float) -> Any:
    return min(rank for rank, loss in zip(ranks, losses, strict=True) if loss <= min(losses) + slack)


def _first_in_the_list(ranks: list[int], losses: list[float], slack: float) -> Any:
    return next(rank for rank, loss in zip(ranks, losses, strict=True) if loss <= (1 + slack) * min(losses))


def _largest(ranks: list[int], losses: list[float], slack: float) -> Any:
    return max(rank for rank, loss in zip(ranks, losses, strict=True) if loss <= (1 + slack) * min(losses))


def _place(ranks: list[int], losses: list[float], slack: float) -> Any:
    return ranks.index(chosen(ranks, losses, slack))


def _against_the_last(ranks: list[int], losses: list[float], slack: float) -> Any:
    return min(r for r, loss in zip(ranks, losses, strict=True) if loss <= (1 + slack) * losses[-1])


def _against_the_largest_rank(ranks: list[int], losses: list[float], slack: float) -> Any:
    best = losses[ranks.index(max(ranks))]
    return min(r for r, loss in zip(ranks, losses, strict=True) if loss <= (1 + slack) * best)


def _smallest_of_all(ranks: list[int], losses: list[float], slack: float) -> Any:
    return min(ranks)


def _nearest_to_the_limit(ranks: list[int], losses: list[float], slack: float) -> Any:
    limit = (1 + slack) * min(losses)
    return ranks[int(np.argmin([abs(loss - limit) for loss in losses]))]


def _pairing_lost(ranks: list[int], losses: list[float], slack: float) -> Any:
    return _first_in_the_list(sorted(ranks), losses, slack)


def _its_loss(ranks: list[int], losses: list[float], slack: float) -> Any:
    return losses[ranks.index(chosen(ranks, losses, slack))]


# ---- 07.5: the same run under another alpha ----------------------------------------------------------------------


def given_trade(rng: np.random.Generator) -> Iterator[Given]:
    """Draw factors, a rate, and a factor on alpha: above 1 and below."""
    for (d, k, r), (low, high) in zip(
        ((1, 1, 1), (3, 4, 2), (5, 2, 1), (4, 6, 3)), ((2, 3), (3, 6), (0.2, 0.6), (7, 9)), strict=True
    ):
        B, A = rng.normal(size=(d, r)), rng.normal(size=(r, k))
        yield {"B": B, "A": A, "lr": _short(rng.uniform(0.01, 0.5)), "c": _short(rng.uniform(low, high))}


def traded(B: Array, A: Array, lr: float, c: float) -> tuple[Array, Array, float]:
    """Divide the factors by √c and the rate by c."""
    return B / np.sqrt(c), A / np.sqrt(c), lr / c


def _trade(share: float, rate: float) -> Any:
    """Divide the factors by one power of c, and the rate by another."""
    return lambda B, A, lr, c: (B / c**share, A / c**share, lr / c**rate)


def _one_factor(B: Array, A: Array, lr: float, c: float) -> Any:
    return B / c, A, lr / c


def _one_factor_rate_kept(B: Array, A: Array, lr: float, c: float) -> Any:
    return B / c, A, lr


def _other_factor(B: Array, A: Array, lr: float, c: float) -> Any:
    return B, A / c, lr / c


def _other_factor_rate_kept(B: Array, A: Array, lr: float, c: float) -> Any:
    return B, A / c, lr


def _for_four(B: Array, A: Array, lr: float, c: float) -> Any:
    return B / 2, A / 2, lr / 4


def _squares(B: Array, A: Array, lr: float, c: float) -> Any:
    return B * np.sqrt(c), A * np.sqrt(c), lr * c


# ---- the lesson --------------------------------------------------------------------------------------------------

EXERCISES = (
    Exercise(
        id="07.1",
        title="One step of both factors",
        stars=2,
        signature="train_step(X, T, W0, B, A, scale, lr)",
        returns=("B", "A"),
        given=given_step,
        expected=stepped,
        size=step_size,
        hints=(
            "Go forward to Y, make gY from Y and T, then both gradients, and move both factors against them.",
            "gY is (Y - T) divided by the number of rows. Both gradients carry the scale. Make gA before you change B.",
        ),
        equations=("lora-2", "net-squared-error", "grad-2", "optim-sgd"),
        suspects=(
            Suspect(
                "UpdatedTooSoon",
                "gA was made with the new B: make both gradients first, then move",
                _too_soon,
            ),
            Suspect(
                "UpdatedTooSoon",
                "A was moved after a second forward with the new B: both gradients belong to the same forward",
                _forward_again,
            ),
            Suspect("SignWrong", "the step goes up the slope: subtract lr times the gradient", _uphill),
            Suspect("MeanMissing", "gY is not divided by N: the loss is a mean over the rows", _not_mean),
            Suspect(
                "MeanOverAll",
                "gY is divided by all N d elements; the mean is over the N rows alone",
                _mean_of_all,
            ),
            Suspect("FactorTwo", "the step is twice as long: the loss is half the squared distance", _twice),
            Suspect("ScaleMissing", "the scale s is missing in both gradients", _no_scale_in_gradients),
            Suspect("ScaleMissing", "the scale s is missing in gB", _no_scale_in_gb),
            Suspect("ScaleMissing", "the scale s is missing in gA", _no_scale_in_ga),
            Suspect("ScaleMissing", "the scale s is missing in the forward", _no_scale_in_forward),
            Suspect(
                "ScaleMissing",
                "the scale s is missing, in the forward and in both gradients",
                _no_scale_at_all,
            ),
            Suspect("FrozenMissing", "the forward leaves out the frozen weight, X W0ᵀ", _frozen_left_out),
            Suspect("IncrementMissing", "the forward leaves out the factors, s (X Aᵀ) Bᵀ", _factors_left_out),
            Suspect(
                "GradientReturned",
                "these are the gradients; return the factors after the step",
                _gradients_only,
            ),
            Suspect("OutputsSwapped", "A comes first: return B, A in this order", _other_order),
            Suspect(
                "RateMissing",
                "the learning rate is missing: the step is lr times the gradient",
                _rate_left_out,
            ),
            Suspect(
                "FactorTwo",
                "gY is half of what it is: the ½ goes when the square is differentiated",
                _half_kept,
            ),
            Suspect(
                "LossForGradient",
                "gY is the derivative of the loss, (Y - T) / N, not the loss",
                _loss_for_gradient,
            ),
            Suspect("ScaleTwice", "the scale s is there twice in gB", _scale_twice_in_gb),
            Suspect("ScaleTwice", "the scale s is there twice in both gradients", _scale_twice),
            Suspect("NotMoved", "B has not moved: both factors take a step", _only_a),
            Suspect("NotMoved", "A has not moved: both factors take a step", _only_b),
        ),
    ),
    Exercise(
        id="07.2",
        title="How many numbers train?",
        stars=1,
        signature="trainable(widths, rank)",
        returns=("count",),
        given=given_widths,
        expected=counted,
        hints=(
            "Go through the layers: each has k inputs and d outputs, two neighbours in the list of widths.",
            "B has d times r numbers and A has r times k, where r is min(rank, d, k), layer by layer.",
        ),
        equations=("count-lora", "lora-delta"),
        suspects=(
            Suspect(
                "NotCapped",
                "a layer narrower than the rank is counted at the full rank: use min(rank, d, k)",
                lambda widths, rank: _count(widths, rank, size=lambda r, d, k: r * (d + k)),
            ),
            Suspect(
                "CappedOneSide",
                "the rank is capped by the outputs d alone; the inputs k may be fewer",
                lambda widths, rank: _count(widths, rank, size=lambda r, d, k: min(r, d) * (d + k)),
            ),
            Suspect(
                "CappedOneSide",
                "the rank is capped by the inputs k alone; the outputs d may be fewer",
                lambda widths, rank: _count(widths, rank, size=lambda r, d, k: min(r, k) * (d + k)),
            ),
            Suspect(
                "CappedTogether",
                "one cap is used for all layers; each layer has its own min(rank, d, k)",
                lambda widths, rank: _count(widths, min(rank, *widths), size=lambda r, d, k: r * (d + k)),
            ),
            Suspect(
                "WeightsCounted",
                "these are the frozen weights, d times k; the factors hold r (d + k)",
                lambda widths, rank: _count(widths, rank, size=lambda r, d, k: d * k),
            ),
            Suspect(
                "ProductCounted",
                "r is multiplied by d k: B has d r numbers and A has r k, so add d and k",
                lambda widths, rank: _count(widths, rank, size=lambda r, d, k: min(r, d, k) * d * k),
            ),
            Suspect(
                "BiasCounted",
                "the biases are counted too; they stay frozen here",
                lambda widths, rank: _count(widths, rank, size=lambda r, d, k: min(r, d, k) * (d + k) + d),
            ),
            Suspect(
                "OneFactor",
                "only B is counted: A has r k numbers more",
                lambda widths, rank: _count(widths, rank, size=lambda r, d, k: min(r, d, k) * d),
            ),
            Suspect(
                "OneFactor",
                "only A is counted: B has d r numbers more",
                lambda widths, rank: _count(widths, rank, size=lambda r, d, k: min(r, d, k) * k),
            ),
            Suspect(
                "ReturnedEarly",
                "only the first layer is counted: does the return stand inside the loop?",
                lambda widths, rank: _count(widths[:2], rank, size=lambda r, d, k: min(r, d, k) * (d + k)),
            ),
            Suspect(
                "LayerSkipped",
                "a layer narrower than the rank is left out; it gets factors of a smaller rank",
                lambda widths, rank: _count(
                    widths, rank, size=lambda r, d, k: r * (d + k) if r <= min(d, k) else 0
                ),
            ),
            Suspect(
                "LayerTooMany",
                "the last width is paired with the first; n + 1 widths make n layers",
                lambda widths, rank: _count(
                    (*widths, widths[0]), rank, size=lambda r, d, k: min(r, d, k) * (d + k)
                ),
            ),
            Suspect(
                "LargerTaken",
                "the rank of a layer is the smallest of rank, d and k; here it is the largest",
                lambda widths, rank: _count(widths, rank, size=lambda r, d, k: max(r, d, k) * (d + k)),
            ),
            Suspect(
                "LayerMissing",
                "the last layer is missing: n + 1 widths make n layers",
                lambda widths, rank: _count(widths[:-1], rank, size=lambda r, d, k: min(r, d, k) * (d + k)),
            ),
            Suspect(
                "LayerMissing",
                "the first layer is missing: n + 1 widths make n layers",
                lambda widths, rank: _count(widths[1:], rank, size=lambda r, d, k: min(r, d, k) * (d + k)),
            ),
        ),
    ),
    Exercise(
        id="07.3",
        title="Adam",
        stars=2,
        signature="adam(P, g, m, v, t, lr)",
        returns=("P", "m", "v"),
        given=given_adam,
        expected=adam_stepped,
        size=adam_size,
        hints=(
            "First move both averages on with this gradient, then repair them, then take the step.",
            "The repair divides m by 1 - 0.9 ** t and v by 1 - 0.999 ** t, for the step alone. The root is over the "
            "repaired v, and 1e-8 is added after it.",
        ),
        equations=("optim-adam",),
        suspects=(
            Suspect(
                "NoRepair", "the averages are not repaired: divide them by 1 - beta ** t", _other(power=0)
            ),
            Suspect(
                "RepairKept",
                "the averages that come back are the repaired ones; the repair acts in the step alone",
                _other(start=True),
            ),
            Suspect("PowerMissing", "the repair divides by 1 - beta; it needs the power t", _other(power=1)),
            Suspect("OffByOne", "the repair counts t + 1: t is 1 in the first step already", _one_late),
            Suspect(
                "EpsilonInside", "1e-8 stands inside the root; add it after the root", _other(inside=True)
            ),
            Suspect(
                "EpsilonMissing",
                "1e-8 is missing below: where the gradient was always 0, this divides 0 by 0",
                _other(eps=0.0),
            ),
            Suspect("RootMissing", "the root over v is missing", _other(root=False)),
            Suspect(
                "BetasSwapped",
                "the constants are swapped: 0.9 is for m, 0.999 for v",
                _other(betas=BETAS[::-1]),
            ),
            Suspect(
                "SquareMissing", "v averages the gradient; it must average its square", _other(square=False)
            ),
            Suspect("SignWrong", "the step goes up the slope: subtract it", _uphill_adam),
            Suspect(
                "AveragesTooLate", "the step uses the old averages: move m and v on first", _averages_too_late
            ),
            Suspect("OutputsSwapped", "v comes before m: return P, m, v in this order", _v_before_m),
            Suspect("ShareMissing", "the new gradient enters with the share 1 - beta, not whole", _no_share),
            Suspect(
                "GradientForAverage",
                "the step uses the gradient itself: use the average m",
                _gradient_for_average,
            ),
            Suspect(
                "RepairAfterRoot",
                "v is repaired after the root: repair it, then take the root",
                _repaired_after_the_root,
            ),
            Suspect("OldAverages", "m and v come back as they were: return the new ones", _old_averages),
        ),
    ),
    Exercise(
        id="07.4",
        title="The smallest rank that is good enough",
        stars=2,
        signature="choose_rank(ranks, losses, slack)",
        returns=("rank",),
        given=given_losses,
        expected=chosen,
        hints=(
            "Find the lowest loss, then the limit, then the smallest rank of all whose loss is within the limit.",
            "The limit is (1 + slack) * min(losses). The ranks may come in any order, so look at all of them.",
        ),
        equations=("rank-tradeoff",),
        suspects=(
            Suspect(
                "LowestLoss",
                "this is the rank of the lowest loss; a smaller one may be within the slack",
                _lowest_loss,
            ),
            Suspect(
                "SlackAdded",
                "the slack is added to the lowest loss; it is a share: take 1 + slack times",
                _slack_added,
            ),
            Suspect(
                "FirstNotSmallest",
                "this is the first rank in the list that is good enough; the list may not be sorted",
                _first_in_the_list,
            ),
            Suspect("LargestEnough", "this is the largest rank that is good enough", _largest),
            Suspect("PlaceReturned", "this is the place in the list; return the rank itself", _place),
            Suspect(
                "WrongReference",
                "the limit is made from the last loss in the list; make it from the lowest",
                _against_the_last,
            ),
            Suspect(
                "WrongReference",
                "the limit is made from the loss of the largest rank; make it from the lowest loss",
                _against_the_largest_rank,
            ),
            Suspect(
                "SmallestOfAll",
                "this is the smallest rank of all; its loss must be within (1 + slack) times the lowest",
                _smallest_of_all,
            ),
            Suspect(
                "NearestToLimit",
                "this is the rank whose loss is nearest to the limit; take the smallest that is within it",
                _nearest_to_the_limit,
            ),
            Suspect(
                "PairingLost", "the ranks are sorted without their losses: sort them together", _pairing_lost
            ),
            Suspect("LossReturned", "this is the loss; return the rank", _its_loss),
        ),
    ),
    Exercise(
        id="07.5",
        title="The same run, under another α",
        stars=3,
        signature="same_run(B, A, lr, c)",
        returns=("B", "A", "lr"),
        given=given_trade,
        expected=traded,
        hints=(
            "The product (c s) B A must stay, so B and A together are divided by c, each by the same number.",
            "With A / √c the gradient of B is c s gW (A / √c)ᵀ: √c as large. Its step must be 1 / √c as large.",
        ),
        equations=("lora-weight", "grad-1", "optim-sgd"),
        suspects=(
            Suspect(
                "RateKept",
                "the factors are right, but the rate is c times too large",
                _trade(0.5, 0),
            ),
            Suspect(
                "RateOfAdam",
                "the learning rate is divided by √c: that is Adam's trade. Here the gradient grows by √c as well",
                _trade(0.5, 0.5),
            ),
            Suspect(
                "RateSquared",
                "the rate is divided by c²: that only fits a first step from B = 0 with A kept",
                _trade(0.5, 2),
            ),
            Suspect(
                "RateWrongWay",
                "the rate grows; the gradients grew too, so it must fall",
                _trade(0.5, -1),
            ),
            Suspect(
                "DividedTwice",
                "each factor is divided by c, the product by c²: divide each by √c",
                _trade(1, 1),
            ),
            Suspect(
                "DividedTwice",
                "each factor is divided by c, the product by c²: divide each by √c",
                _trade(1, 0),
            ),
            Suspect(
                "DividedTwice",
                "each factor is divided by c, the product by c²: divide each by √c",
                _trade(1, 2),
            ),
            Suspect("OneFactor", "only B is divided; divide both by the same number", _one_factor),
            Suspect("OneFactor", "only B is divided; divide both by the same number", _one_factor_rate_kept),
            Suspect("OneFactor", "only A is divided; divide both by the same number", _other_factor),
            Suspect(
                "OneFactor", "only A is divided; divide both by the same number", _other_factor_rate_kept
            ),
            Suspect("ExampleOnly", "this fits c = 4, the example, and no other c", _for_four),
            Suspect(
                "RateWrongWay", "the rate grows; the gradients grew too, so it must fall", _trade(0.5, -0.5)
            ),
            Suspect(
                "FactorsKept",
                "the factors are as they were: the increment is c times as large",
                _trade(0, 1),
            ),
            Suspect("WrongWay", "all of it goes the wrong way: s grew, so the factors must shrink", _squares),
        ),
    ),
    Quiz(
        id="07.quiz",
        title="Exit quiz",
        answers=("21c03606c242", "8a3f5a982111", "cf2663c2e65b", "fb2627191acd"),
        again=("section 6", "section 5", "section 6, Is α a learning rate, then?", "section 5"),
    ),
)
