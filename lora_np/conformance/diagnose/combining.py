"""Several adapters as one, with one thing wrong: weights, scales, signs, cross terms, densities, ranks.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.question import Tensors
from lora_np.conformance.diagnose.steps import Switched, slips

Config = Mapping[str, Any]
KINDS = ("cat", "linear", "svd", "ties", "dare", "dare-ties", "magnitude")


def numbered(t: Tensors, name: str) -> list[Array]:
    """List the tensors name.0, name.1, ..."""
    return [t[f"{name}.{i}"] for i in range(sum(key.startswith(f"{name}.") for key in t))]


def shares(c: Config, count: int, how: str) -> list[float]:
    """Give each adapter its factor: weight times scale, or what a mistake makes of it."""
    weights = list(c.get("weights") or [1.0] * count)
    scales = list(c.get("scales") or [1.0] * count)
    made = {
        "right": [w * s for w, s in zip(weights, scales, strict=True)],
        "scales ignored": weights,
        "weights ignored": scales,
        "scales squared": [w * s * s for w, s in zip(weights, scales, strict=True)],
        "weights squared": [w * w * s for w, s in zip(weights, scales, strict=True)],
        "signs lost": [abs(w * s) for w, s in zip(weights, scales, strict=True)],
        "normalized": [w * s / (sum(weights) or 1) for w, s in zip(weights, scales, strict=True)],
        "averaged": [w * s / count for w, s in zip(weights, scales, strict=True)],
        "first only": [weights[0] * scales[0], *[0.0] * (count - 1)],
        "last dropped": [*(w * s for w, s in zip(weights[:-1], scales[:-1], strict=True)), 0.0],
        "first scale": [w * scales[0] for w in weights],
    }
    return [float(share) for share in made[how]]


def trimmed(delta: Array, density: float) -> Array:
    """Keep the largest entries, the first of equals; as many as the density says, rounded down."""
    count = int(delta.size * Fraction(str(float(density))))
    place = np.argsort(np.argsort(-np.abs(delta).ravel(), kind="stable"), kind="stable")
    return np.where((place < count).reshape(delta.shape), delta, 0.0)


def elected(deltas: list[Array], election: str) -> Array:
    """Average those entries that agree with the elected sign, or what a mistake makes of it."""
    signs = np.stack([np.sign(delta) for delta in deltas])
    stack = np.stack(deltas)
    sign = np.sign(signs.sum(axis=0) if election == "by number" else stack.sum(axis=0))
    sign = np.where(sign == 0, 1.0, sign) if election == "ties positive" else sign
    agree = signs == sign if election != "all" else np.ones(signs.shape, dtype=bool)
    mass, voters = np.where(agree, stack, 0).sum(axis=0), agree.sum(axis=0)
    voters = np.full(voters.shape, len(deltas)) if election == "by all" else voters
    return mass if election == "sum" else mass / np.where(voters == 0, 1, voters)


def combined(
    kind: str,
    t: Tensors,
    c: Config,
    *,
    how: str = "right",
    cross: bool | None = None,
    sign_on_both: bool = False,
    density: str = "right",
    rescaled: str = "right",
    election: str = "right",
    inverted: bool = False,
    rank: int = 0,
    root: bool = False,
) -> dict[str, Any]:
    """Combine the adapters as `kind` says."""
    B, A = numbered(t, "B"), numbered(t, "A")
    factors = shares(c, len(B), how)
    deltas = [f * b @ a for f, b, a in zip(factors, B, A, strict=True)]
    total = sum(deltas[1:], start=deltas[0])
    if kind == "linear" if cross is None else cross:
        roots = [np.sqrt(abs(f)) for f in factors]
        signed = [np.sign(f) * r for f, r in zip(factors, roots, strict=True)]
        left = sum(r * b for r, b in zip(signed if sign_on_both else roots, B, strict=True))
        total = left @ sum(r * a for r, a in zip(signed, A, strict=True))
    keep = float(
        c.get("density", 1.0)
        if density == "right"
        else {"whole": 1.0, "rest": 1 - c.get("density", 1.0)}[density]
    )
    if kind in ("ties", "magnitude"):
        deltas = [trimmed(delta, keep) for delta in deltas]
    if kind.startswith("dare"):
        by = {"right": c["density"], "not": 1.0, "rest": 1 - c["density"]}[rescaled]
        masks = [(mask != 0) != inverted for mask in numbered(t, "keep")]
        deltas = [np.where(mask, delta / by, 0.0) for mask, delta in zip(masks, deltas, strict=True)]
    if kind in ("magnitude", "dare"):
        total = sum(deltas[1:], start=deltas[0])
    if kind.endswith("ties"):
        total = elected(deltas, election)
    if kind == "svd":
        U, sigma, Vt = np.linalg.svd(total, full_matrices=False)
        kept = min(int(c["svd_rank"]) + rank, len(sigma)) if rank < 100 else len(sigma)
        total = U[:, :kept] * sigma[:kept] @ Vt[:kept]
    if root:
        total = total * np.sqrt(sum(a.shape[0] for a in A) if kind == "cat" else max(a.shape[0] for a in A))
    return {"delta": total}


ALL: dict[str, Switched] = {f"combine-{kind}.combine": partial(combined, kind) for kind in KINDS}


def _of(*kinds: str) -> dict[str, Switched]:
    return {
        name: function
        for name, function in ALL.items()
        if name.removeprefix("combine-").split(".")[0] in kinds
    }


HYPOTHESES = (
    slips(ALL, "MissingScale", "the adapters' scales are left out", how="scales ignored"),
    slips(ALL, "WeightsIgnored", "the weights are left out", how="weights ignored"),
    slips(ALL, "SquaredScale", "the adapters' scales are applied twice", how="scales squared"),
    slips(ALL, "WeightsSquared", "the weights are applied twice", how="weights squared"),
    slips(
        ALL, "SqrtRank", "off by the root of the rank: is the combined adapter rank-stabilized?", root=True
    ),
    slips(ALL, "SignLost", "the sign of a weight is lost", how="signs lost"),
    slips(ALL, "AdapterDropped", "the last adapter is left out", how="last dropped"),
    slips(ALL, "AdapterDropped", "all adapters but the first are left out", how="first only"),
    slips(ALL, "AnotherScale", "every adapter has the scale of the first", how="first scale"),
    slips(ALL, "MeanForSum", "the weights are divided by their sum", how="normalized"),
    slips(ALL, "MeanForSum", "an average for a sum", how="averaged"),
    slips(_of("cat", "svd"), "CrossTerms", "factors are added for increments: cross terms", cross=True),
    slips(_of("linear"), "CrossTermsMissing", "increments are added for factors", cross=False),
    slips(
        _of("linear"),
        "SignFlipped",
        "the sign of a weight is put on both factors, where it cancels",
        sign_on_both=True,
    ),
    slips(_of("ties", "magnitude"), "DensityInverted", "the density is the share that goes", density="rest"),
    slips(_of("ties", "magnitude"), "DensityIgnored", "nothing is trimmed", density="whole"),
    slips(
        _of("dare", "dare-ties"), "RescaleMissing", "what stays is not divided by the density", rescaled="not"
    ),
    slips(
        _of("dare", "dare-ties"), "DensityInverted", "what stays is divided by 1 − density", rescaled="rest"
    ),
    slips(_of("dare", "dare-ties"), "MaskInverted", "what the mask keeps is dropped", inverted=True),
    slips(
        _of("ties", "dare-ties"), "ElectionByNumber", "signs are counted, not weighed", election="by number"
    ),
    slips(
        _of("ties", "dare-ties"),
        "ElectionMissing",
        "all entries are averaged, whatever their sign",
        election="all",
    ),
    slips(
        _of("ties", "dare-ties"), "SumForMean", "those who agree are added up, not averaged", election="sum"
    ),
    slips(_of("ties", "dare-ties"), "MeanOverAll", "the mean counts those who disagree", election="by all"),
    slips(_of("ties", "dare-ties"), "TiedScores", "no majority counts as positive", election="ties positive"),
    slips(_of("svd"), "RankIgnored", "the sum is not truncated", rank=100),
    slips(_of("svd"), "OffByOne", "one singular value too many", rank=1),
    slips(_of("svd"), "OffByOne", "one singular value too few", rank=-1),
)
