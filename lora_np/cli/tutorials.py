"""`lora-np tutorials`: lay the lessons out, see what is solved, build a classroom's files.  Floor 6."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lora_np.teach.folder import Progress

app = typer.Typer(
    help="Lessons with exercises: start, status, watch; for teachers, build.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(help="The student's folder.")]
Seconds = Annotated[float, typer.Option(help="How long an answer may take.")]


@app.command()
def start(folder: Folder) -> None:
    """Lay out one script a lesson. A file that is there already stays as it is.

    For example: lora-np tutorials start my-lessons
    """
    from lora_np.errors import ConfigError
    from lora_np.teach import folder as student

    try:
        made = [new for _, new in student.start(folder)]
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}", fix="name another folder"
        ) from None
    kept = len(made) - sum(made)
    typer.echo(
        f"{folder}: {sum(made)} lessons laid out"
        + (f", {kept} were there and stay as they are" if kept else "")
    )
    typer.echo(f"Open {folder / '01_rank.py'} in an editor, then: lora-np tutorials watch {folder}")


@app.command()
def status(
    folder: Folder,
    seconds: Seconds = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object for programs.")] = False,
) -> None:
    """Check every exercise of every lesson in a folder; say what is solved and what comes next.

    For example: lora-np tutorials status my-lessons
    """
    found = _checked(folder, seconds)
    if as_json:
        typer.echo(json.dumps(_as_dict(folder, found), indent=2, ensure_ascii=False))
    else:
        _show(found)


@app.command()
def watch(folder: Folder, seconds: Seconds = 10.0) -> None:
    """Check as `status` does, then check each file again whenever it is saved. Ctrl-C ends it."""
    from lora_np.errors import BackendError

    try:
        import watchfiles
    except ImportError:
        raise BackendError(
            "watching a folder needs watchfiles", fix="pip install 'lora-np[tutorials]'"
        ) from None
    try:
        _show(_checked(folder, seconds))
        typer.echo("Watching; Ctrl-C ends it.")
        for changes in watchfiles.watch(folder, recursive=False, raise_interrupt=False):
            _show_changed(folder, {Path(path).name for _, path in changes}, seconds)
    except KeyboardInterrupt:
        pass
    typer.echo("No longer watching.")


@app.command()
def build(out: Annotated[Path, typer.Option(help="A new folder, or one that this command wrote.")]) -> None:
    """Write what a class needs: scripts and notebooks without solutions, notebooks with them, and a zip.

    Also the sources for nbgrader and for otter-grader. A folder with anybody's work in it is refused.
    """
    from rich.console import Console
    from rich.progress import track

    from lora_np.errors import ConfigError
    from lora_np.teach.build import building
    from lora_np.teach.lessons import lessons

    names = building.build(out)
    console = Console(stderr=True)
    try:
        made = list(track(names, "lessons", len(lessons()), console=console, transient=True))
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}", fix="name another folder") from None
    typer.echo(f"{out}: {len(made)} lessons")
    for place, words in building.WORDS.items():
        typer.echo(f"  {place:<26}{words}")


# ---- checking ------------------------------------------------------------------------------------------------


def _checked(folder: Path, seconds: float) -> list[Progress]:
    """Check the files of a folder, a few at a time, under a progress bar."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    from rich.console import Console
    from rich.progress import track

    from lora_np.checks import require_number
    from lora_np.teach.folder import files, progress

    require_number("seconds", seconds, above=0.0)
    found = files(folder)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        results = pool.map(lambda path: progress(path, found[path], seconds=seconds), found)
        return list(track(results, "checking", len(found), console=Console(stderr=True), transient=True))


def _as_dict(folder: Path, found: Iterable[Progress]) -> dict[str, Any]:
    """Write everything for programs."""
    from dataclasses import asdict

    found = list(found)
    ahead = _next(found)
    return {
        "folder": str(folder),
        "solved": sum(one.solved for one in found),
        "exercises": sum(one.asked for one in found),
        "next": None if ahead is None else {"file": ahead[0].path.name, "id": ahead[1]},
        "files": [
            {
                "file": one.path.name,
                "title": one.lesson.title,
                "solved": one.solved,
                "exercises": one.asked,
                "trouble": one.trouble,
                "answers": [asdict(answer) for answer in one.answers],
            }
            for one in found
        ],
    }


def _next(found: Iterable[Progress]) -> tuple[Progress, str] | None:
    """Find the first exercise that is not solved."""
    return next(((one, one.next.id) for one in found if one.next is not None), None)


# ---- showing -------------------------------------------------------------------------------------------------

MARKS = {"solved": "[green]✓[/]", "open": "[dim]·[/]", "wrong": "[red]✗[/]"}


def _show(found: list[Progress]) -> None:
    """Print the table, what is wrong, and what comes next."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="✓ solved   ✗ not right yet   · not written yet")
    for column in ("file", "lesson", "exercises", "solved"):
        table.add_column(column, justify="right" if column == "solved" else "left")
    for one in found:
        marks = " ".join(MARKS[answer.state] for answer in one.answers) or "[red]not read[/]"
        table.add_row(escape(one.path.name), one.lesson.title, marks, f"{one.solved}/{one.asked}")
    console = Console()
    console.print(table)
    for line in _remarks(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _show_changed(folder: Path, names: set[str], seconds: float) -> None:
    """Check the files that were saved, and print a line for each exercise."""
    from rich.console import Console
    from rich.markup import escape

    from lora_np.errors import ConfigError
    from lora_np.teach.folder import files, progress

    try:
        changed = {path: lesson for path, lesson in files(folder).items() if path.name in names}
    except ConfigError:  # the files are being moved; the next save tells
        return
    console = Console()
    for path, lesson in changed.items():
        one = progress(path, lesson, seconds=seconds)
        console.print(f"\n[bold]{escape(path.name)}[/]  {one.solved} of {one.asked} solved")
        for answer in one.answers:
            console.print(
                f"{MARKS[answer.state]} {answer.id}  {escape(answer.words)}", highlight=False, soft_wrap=True
            )
        for line in _remarks([one]):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _remarks(found: list[Progress]) -> Iterator[str]:
    """Say what could not be read, and what comes next with its first hint."""
    from lora_np.teach.checking import hint_text
    from lora_np.teach.exercises import exercise

    for one in found:
        missing = [answer.words for answer in one.answers if answer.name == "Missing"]
        if one.trouble or missing:
            yield f"{one.path.name}: {one.trouble or missing[0]}"
    ahead = _next(found)
    if ahead is None:
        yield "All solved." if all(one.solved == one.asked for one in found) else ""
        return
    progress, id = ahead
    answer, task = progress.next, exercise(id)
    yield f"Next: exercise {id} {'★' * task.stars} {task.title} ({progress.path.name})"
    if answer is not None and answer.state == "wrong":
        yield f"  {answer.words}"
    yield f"  {hint_text(task, 1)}"
