"""Running a lesson as a student does: plain Python, in another folder; without Numba where it must not matter."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from lora_np.teach.build.strip import strip
from lora_np.teach.lessons import lesson

WITH_NUMBA = {"14", "15"}
"""The lessons that are about compiled code, or about other people's."""

SECONDS = 300
"""When a run is given up: the machine may be slow and busy."""


class Run(NamedTuple):
    """How a run ended, and what it printed."""

    status: int
    output: str
    errors: str


@functools.cache
def master(number: str) -> Run:
    """Run a lesson with its solutions, where it lies."""
    return run(lesson(number).path, numba=number in WITH_NUMBA)


@functools.cache
def stripped(number: str) -> Run:
    """Run a lesson without its solutions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, lesson(number).path.name)
        path.write_text(strip(lesson(number).text), encoding="utf-8")
        return run(path, numba=number in WITH_NUMBA)


def run(path: Path, *, numba: bool = True) -> Run:
    """Run a file from a folder of its own, with warnings as errors."""
    with tempfile.TemporaryDirectory() as folder:
        if not numba:
            Path(folder, "numba.py").write_text("raise ImportError('Numba is out of reach')\n")
        paths = [folder, str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        ended = subprocess.run(
            [sys.executable, "-W", "error", str(path)],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                "PYTHONIOENCODING": "utf-8",
            },
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
        )
    return Run(ended.returncode, ended.stdout, ended.stderr)
