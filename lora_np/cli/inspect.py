"""`lora-np inspect`: what a PEFT adapter holds, how much of its rank it needs, what a merge would lose.  Floor 6.

Only reads files and prints; every number comes from `lora_np.figures.inspect_scene` and below.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lora_np.adapters.report import ModuleReport
    from lora_np.figures.inspect_scene import InspectScene


def inspect(
    path: Annotated[Path, typer.Argument(help="A folder as PEFT saves it, or its .safetensors file.")],
    base: Annotated[
        Path | None, typer.Option(help="Base weights: a folder, an index, or a .safetensors file.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="Another adapter of the same base.")] = None,
    energy: Annotated[float, typer.Option(help="The share of the energy that is to be kept.")] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object for programs.")] = False,
) -> None:
    """Look at an adapter: ranks, scales, effective ranks, size beside the base, likeness, merging in 16 bits.

    For example: lora-np inspect my-adapter --base model.safetensors --against another-adapter
    """
    from lora_np.checks import require_number

    require_number("energy", energy, above=0.0, most=1.0)
    scene = _looked(path, base, against)
    if as_json:
        typer.echo(json.dumps(_as_dict(scene, energy), indent=2, allow_nan=False))
    else:
        _show(scene, energy, str(path))


def _looked(path: Path, base: Path | None, against: Path | None) -> InspectScene:
    """Read the files, then look at one module after the other under a progress bar."""
    from rich.console import Console
    from rich.progress import Progress

    from lora_np.figures.inspect_scene import inspect_steps
    from lora_np.files import read_adapter, read_base

    adapter = read_adapter(path, strict=False)
    steps = inspect_steps(
        adapter,
        base=None if base is None else read_base(base, adapter.modules),
        other=None if against is None else read_adapter(against, strict=False),
    )
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=1.0)
        while True:
            try:
                share, name = next(steps)
            except StopIteration as ended:
                scene: InspectScene = ended.value
                return scene
            progress.update(task, completed=share, description=name)


# ---- for programs --------------------------------------------------------------------------------------------


def _as_dict(scene: InspectScene, energy: float) -> dict[str, Any]:
    """Write everything as plain numbers; an error beyond a type's range is None."""
    from dataclasses import asdict

    from lora_np.figures.inspect_scene import summary

    return {
        "energy": energy,
        "summary": asdict(summary(scene, energy)),
        "remarks": list(scene.remarks),
        "modules": [_module(report, energy) for report in scene.reports],
    }


def _module(report: ModuleReport, energy: float) -> dict[str, Any]:
    """Write one module."""
    like = report.likeness
    return {
        "name": report.name,
        "shape": list(report.shape),
        "rank": report.rank,
        "alpha": report.alpha,
        "scale": report.scale,
        "singular_values": [float(sigma) for sigma in report.spectrum.sigma],
        "norm": report.norm,
        "relative_norm": report.relative_norm,
        "effective_rank": report.spectrum.effective_rank,
        "stable_rank": report.spectrum.stable_rank,
        "rank_needed": report.kept(energy),
        "merges": {
            dtype: {
                "changing": loss.changing,
                "unchanged": loss.unchanged,
                "overflowed": loss.overflowed,
                "lost": None if loss.overflowed else loss.lost,
                "largest_error": None if loss.overflowed else loss.largest_error,
            }
            for dtype, loss in report.merges.items()
        },
        "likeness": None
        if like is None
        else {"cosine": like.cosine, "outputs": list(like.outputs), "inputs": list(like.inputs)},
    }


# ---- for people ----------------------------------------------------------------------------------------------


def _show(scene: InspectScene, energy: float, title: str) -> None:
    """Print a table of the modules and the answer in short."""
    from rich.console import Console
    from rich.table import Table

    from lora_np.figures.inspect_scene import in_short

    table = Table(title=title)
    columns = [
        "module",
        "d x k",
        "r",
        "scale",
        "norm",
        "/ base",
        "erank",
        "srank",
        f"r at {100 * energy:g} %",
    ]
    columns += ["stay in bf16", "cosine"]
    for column in columns:
        table.add_column(column, justify="left" if column == "module" else "right")
    for report in scene.reports:
        table.add_row(*_cells(report, energy))
    console = Console()
    console.print(table)
    for remark in scene.remarks:
        console.print(remark)
    console.print(in_short(scene, energy))


def _cells(report: ModuleReport, energy: float) -> list[str]:
    """Write one module's row; a dash where there is no number."""
    merge, like = report.merges.get("bfloat16"), report.likeness
    return [
        report.name,
        f"{report.shape[0]} x {report.shape[1]}",
        str(report.rank),
        f"{report.scale:.4g}",
        f"{report.norm:.3g}",
        "-" if report.relative_norm is None else f"{100 * report.relative_norm:.3g} %",
        f"{report.spectrum.effective_rank:.2f}",
        f"{report.spectrum.stable_rank:.2f}",
        str(report.kept(energy)),
        "-" if merge is None else f"{100 * merge.unchanged_share:.3g} %",
        "-" if like is None else f"{like.cosine:+.2f}",
    ]
