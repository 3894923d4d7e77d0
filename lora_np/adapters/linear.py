"""Combine factor by factor: cheap, of the old rank, and beside the sum; the excess has a name here.  Floor 2."""

import math
from collections.abc import Sequence

from array_api_compat import array_namespace

from lora_np._typing import Array, Float
from lora_np.adapters.adapter import LoraAdapter, added, weighted_scales
from lora_np.errors import RankError
from lora_np.lora import LoraParams


def combine_linear(adapters: Sequence[LoraAdapter], *, weights: Sequence[float] | None = None) -> LoraAdapter:
    """Add factor to factor: not the sum of the increments.  [combine-linear]

    B = Σ_t a_t B_t and A = Σ_t sgn(w_t s_t) a_t A_t with a_t = √|w_t s_t|, of scale 1: PEFT's ``linear``, sign on A
    included.  B A is the true sum plus `cross_terms`; for one adapter it is exact up to rounding.  Raises what
    `increments` raises, and `RankError` where the ranks differ.

    >>> import numpy as np
    >>> one = LoraAdapter(LoraParams(B=np.ones((1, 1)), A=np.ones((1, 2))), scale=1.0)
    >>> combine_linear([one, one]).delta()
    array([[4., 4.]])
    """
    shares = weighted_scales(adapters, weights)
    ranks = [p[1].shape[0] for p, _ in adapters]
    if len(set(ranks)) > 1:
        raise RankError(
            f"factors of different ranks cannot be added: the adapters have ranks {ranks}",
            fix="use cat or svd",
        )
    B = added(math.sqrt(abs(c)) * p[0] for c, (p, _) in zip(shares, adapters, strict=True))
    A = added(_signed_root(c) * p[1] for c, (p, _) in zip(shares, adapters, strict=True))
    return LoraAdapter(LoraParams(B, A), 1.0)


def cross_terms(
    adapters: Sequence[LoraAdapter], *, weights: Sequence[float] | None = None
) -> Float[Array, "d k"]:
    """Multiply out what `combine_linear` brings in beside the sum.  [combine-linear-cross]

    Σ_{i≠j} sgn(w_j s_j) a_i a_j B_i A_j.  Zero for one adapter.  Raises what `combine_linear` raises.

    >>> import numpy as np
    >>> one = LoraAdapter(LoraParams(B=np.ones((1, 1)), A=np.ones((1, 2))), scale=1.0)
    >>> cross_terms([one, one])
    array([[2., 2.]])
    """
    combine_linear(adapters, weights=weights)  # its refusals
    shares = weighted_scales(adapters, weights)
    p = adapters[0][0]
    terms = [array_namespace(p[0]).zeros((p[0].shape[0], p[1].shape[1]), dtype=p[0].dtype)]
    for i, (p_i, _) in enumerate(adapters):
        for j, (p_j, _) in enumerate(adapters):
            if i != j:
                root = math.sqrt(abs(shares[i])) * _signed_root(shares[j])
                terms.append(root * (p_i[0] @ p_j[1]))  # (d, k)
    return added(terms)


def _signed_root(share: float) -> float:
    """Compute sgn(c) √|c|."""
    return math.copysign(math.sqrt(abs(share)), share)
