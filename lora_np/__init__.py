"""lora_np: the mathematics of LoRA and LoRAPrune, written once, readable, fast and proven.

The floors, each of which imports only from those below it:

0 words     errors, checks, equations, atomic  1 algebra  rank, conventions, lora, merging
2 uses      optim, gradient_view, cost, counts, subspace, prune, methods, layouts, adapters
3 speed     backends                           4 networks  nn, training, datasets
5 files     files                              6 for others  conformance, figures, bench, cli

Importing this package loads NumPy, array-api-compat and the layer, and nothing optional; the modules of floor 2 and
above, and `rank`, load when they are first named.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lora_np import conventions, errors, lora, merging
from lora_np.conventions import from_row_form, promote, to_row_form
from lora_np.errors import LoraNpError
from lora_np.lora import (
    LoraConfig,
    LoraParams,
    backward,
    backward_via_weight,
    bias_gradient,
    forward,
    forward_via_weight,
    init,
    project_gradient,
    scaling,
    symmetric_base,
)
from lora_np.merging import Merged, merge, unmerge

if TYPE_CHECKING:
    from lora_np import (
        adapters,
        conformance,
        cost,
        counts,
        equations,
        files,
        gradient_view,
        layouts,
        methods,
        optim,
        prune,
        rank,
        subspace,
    )
    from lora_np.backends import get_backend

__version__ = "0.1.0"

__all__ = [
    "LoraConfig",
    "LoraNpError",
    "LoraParams",
    "Merged",
    "adapters",
    "backward",
    "backward_via_weight",
    "bias_gradient",
    "conformance",
    "conventions",
    "cost",
    "counts",
    "equations",
    "errors",
    "files",
    "forward",
    "forward_via_weight",
    "from_row_form",
    "get_backend",
    "gradient_view",
    "init",
    "layouts",
    "lora",
    "merge",
    "merging",
    "methods",
    "optim",
    "project_gradient",
    "promote",
    "prune",
    "rank",
    "scaling",
    "subspace",
    "symmetric_base",
    "to_row_form",
    "unmerge",
]

_LAZY = (
    "adapters",
    "conformance",
    "cost",
    "counts",
    "equations",
    "files",
    "gradient_view",
    "layouts",
    "methods",
    "optim",
    "prune",
    "rank",
    "subspace",
)


def __getattr__(name: str) -> Any:
    """Load a module of the upper floors when it is first named."""
    if name in _LAZY:
        return import_module(f"lora_np.{name}")
    if name == "get_backend":
        return import_module("lora_np.backends").get_backend
    raise AttributeError(f"module 'lora_np' has no attribute {name!r}")
