"""Backends: the same functions, faster.  Floor 3.

``get_backend("numpy")`` is the reference; ``"numba"`` replaces what compiled loops make faster or leaner; ``"cupy"``
runs the reference on a GPU's arrays, with fused kernels where they pay.  All give the same numbers up to rounding.
Importing this package loads none of them.
"""

from lora_np.backends.choice import BACKENDS, available_backends, best_backend, get_backend
from lora_np.backends.record import REFERENCE, Backend

__all__ = ["BACKENDS", "REFERENCE", "Backend", "available_backends", "best_backend", "get_backend"]
