"""`lora-np bench`: how fast, beside NumPy, torch and PEFT, and how far from the floor.  Floor 6."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lora_np.bench.row import Row
    from lora_np.bench.run import Job

INTERRUPTED = 130


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
    if json_file is not None:
        _require_writable(json_file)
    machine = look(budget_s=0.5 if quick else 3.0)
    jobs = plan(machine, chosen, quick=quick, only=only or ())
    rows: list[Row] = []
    complete = _measure(jobs, rows)
    console = Console()
    console.print(report.machine_line(machine), f"; backend {chosen.name}", sep="", highlight=False)
    console.print(report.table(rows))
    for line in report.verdict_lines(rows):
        console.print(line, markup=False, highlight=False)
    if json_file is not None:
        report.write_json(json_file, machine, rows, complete=complete)
    if not complete:
        raise typer.Exit(INTERRUPTED)


def _measure(jobs: list[Job], rows: list[Row]) -> bool:
    """Run the jobs under a progress bar, appending to `rows`; tell whether all were done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(jobs))
        try:
            for job in jobs:
                progress.update(task, description=f"{job.case} {job.shape}")
                rows.append(job.measure())
                progress.advance(task)
        except KeyboardInterrupt:
            return False
    return True


def _require_writable(path: Path) -> None:
    """Raise before minutes are spent if the results could not be written."""
    from lora_np.errors import ConfigError

    if path.is_dir() or not path.parent.is_dir():
        what = "is a directory" if path.is_dir() else f"lies in {path.parent}, which does not exist"
        raise ConfigError(f"--json {path} {what}", fix="name a file in a directory that exists")
