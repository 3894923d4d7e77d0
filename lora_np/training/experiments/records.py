"""Tidy records: one fact sheet a run, summaries over seeds, and the results that ship.  Floor 4."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from lora_np.errors import DatasetError

Record = dict[str, str | int | float]

PATH = Path(__file__).with_name("results.json")
COMMAND = "python -m lora_np.training.experiments"


def summary(records: Iterable[Record], by: Sequence[str], value: str = "accuracy") -> list[Record]:
    """Summarize a value over seeds for every combination of the fields `by`, in order of appearance.

    Gives ``n``, ``mean``, ``std`` (sample standard deviation, 0 for one record), ``low`` and ``high``.

    >>> runs = [{"method": "full", "accuracy": 0.9}, {"method": "full", "accuracy": 1.0}]
    >>> row = summary(runs, by=["method"])[0]
    >>> row["method"], row["n"], round(row["mean"], 3), round(row["std"], 3)
    ('full', 2, 0.95, 0.071)
    """
    gathered: dict[tuple[str | int | float, ...], list[float]] = {}
    for record in records:
        gathered.setdefault(tuple(record[name] for name in by), []).append(float(record[value]))
    return [dict(zip(by, key, strict=True)) | _spread(values) for key, values in gathered.items()]


def _spread(values: list[float]) -> Record:
    """Describe how values lie."""
    n = len(values)
    mean = math.fsum(values) / n
    std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else 0.0
    return {"n": n, "mean": mean, "std": std, "low": min(values), "high": max(values)}


def shipped_records(experiment: str | None = None, path: str | Path = PATH) -> list[Record]:
    """Read the results that ship, all or those of one experiment.

    Raises `DatasetError` where the file is missing or cannot be read.

    >>> sorted({record["experiment"] for record in shipped_records()})
    ['adapt', 'prune at once', 'prune while adapting']
    """
    try:
        records = json.loads(Path(path).read_text())["records"]
    except OSError as error:
        raise DatasetError(
            f"the results cannot be read from {path}: {error.strerror}", fix=f"make them again: {COMMAND}"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} holds no results: {error!r}", fix=f"make them again: {COMMAND}") from None
    return [record for record in records if experiment in (None, record["experiment"])]


def write_records(records: Iterable[Record], path: str | Path = PATH) -> None:
    """Write records to a file, one a line, beside the command that made them."""
    lines = ",\n".join(json.dumps(record, sort_keys=True) for record in records)
    Path(path).write_text(f'{{"command": {json.dumps(COMMAND)},\n"records": [\n{lines}\n]}}\n')
