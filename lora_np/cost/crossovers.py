"""Where one variant overtakes another: batch sizes and ranks, as exact fractions.  Floor 2.

Each is the solution of "cost of lora-2 = cost of lora-1" in the model of `linear`, so the two agree to the last
FLOP; a test holds this on both sides of every crossover.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from lora_np import checks

Rows = Fraction | float
"""A number of rows; infinity where there is no crossover."""


class Crossovers(NamedTuple):
    """Rows N above which lora-1 wins, and ranks up to which lora-2 always does.

    `forward_rows`      products only: N = d k / (d + k), whatever the rank
    `forward_counted`   every FLOP: N = d k (r + 1) / (r (d + k) + d)
    `forward_memory`    peak of forward: N = d k / (d + r)
    `backward_counted`  every FLOP of backward; infinite where lora-2 always wins
    `backward_memory`   peak of backward beside what forward keeps
    `step_counted`      every FLOP of forward and backward; infinite where lora-2 always wins
    `gradient_rank`     up to it the factors' gradients take fewer products in lora-2 at every N: d k / (2 d + k)
    `backward_rank`     up to it all of backward does, gX included: d k / (2 (d + k))

    Memory is that of a library that reuses every temporary, as NumPy does for large float64 arrays.
    """

    forward_rows: Rows
    forward_counted: Rows
    forward_memory: Rows
    backward_counted: Rows
    backward_memory: Rows
    step_counted: Rows
    gradient_rank: Fraction
    backward_rank: Fraction


def crossovers(d: int, k: int, r: int) -> Crossovers:
    """Find where lora-1 overtakes lora-2 in FLOPs and in memory.  [cost-crossover] [cost-rank]

    Raises `ConfigError`.

    >>> found = crossovers(256, 256, 8)
    >>> found.forward_rows, round(float(found.forward_counted)), found.step_counted
    (Fraction(128, 1), 136, inf)
    """
    for name, value in (("d", d), ("k", k), ("r", r)):
        checks.require_int(name, value, minimum=1)
    # per row of the batch, how many FLOPs more lora-2 takes; and per step, how many more lora-1 takes
    forward = 2 * r * (d + k) + 2 * d, 2 * d * k * (r + 1)
    backward = 4 * r * (d + k) + r + k - 2 * d * k, 4 * d * k * r + r * k
    step = forward[0] + backward[0], forward[1] + backward[1]
    return Crossovers(
        forward_rows=Fraction(d * k, d + k),
        forward_counted=_meet(*forward),
        forward_memory=Fraction(d * k, d + r),
        backward_counted=_meet(*backward),
        backward_memory=min(Fraction(2 * d * k + r * (d + k), k + 2 * r), Fraction(d * k, r)),
        step_counted=_meet(*step),
        gradient_rank=Fraction(d * k, 2 * d + k),
        backward_rank=Fraction(d * k, 2 * (d + k)),
    )


def _meet(per_row: int, once: int) -> Rows:
    """Solve N per_row = once; without a positive solution the second never overtakes the first."""
    return Fraction(once, per_row) if per_row > 0 else math.inf
