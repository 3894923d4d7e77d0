"""`lora-np vectors`: write the test vectors out, and verify them.  Floor 6."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lora_np.cli.running import FAILED, INTERRUPTED, run_all
from lora_np.errors import VectorFileError

app = typer.Typer(
    help="The test vectors: write them out for other languages, verify them.", no_args_is_help=True
)


@app.command("export")
def export(
    directory: Annotated[Path, typer.Argument(help="A directory that is new, empty, or an export.")],
) -> None:
    """Write vectors, schema, README and checksums to DIRECTORY: whole, or not at all."""
    from lora_np.conformance.vectors.export import export as write

    count = write(directory)
    typer.echo(f"{count} files in {directory}; check them with: cd {directory} && sha256sum -c SHA256SUMS")


@app.command("verify")
def verify(
    directory: Annotated[
        Path | None, typer.Argument(help="An export; the shipped vectors if left out.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Generate every case again, not a sample: minutes.")
    ] = False,
) -> None:
    """Check checksums, lists and schema of every file, then generate a sample of cases again and compare bytes.

    Exits with status 1 if anything is wrong, naming each file.  Ctrl-C stops with status 130.
    """
    from lora_np.conformance.vectors.format import shipped
    from lora_np.conformance.vectors.generate import again, all_recipes
    from lora_np.conformance.vectors.integrity import (
        checksum_problems,
        content_problems,
        files_in,
        manifest_problems,
    )

    root = shipped() if directory is None else directory
    files = [name for name in files_in(root) if "/" in name and name.endswith(".json")]
    generate = again.whole_file if everything else again.sample
    jobs: list[tuple[str, Callable[[], list[str]]]] = [
        ("checksums", partial(_listed, checksum_problems, root)),
        ("manifest", partial(_listed, manifest_problems, root)),
        *((f"schema {name}", partial(_listed, content_problems, root, name)) for name in files),
        *(
            (f"again {name}", partial(_listed, generate, root, name))
            for name in all_recipes()
            if f"{name}.json" in files
        ),
    ]
    found: list[list[str]] = []
    complete = run_all(jobs, found)
    problems = [problem for one in found for problem in one]
    for problem in problems:
        typer.echo(problem, err=True)
    what = "every case" if everything else f"{again.SAMPLE} cases of each file"
    if complete and not problems:
        typer.echo(f"{len(files)} files in {root} are whole; {what} generated again, byte for byte the same")
    if not complete:
        raise typer.Exit(INTERRUPTED)
    if problems:
        raise typer.Exit(FAILED)


def _listed(problems: Callable[..., Iterable[str]], *of: object) -> list[str]:
    """List the problems; what stops the search for them is one, too."""
    try:
        return list(problems(*of))
    except VectorFileError as error:
        return [error.problem]
