"""LoRA as an optimizer: it takes the weight's full gradient, projects it, and steps the factors.  Floor 2.

Training B and A through the layer gives the same numbers; here the adapted weight W is what the network holds, and
the factors are the optimizer's memory.  No layer, no loss, no batch: only the full gradient gW comes in.
"""

from lora_np import checks, optim
from lora_np._typing import Array, Float
from lora_np.lora import LoraParams, project_gradient
from lora_np.optim import AdamState


def sgd_step(
    W: Float[Array, "d k"],
    p: LoraParams,
    gW: Float[Array, "d k"],
    *,
    scale: float,
    lr: float | tuple[float, ...],
) -> tuple[Float[Array, "d k"], LoraParams]:
    """Take one SGD step on the factors, given the weight's full gradient.  [view-sgd]

    B' = B − lr s gW Aᵀ,  A' = A − lr s Bᵀ gW,  W' = W + s (B' A' − B A).  Returns W' and the factors.
    Raises `ShapeError`, `DTypeError`, `RankError`, `ConfigError`, `NonFiniteError`.

    >>> import numpy as np
    >>> W, p = np.zeros((2, 2)), LoraParams(B=np.zeros((2, 1)), A=np.ones((1, 2)))
    >>> W, p = sgd_step(W, p, np.eye(2), scale=1.0, lr=0.5)
    >>> W
    array([[-0.5, -0.5],
           [-0.5, -0.5]])
    """
    checks.require_weight("W", W, p, scale)
    g = project_gradient(gW, p, scale=scale)
    p_next, _ = optim.sgd_step(p, g, optim.sgd_init(p), lr=lr)
    return weight_step(W, p, p_next, scale=scale), p_next


def adam_step(
    W: Float[Array, "d k"],
    p: LoraParams,
    gW: Float[Array, "d k"],
    state: AdamState,
    *,
    scale: float,
    lr: float | tuple[float, ...],
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Float[Array, "d k"], LoraParams, AdamState]:
    """Take one Adam step on the factors, given the weight's full gradient.  [view-adam]

    The moving averages are of the projected gradients: 2 r (d + k) numbers instead of 2 d k.  Begin with
    `optim.adam_init(p)`.  Returns the weight, the factors and the state.  Raises what `sgd_step` raises.

    >>> import numpy as np
    >>> W, p = np.zeros((3, 2)), LoraParams(B=np.zeros((3, 1)), A=np.ones((1, 2)))
    >>> W, p, state = adam_step(W, p, np.ones((3, 2)), optim.adam_init(p), scale=1.0, lr=0.5)
    >>> sum(array.size for array in (*state.first, *state.second)), W.size
    (10, 6)
    """
    checks.require_weight("W", W, p, scale)
    g = project_gradient(gW, p, scale=scale)
    p_next, state = optim.adam_step(p, g, state, lr=lr, betas=betas, eps=eps)
    return weight_step(W, p, p_next, scale=scale), p_next, state


def weight_step(
    W: Float[Array, "d k"], p: LoraParams, p_next: LoraParams, *, scale: float
) -> Float[Array, "d k"]:
    """Move the weight by the change of the increment.  [view-weight-step]

    W' = W + s (B' A' − B A): over many steps the changes telescope to the last increment minus the first.
    Raises `ShapeError`, `DTypeError`, `RankError`, `ConfigError`.

    >>> import numpy as np
    >>> p, p_next = (LoraParams(np.full((1, 1), x), np.ones((1, 2))) for x in (1.0, 4.0))
    >>> weight_step(np.zeros((1, 2)), p, p_next, scale=0.5)
    array([[1.5, 1.5]])
    """
    checks.require_weight("W", W, p, scale)
    checks.require_weight("W", W, p_next, scale)
    return W + float(scale) * (p_next.B @ p_next.A - p.B @ p.A)  # (d, k)
