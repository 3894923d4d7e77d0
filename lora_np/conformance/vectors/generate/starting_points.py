"""Vectors of `init` for methods that start at a decomposition of the weight.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lora_np.conformance.vectors.format import Tensor
from lora_np.conformance.vectors.generate.inputs import HUGE, TINY, Draws
from lora_np.conformance.vectors.generate.plan import Plan, Recipe
from lora_np.conformance.vectors.generate.situations import ALPHAS

SIZES = ((4, 3), (3, 5), (5, 2), (4, 4), (2, 3))
LEAST_GAP = 0.1
"""Every two neighbouring singular values differ by this share of the largest one, and so does the last from zero."""

ORDINARY = "singular values well apart"


def apart(W0: np.ndarray) -> bool:
    """Tell whether the singular values are well apart, and so are the leading columns from each other's span."""
    sigma = np.linalg.svd(W0, compute_uv=False)
    diagonal = np.abs(np.diag(np.linalg.qr(W0)[1]))
    gaps = np.append(sigma[:-1] - sigma[1:], sigma[-1])
    return bool(gaps.min() >= LEAST_GAP * sigma[0] and diagonal.min() >= LEAST_GAP * sigma[0])


def weight(draws: Draws, kind: str, shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Draw weights until one has a spectrum that is well apart."""
    while True:
        W0 = draws.values(kind, shape, dtype)
        if apart(W0):
            return W0


def plans(method: str) -> list[Plan]:
    """List all ranks of a few shapes, and the kinds of numbers, in both element types."""
    chosen: list[tuple[tuple[int, int], int, str, float, str]] = [
        (shape, rank, "short", 1.0, ORDINARY) for shape in SIZES for rank in range(1, min(shape) + 1)
    ]
    chosen += [
        ((4, 3), 2, "full", 1.0, "every bit of the inputs counts"),
        ((3, 5), 1, "full", 1.0, "every bit of the inputs counts"),
        ((3, 4), 2, "integers", 1.0, "small whole numbers"),
        ((4, 3), 2, "short", TINY, "W0 near 1e-30"),
        ((3, 5), 2, "short", HUGE, "W0 near 1e30"),
        ((1, 1), 1, "short", 1.0, "every side is 1"),
    ]
    made = []
    for number, (shape, rank, kind, size, comment) in enumerate(chosen):
        for dtype in ("float64", "float32"):
            W0 = size * weight(Draws(f"{method}/init/{number}/{dtype}"), kind, shape, dtype)
            made.append(
                Plan(
                    config={"rank": rank, "alpha": ALPHAS[number % len(ALPHAS)]},
                    dtype=dtype,
                    inputs={"W0": Tensor(W0, dtype)},
                    comment=comment,
                    flags=flags_of(kind, size, dtype) + (("FullRank",) if rank == min(shape) else ()),
                )
            )
    return made


def flags_of(kind: str, size: float, dtype: str) -> tuple[str, ...]:
    """Flag a case by its numbers."""
    if size != 1.0:
        return ("TinyValues",) if size < 1 else ("HugeValues",)
    if kind == "full":
        return ("InputRoundedToBfloat16", *(("InputRoundedToFloat32",) if dtype == "float64" else ()))
    return ("DecompositionGap", "MissingScale", "SquaredScale", "Transposed")


# ---- second roads: LAPACK's decompositions ------------------------------------------------------------------


def by_svd(inside: Callable[[int], slice]) -> Callable[[Plan], dict[str, Any]]:
    """Make the road for a start at some of the singular triples, by LAPACK in float64."""

    def road(plan: Plan) -> dict[str, Any]:
        W0, s = plan.inputs["W0"].values, plan.config["alpha"] / plan.config["rank"]
        U, sigma, Vt = np.linalg.svd(W0, full_matrices=False)
        part = inside(plan.config["rank"])
        B, A = U[:, part] * np.sqrt(sigma[part] / s), np.sqrt(sigma[part] / s)[:, None] * Vt[part]
        return {"W_base": W0 - s * (B @ A), "BA": B @ A, "BBt": B @ B.T}

    return road


def by_qr(plan: Plan) -> dict[str, Any]:
    """Start at the QR factors, by LAPACK in float64."""
    W0, rank = plan.inputs["W0"].values, plan.config["rank"]
    Q, R = np.linalg.qr(W0)
    B, A = Q[:, :rank], R[:rank]
    return {"W_base": W0 - plan.config["alpha"] / rank * (B @ A), "BA": B @ A, "BBt": B @ B.T}


def by_frozen_svd(plan: Plan) -> dict[str, Any]:
    """Freeze U_r and Σ_r V_rᵀ, by LAPACK in float64."""
    U, sigma, Vt = np.linalg.svd(plan.inputs["W0"].values, full_matrices=False)
    B, A = U[:, : plan.config["rank"]], sigma[: plan.config["rank"], None] * Vt[: plan.config["rank"]]
    return {"BA": B @ A, "BBt": B @ B.T}


ROADS = {
    "pissa": by_svd(lambda rank: slice(0, rank)),
    "milora": by_svd(lambda rank: slice(-rank, None)),
    "olora": by_qr,
    "lora-xs": by_frozen_svd,
}


def recipes() -> list[Recipe]:
    """List this module's files."""
    return [
        Recipe(method, "init", lambda method=method: plans(method), road=road, road_name="LAPACK, in float64")  # type: ignore[misc]
        for method, road in ROADS.items()
    ]
