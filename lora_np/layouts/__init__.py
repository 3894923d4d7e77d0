"""Layouts: the LoRA layer beside weights that are not a plain (d, k) matrix, one file each.  Floor 2.

The same paragraphs as in `methods`: init, forward, backward, merge, unmerge.  B and A are LoRA's and `scale` is its
alpha / r; what differs is how the weight is stored and what it is multiplied with.  Nothing is imported here:
`layout("lora-conv2d")` loads the one file that is asked for.

    lora-transposed    W0 stored (k, d), as GPT-2's Conv1D stores it
    lora-embedding     a table of V rows, looked up by token
    lora-merged-qkv    several weights stacked in one, some of them adapted
    lora-conv2d        a kernel; loralib's other way to factor one is in `conv2d_reshaped`
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType, ModuleType

from lora_np import checks

LAYOUTS = MappingProxyType(
    {
        "lora-transposed": "transposed",
        "lora-embedding": "embedding",
        "lora-merged-qkv": "merged_qkv",
        "lora-conv2d": "conv2d",
    }
)
"""Every layout's name and its module's."""


def layout(name: str) -> ModuleType:
    """Load the module of a layout by its name.

    Raises `ConfigError` for a name that is not in `LAYOUTS`, with the list and the nearest one.

    >>> layout("lora-transposed").__name__
    'lora_np.layouts.transposed'
    """
    checks.require_one_of("layout", name, LAYOUTS)
    return import_module(f"lora_np.layouts.{LAYOUTS[name]}")


__all__ = ["LAYOUTS", "layout"]
