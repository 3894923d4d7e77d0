"""LoRA+: LoRA whose B learns faster than its A.  Floor 2.

The layer is LoRA's; what differs is the step: eta_B = ratio * eta_A with a ratio well above 1 (Hayou et al.,
arXiv 2402.12354).  The paper's analysis and its experiments move both factors by gradients that an
Adam-like optimizer has processed: `adam_step` is that form, and `step` the plain one.

Not here: PEFT's third rate for embeddings and its groups without weight decay, which the paper does not have.
"""

from lora_np.lora import LoraParams, backward, forward, init, scaling
from lora_np.merging import merge, unmerge
from lora_np.optim.adam import AdamState, adam_init
from lora_np.optim.adam import adam_step as _adam_step
from lora_np.optim.descent import sgd_init, sgd_step
from lora_np.optim.rates import lora_plus


def step(p: LoraParams, g: LoraParams, *, lr: float, ratio: float = 16.0) -> LoraParams:
    """Take one step of gradient descent with two rates.  [lora-plus-step] [optim-lora-plus]

    A ← A − lr gA and B ← B − ratio lr gB.  Raises what `optim.sgd_step` raises.

    >>> import numpy as np
    >>> p = LoraParams(B=np.zeros((1, 1)), A=np.ones((1, 1)))
    >>> step(p, p._replace(B=np.ones((1, 1))), lr=0.25, ratio=8)
    LoraParams(B=array([[-2.]]), A=array([[0.75]]))
    """
    moved, _ = sgd_step(p, g, sgd_init(p), lr=lora_plus(lr, ratio=ratio))
    return moved


def adam_step(
    p: LoraParams,
    g: LoraParams,
    state: AdamState,
    *,
    lr: float,
    ratio: float = 16.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[LoraParams, AdamState]:
    """Take one step of Adam with two rates.  [lora-plus-adam] [optim-adam] [optim-lora-plus]

    A ← A − lr Adam(gA) and B ← B − ratio lr Adam(gB).  The ratio stands outside Adam, which would divide it out of
    a gradient.  Begin with `adam_init(p)`.  Raises what `optim.adam_step` raises.

    >>> import numpy as np
    >>> p = LoraParams(B=np.zeros((1, 1)), A=np.ones((1, 1)))
    >>> moved, state = adam_step(p, p._replace(B=np.ones((1, 1))), adam_init(p), lr=0.25, ratio=8)
    >>> moved.B.round(6), moved.A.round(6), state.step
    (array([[-2.]]), array([[0.75]]), 1)
    """
    moved, state = _adam_step(p, g, state, lr=lora_plus(lr, ratio=ratio), betas=betas, eps=eps)
    return moved, state


__all__ = [
    "LoraParams",
    "adam_init",
    "adam_step",
    "backward",
    "forward",
    "init",
    "merge",
    "scaling",
    "step",
    "unmerge",
]
