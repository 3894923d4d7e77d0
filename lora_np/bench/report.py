"""The bench's table for people and its JSON for programs.  Floor 6."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lora_np.atomic import write_whole
from lora_np.bench.machine import Machine
from lora_np.bench.row import Row


def table(rows: Sequence[Row]) -> Any:
    """Make a rich table: our time, every other as a multiple of it, and the memory beyond the result."""
    from rich.table import Table

    made = Table(
        title="Milliseconds of ours, the fastest of the rounds; others as multiples of it", padding=(0, 0)
    )
    made.add_column("case", min_width=20, overflow="fold")
    for column in ("ours", "numpy", "torch", "peft", "frozen", "floor", "extra"):
        made.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        others = (row.numpy_ms, row.torch_ms, row.peft_ms, row.frozen_ms, row.floor_ms)
        made.add_row(
            f"{row.case}\n{row.shape}",
            f"{row.ours_ms:.3g}",
            *("" if ms is None else f"{ms / row.ours_ms:.3g}" for ms in others),
            "" if row.extra_bytes is None else _size(row.extra_bytes),
        )
    return made


def verdict_lines(rows: Sequence[Row]) -> list[str]:
    """Say of each row what it timed, and of each of its targets whether it is met; if not, by how much, and the bound.

    >>> from lora_np.bench.row import Target
    >>> row = Row("update", "2x2", 1.0, 2.5, targets=(Target("numpy", "ours", 3.0, False),), bound="memory")
    >>> print(*verdict_lines([row]))
    missed  update 2x2: numpy / ours >= 3: 2.5, off by 17 %; bound: memory
    """
    lines = []
    for row in rows:
        for verdict in row.verdicts:
            text = f"{row.case} {row.shape}: {verdict['target']}: {verdict['got']:.3g}"
            missed = f", off by {100 * verdict['off']:.0f} %; bound: {row.bound}"
            lines.append(f"met     {text}" if verdict["met"] else f"missed  {text}{missed}")
        if not row.verdicts:
            lines.append(f"        {row.case} {row.shape}: {row.words}")
    return lines


def machine_line(machine: Machine) -> str:
    """Say in one line what it ran on and the two rates.

    >>> machine_line(Machine("a CPU", 2, "openblas", 2, 2, "3.13", {}, 100.0, 10.0))
    'a CPU: 2 cores, openblas with 2 threads, kernels with 2; products 100 GFLOP/s, copies 10 GB/s'
    """
    return (
        f"{machine.processor}: {machine.cores} cores, {machine.blas} with {machine.blas_threads} threads, "
        f"kernels with {machine.kernel_threads}; products {machine.gemm_gflops:.0f} GFLOP/s, "
        f"copies {machine.copy_gbytes:.3g} GB/s"
    )


def write_json(path: Path, machine: Machine, rows: Sequence[Row], *, complete: bool) -> None:
    """Write all rows, whole or not at all."""
    content = {
        "machine": machine.as_dict(),
        "complete": complete,
        "rows": [row.as_dict() for row in rows],
    }
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def _size(count: int) -> str:
    """Write a number of bytes.

    >>> _size(0), _size(50_000), _size(33_554_432)
    ('0 B', '50 kB', '34 MB')
    """
    for unit, size in (("MB", 1_000_000), ("kB", 1000)):
        if count >= size:
            return f"{count / size:.0f} {unit}"
    return f"{count} B"
