"""`python -m tests.mutation`: plant every small error, or a sample of them, and see that something notices."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer
from threadpoolctl import threadpool_limits

from tests.mutation.mutants import mutants_of
from tests.mutation.plugin import MutationRun
from tests.mutation.scores import equivalents, score, wrongly_listed

ROOT = Path(__file__).parents[2]
DEFAULT = (
    "lora_np/lora.py",
    "lora_np/merging.py",
    "lora_np/prune",
    "lora_np/methods",
    "lora_np/layouts",
    "lora_np/adapters",
)
TESTS = {  # the tests that are about a module: these are asked where the vectors notice nothing
    "lora": ["test_lora_*.py", "test_merging.py", "test_bad_input.py"],
    "merging": ["test_merging.py", "test_bad_input.py"],
    "prune": ["test_prune_*.py", "test_bad_input.py"],
    "methods": ["test_methods_*.py", "test_mutants_methods*.py"],
    "layouts": ["test_layouts_*.py", "test_mutants_layouts.py"],
    "adapters": ["test_adapters_*.py"],
}


def main(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders; the engine's if left out.")
    ] = None,
    sample: Annotated[int, typer.Option(help="Take only so many mutants.")] = 0,
    seed: Annotated[int, typer.Option(help="Which sample.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the verdicts to a file.")] = None,
) -> None:
    """Plant small errors one at a time; fail if one survives that is not known to be equivalent."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for given in files or [Path(name) for name in DEFAULT]
        for path in (sorted((ROOT / given).rglob("*.py")) if (ROOT / given).is_dir() else [ROOT / given])
        if path.name != "__init__.py"
    }
    mutants = [mutant for module, path in paths.items() for mutant in mutants_of(module, path)]
    if sample:
        mutants = sorted(random.Random(seed).sample(mutants, min(sample, len(mutants))), key=lambda m: m.key)
    run = MutationRun(mutants, {m.module: paths[m.module] for m in mutants})
    with threadpool_limits(1):  # processes are forked
        imported = "ignore::pytest.PytestAssertRewriteWarning"  # the engine is loaded: it is what mutates
        options = ["-q", "-p", "no:cacheprovider", "-W", imported]
        status = pytest.main([*options, *_tests(run.paths)], plugins=[run])
    if run.broken or status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        typer.echo(f"the true code does not pass: {run.broken or status}")
        raise typer.Exit(2)
    _report(run, json_file)


def _tests(paths: dict[str, Path]) -> list[str]:
    """Name the test files about these modules, and the modules themselves for their examples."""
    subjects = dict.fromkeys(module.split(".")[1] for module in paths)
    named = [
        str(path)
        for subject in subjects
        for glob in TESTS[subject]
        for path in sorted((ROOT / "tests").glob(glob))
    ]
    return [*dict.fromkeys(named), *(str(path) for path in paths.values())]


def _report(run: MutationRun, json_file: Path | None) -> None:
    known = equivalents()
    modules, files = score(run.verdicts, known)
    for row in modules:
        ways = "{by vectors} by vectors, {ended} by not ending".format(**row)
        counts = "{killed:4d} of {mutants:4d} noticed ({ways}), {equivalent} equivalent".format(
            ways=ways, **row
        )
        typer.echo(f"{row['module']:40} {counts}")
    for row in files:
        share = 100 * row["killed"] / max(row["mutants"], 1)
        typer.echo(
            f"{row['file']:40} notices {row['killed']:4d} of {row['mutants']:4d} it reaches: {share:.1f} %"
        )
    survivors = [v.mutant.key for v in run.verdicts if not v.killed and v.mutant.key not in known]
    wrong = wrongly_listed(run.verdicts, known)
    if json_file is not None:
        found = {"modules": modules, "files": files, "survivors": survivors, "wrongly equivalent": wrong}
        json_file.write_text(json.dumps(found, indent=1) + "\n")
    noticed, of = sum(row["killed"] for row in modules), sum(row["mutants"] for row in modules)
    typer.echo(
        f"{noticed} of {of} mutants noticed, {len(survivors)} survive, {len(wrong)} wrongly called equivalent"
    )
    if survivors or wrong:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
