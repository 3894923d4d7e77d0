"""The records of what released software computes, read from the package's data.  Floor 6.  Nothing here measures."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lora_np.conformance.vectors.strict_json import read_content
from lora_np.errors import DatasetError, VectorFileError

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
VERDICTS = ("by design", "defect", "precision")
_FIX = "reinstall lora-np; the file is part of the package"


class Departure(NamedTuple):
    """One thing that PEFT does otherwise than a paper: who says what, what comes of it, and what is done here.

    `verdict` is one of `VERDICTS`.  `reproducer` is a script that prints what it got and what it should have got, or
    "": then the test of the row's name holds one.
    """

    id: str
    method: str
    paper: str
    peft: str
    effect: str
    here: str
    verdict: str
    reproducer: str = ""


class Counted(NamedTuple):
    """One method and operation of one implementation: how many cases ran, and the worst error of those that passed."""

    capability: str
    cases: int
    passed: int
    failed: int
    not_claimed: int
    worst_u: float


class Failure(NamedTuple):
    """Failures of one capability that share a diagnosis and a verdict; `case`, the first of them, stands for all.

    `flag` and `diagnosis` are the diagnoser's, "" where it says nothing.  `worst_u` is the largest finite error in
    units of u, None where no number came or was compared.  `upstream` is what was found in the issues of the
    implementation.  `prints` is what `reproducer` printed; both are "" where nothing is to be shown.
    """

    capability: str
    number: int
    case: str
    problem: str
    flag: str
    diagnosis: str
    worst_u: float | None
    verdict: str
    name: str
    why: str
    upstream: str
    reproducer: str
    prints: str


class Measured(NamedTuple):
    """What one implementation did in the capabilities that it claims, with the versions of everything that computed."""

    target: str
    versions: Mapping[str, str]
    cases: int
    passed: int
    failed: int
    not_claimed: int
    table: tuple[Counted, ...]
    failures: tuple[Failure, ...]


class Results(NamedTuple):
    """One run of the released targets: the release of the vectors, the level, and what each target did."""

    suite: str
    level: str
    implementations: tuple[Measured, ...]


def departures(directory: Path = HERE / "departures") -> list[Departure]:
    """Read every row of the tables of departures, sorted by id.

    Raises `DatasetError` where a file is missing or damaged, or a row is not one.

    >>> next(row.verdict for row in departures() if row.id == "oft-cayley-side")
    'defect'
    """
    paths = sorted(directory.glob("*.json"))
    if not paths:
        raise DatasetError(f"there is no table of departures in {directory}", fix=_FIX)
    rows = [row for path in paths for row in _rows(Departure, _read(path), path)]
    found = sorted(rows, key=lambda row: row.id)
    for one, other in pairwise(found):
        if one.id == other.id:
            raise DatasetError(f"two departures in {directory} have the id {one.id!r}", fix=_FIX)
    return found


def results(path: Path = RESULTS) -> Results:
    """Read what the last run found.

    Raises `DatasetError` where the file is missing or damaged, or a verdict is none of the three.

    >>> [one.target for one in results().implementations]
    ['conv1d', 'loralib', 'peft', 'peft-rslora', 'torch']
    """
    stored = _row(Results, _read(path), path)
    return stored._replace(
        implementations=tuple(
            one._replace(
                table=tuple(_rows(Counted, list(one.table), path)),
                failures=tuple(_rows(Failure, list(one.failures), path)),
            )
            for one in _rows(Measured, list(stored.implementations), path)
        )
    )


def _read(path: Path) -> Any:
    try:
        return read_content(path)
    except VectorFileError as error:
        raise DatasetError(error.problem, fix=_FIX) from None


Row = TypeVar("Row", bound=tuple[Any, ...])


def _rows(kind: type[Row], stored: Any, path: Path) -> list[Row]:
    if not isinstance(stored, list):
        raise DatasetError(f"{path}: expected a list of rows, got {type(stored).__name__}", fix=_FIX)
    return [_row(kind, one, path) for one in stored]


def _row(kind: type[Row], stored: Any, path: Path) -> Row:
    """Make one record of an object that must have its fields and no others, each of its type."""
    if not isinstance(stored, dict):
        raise DatasetError(f"{path}: expected an object for {kind.__name__}, got {stored!r:.40}", fix=_FIX)
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    where = f"{path}, {kind.__name__} {stored.get(fields[0])!r}"
    missing = [name for name in fields if name not in stored and name not in kind._field_defaults]  # type: ignore[attr-defined]
    if missing or not stored.keys() <= set(fields):
        what = f"lacks {missing[0]!r}" if missing else f"has {min(stored.keys() - set(fields))!r}, too"
        raise DatasetError(f"{where} {what}", fix=_FIX)
    for name, value in stored.items():
        if not isinstance(value, _TYPES.get(name, str)) or isinstance(value, bool):
            raise DatasetError(f"{where}: {name} cannot be {value!r:.40}", fix=_FIX)
    if "verdict" in stored and stored["verdict"] not in VERDICTS:
        raise DatasetError(f"{where}: the verdict is {stored['verdict']!r}, one of {VERDICTS} expected")
    return kind(**stored)


_TYPES: dict[str, Any] = {
    **dict.fromkeys(("cases", "passed", "failed", "not_claimed", "number"), int),
    **dict.fromkeys(("table", "failures", "implementations"), list),
    "versions": dict,
    "worst_u": (int, float, type(None)),
}
"""The types of the fields that are not text."""
