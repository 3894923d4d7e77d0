"""The bytes of the vectors' directory: each file, the manifest, the checksums.  Floor 6."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from lora_np.conformance.definitions import about
from lora_np.conformance.vectors.flags import notes
from lora_np.conformance.vectors.format import (
    SCHEMA,
    SUITE,
    Case,
    case_as_json,
    config_as_json,
)
from lora_np.conformance.vectors.generate import all_recipes
from lora_np.conformance.vectors.generate.answers import answered
from lora_np.conformance.vectors.generate.plan import Recipe

SCHEMA_VERSION = "1.0.0"
RELEASES = ("2026.11",)
"""Every release so far, the first one first."""

LEAST_RUNNER = "0.1.0"
"""The first version of this package whose runner understands these files."""


def cases_of_recipe(recipe: Recipe) -> list[Case]:
    """Answer every plan of a recipe.  Raises `RefusedError`."""
    return [answered(recipe, plan, number) for number, plan in enumerate(recipe.plans(), start=1)]


def content_of(recipe: Recipe, cases: Iterable[Case]) -> dict[str, Any]:
    """Make the content of a file: cases in groups of one configuration and element type."""
    listed = list(cases)
    groups: dict[str, dict[str, Any]] = {}
    for case in listed:
        config = config_as_json(case.config)
        group = {"config": config, "dtype": case.dtype, "tests": []}
        groups.setdefault(compact([config, case.dtype]), group)["tests"].append(case_as_json(case))
    return {
        "schema": SCHEMA,
        "schemaVersion": SCHEMA_VERSION,
        "suite": SUITE,
        "method": recipe.method,
        "operation": recipe.operation,
        "header": recipe.header or about(recipe.method),
        "numberOfTests": len(listed),
        "notes": notes({flag for case in listed for flag in case.flags}),
        **recipe.extra,
        "testGroups": list(groups.values()),
    }


def as_text(content: Mapping[str, Any]) -> str:
    """Write a content as JSON with one line for each test, so that a change shows as one line."""
    head = {key: value for key, value in content.items() if key != "testGroups"}
    groups = []
    for group in content["testGroups"]:
        start = compact({key: value for key, value in group.items() if key != "tests"})[:-1]
        tests = ",\n".join(compact(test) for test in group["tests"])
        groups.append(f'{start},"tests":[\n{tests}\n]}}')
    start = json.dumps(head, indent=1, ensure_ascii=False)[:-2]
    return f'{start},\n "testGroups": [\n' + ",\n".join(groups) + "\n]}\n"


def compact(value: Any) -> str:
    """Write JSON without a space, as each test stands in its line."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def file_text(name: str) -> str:
    """Generate one file, "lora/forward", from nothing."""
    recipe = all_recipes()[name]
    return as_text(content_of(recipe, cases_of_recipe(recipe)))


def manifest_text(texts: Mapping[str, str]) -> str:
    """List the files, {"lora/forward.json": text}, with their numbers of tests."""
    counts = {name: json.loads(text)["numberOfTests"] for name, text in sorted(texts.items())}
    manifest = {
        "suite": SUITE,
        "schemaVersion": SCHEMA_VERSION,
        "minimumRunner": LEAST_RUNNER,
        "releases": list(RELEASES),
        "numberOfTests": sum(counts.values()),
        "files": counts,
    }
    return json.dumps(manifest, indent=1) + "\n"


def checksums_text(texts: Mapping[str, str]) -> str:
    """Write SHA-256 sums in the format that `sha256sum -c` reads."""
    sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
