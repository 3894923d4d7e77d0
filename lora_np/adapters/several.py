"""Merge several adapters at once into one base, and swap one set for another.  Floor 2.

No adapter waits for another, so no order is better than another.  Nothing is remembered here; keep an `AdapterBank`
where the base must come back bit for bit.
"""

from collections.abc import Sequence
from functools import reduce

from lora_np._typing import Array, Float
from lora_np.adapters.adapter import LoraAdapter, require_adapters
from lora_np.merging import merge, unmerge


def merge_several(W0: Float[Array, "d k"], adapters: Sequence[LoraAdapter]) -> Float[Array, "d k"]:
    """Add every increment to the weight.  [adapters-merge] [combine-sum]

    W = W0 + Σ_t s_t B_t A_t.  For n adapters any order is within γ(max r_t + n + 2) (|W0| + Σ_t |s_t| |B_t| |A_t|) of
    the true sum.  Raises what `merge` raises, and `UnsupportedCombinationError`.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> one = LoraAdapter(LoraParams(B=np.ones((2, 1)), A=np.ones((1, 2))), scale=0.5)
    >>> merge_several(np.eye(2), [one, one])
    array([[2., 1.],
           [1., 2.]])
    """
    require_adapters(adapters)
    return reduce(lambda W, adapter: merge(W, adapter[0], scale=adapter[1]), adapters, W0)


def unmerge_several(W: Float[Array, "d k"], adapters: Sequence[LoraAdapter]) -> Float[Array, "d k"]:
    """Subtract every increment again, up to rounding.  [adapters-merge] [lora-unmerge]

    W0 ≈ W − Σ_t s_t B_t A_t.  Raises what `merge_several` raises.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> one = LoraAdapter(LoraParams(B=np.ones((2, 1)), A=np.ones((1, 2))), scale=0.5)
    >>> unmerge_several(merge_several(np.eye(2), [one, one]), [one, one])
    array([[1., 0.],
           [0., 1.]])
    """
    require_adapters(adapters)
    return reduce(lambda W, adapter: unmerge(W, adapter[0], scale=adapter[1]), adapters, W)


def swap_merged(
    W: Float[Array, "d k"], out: Sequence[LoraAdapter], into: Sequence[LoraAdapter]
) -> Float[Array, "d k"]:
    """Take merged adapters out of a weight and put others in, without the base at hand.  [adapters-swap]

    W' = W − Σ_out s B A + Σ_into s' B' A', up to rounding.  Either list may be empty.  Raises what `merge_several`
    raises.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> one = LoraAdapter(LoraParams(B=np.ones((2, 1)), A=np.ones((1, 2))), scale=0.5)
    >>> swap_merged(merge_several(np.eye(2), [one]), [one], [one._replace(scale=2.0)])
    array([[3., 2.],
           [2., 3.]])
    """
    require_adapters(
        [*out, *into] if isinstance(out, (list, tuple)) and isinstance(into, (list, tuple)) else None
    )
    W = unmerge_several(W, out) if out else W
    return merge_several(W, into) if into else W
