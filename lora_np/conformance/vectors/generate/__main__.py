"""``python -m lora_np.conformance.vectors.generate``: write the vectors, every case checked first.  Floor 6."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from concurrent.futures import ProcessPoolExecutor, as_completed
from os import cpu_count
from pathlib import Path

from lora_np.conformance.vectors.format import shipped
from lora_np.conformance.vectors.generate import all_recipes
from lora_np.conformance.vectors.generate.answers import RefusedError
from lora_np.conformance.vectors.generate.directory import write_checked, write_lists
from lora_np.conformance.vectors.generate.files import file_text
from lora_np.errors import VectorFileError


def main(arguments: list[str] | None = None) -> int:
    """Generate files in parallel under a progress bar; a refused file keeps its old content and makes the status 1."""
    parser = ArgumentParser(prog="python -m lora_np.conformance.vectors.generate", description=__doc__)
    parser.add_argument("--only", default="", help="files whose name starts so: lora/, lora/forward")
    parser.add_argument("--to", type=Path, default=shipped(), help="the directory to write to")
    parser.add_argument("--jobs", type=int, default=cpu_count() or 1, help="processes")
    chosen = parser.parse_args(arguments)
    names = [name for name in all_recipes() if name.startswith(chosen.only)]
    refusals = generate(names, chosen.to, chosen.jobs)
    for refusal in refusals:
        print(refusal, file=sys.stderr)
    return 1 if refusals or not names else 0


def generate(names: list[str], directory: Path, jobs: int) -> list[str]:
    """Write the files `names`, then the lists of all files; return what was refused and why."""
    from rich.console import Console
    from rich.progress import Progress

    refusals = []
    with (
        ProcessPoolExecutor(jobs) as pool,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task("vectors", total=len(names))
        futures = {pool.submit(file_text, name): name for name in names}
        for future in as_completed(futures):
            try:
                write_checked(directory, f"{futures[future]}.json", future.result())
            except (RefusedError, VectorFileError) as error:
                refusals.append(str(error))
            progress.advance(task)
    write_lists(directory)
    return refusals


if __name__ == "__main__":
    sys.exit(main())
