"""What the shipped runs say about matrices and ranks, in sentences computed from them.  Floor 6.

A sentence says what came out, for the paper or against it; nothing here knows the outcome beforehand.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from lora_np.figures.chart import percent
from lora_np.figures.prune_scene import rank_correlation
from lora_np.figures.subspace_scene import PhiScene, Strength, at_budget, by_rank, of_the_grid, told
from lora_np.training.experiments.records import Record

PAPER: Mapping[str, float] = MappingProxyType(
    {"q": 70.4, "k": 70.0, "v": 73.0, "o": 73.2, "qk": 71.4, "qv": 73.7, "qkvo": 73.7}
)
"""Accuracy in percent of GPT-3 on WikiSQL at one budget: LoRA paper, table 5."""
TIE = 0.01  # a point of accuracy: less is not worth a word


def better_of(records: Sequence[Record], budget: int, first: str, second: str) -> str:
    """Name the set with the higher mean at a budget; empty where they are within a point of each other."""
    means = {str(row["set"]): _mean(row) for row in at_budget(records, budget)}
    gap = means[first] - means[second]
    return "" if abs(gap) <= TIE else first if gap > 0 else second


def means_of(records: Sequence[Record], budget: int) -> str:
    """List the means of all sets at a budget, the best first."""
    return ", ".join(f"{told(str(row['set']))} {percent(_mean(row))}" for row in at_budget(records, budget))


def on_matrices(records: Sequence[Record], budget: int) -> str:
    """Say which sets win at a budget, in how many seeds, and how the paper's order compares."""
    rows = at_budget(records, budget)
    best, second, last = rows[0], rows[1], rows[-1]
    ours, theirs = np.array([(_mean(row), PAPER[str(row["set"])]) for row in rows if row["set"] in PAPER]).T
    agreement = rank_correlation(ours, theirs)
    verdict = (
        "the same tendency" if agreement > 0.5 else "another order" if agreement > -0.5 else "the reverse"
    )
    pair = 1 + [row["set"] for row in rows].index("qv")
    return (
        f"With {budget:,} trained numbers, **{told(str(best['set']))}** at rank {best['rank']} comes first with "
        f"{percent(_mean(best))}, {points(_mean(best) - _mean(second))} ahead of {told(str(second['set']))} "
        f"(ahead {_ahead(records, best, second)}); {told(str(last['set']))} comes last with {percent(_mean(last))} "
        f"(behind the first {_ahead(records, best, last)}). In the paper's table 5 (GPT-3), where q + v shares the "
        f"first place, the order of the sets shows {verdict}: rank correlation {agreement:.2f}; here q + v is number "
        f"{pair} of {len(rows)}."
    )


def _ahead(records: Sequence[Record], first: Record, second: Record) -> str:
    """Count the seeds in which one set is ahead of another: every seed is one pretrained transformer for both."""
    wins = [
        float(one["accuracy"]) > float(other["accuracy"])
        for one in of_the_grid(records)
        for other in of_the_grid(records)
        if one["seed"] == other["seed"]
        and (one["set"], one["rank"]) == (first["set"], first["rank"])
        and (other["set"], other["rank"]) == (second["set"], second["rank"])
    ]
    return f"in {sum(wins)} of {len(wins)} seeds"


def on_ranks(records: Sequence[Record], chosen: str) -> str:
    """Say what doubling the rank still brings, and whether 16 is the best."""
    rows = [row for row in by_rank(records) if row["set"] == chosen]
    best, last, before_last = max(rows, key=_mean), rows[-1], rows[-2]
    gain = _mean(last) - _mean(before_last)
    brings = (
        f"brings {points(gain)}"
        if gain > TIE
        else f"costs {points(-gain)}"
        if gain < -TIE
        else "changes little"
    )
    enough = next(row for row in rows if _mean(row) >= _mean(best) - TIE)
    return (
        f"{told(chosen)}: rank {enough['rank']} is within a point of the best mean, {percent(_mean(best))} at rank "
        f"{best['rank']}; going from rank {before_last['rank']} to {last['rank']} {brings} and doubles the numbers."
    )


def on_sharing(scene: PhiScene) -> str:
    """Say what two factors share, first directions and all, against chance."""
    first, whole = (scene.phi[place] - scene.chance[place] for place in ((0, 0), (-1, -1)))
    said = [
        "far more than"
        if excess > 0.3
        else "more than"
        if excess > 0.1
        else "about what"
        if excess > -0.1
        else "less than"
        for excess in (first, whole)
    ]
    return (
        f"The first directions share {scene.phi[0, 0]:.2f}, {said[0]} chance gives ({scene.chance[0, 0]:.2f}); all "
        f"directions together share {scene.phi[-1, -1]:.2f}, {said[1]} chance gives ({scene.chance[-1, -1]:.2f})."
    )


def on_strength(row: Strength, *, matrix: str) -> str:
    """Say whether the increment follows the weight's own top directions, others, or none."""
    against_random, share = row.inside / row.random, row.inside / row.own
    kind = (
        "so it follows W₀'s strongest directions"
        if share > 0.7
        else "so it lies along directions that W₀ has but does not stress"
        if against_random > 1.5
        else "so it lies along directions that mean no more to W₀ than random ones"
    )
    return (
        f"In the directions of W_{matrix}'s increment of rank {row.rank}, W₀ is {against_random:.1f} times as strong "
        f"as in random ones, and has {percent(share)} of what its own top directions have: {kind}. The increment is "
        f"{row.factor:.1f} times as strong there as W₀."
    )


def points(difference: float) -> str:
    """Write a difference of accuracies.

    >>> points(0.0234), points(0.01)
    ('2.3 points', '1.0 points')
    """
    return f"{100 * difference:.1f} points"


def _mean(row: Record) -> float:
    """Read the mean of a summary."""
    return float(row["mean"])
