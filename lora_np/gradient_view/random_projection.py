"""LoRA with factors drawn afresh at every step: full-rank SGD on average, low rank each time.  Floor 2.

The factors do not learn; they only choose which part of the gradient a step may use.  Slower than plain SGD: the
point is that one batch touches the weight in few directions.
"""

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ShapeError
from lora_np.gradient_view.effective_update import first_order_update
from lora_np.lora import LoraParams

LAWS = ("gaussian", "rademacher")


def random_factors(
    rng: np.random.Generator,
    d: int,
    k: int,
    rank: int = 1,
    *,
    law: str = "gaussian",
    dtype: object = np.float64,
) -> LoraParams:
    """Draw factors whose entries are independent, with mean 0 and variance 1.  [view-random-identity]

    So E[B Bᵀ] = r I and E[Aᵀ A] = r I.  ``"gaussian"`` draws from N(0, 1); ``"rademacher"`` draws signs ±1, which
    have the same second moments and are few enough to enumerate.  Raises `ConfigError`, `DTypeError`.

    >>> p = random_factors(np.random.default_rng(0), 3, 2, law="rademacher")
    >>> p.B.shape, p.A.shape, float((p.B**2).sum())
    ((3, 1), (1, 2), 3.0)
    """
    checks.require_rng(rng)
    checks.require_int("d", d, minimum=0)
    checks.require_int("k", k, minimum=0)
    checks.require_rank(rank)
    checks.require_one_of("law", law, LAWS)
    checks.require_float_dtype(dtype)
    B, A = (_draw(rng, shape, law) for shape in ((d, rank), (rank, k)))
    return LoraParams(B.astype(dtype), A.astype(dtype))


def _draw(rng: np.random.Generator, shape: tuple[int, int], law: str) -> Any:
    """Independent entries of mean 0 and variance 1."""
    if law == "gaussian":
        return rng.standard_normal(shape)
    return 2.0 * rng.integers(0, 2, shape) - 1.0


def random_projection_step(
    rng: np.random.Generator,
    W: Float[Array, "d k"],
    gW: Float[Array, "d k"],
    *,
    lr: float,
    rank: int = 1,
    law: str = "gaussian",
) -> Float[Array, "d k"]:
    """Take one step of SGD through freshly drawn factors.  [view-random]

    W' = W − lr (gW Aᵀ A + B Bᵀ gW) with B, A from `random_factors`: a change of rank 2r at most.  Its mean is
    −2 r lr gW: see `expected_random_update`.  Raises `ShapeError`, `DTypeError`, `ConfigError`, `NonFiniteError`.

    >>> W = random_projection_step(np.random.default_rng(0), np.zeros((5, 4)), np.ones((5, 4)), lr=0.1)
    >>> int(np.linalg.matrix_rank(W))
    2
    """
    _require_gradient_of(W, gW)
    B, A = random_factors(rng, W.shape[0], W.shape[1], rank, law=law)
    xp = array_namespace(W)
    p = LoraParams(xp.asarray(B, dtype=W.dtype), xp.asarray(A, dtype=W.dtype))
    return W + first_order_update(gW, p, scale=1.0, lr=lr)


def expected_random_update(gW: Float[Array, "d k"], *, lr: float, rank: int = 1) -> Float[Array, "d k"]:
    """Compute the mean of the update of `random_projection_step`.  [view-random-mean]

    −lr (r gW + r gW) = −2 r lr gW: each of the two terms gives the whole gradient, so on average this is full-rank
    SGD with 2r times the rate.  Raises `ShapeError`, `DTypeError`, `ConfigError`.

    >>> expected_random_update(np.ones((1, 2)), lr=0.25, rank=2)
    array([[-1., -1.]])
    """
    checks.require_ndim("gW", gW, 2, "d, k")
    checks.require_number("lr", lr, least=0)
    checks.require_rank(rank)
    return -2 * int(rank) * float(lr) * gW


def _require_gradient_of(W: Array, gW: Array) -> None:
    """Raise unless gW is a finite array of the shape and element type of W."""
    checks.require_ndim("W", W, 2, "d, k")
    checks.require_ndim("gW", gW, 2, "d, k")
    if tuple(gW.shape) != tuple(W.shape):
        raise ShapeError(f"gW has shape {tuple(gW.shape)}, expected {tuple(W.shape)}, the shape of W")
    checks.require_same_dtype(W=W, gW=gW)
    checks.require_finite("gW", gW)
