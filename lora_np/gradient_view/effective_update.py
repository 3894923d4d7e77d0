"""What one SGD step of LoRA does to the weight: the effective update and its two orders in the rate.  Floor 2.

All follow from gW, B and A alone and hold as identities, not approximations.  One learning rate for both factors.
"""

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.lora import LoraParams


def effective_gradient(gW: Float[Array, "d k"], p: LoraParams, *, scale: float) -> Float[Array, "d k"]:
    """Compute what LoRA puts in the place of the full gradient.  [view-first-order] [view-projected]

    s² (gW Aᵀ A + B Bᵀ gW) = s (gB A + B gA), the weight's rate of change as lr goes to 0: the full gradient seen
    through the rows of A and the columns of B.  Raises `ShapeError`, `DTypeError`, `RankError`, `ConfigError`.

    >>> import numpy as np
    >>> p = LoraParams(B=np.zeros((2, 1)), A=np.array([[1.0, 0.0]]))
    >>> effective_gradient(np.array([[1.0, 2.0], [3.0, 4.0]]), p, scale=1.0)
    array([[1., 0.],
           [3., 0.]])
    """
    checks.require_weight("gW", gW, p, scale)
    B, A = p
    return float(scale) ** 2 * ((gW @ A.T) @ A + B @ (B.T @ gW))  # (d, k): thin products, no k by k array


def first_order_update(
    gW: Float[Array, "d k"], p: LoraParams, *, scale: float, lr: float
) -> Float[Array, "d k"]:
    """Compute the part of the update that is linear in the rate.  [view-first-order]

    −lr s² (gW Aᵀ A + B Bᵀ gW).  Raises what `effective_gradient` raises.

    >>> import numpy as np
    >>> first_order_update(np.ones((1, 1)), LoraParams(np.ones((1, 1)), np.ones((1, 1))), scale=1.0, lr=0.25)
    array([[-0.5]])
    """
    checks.require_number("lr", lr, least=0)
    return -float(lr) * effective_gradient(gW, p, scale=scale)


def second_order_update(
    gW: Float[Array, "d k"], p: LoraParams, *, scale: float, lr: float
) -> Float[Array, "d k"]:
    """Compute the part of the update that is quadratic in the rate.  [view-update]

    lr² s³ gW Aᵀ Bᵀ gW: the product of both factors' steps.  Raises what `effective_gradient` raises.

    >>> import numpy as np
    >>> second_order_update(np.ones((1, 1)), LoraParams(np.ones((1, 1)), np.ones((1, 1))), scale=1.0, lr=0.25)
    array([[0.0625]])
    """
    checks.require_weight("gW", gW, p, scale)
    checks.require_number("lr", lr, least=0)
    B, A = p
    return float(lr) ** 2 * float(scale) ** 3 * ((gW @ A.T) @ (B.T @ gW))  # (d, k)


def effective_update(
    gW: Float[Array, "d k"], p: LoraParams, *, scale: float, lr: float
) -> Float[Array, "d k"]:
    """Compute what one SGD step on B and A adds to the weight.  [view-update]

    s (B' A' − B A) = −lr s² (gW Aᵀ A + B Bᵀ gW) + lr² s³ gW Aᵀ Bᵀ gW, exactly.  Raises what
    `effective_gradient` raises.

    >>> import numpy as np
    >>> effective_update(np.ones((1, 1)), LoraParams(np.ones((1, 1)), np.ones((1, 1))), scale=1.0, lr=0.25)
    array([[-0.4375]])
    """
    return first_order_update(gW, p, scale=scale, lr=lr) + second_order_update(gW, p, scale=scale, lr=lr)
