"""No public function answers nonsense with a raw error: whatever comes in every argument, the error is one of ours."""

import contextlib
import importlib
import inspect
import warnings

import numpy as np
import pytest

from lora_np.errors import LoraNpError

MODULES = (
    "lora",
    "merging",
    "conventions",
    "gradient_view",
    "optim",
    "rank",
    "subspace",
    "cost",
    "counts",
    "prune",
    "prune.groups",
    "prune.released",
    "adapters",
    "backends",
)
INNER = {"prune.sum_by_label"}  # takes a Part, which only a Groups makes
NONSENSE = {
    "None": None,
    "a word": "x",
    "an object": object(),
    "whole numbers": np.ones((2, 2), int),
    "complex numbers": np.ones((2, 2), complex),
    "NaN": float("nan"),
    "a negative number": -1,
    "three axes": np.ones((2, 2, 2)),
    "a ragged list": [[1.0], [2.0, 3.0]],
}


def public_functions():
    """Every function that these modules export, once."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(f"lora_np.{name}")
        for public in getattr(module, "__all__", dir(module)):
            function = getattr(module, public)
            own = inspect.isfunction(function) and function.__module__.startswith(f"lora_np.{name}")
            if own and f"{name}.{public}" not in INNER and not public.startswith("_"):
                found[f"{name}.{public}"] = function
    return found


FUNCTIONS = public_functions()


@pytest.mark.parametrize("kind", NONSENSE)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nonsense_in_every_argument_meets_one_of_our_errors(name, kind):
    """A function may have a use for one of these: nothing to refuse then.  Any other exception fails the test."""
    function, value = FUNCTIONS[name], NONSENSE[kind]
    parameters = inspect.signature(function).parameters.values()
    positional = [
        value for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
    ]
    keywords = {p.name: value for p in parameters if p.kind == p.KEYWORD_ONLY}
    with warnings.catch_warnings(), contextlib.suppress(LoraNpError):
        warnings.simplefilter("ignore")
        function(*positional, **keywords)
