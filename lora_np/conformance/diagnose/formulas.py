"""Each method's weight and output in plain NumPy, of every size and of complex numbers: what guesses are made with.

Floor 6.  A third writing of the formulas, short and without checks: it decides nothing about right or wrong, it only
says what comes out of a mistake.  A `Model` is two functions: `weight` makes the matrix that acts, with the scale s
as an argument, and `output` applies it; a mistake replaces a tensor, the scale, or one of the two functions.  Complex
arguments pass through, so that a gradient is a difference in the imaginary direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.question import Tensors

Config = Mapping[str, Any]
Weight = Callable[[Tensors, Config, float], Array]
Apply = Callable[[Tensors, Config, Any], Array]


class Model(NamedTuple):
    """How a method makes its weight from the tensors and the scale, and its output from the weight."""

    weight: Weight
    output: Apply


# ---- scales -------------------------------------------------------------------------------------------------


def scale_of(method: str, config: Config) -> float:
    """Compute the factor on the increment; 1 for methods that have none."""
    if method == "rslora":
        return float(config["alpha"]) / math.sqrt(config["rank"])
    if method == "adalora":
        return float(config.get("scale", 1.0))
    if "alpha" in config and "rank" in config:
        return float(config["alpha"]) / int(config["rank"])
    return 1.0


# ---- increments ---------------------------------------------------------------------------------------------


def second_of_kronecker(t: Tensors) -> Array:
    """LoKr's second factor, given whole or as a product."""
    return t["D"] if "D" in t else t["B"] @ t["A"]


