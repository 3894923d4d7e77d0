"""AdaLoRA's penalty, importance, schedule and budget, and starting points, with one thing wrong.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lora_np.conformance.diagnose.question import Tensors
from lora_np.conformance.diagnose.steps import Switched, slips

Config = Mapping[str, Any]


def penalty(
    t: Tensors, _c: Config, *, identity: bool = True, both: bool = True, root: bool = False
) -> dict[str, Any]:
    """‖PᵀP − I‖² + ‖QQᵀ − I‖², and its gradients."""
    parts: list[Any] = []
    for rows in (t["P"].T, t["Q"]):
        off = rows @ rows.T - (np.eye(len(rows)) if identity else 0)
        length = np.sqrt((off * off).sum())
        parts.append((length if root else length**2, (2 / length if root else 4) * off @ rows))
    kept = parts if both else parts[1:]
    return {"penalty": sum(value for value, _ in kept), "gP": parts[0][1].T * both, "gQ": parts[1][1]}


def importance(
    t: Tensors,
    c: Config,
    *,
    signed: bool = False,
    square: bool = False,
    swapped: bool = False,
    old_mean: bool = False,
    no_spread: bool = False,
    sums: bool = False,
    complement: bool = False,
    only_values: bool = False,
    gradient_only: bool = False,
    fresh: bool = False,
) -> dict[str, Any]:
    """Smooth |w g| into mean and spread, and score each triple."""
    beta1, beta2 = (c["beta2"], c["beta1"]) if swapped else (c["beta1"], c["beta2"])
    if complement:
        beta1, beta2 = 1 - beta1, 1 - beta2
    found: dict[str, Any] = {}
    entry: dict[str, Any] = {}
    for name in ("P", "lam", "Q"):
        now = t[f"g{name}"] * (1 if gradient_only else t[name])
        now = now * now if square else (now if signed else np.abs(now))
        mean = beta1 * t[f"mean.{name}"] * (not fresh) + (1 - beta1) * now
        about = t[f"mean.{name}"] if old_mean else mean
        spread = beta2 * t[f"spread.{name}"] * (not fresh) + (1 - beta2) * np.abs(now - about)
        found |= {f"mean.{name}": mean, f"spread.{name}": spread}
        entry[name] = mean if no_spread else mean * spread
    add = np.sum if sums else np.mean
    around = 0 if only_values else add(entry["P"], axis=0) + add(entry["Q"], axis=1)
    return found | {"scores": entry["lam"] + around}


def schedule(
    _t: Tensors, c: Config, *, power: int = 3, up: bool = False, whole: bool = False, paper: bool = False
) -> dict[str, Any]:
    """Compute the cubic budget, rounded down."""
    step, start, end = c["step"], c["warmup"], c["total"] - c["cooldown"]
    if step <= start or step >= end:
        return {"budget": c["initial"] if step <= start else c["final"]}
    left = 1 - (step - start) / (c["total"] - start if whole else end - start)
    left = 1 - (step - start - c["cooldown"]) / (end - start) if paper else left
    value = c["final"] + (c["initial"] - c["final"]) * left**power
    return {"budget": np.ceil(value) if up else np.floor(value)}


def budget(
    t: Tensors, c: Config, *, ties: str = "first", least: bool = False, off: int = 0, by_layer: bool = False
) -> dict[str, Any]:
    """Keep the triples of highest score over all layers."""
    layers = sorted((name for name in t if name.startswith("scores.")), key=lambda name: int(name[7:]))
    joined = np.concatenate([t[name] for name in layers])
    total = int(c["budget"]) + off
    order = np.argsort(joined if least else -joined, kind="stable")
    if ties == "last":
        order = len(joined) - 1 - np.argsort(-joined[::-1], kind="stable")
    keep = np.zeros(len(joined))
    keep[order[: max(total, 0)]] = 1
    if ties in ("all", "none") and 0 < total < len(joined):
        edge = joined[order[total - 1]] if ties == "all" else joined[order[total]]
        keep = (joined >= edge if ties == "all" else joined > edge).astype(float)
    cuts = np.cumsum([len(t[name]) for name in layers])[:-1]
    if by_layer:
        share = total // len(layers)
        rank = [np.argsort(np.argsort(-t[name], kind="stable"), kind="stable") for name in layers]
        return {f"keep.{i}": (place < share).astype(float) for i, place in enumerate(rank)}
    return {f"keep.{i}": part for i, part in enumerate(np.split(keep, cuts))}


def spectral(part: Callable[[int, int], slice]) -> Switched:
    """Make the starting point at a part of the singular values: base, B A and B Bᵀ, with switches."""

    def start(
        t: Tensors,
        c: Config,
        *,
        other: str = "",
        unscaled: bool = False,
        unshifted: bool = False,
        unscaled_shift: bool = False,
        uneven: bool = False,
    ) -> dict[str, Any]:
        U, sigma, Vt = np.linalg.svd(t["W0"], full_matrices=False)
        r, n = c["rank"], len(sigma)
        chosen = {"": part(r, n), "first": slice(0, r), "last": slice(n - r, n)}[other]
        s = 1.0 if unscaled else c["alpha"] / c["rank"]
        U, sigma, Vt = U[:, chosen], sigma[chosen], Vt[chosen]
        BA = U * sigma @ Vt / s
        shift = (1.0 if unscaled_shift else c["alpha"] / c["rank"]) * BA
        return {
            "W_base": t["W0"] - (0 if unshifted else shift),
            "BA": BA,
            "BBt": U * (sigma**2 if uneven else sigma) @ U.T / s,
        }

    return start


def householder(
    t: Tensors,
    c: Config,
    *,
    unshifted: bool = False,
    scaled: bool = False,
    unscaled_shift: bool = False,
    transposed: bool = False,
    **other: Any,
) -> dict[str, Any]:
    """OLoRA: B = Q and A = R of a QR factoring, cut to the rank, not divided by the scale."""
    if other:
        raise ValueError("no such switch")
    W0, r, s = t["W0"], c["rank"], c["alpha"] / c["rank"]
    Q, R = np.linalg.qr(W0.T if transposed else W0)
    BA = Q[:, :r] @ R[:r] / (s if scaled else 1)
    BA = BA.T if transposed else BA
    shift = (1.0 if unscaled_shift else s) * BA
    return {"W_base": W0 - (0 if unshifted else shift), "BA": BA, "BBt": Q[:, :r] @ Q[:, :r].T}


def magnitudes(t: Tensors, c: Config, *, start: str = "norm") -> dict[str, Any]:  # noqa: ARG001
    """DoRA's magnitude at the start: the norm of each row."""
    W0 = t["W0"]
    starts = {
        "norm": np.sqrt((W0 * W0).sum(axis=1)),
        "mean": W0.mean(axis=1),
        "columns": np.resize(np.sqrt((W0 * W0).sum(axis=0)), len(W0)),
        "ones": np.ones(len(W0)),
        "square": (W0 * W0).sum(axis=1),
        "absolute": np.abs(W0).sum(axis=1),
        "largest": np.abs(W0).max(axis=1, initial=0.0),
        "root mean square": np.sqrt((W0 * W0).mean(axis=1)),
    }
    return {"m": starts[start]}


