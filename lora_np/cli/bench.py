"""`lora-np bench`: how fast, beside NumPy, torch and PEFT, and how far from the floor.  Floor 6."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lora_np.cli.running import INTERRUPTED, require_writable, run_all

if TYPE_CHECKING:
    from lora_np.bench.row import Row


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A second for each row; noisier.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="A case by name; may be repeated.")] = None,
    backend: Annotated[str | None, typer.Option(help="numpy or numba; the best one if left out.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows to a file.")] = None,
) -> None:
    """Measure the layer, the rank-r update, importance, both forms, Adam and the import, on this machine.

    Read the ratios.  Ctrl-C stops, prints and writes what is measured so far, and exits with status 130.
    """
    from rich.console import Console

    from lora_np.backends import best_backend, get_backend
    from lora_np.bench import report
    from lora_np.bench.machine import look
    from lora_np.bench.run import plan

    chosen = best_backend() if backend is None else get_backend(backend)
    require_writable(json_file)
    machine = look(budget_s=0.5 if quick else 3.0)
    jobs = plan(machine, chosen, quick=quick, only=only or ())
    rows: list[Row] = []
    complete = run_all(((f"{job.case} {job.shape}", job.measure) for job in jobs), rows)
    console = Console()
    console.print(report.machine_line(machine), f"; backend {chosen.name}", sep="", highlight=False)
    console.print(report.table(rows))
    for line in report.verdict_lines(rows):
        console.print(line, markup=False, highlight=False)
    if json_file is not None:
        report.write_json(json_file, machine, rows, complete=complete)
    if not complete:
        raise typer.Exit(INTERRUPTED)
