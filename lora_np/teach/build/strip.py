"""Taking the solutions out of a lesson.  Floor 6.  Plain text in, plain text out; nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from lora_np.errors import ConfigError

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
CHECK = re.compile(r'^check\("(\d\d\.\w+)", (\w+)\)$', re.MULTILINE)
"""A line that checks an answer: the exercise and the name of the function."""

_MARKER = re.compile(r"#\s*(BEGIN|END)\s*SOLUTION", re.IGNORECASE)
_CELL_SIGN = re.compile(r"^# %%.*$")
_TAGS = re.compile(r"tags=\[([^\]]*)\]")


class Chunk(NamedTuple):
    """A cell as it stands in the file, its sign included, and the line where it starts."""

    lines: tuple[str, ...]
    start: int

    @property
    def sign(self) -> str:
        """The line that opens it; empty above the first."""
        return self.lines[0] if self.lines and _CELL_SIGN.match(self.lines[0]) else ""

    @property
    def tags(self) -> tuple[str, ...]:
        """Its tags."""
        found = _TAGS.search(self.sign)
        return tuple(re.findall(r"[\w-]+", found[1])) if found else ()

    @property
    def is_code(self) -> bool:
        """Whether it is code."""
        return "[markdown]" not in self.sign and "[raw]" not in self.sign


def strip(text: str) -> str:
    r"""Write a lesson without its solutions: what stands between the markers, and the cells tagged solution.

    A stub stands in for each solution; where there is none, the text is returned as it was.  Raises `ConfigError`,
    with the line, for a marker without its other half, one inside another, and one that is misspelt.

    >>> print(
    ...     strip(
    ...         '# %%\ndef f(x):\n    # BEGIN SOLUTION\n    return 2 * x\n    # END SOLUTION\n\n# %%\ncheck("01.1", f)'
    ...     )
    ... )
    # %%
    def f(x):
        raise NotImplementedError("exercise 01.1: write it here")
    <BLANKLINE>
    # %%
    check("01.1", f)
    """
    kept = [chunk for chunk in chunks(text) if "solution" not in chunk.tags]
    parts = []
    for place, chunk in enumerate(kept):
        code = "\n".join(chunk.lines)
        later = "\n".join("\n".join(other.lines) for other in kept[place:])
        parts.append(
            without_solutions(code, next_exercise(later), line=chunk.start) if chunk.is_code else code
        )
    return "\n".join(parts)


def chunks(text: str) -> tuple[Chunk, ...]:
    """Cut a file before every cell sign."""
    lines = text.split("\n")
    starts = [0, *(n for n, line in enumerate(lines) if n and _CELL_SIGN.match(line))]
    return tuple(
        Chunk(tuple(lines[start:end]), start + 1)
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)
    )


def next_exercise(text: str) -> str:
    """Find the exercise of the first check in a text; empty where there is none."""
    found = CHECK.search(text)
    return found[1] if found else ""


def without_solutions(code: str, exercise: str, *, line: int = 1) -> str:
    """Put a stub in the place of each solution of a cell; `line` is the number of its first line in the file."""
    return "\n".join(_kept(code.split("\n"), exercise, line))


def _kept(lines: list[str], exercise: str, first: int) -> Iterator[str]:
    """Give the lines that stay, and a stub for each solution."""
    opened = 0
    for number, line in enumerate(lines, first):
        marker = _MARKER.search(line)
        if marker is None:
            if not opened:
                yield line
            continue
        bare = line.strip()
        if bare not in (BEGIN, END):
            raise ConfigError(
                f"line {number}: {bare!r} is no marker", fix=f"write {BEGIN!r} or {END!r} alone"
            )
        if (bare == BEGIN) == bool(opened):
            problem = f"the solution of line {opened} is still open" if opened else "no solution is open"
            raise ConfigError(f"line {number}: {bare!r}, but {problem}", fix="markers come in pairs")
        opened = number if bare == BEGIN else 0
        if opened:
            called = f"exercise {exercise}" if exercise else "exercise"
            yield f'{line[: len(line) - len(line.lstrip())]}raise NotImplementedError("{called}: write it here")'
    if opened:
        raise ConfigError(
            f"line {opened}: the solution has no {END!r} in its cell", fix="markers come in pairs"
        )


__all__ = ["BEGIN", "CHECK", "END", "Chunk", "chunks", "next_exercise", "strip", "without_solutions"]
