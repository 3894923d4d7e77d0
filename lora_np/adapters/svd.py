"""Combine by truncated SVD: the nearest increment of a chosen rank, and how far it is.  Floor 2.

Also the way back from any increment, such as TIES makes, to two factors.  The decomposition is this package's own.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.adapters.adapter import LoraAdapter, total_increment
from lora_np.errors import RankError
from lora_np.lora import LoraParams
from lora_np.rank.capacity import shortfall
from lora_np.rank.decomposition import svd, truncate


class Truncated(NamedTuple):
    """An adapter of scale 1, and its Frobenius distance from the increment it stands for.  [combine-svd]"""

    adapter: LoraAdapter
    error: float


def combine_svd(
    adapters: Sequence[LoraAdapter], *, rank: int, weights: Sequence[float] | None = None
) -> Truncated:
    """Truncate the SVD of the summed increment.  [combine-svd] [combine-sum]

    No adapter of this rank is closer to Σ_t w_t s_t B_t A_t; the error is the energy of the tail, 0 (up to rounding)
    where the rank reaches the sum of the ranks.  The rank has no default: PEFT takes the largest r_t, which loses
    whatever the sum has beyond it.  Raises what `increments` raises, and `RankError` for a rank outside
    1 .. min(d, k).

    >>> import numpy as np
    >>> e = np.eye(2)
    >>> two = [
    ...     LoraAdapter(LoraParams(B=e[:, i : i + 1], A=e[i : i + 1]), scale=s)
    ...     for i, s in enumerate((4.0, 3.0))
    ... ]
    >>> [combine_svd(two, rank=r).error for r in (1, 2)]
    [3.0, 0.0]
    """
    return factor_increment(total_increment(adapters, weights=weights), rank=rank)


def factor_increment(delta: Float[Array, "d k"], *, rank: int) -> Truncated:
    """Turn an increment into the nearest adapter of a rank, and measure the loss.  [combine-svd]

    B = U_r √sigma_r, A = √sigma_r Vt_r, of scale 1; the error is √(sigma_{r+1}² + ...).  Raises `ShapeError`,
    `DTypeError`, `NonFiniteError`; `RankError` for a rank outside 1 .. min(d, k); `ConfigError`.

    >>> import numpy as np
    >>> factor_increment(np.diag([4.0, 3.0]), rank=1).error
    3.0
    """
    checks.require_ndim("delta", delta, 2, "d, k")
    most = min(delta.shape)
    if isinstance(rank, Integral) and not isinstance(rank, bool) and not 1 <= rank <= most:
        raise RankError(
            f"rank must lie between 1 and min(d, k) = {most}, the limit of a weight {tuple(delta.shape)}; got {rank}",
            fix="choose a rank within the limit",
        )
    checks.require_int("rank", rank, minimum=1)
    found = svd(delta)
    adapter = LoraAdapter(LoraParams(*truncate(found, rank).factors()), 1.0)
    return Truncated(adapter, shortfall(found, rank=rank))
