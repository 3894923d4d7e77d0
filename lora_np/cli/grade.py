"""`lora-np grade`: run and judge a folder of submissions, each in a process of its own.  Floor 6."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lora_np.cli.running import INTERRUPTED

if TYPE_CHECKING:
    from lora_np.teach.grade.grading import Course
    from lora_np.teach.grade.marks import Result

_OUT = typer.Option("--out", help="The table to write, a .csv.")
_JSON = typer.Option("--json", help="A folder for one Gradescope results.json a submission.")
_LESSON = typer.Option(help="Grade this lesson alone, as 05; all that a file answers if left out.")
_SEED = typer.Option(help="The course's seed: with each student's name it draws the hidden cases.")
_JOBS = typer.Option(min=1, max=64, help="How many at a time; as many as there are cores if left out.")
_TIME = typer.Option(help="Seconds that a file may take in all.")
_MEMORY = typer.Option(help="Megabytes that a submission may take.")
_RESUME = typer.Option("--resume/--afresh", help="Go on with an interrupted run, or begin again.")


def grade(
    submissions: Annotated[
        Path, typer.Argument(help="A folder with one folder, script or notebook a student.")
    ],
    out: Annotated[Path, _OUT] = Path("report.csv"),
    json_folder: Annotated[Path | None, _JSON] = None,
    lesson: Annotated[str | None, _LESSON] = None,
    seed: Annotated[int, _SEED] = 0,
    jobs: Annotated[int | None, _JOBS] = None,
    time_limit: Annotated[float, _TIME] = 60.0,
    memory_limit: Annotated[int, _MEMORY] = 1024,
    resume: Annotated[bool, _RESUME] = True,
) -> None:
    """Grade a folder of submissions by hidden cases, other ones for each student.

    One crash or endless loop costs one submission.  Ctrl-C writes what is done and exits with status 130; the same
    command then goes on.
    """
    from rich.console import Console

    from lora_np.teach.grade import report
    from lora_np.teach.grade.journal import Journal
    from lora_np.teach.grade.run import run
    from lora_np.teach.grade.sandbox import require_system
    from lora_np.teach.grade.submissions import find

    require_system()
    _require_writable(out, json_folder)
    course = _course(submissions, lesson, seed, time_limit, memory_limit)
    journal = Journal(out.with_name(out.name + ".journal"), _how(course))
    found = find(submissions, ignore=[out, journal.path, *([json_folder] if json_folder else [])])
    with _bar(len(found)) as done:
        results, complete = run(
            found, course, journal, jobs=jobs or os.cpu_count() or 1, resume=resume, done=done
        )
    report.write_csv(out, results)
    if json_folder is not None:
        report.write_json(json_folder, results)
    console = Console()
    console.print(_summary(results, len(found), out), highlight=False, markup=False, soft_wrap=True)
    if not complete:
        console.print("interrupted; the same command goes on where this stopped", highlight=False)
        raise typer.Exit(INTERRUPTED)
    journal.end()


def _course(submissions: Path, lesson: str | None, seed: int, seconds: float, memory_mb: int) -> Course:
    """Put together what is graded and how; a lesson that there is not raises our error."""
    from lora_np.teach import exercises
    from lora_np.teach.exercises import __file__ as file
    from lora_np.teach.grade.grading import Course
    from lora_np.teach.grade.limits import Limits

    if lesson is not None:
        lesson = lesson.zfill(2)
        exercises(lesson)
    limits = Limits(seconds=seconds, cell_seconds=seconds / 2, memory_mb=memory_mb)
    closed = (submissions, Path(file).parent, *_solutions())
    return Course(exercises=exercises, seed=seed, lesson=lesson, limits=limits, closed=closed)


def _solutions() -> Iterator[Path]:
    """Find the lessons with their solutions, which no submission may read."""
    from lora_np.errors import ConfigError
    from lora_np.teach.lessons import home

    try:
        yield home()
    except ConfigError:  # installed without them
        return


def _how(course: Course) -> dict[str, object]:
    """Say what a journal must agree on to be gone on with."""
    limits = course.limits
    return {
        "seed": course.seed,
        "lesson": course.lesson,
        "seconds": limits.seconds,
        "memory_mb": limits.memory_mb,
    }


def _require_writable(out: Path, json_folder: Path | None) -> None:
    from lora_np.errors import ConfigError

    if out.is_dir() or not out.resolve().parent.is_dir():
        raise ConfigError(f"--out {out} cannot be written", fix="name a file in a folder that exists")
    if json_folder is not None and json_folder.exists() and not json_folder.is_dir():
        raise ConfigError(
            f"--json {json_folder} is a file", fix="name a folder; one file a submission goes in"
        )


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Result], None]]:
    """Show how far it is: a bar, how many, who was last."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("grading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda result: progress.update(task, advance=1, description=result.student[:30])


def _summary(results: list[Result], total: int, out: Path) -> str:
    """Write how it went in a line or two."""
    if not results:
        return f"none of {total} submissions graded"
    points = sorted(result.points for result in results)
    noted = sum(bool(result.notes) for result in results)
    most = max(result.of for result in results)
    return (
        f"{len(results)} of {total} submissions graded: {points[0]} to {points[-1]} of {most} points, "
        f"median {points[len(points) // 2]}; {noted} with a note, see {out}"
    )
