"""The definitions: each method's formula as its paper states it, in plain loops on nested lists.  Floor 6.

They are what expected values are computed from, and share no code with `lora_np.methods`.  A definition works on any
kind of number: floats, exact numbers that know their error bound, and a tape around either, which is where
gradients come from.  Nothing is imported here until it is asked for.

To add a method, write ``definitions/<its id, "-" as "_">.py`` with the formula and one constant:

    DEFINITION = Definition("lora", trainable=("B", "A"), forward=forward, others={"merge": merge})

`forward(t, config)` takes the tensors by name as nested lists (t["bias"] may be missing) and returns the outputs by
name; the functions in `others` are written alike, one for each further operation.  config["alpha"] arrives as a number
of the kind in use and config["rank"] as an int; `of_kind(config["rank"], config["alpha"])` makes one into the other.
Backward is never written: `backward` takes it from `forward` by tape.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from lora_np.conformance.definitions.definition import Definition, backward


def _module(method: str) -> ModuleType:
    return import_module(f"lora_np.conformance.definitions.{method.replace('-', '_')}")


def definition(method: str) -> Definition:
    """Load the definition of a method by its id.

    >>> definition("lora").trainable
    ('B', 'A')
    """
    found: Definition = _module(method).DEFINITION
    return found


def about(method: str) -> str:
    """Return what a definition's module says of itself in its first line.

    >>> about("lora")[:31]
    'LoRA, as its paper defines it: '
    """
    return (_module(method).__doc__ or "").split("\n")[0].split("  Floor")[0]


__all__ = ["Definition", "about", "backward", "definition"]
