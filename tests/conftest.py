"""Fixtures for all tests: the array libraries that the engine must run on, and a seeded generator."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("suite", max_examples=40, deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


@dataclass(frozen=True)
class ArrayLibrary:
    """One array library: how to make its arrays and how to read them back."""

    name: str
    asarray: Callable[[Any], Any]
    to_numpy: Callable[[Any], np.ndarray]


def _readonly(x: Any) -> np.ndarray:
    """Make a NumPy array that nobody can write into: an in-place update of an argument fails."""
    array = np.array(x)
    array.flags.writeable = False
    return array


def _library(name: str) -> ArrayLibrary:
    if name == "numpy":
        return ArrayLibrary(name, np.asarray, np.asarray)
    if name == "numpy-readonly":
        return ArrayLibrary(name, _readonly, np.asarray)
    if name == "array-api-strict":
        strict = pytest.importorskip("array_api_strict")
        return ArrayLibrary(name, strict.asarray, lambda x: np.asarray(x._array))
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.cuda.is_available():
        pytest.skip("no CUDA device")
    return ArrayLibrary(name, cupy.asarray, cupy.asnumpy)


@pytest.fixture(
    params=["numpy", "numpy-readonly", "array-api-strict", pytest.param("cupy", marks=pytest.mark.gpu)]
)
def library(request: pytest.FixtureRequest) -> ArrayLibrary:
    """Each array library in turn."""
    return _library(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed, one per test: no test depends on another's draws."""
    return np.random.default_rng(20230613)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of an installed Chromium; skips where there is none."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    return path