def tiled(t: Tensors) -> Array:
    """Make the additive increment: B repeated to the right, A repeated downward."""
    r, (d, k) = t["A"].shape[0], (t["B"].shape[0], t["A"].shape[1])
    return np.tile(t["B"], (1, k // r)) + np.tile(t["A"], (d // r, 1))


def lora(t: Tensors) -> Array:
    """B A."""
    return t["B"] @ t["A"]


INCREMENTS: dict[str, Callable[[Tensors], Array]] = {
    "lora-xs": lambda t: t["B"] @ t["R"] @ t["A"],
    "loha": lambda t: (t["B1"] @ t["A1"]) * (t["B2"] @ t["A2"]),
    "lokr": lambda t: np.kron(t["C"], second_of_kronecker(t)),
    "vera": lambda t: (t["lambda_b"][:, None] * t["B"]) @ (t["lambda_d"][:, None] * t["A"]),
    "adalora": lambda t: (t["P"] * t["lam"]) @ t["Q"],
    "additive": tiled,
    "symmetric": lambda t: t["B"] @ t["A"] - t["B0"] @ t["A0"],
    **dict.fromkeys(("lora", "rslora", "lora-plus", "lora-fa", "pissa", "milora", "olora"), lora),
}
"""What is added to W0, before the scale."""


def adding(increment: Callable[[Tensors], Array]) -> Weight:
    """Make the weight W0 + s times an increment."""
    return lambda t, _c, s: t["W0"] + s * increment(t)


# ---- weights ------------------------------------------------------------------------------------------------


def row_norms(V: Array) -> Array:
    """Take the norm of each row, as a column; differentiable in the imaginary direction."""
    return np.sqrt((V * V).sum(axis=1, keepdims=True))


def detached_row_norms(V: Array) -> Array:
    """Take the same, held constant: only the real part has a value."""
    return row_norms(np.real(V))


def dora_weight(norm: Callable[[Array], Array]) -> Weight:
    """Make DoRA's weight with a given norm: m V / ‖V‖, V = W0 + s B A."""

    def weight(t: Tensors, c: Config, s: float) -> Array:  # noqa: ARG001
        V = t["W0"] + s * lora(t)
        return t["m"][:, None] * V / norm(V)

    return weight


def _dora(t: Tensors, c: Config, s: float) -> Array:
    return dora_weight(detached_row_norms if c.get("norm") == "detached" else row_norms)(t, c, s)


def skew_blocks(q: Array, b: int) -> Array:
    """Fill the skew matrix of each block from its strict upper triangle, row by row."""
    blocks = q.reshape(-1, b * (b - 1) // 2)
    Q = np.zeros((blocks.shape[0], b, b), dtype=q.dtype)
    rows, columns = np.triu_indices(b, 1)
    Q[:, rows, columns] = blocks
    return Q - np.swapaxes(Q, 1, 2)


def cayley(Q: Array) -> Array:
    """(I − Q)(I + Q)⁻¹: the two factors commute."""
    one = np.eye(Q.shape[-1])
    return np.linalg.solve(one + Q, one - Q)


def neumann(Q: Array) -> Array:
    """I − 2Q + 2Q² − 2Q³ + Q⁴: the series of five terms."""
    Q2 = Q @ Q
    return np.eye(Q.shape[-1]) - 2 * Q + 2 * Q2 - 2 * (Q2 @ Q) + Q2 @ Q2


def rotated(t: Tensors, rotation: Callable[[Array], Array], c: Config, name: str = "W0") -> Array:
    """Multiply each block of input columns of a weight by its own rotation."""
    W, q = t[name], -t["q"] if c.get("side") == "transposed" else t["q"]
    b = W.shape[1] // q.shape[0]
    R = rotation(skew_blocks(q, b))
    return np.concatenate([W[:, i * b : (i + 1) * b] @ R[i] for i in range(q.shape[0])], axis=1)


def rotation_of(c: Config) -> Callable[[Array], Array]:
    """Choose the rotation that the configuration asks for."""
    return neumann if c.get("neumann") else cayley


def _oft(t: Tensors, c: Config, s: float) -> Array:  # noqa: ARG001
    return rotated(t, rotation_of(c), c)


def qkv_increment(t: Tensors, c: Config, *, interleaved: bool = False) -> Array:
    """Put each enabled part's product in its own rows; the others stay zero."""
    d, enabled = t["W0"].shape[0], list(c["enabled"])
    part, on = d // len(enabled), sum(enabled)
    r = t["A"].shape[0] // max(on, 1)
    delta = np.zeros(t["W0"].shape, dtype=np.result_type(t["A"], t["B"]))
    place = 0
    for i, use in enumerate(enabled):
        if use:
            A = t["A"][place::on] if interleaved else t["A"][place * r : (place + 1) * r]
            delta[i * part : (i + 1) * part] = t["B"][place * part : (place + 1) * part] @ A
            place += 1
    return delta


def _conv(t: Tensors, c: Config, s: float) -> Array:
    """Make the kernel that acts; where the groups differ between the paths, one over all channels with zeros in it."""
    W0, A, B = t["W0"], t["A"], t["B"]
    if c.get("form") == "loralib":
        return W0 + s * (B @ A).reshape(W0.shape)
    groups = int(c.get("groups", 1))
    d, r = W0.shape[0] // groups, A.shape[0] // groups
    delta = np.concatenate(
        [
            np.tensordot(B[g * d : (g + 1) * d, :, 0, 0], A[g * r : (g + 1) * r], axes=(1, 0))
            for g in range(groups)
        ]
    )
    return ungrouped(W0, groups) + s * delta


def ungrouped(W0: Array, groups: int) -> Array:
    """Write a grouped kernel as one over all channels."""
    (d, k), whole = W0.shape[:2], np.zeros((W0.shape[0], W0.shape[1] * groups, *W0.shape[2:]), dtype=W0.dtype)
    for g in range(groups):
        rows = slice(g * d // groups, (g + 1) * d // groups)
        whole[rows, g * k : (g + 1) * k] = W0[rows]
    return whole


def padded(t: Tensors, c: Config) -> Tensors:
    """Hold the column of A constant that belongs to the padding token."""
    if c.get("padding") is None or not np.iscomplexobj(t["A"]):
        return t
    A = np.array(t["A"])
    A[:, c["padding"]] = np.real(A[:, c["padding"]])
    return t | {"A": A}


def _ia3(t: Tensors, c: Config, s: float) -> Array:  # noqa: ARG001
    return t["W0"] * (t["l"] if c["feedforward"] else t["l"][:, None])


def weight_of(method: str) -> Weight | None:
    """Find the right weight function of a method that has a weight."""
    if method in INCREMENTS:
        return adding(INCREMENTS[method])
    special: dict[str, Weight] = {
        "dora": _dora,
        "oft": _oft,
        "ia3": _ia3,
        "bitfit": lambda t, _c, _s: t["W0"],
        "prompt-tuning": lambda t, _c, _s: t["W0"],
        "lora-transposed": lambda t, _c, s: t["W0"] + s * lora(t).T,
        "lora-embedding": lambda t, c, s: t["W0"] + s * lora(padded(t, c)).T,
        "lora-merged-qkv": lambda t, c, s: t["W0"] + s * qkv_increment(t, c),
        "lora-conv2d": _conv,
        "houlsby": lambda _t, _c, _s: np.zeros(()),
        "pfeiffer": lambda _t, _c, _s: np.zeros(()),
        "prefix-tuning": lambda _t, _c, _s: np.zeros(()),
    }
    return special.get(method)
