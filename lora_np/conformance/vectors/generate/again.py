"""Generating again, to compare bytes with what is there: all files, or a few cases of each.  Floor 6."""

from __future__ import annotations

from pathlib import Path

from lora_np.conformance.vectors.format import case_as_json
from lora_np.conformance.vectors.generate import all_recipes
from lora_np.conformance.vectors.generate.answers import answered
from lora_np.conformance.vectors.generate.files import compact, file_text
from lora_np.errors import VectorFileError

SAMPLE = 2
"""Cases of each file that a sample generates again."""


def whole_file(directory: Path, name: str) -> list[str]:
    """Generate "lora/forward" again, and say whether it is what the file holds."""
    path = directory / f"{name}.json"
    same = file_text(name).encode() == _read(path)
    return [] if same else [f"{path} is not what its recipe generates"]


def sample(directory: Path, name: str, count: int = SAMPLE) -> list[str]:
    """Generate some cases of a file again, the same ones each time, and say which are not in it byte for byte."""
    path, recipe = directory / f"{name}.json", all_recipes()[name]
    lines = {line.rstrip(b",") for line in _read(path).splitlines()}
    plans = recipe.plans()
    numbers = sorted({1 + i * len(plans) // count for i in range(count)})
    cases = [answered(recipe, plans[number - 1], number) for number in numbers]
    return [
        f"{path}: {case.id} is not what its recipe generates"
        for case in cases
        if compact(case_as_json(case)).encode() not in lines
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise VectorFileError(f"cannot read {path}: {error.strerror}") from None
