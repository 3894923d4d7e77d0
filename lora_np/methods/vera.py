"""VeRA: two trained vectors around one frozen random pair that all layers share.  Floor 2.

W = W0 + diag(lambda_b) B diag(lambda_d) A (Kopiczko et al., arXiv 2310.11454, eq. 2).  There is no scale alpha / r.
At the start lambda_b = 0 and every entry of lambda_d is one small number, a hyper-parameter whose default in PEFT is
0.1; B and A are drawn by Kaiming's rule.  Layers of other sizes cut their own B and A out of the
shared pair, by `cut`: the first d rows of B and the first k columns of A, as PEFT does.

The paper names Kaiming's initialization and no gain; PEFT 0.21.2 takes gain √2 on the fan-in, the bound √(6 / fan_in),
and `shared_pair` follows it, so the two agree in distribution.  They do not agree in bits: PEFT draws from PyTorch's
generator, this file from NumPy's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks, merging
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.errors import ShapeError
from lora_np.lora import LoraParams
from lora_np.methods.tensors import (
    Tensors,
    fitting,
    require_backward,
    require_layer,
    require_mergeable,
    require_params,
    require_tensors,
)


class VeraParams(NamedTuple):
    """The two trainable vectors: one number per output, one per rank.  [vera-layer]"""

    lambda_b: Float[Array, " d"]
    lambda_d: Float[Array, " r"]


def shared_pair(
    rng: np.random.Generator, d: int, k: int, rank: int, *, dtype: object = np.float64
) -> tuple[Float[Array, "d r"], Float[Array, "r k"]]:
    """Draw the frozen pair (B, A), as large as the largest layer needs.  [vera-init]

    A ~ U(±√(6/k)), then B ~ U(±√(6/r)).  One seed gives one pair, bit for bit, so files need not hold it.  Raises
    `ConfigError`, `DTypeError`; warns `RankWarning` where r > min(d, k).

    >>> B, A = shared_pair(np.random.default_rng(0), 6, 4, 2)
    >>> B.shape, A.shape, bool((shared_pair(np.random.default_rng(0), 6, 4, 2)[1] == A).all())
    ((6, 2), (2, 4), True)
    """
    checks.require_rng(rng)
    checks.require_int("d", d, minimum=1)
    checks.require_int("k", k, minimum=1)
    checks.require_rank(rank, d, k)
    checks.require_float_dtype(dtype)
    A = rng.uniform(-1, 1, size=(rank, k)) * math.sqrt(6 / k)
    B = rng.uniform(-1, 1, size=(d, rank)) * math.sqrt(6 / rank)
    return B.astype(dtype), A.astype(dtype)  # type: ignore[call-overload]


def cut(
    B: Float[Array, "D r"], A: Float[Array, "r K"], d: int, k: int
) -> tuple[Float[Array, "d r"], Float[Array, "r k"]]:
    """Cut the pair of a (d, k) layer out of the shared one: views of its first rows and columns.  [vera-cut]

    B[:d] and A[:, :k].  Raises `ShapeError` where the pair is too small.

    >>> cut(np.array([[1.0], [2.0]]), np.array([[3.0, 4.0, 5.0]]), 1, 2)
    (array([[1.]]), array([[3., 4.]]))
    """
    require_tensors({"B": (B, "d r"), "A": (A, "r k")})
    checks.require_int("d", d, minimum=0)
    checks.require_int("k", k, minimum=0)
    if d > B.shape[0] or k > A.shape[1]:
        raise ShapeError(
            f"a ({d}, {k}) layer cannot be cut from B {tuple(B.shape)} and A {tuple(A.shape)}",
            fix=f"draw the shared pair for at least ({max(d, B.shape[0])}, {max(k, A.shape[1])})",
        )
    return B[:d, :], A[:, :k]


def init(d: int, rank: int, *, d_initial: float = 0.1, dtype: object = np.float64) -> VeraParams:
    """Start the increment at zero: lambda_b = 0, and lambda_d constant.  [vera-init]

    Raises `ConfigError`, `DTypeError`.

    >>> init(2, 3)
    VeraParams(lambda_b=array([0., 0.]), lambda_d=array([0.1, 0.1, 0.1]))
    """
    checks.require_int("d", d, minimum=0)
    checks.require_rank(rank)
    checks.require_number("d_initial", d_initial)
    checks.require_float_dtype(dtype)
    return VeraParams(np.zeros(d, dtype=dtype), np.full(rank, d_initial, dtype=dtype))


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    B: Float[Array, "d r"],
    A: Float[Array, "r k"],
    p: VeraParams,
    *,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Apply the adapted layer to rows.  [vera-layer]

    Y = X W0ᵀ + (((X Aᵀ) ∘ lambda_d) Bᵀ) ∘ lambda_b + b.  Returns Y and the bottleneck Z = X Aᵀ.  Raises
    `ShapeError`, `DTypeError`, `RankError`, `ConfigError`.

    >>> X, W0, B, A = np.array([[1.0, 2.0]]), np.eye(2), np.ones((2, 1)), np.ones((1, 2))
    >>> forward(X, W0, B, A, VeraParams(lambda_b=np.array([1.0, 0.0]), lambda_d=np.array([0.5])))
    (array([[2.5, 2. ]]), array([[3.]]))
    """
    require_layer(X, W0, _named(B, A, p), bias=bias)
    Z = X @ A.T  # (N, r)
    Y = X @ W0.T + ((Z * p.lambda_d) @ B.T) * p.lambda_b  # (N, d)
    return (Y if bias is None else Y + bias), Z


