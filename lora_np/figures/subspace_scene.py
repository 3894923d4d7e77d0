"""What the room on matrices and ranks shows: accuracy at equal budget, shared directions, amplification.  Floor 6.

All of it is read off runs that ship, or made of them by `lora_np.subspace`; `rerun` trains a few of them again.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError
from lora_np.lora import LoraParams
from lora_np.rank.decomposition import SVD, svd
from lora_np.subspace import amplification, similarity_grid
from lora_np.training.experiments import matrices
from lora_np.training.experiments.matrices import ADAPTING, ALPHA_OVER_RANK, LIVE_STEPS, RANKS, SEEDS, Shipped
from lora_np.training.experiments.records import Record, summary

BUDGETS = (512, 1024, 2048)
OTHERS = ("another rank", "another start", "random")
FACTORS = {"A": "right", "B": "left"}
"""Which side's directions a factor says something about: A reads the inputs, B writes the outputs."""


# ---- accuracy ------------------------------------------------------------------------------------------------


def of_the_grid(records: Sequence[Record]) -> list[Record]:
    """Keep the runs of full length on the first start: every set at every rank, by seed."""
    return [row for row in records if row["steps"] == ADAPTING[0] and row["draw"] == 1]


def at_budget(records: Sequence[Record], budget: int) -> list[Record]:
    """Summarize over seeds what so many trained numbers give, the best set first; sets that cannot are left out.

    Raises `ConfigError` where no set can.
    """
    rows = [row for row in of_the_grid(records) if row["trained"] == budget]
    if not rows:
        raise ConfigError(f"no set of matrices trains {budget} numbers", fix=f"choose one of {BUDGETS}")
    return sorted(summary(rows, ["set", "rank", "trained"]), key=lambda row: -float(row["mean"]))


def by_rank(records: Sequence[Record]) -> list[Record]:
    """Summarize every set at every rank over seeds."""
    return summary(of_the_grid(records), ["set", "rank", "trained"])


def before(records: Sequence[Record]) -> tuple[float, float]:
    """Average the accuracy on upright digits, and on turned ones before any adapter."""
    rows = list({row["seed"]: row for row in records}.values())
    upright, turned = (
        math.fsum(float(row[name]) for row in rows) / len(rows) for name in ("upright", "before")
    )
    return upright, turned


# ---- shared directions -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class PhiScene:
    """How much of the top i directions of one factor lies in the top j of another, and what chance gives.

    `phi` and `chance` hold i in rows and j in columns, from 1; `n` is the number of dimensions.
    """

    names: tuple[str, str]
    phi: Float[Array, "p q"]
    chance: Float[Array, "p q"]
    n: int

    @property
    def excess(self) -> Float[Array, "p q"]:
        """What is shared beyond chance."""
        return self.phi - self.chance


def phi_scene(
    shipped: Shipped, matrix: str, factor: str, rank: int, *, other: str, other_rank: int
) -> PhiScene:
    """Compare a trained factor with another one, or with a random one.  [subspace-phi] [subspace-random]

    Chance is E φ = max(i, j) / n.  Raises `ConfigError`.
    """
    checks.require_one_of("factor", factor, FACTORS)
    checks.require_one_of("other", other, OTHERS)
    first = wide(shipped.factors[matrix, rank, 1])
    if other == "random":
        rng = np.random.default_rng(0)
        second = LoraParams(*(rng.standard_normal(M.shape) for M in first))
        name = f"random {factor}"
    else:
        place = (matrix, other_rank, 1) if other == "another rank" else (matrix, rank, 2)
        second = wide(shipped.factors[place])
        name = f"{factor}, rank {place[1]}" + (", other start" if place[2] == 2 else "")
    M, other_M = (p._asdict()[factor] for p in (first, second))
    phi = similarity_grid(M, other_M, side=FACTORS[factor])
    n = max(M.shape)
    i, j = np.indices(phi.shape) + 1
    return PhiScene((f"{factor}, rank {rank}", name), phi, np.maximum(i, j) / n, n)


def wide(p: LoraParams) -> LoraParams:
    """Take factors from single to double precision."""
    return LoraParams(*(np.asarray(M, dtype=np.float64) for M in p))


# ---- amplification ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Strength:
    """At one rank: ‖ΔW‖, and ‖Uᵀ W₀ V‖ for U, V of the increment, of W₀ itself, and as expected of random ones."""

    rank: int
    delta: float
    inside: float
    own: float
    random: float

    @property
    def factor(self) -> float:
        """By how much the increment exceeds the weight in the increment's own directions."""
        return self.delta / self.inside if self.inside else math.inf


def strengths(shipped: Shipped, matrix: str, *, decompose: Callable[[Array], SVD] = svd) -> list[Strength]:
    """Measure a matrix's increments of every rank against W₀.  [subspace-amplification] [subspace-random]

    U, V are the top r directions.  W₀'s own give √(σ₁² + … + σ_r²), by `decompose`; chance is r ‖W₀‖ / √(d k).
    """
    W0 = np.asarray(shipped.network.layers[matrix].W, dtype=np.float64)
    own = np.sqrt(np.cumsum(decompose(W0).sigma ** 2))
    chance = float(np.linalg.norm(W0)) / math.sqrt(W0.size)
    found = []
    for r in RANKS:
        inside = amplification(W0, increment(shipped.factors[matrix, r, 1]), r)
        found.append(Strength(r, inside.delta_norm, inside.projected_norm, float(own[r - 1]), r * chance))
    return found


def increment(p: LoraParams) -> Float[Array, "d k"]:
    """Multiply the factors out: s B A.  [lora-delta]"""
    B, A = wide(p)
    return ALPHA_OVER_RANK * (B @ A)


# ---- again, here -----------------------------------------------------------------------------------------------


def rerun(
    shipped: Shipped, *, steps: int = LIVE_STEPS
) -> Generator[tuple[float, str], None, list[dict[str, str | int | float]]]:
    """Train the small grid again, from the shipped transformer; yield (share done, words), return a row for each run.

    Bounded: nine runs of `steps` batches.
    """
    turned = matrices.tasks(np.random.default_rng([SEEDS[0], 0]))[1]
    plan = [(name, rank) for name in matrices.LIVE_SETS for rank in matrices.LIVE_RANKS]
    rows: list[dict[str, str | int | float]] = []
    for number, (name, rank) in enumerate(plan):
        words = f"Run {number + 1} of {len(plan)}: {told(name)} at rank {rank}"
        run = matrices.adapting(shipped.network, turned, name, rank, seed=SEEDS[0], steps=steps)
        for step, net in enumerate(run, start=1):  # noqa: B007 (the last one is evaluated)
            yield (number + step / steps) / len(plan), words
        rows.append({"matrices": told(name), "rank": rank, "accuracy here": matrices.held_out(net, turned)})
    return rows


def told(name: str) -> str:
    """Write a set of matrices as a reader says it.

    >>> told("qkvo12"), told("qv"), told("o")
    ('all six', 'q + v', 'o')
    """
    return "all six" if len(name) == 6 else " + ".join(name)


def same_again(rows: Sequence[Record], records: Sequence[Record]) -> tuple[dict[str, list[object]], int]:
    """Put a rerun beside what ships: columns by name, and how many accuracies are the same to the digit."""
    as_shipped = [float(row["accuracy"]) for row in records if row["steps"] == LIVE_STEPS]
    columns: dict[str, list[object]] = {name: [row[name] for row in rows] for name in rows[0]}
    columns["accuracy as shipped"] = list(as_shipped)
    here = [row["accuracy here"] for row in rows]
    return columns, sum(a == b for a, b in zip(here, as_shipped, strict=True))
