"""Batches: any number of leading axes seen as one.  Floor 0.  No checks: callers have made theirs."""

import math

from array_api_compat import array_namespace

from lora_np._typing import Array, Float


def flat_rows(x: Float[Array, "... n"]) -> Float[Array, "N n"]:
    """Flatten all leading axes into one batch axis; a matrix is returned as it is.

    >>> import numpy as np
    >>> flat_rows(np.zeros((2, 3, 4))).shape, flat_rows(np.zeros((0, 3, 4))).shape
    ((6, 4), (0, 4))
    """
    if x.ndim == 2:
        return x
    return array_namespace(x).reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
