"""OLoRA: LoRA that starts at the QR factors of the weight.  Floor 2.

W0 = Q R without exchanging columns: the first r columns of Q, which are orthonormal, become B and the first r rows of
R become A.  They are not divided by s, as PiSSA's are; the base is shifted by s times their product, so the layer
starts as the frozen one did for every s.  The QR is this package's, not LAPACK's; the sign of each column of Q is a
choice, so what can be compared are products and projectors.  From there on the layer is LoRA on the base.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.lora import LoraParams, backward, forward, scaling, symmetric_base
from lora_np.merging import merge, unmerge
from lora_np.methods.pissa import as_lora, require_start
from lora_np.rank.householder import leading_qr
from lora_np.rank.scaling import times_power_of_two, to_unit_scale


def init(W0: Float[Array, "d k"], rank: int, *, scale: float) -> tuple[Float[Array, "d k"], LoraParams]:
    """Split the weight into the base and its leading QR factors.  [olora-start]

    B = Q_r,  A = R_r,  W_base = W0 − s Q_r R_r.  Returns the base and the factors.  Determined, up to signs, where
    the first r columns of W0 are independent.  Raises what `pissa.init` raises, `NonFiniteError` too.

    >>> import numpy as np
    >>> base, p = init(np.array([[0.0, 1.0], [2.0, 1.0]]), 1, scale=1.0)
    >>> base, p.B @ p.A
    (array([[0., 1.],
           [0., 0.]]), array([[0., 0.],
           [2., 1.]]))
    """
    require_start(W0, rank, scale)
    checks.require_finite("W0", W0)
    xp = array_namespace(W0)
    unit, exponent = to_unit_scale(W0)
    Q, R = leading_qr(unit, rank)  # (d, r), (r, k)
    p = LoraParams(B=xp.astype(Q, W0.dtype), A=xp.astype(times_power_of_two(R, exponent), W0.dtype))
    return symmetric_base(W0, p, scale=scale), p


__all__ = ["LoraParams", "as_lora", "backward", "forward", "init", "merge", "scaling", "unmerge"]
