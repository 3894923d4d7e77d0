"""The verdicts counted, by module and by vector file, and the list of equivalent mutants."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.mutants import Mutant
from tests.mutation.trial import Verdict

OPERATIONS = ("forward", "backward", "merge", "unmerge", "init", "with_bias", "add_bias")
EQUIVALENTS = Path(__file__).with_name("equivalents.toml")


def equivalents(path: Path = EQUIVALENTS) -> dict[str, str]:
    """Read key -> reason; a reason is mandatory."""
    listed = tomllib.loads(path.read_text()).get("mutant", [])
    without = [entry.get("key", entry) for entry in listed if not entry.get("reason", "").strip()]
    if without:
        raise ValueError(f"equivalent mutants without a reason: {without}")
    return {entry["key"]: entry["reason"] for entry in listed}


def concerns(file: str, mutant: Mutant) -> bool:
    """Tell whether a mutant changes a number that the file's operation computes.

    Left out are checks of arguments, and other operations that the code runs on the way: backward runs forward first,
    but need not notice what only changes Y.
    """
    operation = file.split("/")[1]
    own = mutant.function == operation or (operation == "forward" and mutant.function.endswith("_bias"))
    return not mutant.guards and (own or mutant.function not in OPERATIONS)


def score(verdicts: Sequence[Verdict], known: dict[str, str]) -> tuple[list[dict], list[dict]]:
    """Count by module, and by vector file; equivalent mutants count in neither."""
    real = [v for v in verdicts if v.mutant.key not in known]
    modules = []
    for module in sorted({v.mutant.module for v in verdicts}):
        own = [v for v in real if v.mutant.module == module]
        modules.append(
            {
                "module": module,
                "mutants": len(own),
                "killed": sum(v.killed for v in own),
                "ended": sum(bool(v.ended) for v in own),
                "by vectors": sum(any(v.files.values()) for v in own),
                "equivalent": sum(v.mutant.module == module and v.mutant.key in known for v in verdicts),
            }
        )
    files = []
    for name in sorted({name for v in real for name in v.files}):
        reached = [v for v in real if name in v.files and concerns(name, v.mutant)]
        killed = sum(v.files[name] for v in reached)
        files.append({"file": name, "mutants": len(reached), "killed": killed})
    return modules, files


def wrongly_listed(verdicts: Sequence[Verdict], known: dict[str, str]) -> list[str]:
    """List mutants that stand in the file as equivalent and were noticed all the same."""
    return [v.mutant.key for v in verdicts if v.mutant.key in known and v.killed]
