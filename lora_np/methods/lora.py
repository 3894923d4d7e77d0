"""LoRA: the weight plus a scaled product of two thin factors.  Floor 2.

W = W0 + s B A with s = alpha / r, B (d, r) and A (r, k), B = 0 at the start (Hu et al., arXiv 2106.09685, section
4.1).  The engine's own layer, gathered here in the form that all methods have: nothing is computed in this file.

The paper draws A from a Gaussian whose width it does not say; loralib and PEFT draw it uniformly from ±1/√k, and so
does `init` unless it is told "gaussian".
"""

from lora_np.lora import LoraParams, backward, forward, init, scaling
from lora_np.merging import merge, unmerge

__all__ = ["LoraParams", "backward", "forward", "init", "merge", "scaling", "unmerge"]