PENALTY: dict[str, Switched] = {"adalora.penalty": penalty}
IMPORTANCE: dict[str, Switched] = {"adalora.importance": importance}
SCHEDULE: dict[str, Switched] = {"adalora.schedule": schedule}
MAGNITUDES: dict[str, Switched] = {"dora.init": magnitudes}
BUDGET: dict[str, Switched] = {"adalora.budget": budget}
STARTS: dict[str, Switched] = {
    "pissa.init": spectral(lambda r, _n: slice(0, r)),
    "milora.init": spectral(lambda r, n: slice(n - r, n)),
    "olora.init": householder,
}

HYPOTHESES = (
    slips(PENALTY, "IdentityMissing", "the identity is not subtracted", identity=False),
    slips(PENALTY, "OnePairOnly", "P is left out", both=False),
    slips(PENALTY, "RootForSquare", "the norm for its square", root=True),
    slips(IMPORTANCE, "AbsoluteMissing", "w g for |w g|", signed=True),
    slips(IMPORTANCE, "SquareForAbsolute", "(w g)² for |w g|", square=True),
    slips(IMPORTANCE, "WeightMissing", "|g| for |w g|", gradient_only=True),
    slips(IMPORTANCE, "BetasSwapped", "beta1 and beta2 are exchanged", swapped=True),
    slips(IMPORTANCE, "BetasComplemented", "1 − beta for beta", complement=True),
    slips(IMPORTANCE, "StaleMean", "the spread is taken about the old mean", old_mean=True),
    slips(IMPORTANCE, "SpreadMissing", "the score is the mean alone", no_spread=True),
    slips(IMPORTANCE, "SumForMean", "a triple's entries are added up for averaged", sums=True),
    slips(IMPORTANCE, "OnePartOnly", "a triple scores its singular value alone", only_values=True),
    slips(IMPORTANCE, "AverageRestarted", "the averages start afresh at every step", fresh=True),
    slips(SCHEDULE, "LinearForCubic", "the budget falls linearly", power=1),
    slips(SCHEDULE, "SquareForCubic", "the budget falls by a square", power=2),
    slips(SCHEDULE, "RoundedUp", "the budget is rounded up", up=True),
    slips(SCHEDULE, "CooldownIgnored", "the cubic ends at the last step, without the cool-down", whole=True),
    slips(SCHEDULE, "CooldownCountedTwice", "the cool-down is subtracted above the line, too", paper=True),
    slips(BUDGET, "TiedScores", "all that tie with the last one are kept", ties="all"),
    slips(BUDGET, "TiedScores", "none that tie with the first one dropped are kept", ties="none"),
    slips(BUDGET, "TiedScores", "of equal scores the later is kept", ties="last"),
    slips(BUDGET, "LeastForMost", "the least important are kept", least=True),
    slips(BUDGET, "OffByOne", "one too few is kept", off=-1),
    slips(BUDGET, "OffByOne", "one too many is kept", off=1),
    slips(BUDGET, "LayerByLayer", "each layer is ranked by itself", by_layer=True),
    slips(STARTS, "StartNotSubtracted", "the base weight is not shifted", unshifted=True),
    slips(STARTS, "MissingScale", "the factors are not divided by the scale", unscaled=True),
    slips(STARTS, "MissingScale", "the shift leaves the scale out", unscaled_shift=True),
    slips(STARTS, "ScaleApplied", "the factors are divided by the scale", scaled=True),
    slips(STARTS, "Transposed", "the transposed weight is factored", transposed=True),
    slips(STARTS, "OtherEnd", "the largest singular values for the smallest", other="first"),
    slips(STARTS, "OtherEnd", "the smallest singular values for the largest", other="last"),
    slips(STARTS, "SpectrumNotShared", "B has the whole singular values, not their roots", uneven=True),
    slips(MAGNITUDES, "NormAxis", "the magnitudes are norms of columns", start="columns"),
    slips(MAGNITUDES, "AnotherStart", "the magnitudes start at one", start="ones"),
    *(
        slips(MAGNITUDES, "AnotherNorm", f"the magnitudes start at the rows' {start}", start=start)
        for start in ("mean", "square", "absolute", "largest", "root mean square")
    ),
)
