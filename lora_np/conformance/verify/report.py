"""What `lora-np verify` prints and writes: a table by equation, the failures one by one, a JSON file.  Floor 6."""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from lora_np.atomic import write_whole
from lora_np.conformance.verify.check import Result


def table(results: Sequence[Result]) -> Table:
    """Lay results out, one line for each equation and backend, with the check that came nearest to its bound."""
    shown = Table(
        title="Errors in units of u, half the distance from 1 to the next number", title_justify="left"
    )
    for column in ("equation", "backend"):
        shown.add_column(column, no_wrap=True)
    for column in ("checks", "error / u", "bound / u", ""):
        shown.add_column(column, justify="right")
    for (equation, backend), group in by_equation(results).items():
        worst = max(group, key=lambda result: (not result.ok, result.error_u / (result.bound_u or 1)))
        failed = sum(not result.ok for result in group)
        verdict = f"[red]{failed} failed[/]" if failed else "[green]ok[/]"
        numbers = (str(len(group)), f"{worst.error_u:.2f}", f"{worst.bound_u:.1f}", verdict)
        shown.add_row(f"[cyan]{equation}[/]", backend, *numbers)
    return shown


def by_equation(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """Group results by equation and backend, in the order in which they came."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.equation, result.backend), []).append(result)
    return groups


def failures(results: Sequence[Result]) -> list[str]:
    """Say of each failed check which equation it broke, by how much, and where."""
    return [
        f"[{result.equation}] {result.check}, {result.backend}: "
        + (result.problem or f"error {result.error_u:.4g} u, bound {result.bound_u:.4g} u")
        + (f", {result.dtype}, shape {result.shape}" if result.shape else "")
        for result in results
        if not result.ok
    ]


def summary(results: Sequence[Result]) -> str:
    """Count the checks and give the worst error of all."""
    failed = sum(not result.ok for result in results)
    worst = max((result.error_u for result in results), default=0.0)
    backends = ", ".join(dict.fromkeys(result.backend for result in results))
    return f"{len(results)} checks on {backends or 'nothing'}: {failed or 'none'} failed, worst error {worst:.2f} u"


def write_json(path: Path, results: Sequence[Result], *, complete: bool) -> None:
    """Write all results to a file: whole or not at all."""
    found: dict[str, Any] = {
        "checks": [result.as_json() for result in results],
        "complete": complete,
        "machine": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "system": platform.platform(),
        },
    }
    write_whole(path, (json.dumps(found, indent=1, allow_nan=False) + "\n").encode())
