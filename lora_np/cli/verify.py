"""`lora-np verify`: every equation's code against another road to the same number, on this machine.  Floor 6."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lora_np.cli.running import FAILED, INTERRUPTED, require_writable, run_all

if TYPE_CHECKING:
    from lora_np.conformance.verify import Implementation, Result


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

    from lora_np.conformance.verify import plan, report, run

    require_writable(json_file)
    results: list[Result] = []
    jobs = plan(_chosen(backend))
    complete = run_all(
        ((f"{one.name} {check.equation}", partial(run, check, one)) for check, one in jobs), results
    )
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
