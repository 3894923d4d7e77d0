"""MiLoRA: LoRA that starts at the smallest singular vectors of the weight, and freezes the large part of it.  Floor 2.

PiSSA's mirror image: the r smallest parts of W0 = U diag(sigma) Vᵀ become the factors.  From there on the layer is
LoRA on the base.  Directions of equal sigma (zero ones of a weight of low rank, say) may be exchanged for each other,
so that even the product is determined only where sigma falls strictly between what is frozen and what is trained.
"""

from __future__ import annotations

from lora_np._typing import Array, Float
from lora_np.lora import LoraParams, backward, forward, scaling
from lora_np.merging import merge, unmerge
from lora_np.methods.pissa import as_lora, require_start, start_at
from lora_np.rank.decomposition import svd


def init(W0: Float[Array, "d k"], rank: int, *, scale: float) -> tuple[Float[Array, "d k"], LoraParams]:
    """Split the weight into the base and the factors of its smallest part.  [milora-start]

    B = U_m √(sigma_m / s),  A = √(sigma_m / s) V_mᵀ over the last r of min(d, k) parts,  W_base = W0 − s B A.
    Returns the base and the factors.  Raises what `pissa.init` raises.

    >>> import numpy as np
    >>> base, p = init(np.array([[4.0, 0.0], [0.0, 1.0]]), 1, scale=1.0)
    >>> base, p.B @ p.A
    (array([[4., 0.],
           [0., 0.]]), array([[0., 0.],
           [0., 1.]]))
    """
    require_start(W0, rank, scale)
    last = min(W0.shape)
    return start_at(W0, svd(W0), slice(last - rank, last), scale=scale)


__all__ = ["LoraParams", "as_lora", "backward", "forward", "init", "merge", "scaling", "unmerge"]
