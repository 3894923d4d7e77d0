"""The oracle: derived bounds, the checks of `lora-np verify`, and what certifies other implementations.  Floor 6.

`check(adapter)` runs the test vectors against an implementation and reports case by case; `runner.adapter` says what
an adapter is.  Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_np.conformance.runner.record import Report
    from lora_np.conformance.runner.run import check

_HOMES = {"check": "lora_np.conformance.runner.run", "Report": "lora_np.conformance.runner.record"}


def __getattr__(name: str) -> Any:
    """Load `check` and `Report` when they are first named."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lora_np.conformance' has no attribute {name!r}")


__all__ = ["Report", "check"]
