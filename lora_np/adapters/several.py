"""Merge several adapters at once into one base, and swap one set for another.  Floor 2.

One product for all of them: no adapter waits for another, so no order is better than another.  Nothing is remembered
here; keep an `AdapterBank` where the base must come back bit for bit.
"""

from collections.abc import Sequence

from lora_np._typing import Array, Float
from lora_np.adapters.adapter import LoraAdapter
from lora_np.adapters.cat import combine_cat
from lora_np.merging import merge, unmerge


def merge_several(W0: Float[Array, "d k"], adapters: Sequence[LoraAdapter]) -> Float[Array, "d k"]:
    """Add every increment to the weight, in one product.  [adapters-merge] [combine-cat]

    W = W0 + Σ_t s_t B_t A_t.  The order of the adapters matters by rounding only: both results lie within
    γ(Σ r_t + 4) (|W0| + Σ_t |s_t| |B_t| |A_t|) of the true sum.  Raises what `merge` raises, and
    `UnsupportedCombinationError`.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> one = LoraAdapter(LoraParams(B=np.ones((2, 1)), A=np.ones((1, 2))), scale=0.5)
    >>> merge_several(np.eye(2), [one, one])
    array([[2., 1.],
           [1., 2.]])
    """
    return merge(W0, combine_cat(adapters).p, scale=1.0)


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
    return unmerge(W, combine_cat(adapters).p, scale=1.0)


def swap_merged(
    W: Float[Array, "d k"], out: Sequence[LoraAdapter], into: Sequence[LoraAdapter]
) -> Float[Array, "d k"]:
    """Take merged adapters out of a weight and put others in, without the base at hand.  [adapters-swap]

    W' = W − Σ_out s B A + Σ_into s' B' A', in one product, up to rounding.  Raises what `merge_several` raises.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> one = LoraAdapter(LoraParams(B=np.ones((2, 1)), A=np.ones((1, 2))), scale=0.5)
    >>> swap_merged(merge_several(np.eye(2), [one]), [one], [one._replace(scale=2.0)])
    array([[3., 2.],
           [2., 3.]])
    """
    weights = [-1.0] * len(out) + [1.0] * len(into)
    return merge(W, combine_cat([*out, *into], weights=weights).p, scale=1.0)
