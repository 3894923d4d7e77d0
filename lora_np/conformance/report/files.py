"""Writing a report to files, each whole or not at all.  Floor 6."""

from __future__ import annotations

import json
from pathlib import Path

from lora_np.atomic import write_whole
from lora_np.conformance.report.badge import badge
from lora_np.conformance.report.page import page
from lora_np.conformance.report.results import as_junit, as_object
from lora_np.conformance.runner.record import Report
from lora_np.errors import ConfigError

NAMES = ("report.html", "report.json", "junit.xml", "badge.svg")


def require_directory(path: Path | None) -> None:
    """Raise, before minutes are spent, if a report could not be written below `path`."""
    if path is not None and (path.is_file() or not path.parent.is_dir()):
        what = "is a file" if path.is_file() else f"lies in {path.parent}, which does not exist"
        raise ConfigError(f"--report {path} {what}", fix="name a directory; it is made where it is missing")


def write_json(path: Path, report: Report) -> None:
    """Write the JSON file."""
    write_whole(path, (json.dumps(as_object(report), indent=1, allow_nan=False) + "\n").encode())


def write_all(directory: Path, report: Report) -> list[Path]:
    """Write the page, the JSON file, JUnit's XML and the badge; make the directory where it is missing."""
    require_directory(directory)
    directory.mkdir(exist_ok=True)
    paths = [directory / name for name in NAMES]
    write_whole(paths[0], page(report).encode())
    write_json(paths[1], report)
    write_whole(paths[2], as_junit(report))
    write_whole(paths[3], badge(report).encode())
    return paths
