"""Arrays to torch tensors and back, and gradients by torch's own autograd: what the torch targets share.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Tensors = Mapping[str, np.ndarray]


def tensor(x: np.ndarray, dtype: str) -> Any:
    """Copy an array into a tensor of its own element type; a case of bfloat16 comes as float32, which NumPy has."""
    import torch

    copied = torch.from_numpy(np.array(x, order="C"))
    return copied.bfloat16() if dtype == "bfloat16" and copied.dtype == torch.float32 else copied


def array(x: Any) -> np.ndarray:
    """Copy a tensor into an array; bfloat16, which NumPy has not, comes as float32."""
    import torch

    found = x.detach()
    return np.array((found.float() if found.dtype == torch.bfloat16 else found).numpy())


def pulled_back(Y: Any, gY: Any, by: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Pull gY back to named tensors: {"gX": ..., "gB": ...}; zero where Y does not depend on one."""
    import torch

    found: Sequence[Any] = torch.autograd.grad(Y, list(by.values()), gY, allow_unused=True)
    gradients = zip(by.items(), found, strict=True)
    return {f"g{name}": array(torch.zeros_like(x) if g is None else g) for (name, x), g in gradients}
