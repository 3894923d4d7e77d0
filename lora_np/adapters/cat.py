"""Combine by concatenation: factors side by side, the exact sum.  Floor 2.

The only combination that loses nothing, and the only one whose rank grows.
"""

from collections.abc import Sequence

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np.adapters.adapter import LoraAdapter, weighted_scales
from lora_np.lora import LoraParams


def combine_cat(adapters: Sequence[LoraAdapter], *, weights: Sequence[float] | None = None) -> LoraAdapter:
    """Put the factors side by side: the exact sum, at rank r_1 + r_2 + ....  [combine-cat] [combine-sum]

    B = [w_1 s_1 B_1, w_2 s_2 B_2, ...] and A = [A_1; A_2; ...], of scale 1.  PEFT's ``cat`` puts w_t s_t on A_t: the
    same product.  Raises what `increments` raises.

    >>> import numpy as np
    >>> one = LoraAdapter(LoraParams(B=np.ones((1, 1)), A=np.ones((1, 2))), scale=0.5)
    >>> combine_cat([one, one], weights=[1, -4])
    LoraAdapter(p=LoraParams(B=array([[ 0.5, -2. ]]), A=array([[1., 1.],
           [1., 1.]])), scale=1.0)
    """
    shares = weighted_scales(adapters, weights)
    xp = array_namespace(adapters[0][0][0])
    with np.errstate(over="ignore"):  # an overflow is raised below, by name
        B = xp.concat([share * p[0] for share, (p, _) in zip(shares, adapters, strict=True)], axis=1)
    checks.require_no_overflow(B, "combining")
    A = xp.concat([p[1] for p, _ in adapters], axis=0)
    return LoraAdapter(LoraParams(B, A), 1.0)
