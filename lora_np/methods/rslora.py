"""rsLoRA: LoRA whose scale falls with the root of the rank.  Floor 2.

s = alpha / sqrt(r) in place of alpha / r keeps outputs and gradients at one size as r grows (Kalajdzievski,
arXiv 2312.03732).  All else is LoRA's: only `scaling` stands in this file.
"""

from lora_np import lora
from lora_np.lora import LoraParams, backward, forward, init
from lora_np.merging import merge, unmerge


def scaling(alpha: float, rank: int) -> float:
    """Compute the factor s on B A from alpha and the rank.  [lora-scale-rs]

    s = alpha / sqrt(r), which is sqrt(r) times LoRA's.  Raises `ConfigError`.

    >>> scaling(alpha=8, rank=16), lora.scaling(alpha=8, rank=16)
    (2.0, 0.5)
    """
    return lora.scaling(alpha, rank, use_rslora=True)


__all__ = ["LoraParams", "backward", "forward", "init", "merge", "scaling", "unmerge"]
