"""The shipped test vectors, as work that a mutant may break: each file passes or does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import CodeType


def reached(codes: Mapping[CodeType, str]) -> dict[str, dict[str, Callable[[], bool]]]:
    """Run every vector file on the true code: function -> {file: does it pass?} for the files that enter it."""
    return {}
