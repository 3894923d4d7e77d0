"""Putting changed code into the living function: every module that has imported it runs the change."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any


def living(module: str, name: str) -> FunctionType:
    """Find a function by module and qualified name, under properties, caches and static methods."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = vars(found)[part]
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, (staticmethod, classmethod)):
        found = found.__func__
    if isinstance(found, functools.cached_property):
        found = found.func
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    if not isinstance(found, FunctionType):
        raise LookupError(f"{module}.{name} is no plain function")
    return found


@contextmanager
def swapped(function: FunctionType, code: CodeType) -> Iterator[None]:
    """Run with another body in a function; the old one returns whatever happens."""
    original = function.__code__
    function.__code__ = code
    try:
        yield
    finally:
        function.__code__ = original
