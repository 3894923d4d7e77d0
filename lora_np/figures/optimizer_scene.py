"""What the room on LoRA as an optimizer shows: the effective update, random factors, sums of strips.  Floor 6.

The task is the plainest there is: an increment D is wanted, L = ‖ΔW − D‖² / 2, so the weight's full gradient is
g_W = ΔW − D.  The frozen weight drops out of it.  What α and the rate do to each other stands in `trade_scene`.
Three short scenes on one task stand together, so the file is longer than most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lora_np import checks, optim
from lora_np._typing import Array, Float
from lora_np.figures.examples import example_matrix
from lora_np.gradient_view import (
    AdditiveParams,
    additive_gauge,
    additive_gradient,
    additive_init,
    additive_weight,
    effective_gradient,
    expected_random_update,
    first_order_update,
    random_projection_step,
    second_order_update,
    sgd_step,
)
from lora_np.gradient_view.random_projection import LAWS
from lora_np.lora import LoraParams, init, scaling

SIDES = (24, 16)  # d and k of the layer that is stepped
SMALL = (12, 8)  # of the layer whose entries are drawn
RATES = tuple(10 ** (place / 4) for place in range(-16, 5))
RANKS = (1, 2, 4, 8, 16)
DRAWS = tuple(2**i for i in range(9))  # 1 to 256
SEEDS = 3
WANTED = ("directions", "rows and columns")


class Moment(NamedTuple):
    """Where a run stands: the full gradient, the factors, the scale."""

    gW: Float[Array, "d k"]  # noqa: N815 (the letter of the formula)
    p: LoraParams
    scale: float


# ---- one step ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class UpdateScene:
    """Sizes ‖·‖_F of what one SGD step does to the weight, at RATES.

    `full` is η ‖g_W‖; `first` and `second` are the two orders of the effective update; `beyond` is what a step that
    is really taken does beyond its first order.  `cosine` is that of g_W and the effective gradient.
    """

    rates: tuple[float, ...]
    full: list[float]
    first: list[float]
    second: list[float]
    beyond: list[float]
    cosine: float

    @property
    def slopes(self) -> tuple[float, float | None]:
        """The slopes of both orders on logarithmic axes, fitted; None where the second is zero at every rate."""
        return slope(self.rates, self.first), slope(self.rates, self.second) if any(self.second) else None

    @property
    def crossing(self) -> float | None:
        """The rate at which the second order is as large as the first; None where it is zero at every rate."""
        return self.first[0] / self.second[0] * self.rates[0] if any(self.second) else None


def moment(rank: int, alpha: float, *, steps: int, seed: int = 0) -> Moment:
    """Begin with B = 0 and take `steps` SGD steps of rate 1 / (s² + 4).  [view-sgd]

    >>> bool((moment(4, 8, steps=0).p.B == 0).all())
    True
    """
    checks.require_int("steps", steps, minimum=0)
    d, k = SIDES
    s, D = scaling(alpha, rank), example_matrix("decay", d, k)
    p, delta_w = init(np.random.default_rng(seed), d, k, rank), np.zeros((d, k))
    for _ in range(steps):
        delta_w, p = sgd_step(delta_w, p, delta_w - D, scale=s, lr=1 / (s**2 + 4))
    return Moment(delta_w - D, p, s)


def update_scene(rank: int, alpha: float, *, steps: int) -> UpdateScene:
    """Measure one more step at every rate.  [view-update] [view-first-order]

    >>> scene = update_scene(4, 8, steps=5)
    >>> [round(slope, 6) for slope in scene.slopes]
    [1.0, 2.0]
    """
    gW, p, s = moment(rank, alpha, steps=steps)
    first = [first_order_update(gW, p, scale=s, lr=lr) for lr in RATES]
    second = [second_order_update(gW, p, scale=s, lr=lr) for lr in RATES]
    taken = [sgd_step(np.zeros(SIDES), p, gW, scale=s, lr=lr)[0] for lr in RATES]
    return UpdateScene(
        RATES,
        [lr * size(gW) for lr in RATES],
        [size(update) for update in first],
        [size(update) for update in second],
        [size(step - update) for step, update in zip(taken, first, strict=True)],
        cosine(gW, effective_gradient(gW, p, scale=s)),
    )


def cosines(alpha: float, *, steps: int, seeds: int = SEEDS) -> dict[int, list[float]]:
    """Measure the cosine of g_W and the effective gradient at every rank, for several starts.  [view-projected]

    >>> [len(found) for found in cosines(8, steps=0, seeds=3).values()]
    [3, 3, 3, 3, 3]
    """
    found: dict[int, list[float]] = {}
    for rank in RANKS:
        moments = [moment(rank, alpha, steps=steps, seed=seed) for seed in range(seeds)]
        found[rank] = [cosine(gW, effective_gradient(gW, p, scale=s)) for gW, p, s in moments]
    return found


def size(M: Array) -> float:
    """Compute ‖M‖_F."""
    return float(np.linalg.norm(M))


def cosine(M: Array, N: Array) -> float:
    """Compute <M, N> / (‖M‖ ‖N‖)."""
    return float(np.sum(M * N)) / (size(M) * size(N))


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Fit the slope on logarithmic axes.

    >>> round(slope([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


# ---- random factors ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class RandomScene:
    """How the mean of n random updates comes near its expectation, −2 r η g_W.

    `errors` are ‖mean − expected‖ / ‖expected‖ at DRAWS, `theory` the root of their mean square; `spectra` holds the
    singular values of one update, of the mean of all, and of the expectation.
    """

    draws: tuple[int, ...]
    errors: list[float]
    theory: list[float]
    spectra: dict[str, list[float]]


def random_scene(rank: int, *, law: str, seed: int = 0) -> RandomScene:
    """Draw fresh factors for every update and average.  [view-random] [view-random-mean]

    >>> random_scene(1, law="rademacher").draws[-1]
    256
    """
    rng, gW = np.random.default_rng([seed, rank]), example_matrix("decay", *SIDES)
    expected, total, zero = expected_random_update(gW, lr=1.0, rank=rank), np.zeros(SIDES), np.zeros(SIDES)
    errors, one = [], zero
    for n in range(1, DRAWS[-1] + 1):
        update = random_projection_step(rng, zero, gW, lr=1.0, rank=rank, law=law)
        one, total = (update if n == 1 else one), total + update
        if n in DRAWS:
            errors.append(size(total / n - expected) / size(expected))
    spectra = {"one update": one, f"mean of {DRAWS[-1]}": total / DRAWS[-1], "full gradient × 2r": expected}
    values = {name: np.linalg.svd(M, compute_uv=False).tolist() for name, M in spectra.items()}
    return RandomScene(DRAWS, errors, [(spread(*SIDES, rank, law=law) / n) ** 0.5 for n in DRAWS], values)


def spread(d: int, k: int, rank: int, *, law: str) -> float:
    """Compute the mean square of one random update's error over the square of its expectation.  [view-random-mean]

    (d + k + 2) / (4 r) for Gaussian factors; random signs are better by 4 / (4 r), because (AᵀA)_ii is r exactly.
    The mean of n updates has an n-th of it.

    >>> spread(3, 3, 1, law="gaussian"), spread(3, 3, 1, law="rademacher")
    (2.0, 1.0)
    """
    checks.require_one_of("law", law, LAWS)
    return (d + k + (2 if law == "gaussian" else -2)) / (4 * rank)


# ---- sums instead of products ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class AdditiveScene:
    """The wanted increment, what a product and a sum of strips make of it, and in how many directions each can move.

    `left` is ‖ΔW − D‖ / ‖D‖ at the end; `directions` counts for each moment the numbers that are trained and the
    directions of the weight that they reach; `moved` is the largest change of the weight under the gauge C = c.
    """

    increments: dict[str, Array]
    left: dict[str, float]
    directions: dict[str, tuple[int, int]]
    strips: dict[str, Array]
    moved: float


def wanted_increment(kind: str) -> Array:
    """Make the small task: directions that fall off in weight, or one number a row plus one a column.

    >>> int(np.linalg.matrix_rank(wanted_increment("rows and columns")))
    2
    """
    checks.require_one_of("kind", kind, WANTED)
    D = example_matrix("decay", *SMALL)
    return D if kind == "directions" else D[:, :1] + D[:1]


def additive_scene(rank: int, *, wanted: str, steps: int, shift: float) -> AdditiveScene:
    """Train the product and the sum on the same task, s = 1.  [additive-blocks] [additive-grad] [additive-gauge]

    >>> scene = additive_scene(1, wanted="directions", steps=5, shift=2.0)
    >>> scene.directions["sum, at the start"], scene.moved < 1e-12
    ((20, 19), True)
    """
    (d, k), D = SMALL, wanted_increment(wanted)
    start, zero = init(np.random.default_rng(0), d, k, rank), additive_init(d, k, rank)
    p, q, product, total = start, zero, np.zeros(SMALL), np.zeros(SMALL)
    for _ in range(steps):
        product, p = sgd_step(product, p, product - D, scale=1.0, lr=0.4)
        g = additive_gradient(total - D, q, scale=1.0)
        q, _ = optim.sgd_step(q, g, optim.sgd_init(q), lr=rank / (d + k))
        total = additive_weight(np.zeros(SMALL), q, scale=1.0)
    gauged = additive_gauge(q, np.full((rank, rank), float(shift)))
    after = additive_weight(np.zeros(SMALL), gauged, scale=1.0)
    return AdditiveScene(
        {"wanted": D, "product B A": product, "sum of strips": total},
        {"product": size(product - D) / size(D), "sum": size(total - D) / size(D)},
        {
            "product, at the start": (start.B.size + start.A.size, reach(start, product_of)),
            "product, trained": (p.B.size + p.A.size, reach(p, product_of)),
            "sum, at the start": (zero.B.size + zero.A.size, reach(zero, sum_of)),
            "sum, trained": (q.B.size + q.A.size, reach(q, sum_of)),
        },
        {"B": q.B[:, 0], "B + c": gauged.B[:, 0], "A": q.A[0], "A − c": gauged.A[0]},
        float(abs(after - total).max()),
    )


def product_of(p: Any) -> Array:
    """Multiply the strips."""
    return p.B @ p.A


def sum_of(p: Any) -> Array:
    """Add the strips, each repeated over the other's side."""
    return additive_weight(np.zeros(SMALL), AdditiveParams(*p), scale=1.0)


def reach(p: Any, weight: Any) -> int:
    """Count the directions in which the weight moves when each number of both strips moves a little.

    Both forms are of degree one in each number, so a step of one to both sides gives the derivative.
    """
    moves = []
    for which, strip in enumerate(p):
        for index in np.ndindex(strip.shape):
            unit = np.zeros_like(strip)
            unit[index] = 0.5
            sides = [
                weight(LoraParams(*(x + sign * unit if i == which else x for i, x in enumerate(p))))
                for sign in (1, -1)
            ]
            moves.append((sides[0] - sides[1]).ravel())
    return int(np.linalg.matrix_rank(np.array(moves), tol=1e-8))
