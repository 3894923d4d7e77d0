"""What long commands share: a progress bar that Ctrl-C may stop, a file checked before any work.  Floor 6."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from lora_np.errors import ConfigError

T = TypeVar("T")

FAILED, INTERRUPTED = 1, 130
"""Exit statuses: something was found wrong; the user stopped it."""


def run_all(jobs: Iterable[tuple[str, Callable[[], T]]], results: list[T]) -> bool:
    """Run (what it is, the work) one after the other under a progress bar, appending what each returns.

    Tells whether all were done: Ctrl-C ends it and keeps what is there.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    listed = list(jobs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(listed))
        try:
            for what, work in listed:
                progress.update(task, description=what)
                results.append(work())
                progress.advance(task)
        except KeyboardInterrupt:
            return False
    return True


def require_writable(path: Path | None) -> None:
    """Raise, before minutes are spent, if results could not be written to `path`."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        what = "is a directory" if path.is_dir() else f"lies in {path.parent}, which does not exist"
        raise ConfigError(f"--json {path} {what}", fix="name a file in a directory that exists")
