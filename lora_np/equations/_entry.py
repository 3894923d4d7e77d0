"""What the registry holds of one equation.  Floor 0."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Equation:
    """One equation: both written forms, what it says, and where it comes from.

    `latex` is the form this package computes: the paper's matrices (W (d, k), B (d, r), A (r, k)) on batches of
    rows X (N, k).  `latex_row` is the same statement in the row form of seed 001 and seed 004, where weights stand
    to the right of X and are the transposes; it is the same string where no matrix changes sides.
    """

    key: str
    latex: str
    latex_row: str
    words: str
    source: str


def table(*rows: tuple[str, str, str | None, str, str]) -> dict[str, Equation]:
    """Make a subject's table from rows (key, latex, latex_row or None where it is the same, words, source)."""
    entries = (Equation(key, latex, row or latex, words, source) for key, latex, row, words, source in rows)
    return _by_key(entries)


def _by_key(entries: Iterable[Equation]) -> dict[str, Equation]:
    """Index by key; a repeated key is a mistake in the table."""
    found: dict[str, Equation] = {}
    for entry in entries:
        if entry.key in found:
            raise KeyError(f"equation key {entry.key!r} stands twice")
        found[entry.key] = entry
    return found
