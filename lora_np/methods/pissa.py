"""PiSSA: LoRA that starts at the largest singular vectors of the weight, and freezes the rest of it.  Floor 2.

W0 = U diag(sigma) Vᵀ is split: the r largest parts become the factors, the rest the frozen base.  From there on the
layer is LoRA on that base, so forward, backward, merge and unmerge are LoRA's own.  The SVD is this package's, not
LAPACK's; the signs of its vectors are a choice, so what can be compared are products and projectors, not factors.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import RankError
from lora_np.lora import LoraParams, backward, forward, scaling, symmetric_base
from lora_np.merging import merge, unmerge
from lora_np.rank.decomposition import SVD, svd


def init(W0: Float[Array, "d k"], rank: int, *, scale: float) -> tuple[Float[Array, "d k"], LoraParams]:
    """Split the weight into the base and the factors of its largest part.  [pissa-start]

    B = U_r √(sigma_r / s),  A = √(sigma_r / s) V_rᵀ,  W_base = W0 − s B A: so W_base + s B A = W0.  Returns the base
    and the factors.  Raises `RankError` for r > min(d, k), `ConfigError` unless s > 0, and what `svd` raises.

    >>> import numpy as np
    >>> base, p = init(np.array([[4.0, 0.0], [0.0, 1.0]]), 1, scale=1.0)
    >>> base, p.B @ p.A
    (array([[0., 0.],
           [0., 1.]]), array([[4., 0.],
           [0., 0.]]))
    """
    require_start(W0, rank, scale)
    return start_at(W0, svd(W0), slice(0, rank), scale=scale)


def start_at(
    W0: Float[Array, "d k"], parts: SVD, chosen: slice, *, scale: float
) -> tuple[Float[Array, "d k"], LoraParams]:
    """Make the chosen singular parts into factors, √(sigma / s) on each side, and take them out of the weight."""
    root = array_namespace(W0).sqrt(parts.sigma[chosen] / float(scale))
    p = LoraParams(B=parts.U[:, chosen] * root[None, :], A=root[:, None] * parts.Vt[chosen, :])
    return symmetric_base(W0, p, scale=scale), p


def as_lora(p: LoraParams, p0: LoraParams) -> LoraParams:
    """Write what training changed as one LoRA of rank 2r on the original weight.  [start-increment]

    W_base + s B A = W0 + s (B A − B0 A0) = W0 + s [B, −B0] [A; A0]: the adapter to use with W0 itself, at the same
    s.  As alpha / rank is to stay s, alpha doubles with the rank.  Raises `ShapeError`, `RankError`, `DTypeError`.

    >>> import numpy as np
    >>> p0 = LoraParams(B=np.array([[2.0]]), A=np.array([[1.0]]))
    >>> p = as_lora(p0._replace(B=np.array([[5.0]])), p0)
    >>> p.B, p.A, p.B @ p.A
    (array([[ 5., -2.]]), array([[1.],
           [1.]]), array([[3.]]))
    """
    checks.require_factors(p0)
    B0, A0 = p0
    checks.require_factors(p, B0.shape[0], A0.shape[1])
    B, A = p
    checks.require_same_dtype(B=B, B0=B0)
    xp = array_namespace(B)
    return LoraParams(B=xp.concat([B, -B0], axis=1), A=xp.concat([A, A0], axis=0))


def require_start(W0: Array, rank: int, scale: float) -> None:
    """Raise unless the weight has `rank` directions to start from, and s is positive."""
    checks.require_ndim("W0", W0, 2, "d, k")
    checks.require_rank(rank)
    checks.require_number("scale", scale, above=0.0)
    if rank > min(W0.shape):
        raise RankError(
            f"rank r = {rank} exceeds min(d, k) = {min(W0.shape)}: W0 has no more directions to start from",
            fix=f"choose r <= {min(W0.shape)}",
        )


__all__ = ["LoraParams", "as_lora", "backward", "forward", "init", "merge", "scaling", "unmerge"]
