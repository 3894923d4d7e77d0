"""Calling a function of another array library with NumPy's arrays.  Floor 6.  Copies both ways; no arithmetic."""

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np


def on_device(function: Callable[..., Any], library: str) -> Callable[..., Any]:
    """Wrap a function of `library` (``"cupy"``): arrays go to it as its own, and what comes back is NumPy's."""
    xp: Any = importlib.import_module(library)

    def to_device(x: Any) -> Any:
        return xp.asarray(x) if isinstance(x, np.ndarray) else x

    def to_host(x: Any) -> Any:
        return xp.asnumpy(x) if isinstance(x, xp.ndarray) else x

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        moved = function(*each_leaf(to_device, args), **each_leaf(to_device, kwargs))
        return each_leaf(to_host, moved)

    return call


def each_leaf(change: Callable[[Any], Any], x: Any) -> Any:
    """Apply a function to what tuples, named tuples and dictionaries hold, at any depth.

    >>> each_leaf(lambda x: -x, (1, {"a": 2}))
    (-1, {'a': -2})
    """
    if isinstance(x, dict):
        return {key: each_leaf(change, value) for key, value in x.items()}
    if isinstance(x, tuple):
        parts = [each_leaf(change, value) for value in x]
        return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    return change(x)
