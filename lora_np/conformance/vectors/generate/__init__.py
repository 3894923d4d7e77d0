"""Making the test vectors: one command, the same bytes every time.  Floor 6.

    python -m lora_np.conformance.vectors.generate          # every file of v1, checked, then written

    inputs      numbers from a seed: SplitMix64
    situations  the cases of any layer: sizes, zeros, huge and tiny values, memory, element types
    plan        a case before its answers; a recipe for a file
    answers     correctly rounded answers, each confirmed by a second road
    roads       the second roads
    layers      the four recipes of a layer in one call
    files       the bytes of a file, the manifest, the checksums

To add a method: write its definition; then, in any module here, a function `recipes()` that returns `Recipe`s.
Every module of this package that has one is found by name.  For a layer, `layer_recipes` asks for the shapes and
for array formulas (W0 + s B A in NumPy) and makes forward, backward, merge and unmerge in some forty cases each; for
anything else, build `Plan`s (with `Draws` for the numbers) and give a `Recipe` its own `road`.  A recipe only
ever grows at its end: the ids of its cases are permanent.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from lora_np.conformance.vectors.generate.plan import Recipe


@cache
def all_recipes() -> dict[str, Recipe]:
    """Collect the recipes of all modules of this package, by file name.  Raises `ValueError` for one made twice."""
    found: dict[str, Recipe] = {}
    for module in sorted(info.name for info in iter_modules(__path__) if not info.name.startswith("_")):
        make = getattr(import_module(f"{__name__}.{module}"), "recipes", list)
        for recipe in make():
            if recipe.name in found:
                raise ValueError(f"two recipes for {recipe.name}")
            found[recipe.name] = recipe
    return dict(sorted(found.items()))