def backward(
    gY: Float[Array, "N d"],
    X: Float[Array, "N k"],
    Z: Float[Array, "N r"],
    W0: Float[Array, "d k"],
    B: Float[Array, "d r"],
    A: Float[Array, "r k"],
    p: VeraParams,
) -> tuple[Float[Array, "N k"], VeraParams]:
    """Pull gY back to the input and both vectors.  [vera-grad]

    glambda_b = Σ_q (gYᵀ (Z ∘ lambda_d) ∘ B)_·q,  gU = (gY ∘ lambda_b) B,  glambda_d = Σ_n (gU ∘ Z)_n·,
    gX = gY W0 + (gU ∘ lambda_d) A.  Raises what `forward` raises.

    >>> X, W0, B, A = np.array([[1.0, 2.0]]), np.eye(2), np.ones((2, 1)), np.ones((1, 2))
    >>> p = VeraParams(lambda_b=np.array([1.0, 0.0]), lambda_d=np.array([0.5]))
    >>> Y, Z = forward(X, W0, B, A, p)
    >>> backward(np.ones((1, 2)), X, Z, W0, B, A, p)
    (array([[1.5, 1.5]]), VeraParams(lambda_b=array([1.5, 1.5]), lambda_d=array([3.])))
    """
    require_backward(gY, X, W0, _named(B, A, p), {"Z": (Z, "r")})
    xp = array_namespace(X)
    gU = (gY * p.lambda_b) @ B  # (N, r)
    gX = gY @ W0 + (gU * p.lambda_d) @ A  # (N, k)
    outer = flat_rows(gY).T @ (flat_rows(Z) * p.lambda_d)  # (d, r)
    return gX, VeraParams(
        lambda_b=xp.sum(outer * B, axis=1), lambda_d=xp.sum(flat_rows(gU) * flat_rows(Z), axis=0)
    )


def merge(
    W0: Float[Array, "d k"], B: Float[Array, "d r"], A: Float[Array, "r k"], p: VeraParams
) -> Float[Array, "d k"]:
    """Add the increment to the weight.  [vera-layer]

    W = W0 + diag(lambda_b) B diag(lambda_d) A.  Raises what `lora_np.merge` raises.

    >>> merge(np.eye(2), np.ones((2, 1)), np.ones((1, 2)), VeraParams(np.array([1.0, 0.0]), np.array([0.5])))
    array([[1.5, 0.5],
           [0. , 1. ]])
    """
    require_mergeable("W0", W0, _named(B, A, p))
    return merging.merge(W0, fitting("merging", lambda: _factors(B, A, p)), scale=1.0)


def unmerge(
    W: Float[Array, "d k"], B: Float[Array, "d r"], A: Float[Array, "r k"], p: VeraParams
) -> Float[Array, "d k"]:
    """Subtract the increment from a merged weight, up to rounding.  [vera-layer]

    W0 ≈ W − diag(lambda_b) B diag(lambda_d) A.  Raises what `lora_np.unmerge` raises.

    >>> B, A, p = np.ones((2, 1)), np.ones((1, 2)), VeraParams(np.array([1.0, 0.0]), np.array([0.5]))
    >>> unmerge(merge(np.eye(2), B, A, p), B, A, p)
    array([[1., 0.],
           [0., 1.]])
    """
    require_mergeable("W", W, _named(B, A, p))
    return merging.unmerge(W, fitting("unmerging", lambda: _factors(B, A, p)), scale=1.0)


def _factors(B: Array, A: Array, p: VeraParams) -> LoraParams:
    """Scale the rows of both factors: what LoRA's B and A would be."""
    return LoraParams(p.lambda_b[:, None] * B, p.lambda_d[:, None] * A)


def _named(B: Array, A: Array, p: VeraParams) -> Tensors:
    """Name the tensors, with their axes."""
    require_params(p, VeraParams)
    return {"B": (B, "d r"), "A": (A, "r k"), "lambda_b": (p.lambda_b, "d"), "lambda_d": (p.lambda_d, "r")}


__all__ = ["VeraParams", "backward", "cut", "forward", "init", "merge", "shared_pair", "unmerge"]
