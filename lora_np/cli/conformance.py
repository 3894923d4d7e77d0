"""`lora-np conformance`: the test vectors against an implementation, in any language.  Floor 6."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lora_np.cli.running import FAILED, INTERRUPTED, require_writable, run_all
from lora_np.errors import ConfigError

if TYPE_CHECKING:
    from lora_np.conformance.runner.record import Report
    from lora_np.conformance.runner.target import Target


def conformance(
    target: Annotated[
        str,
        typer.Argument(help="A target by name (reference, numba, naive, torch, peft, ...) or module:Class."),
    ] = "",
    command: Annotated[
        str, typer.Option(help="A program that speaks the protocol, in place of a target.")
    ] = "",
    level: Annotated[str, typer.Option(help="bronze, silver or gold.")] = "gold",
    xfails: Annotated[Path | None, typer.Option(help="A TOML file of failures that are expected.")] = None,
    include: Annotated[
        str, typer.Option(help="Only files whose names start so (lora/, dora/backward), or one id.")
    ] = "",
    report: Annotated[
        Path | None, typer.Option(help="Write HTML, JSON, JUnit and a badge into a directory.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to a file.")] = None,
    vectors: Annotated[Path | None, typer.Option(help="Use the vectors of another directory.")] = None,
    limit: Annotated[float, typer.Option(help="Seconds for one case.", min=0.1)] = 10.0,
) -> None:
    """Run the test vectors against an implementation: what passes, by how much, and what is wrong where it does not.

    Exits with status 1 if a case fails.  Ctrl-C stops, reports what is done so far, and exits with status 130.
    """
    from lora_np.conformance.report import files, terminal

    require_writable(json_file)
    files.require_directory(report)
    found = _run(target, command, level, xfails, include, vectors, limit)
    terminal.show(found)
    if json_file is not None:
        files.write_json(json_file, found)
    if report is not None:
        files.write_all(report, found)
    if not found.complete:
        raise typer.Exit(INTERRUPTED)
    if not found.ok:
        raise typer.Exit(FAILED)


def _run(
    target: str,
    command: str,
    level: str,
    xfails: Path | None,
    include: str,
    vectors: Path | None,
    limit: float,
) -> Report:
    """Read what is to be run, reach the target, and run it under a progress bar."""
    from lora_np.conformance.runner.levels import require_level
    from lora_np.conformance.runner.run import Run, chosen, selected, suite_sha256, unfounded
    from lora_np.conformance.runner.xfails import read_xfails

    require_level(level)
    expected = {} if xfails is None else read_xfails(xfails)
    cases = chosen(include, vectors)
    if not cases:
        raise ConfigError(
            f"no test vectors are called {include!r}", fix="give a method, as in lora/, or an id"
        )
    reached, name = _reach(target, command, limit)
    try:
        run = Run(reached, target_name=name, level=level, expected=expected)
        records: list[object] = []
        jobs = ((case.id, partial(run.judge, case)) for case in selected(cases, level))
        complete = run_all(jobs, records)
    finally:
        reached.close()
    problems = unfounded(expected, cases, include)
    return run.report(problems=problems, suite_sha256=suite_sha256(vectors), complete=complete)


def _reach(target: str, command: str, limit: float) -> tuple[Target, str]:
    """Reach what is to be tested, and name it so that a reproducer finds it again."""
    from lora_np.conformance.runner.reproducer import COMMAND
    from lora_np.conformance.runner.target import reach, reach_command

    if bool(target) == bool(command):
        problem = "both are given" if target else "neither is given"
        raise ConfigError(f"name a target, or a program with --command: {problem}")
    if command:
        return reach_command(command, limit=limit), COMMAND + command
    return reach(target, limit=limit), target
