"""`lora-np verify`: every equation's code against another road to the same number, on this machine.  Floor 6."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lora_np.conformance.verify import Check, Implementation, Result

FAILED, INTERRUPTED = 1, 130


def verify(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to a file.")] = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="numpy, numba or cupy; all that load if left out.")
    ] = None,
) -> None:
    """Check gradients, equal forms and backends against independent arithmetic, each with a derived bound.

    Exits with status 1 if a check fails.  Ctrl-C stops, prints what is done so far, and exits with status 130.
    """
    from rich.console import Console

    from lora_np.conformance.verify import plan, report

    if json_file is not None:
        _require_writable(json_file)
    results: list[Result] = []
    complete = _run(plan(_chosen(backend)), results)
    console = Console()
    console.print(report.table(results))
    for line in report.failures(results):
        console.print(line, style="red", markup=False, highlight=False)
    console.print(report.summary(results), "" if complete else "(interrupted)", highlight=False)
    if json_file is not None:
        report.write_json(json_file, results, complete=complete)
    if not complete:
        raise typer.Exit(INTERRUPTED)
    if not all(result.ok for result in results):
        raise typer.Exit(FAILED)


def _chosen(names: list[str] | None) -> list[Implementation]:
    """Find the implementations to verify; a name that is none, or cannot be loaded here, raises our error."""
    from lora_np.backends import get_backend
    from lora_np.conformance.verify import available, of_backend, reference

    if not names:
        return available()
    return [
        reference() if name == "numpy" else of_backend(get_backend(name)) for name in dict.fromkeys(names)
    ]


def _run(jobs: list[tuple[Check, Implementation]], results: list[Result]) -> bool:
    """Run the checks under a progress bar, appending to `results`; tell whether all were done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from lora_np.conformance.verify import run

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(jobs))
        try:
            for check, implementation in jobs:
                progress.update(task, description=f"{implementation.name} {check.equation}")
                results.append(run(check, implementation))
                progress.advance(task)
        except KeyboardInterrupt:
            return False
    return True


def _require_writable(path: Path) -> None:
    """Raise before any work if the results could not be written."""
    from lora_np.errors import ConfigError

    if path.is_dir() or not path.parent.is_dir():
        what = "is a directory" if path.is_dir() else f"lies in {path.parent}, which does not exist"
        raise ConfigError(f"--json {path} {what}", fix="name a file in a directory that exists")
