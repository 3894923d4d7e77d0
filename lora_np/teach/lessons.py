"""The lessons: where their files lie, and what stands in one, cell by cell.  Floor 6.

A lesson is one plain Python file in the percent format, solutions in it.  In a checkout the lessons lie in
`tutorials/`, in an installed package in `lora_np/_app/tutorials`.  Here they are found, split into cells, and their
prose is made ready for a reader: an equation's key becomes the equation, a link gets its address.  What becomes of
the cells is the business of `lora_np.teach.build` and of the app.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from lora_np.equations import equation
from lora_np.equations.typeset import in_lines
from lora_np.errors import BackendError, ConfigError

INSTALLED = Path(__file__).parents[1] / "_app" / "tutorials"
"""Where a built package keeps the lessons; a checkout has them beside `lora_np`."""

APP = "http://localhost:8501/"
"""Where `lora-np app` shows its rooms on a machine that runs nothing else."""

TITLE = re.compile(r"^# # (\d\d) · (.+?)\s*$", re.MULTILINE)
EQUATION_LINE = re.compile(r"^\[([a-z0-9]+(?:-[a-z0-9]+)+)\]$", re.MULTILINE)
LINK = re.compile(r"(\[[^\]]*\])\((app|lesson):([^)\s]+)\)")


class Lesson(NamedTuple):
    """One lesson: its number in two digits, its short name, its title, its file."""

    number: str
    slug: str
    title: str
    path: Path

    @property
    def name(self) -> str:
        """The file's name without its ending: `05_backward`."""
        return self.path.stem

    @property
    def text(self) -> str:
        """The master as it is written, solutions and all."""
        return self.path.read_text(encoding="utf-8")


class Cell(NamedTuple):
    """One cell: prose without its comment signs, or code; and its tags."""

    kind: Literal["markdown", "code"]
    text: str
    tags: tuple[str, ...] = ()


# ---- where the lessons are -----------------------------------------------------------------------------------


def home(installed: Path = INSTALLED) -> Path:
    """Find the folder of the lessons; raises `ConfigError` where there is none."""
    beside = installed.parents[2] / "tutorials"
    for folder in (installed, beside):
        if _paths(folder):
            return folder
    raise ConfigError(
        f"the lessons are neither in {installed} nor in {beside}",
        fix="install lora-np from a wheel or from a whole checkout",
    )


def lessons(folder: Path | None = None) -> tuple[Lesson, ...]:
    """List the lessons of a folder in order; of the shipped ones where none is given."""
    return tuple(map(_lesson, _paths(folder or home())))


def lesson(number: str) -> Lesson:
    """Find one lesson by its number; raises `ConfigError`, which names those there are.

    >>> lesson("01").number
    '01'
    """
    there = {path.name[:2]: path for path in _paths(home())}
    if number not in there:
        raise ConfigError(f"no lesson has the number {number!r}", fix=f"there are: {', '.join(there)}")
    return _lesson(there[number])


def _paths(folder: Path) -> list[Path]:
    """List the files of the lessons, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.py"))


def _lesson(path: Path) -> Lesson:
    """Read a lesson's title from its file."""
    number, _, slug = path.stem.partition("_")
    title = TITLE.search(path.read_text(encoding="utf-8"))
    if title is None or title[1] != number:
        raise ConfigError(f"{path} has no title", fix=f"write `# # {number} · ...` in its first cell")
    return Lesson(number, slug, title[2], path)


# ---- what stands in one --------------------------------------------------------------------------------------


def cells(text: str) -> tuple[Cell, ...]:
    r"""Split a lesson into its cells; a file without cell signs is one cell of code.

    >>> cells('# %% [markdown]\n# # A title\n\n# %% tags=["exercise"]\nx = 1')
    (Cell(kind='markdown', text='# A title', tags=()), Cell(kind='code', text='x = 1', tags=('exercise',)))
    """
    try:
        import jupytext
    except ImportError:
        raise BackendError(
            "reading a lesson needs jupytext", fix="pip install 'lora-np[tutorials]'"
        ) from None
    notebook = jupytext.reads(text, fmt="py:percent")
    return tuple(
        Cell(
            "code" if cell.cell_type == "code" else "markdown",
            cell.source,
            tuple(map(str, cell.metadata.get("tags", ()))),
        )
        for cell in notebook.cells
    )


# ---- prose for a reader --------------------------------------------------------------------------------------


def prose(
    text: str,
    *,
    app: str = APP,
    to_lesson: Callable[[Lesson], str] = lambda lesson: f"{lesson.name}.ipynb",
    row_form: bool = False,
) -> str:
    r"""Write the Markdown of a cell for a reader: equations typeset, links with addresses.

    `app` is the address under which the app's rooms stand, with its last slash; `to_lesson` gives the address of a
    lesson.  Raises `ConfigError` for an equation or a lesson that does not exist.

    >>> prose("See [the Rank room](app:rank?rank_r=4).", app="http://here/")
    'See [the Rank room](http://here/rank?rank_r=4).'
    >>> print(prose("[lora-merge]"))
    $$
    W = W_0 + \Delta W = W_0 + s\,B A
    $$
    <BLANKLINE>
    *After training, add the increment to the weight: inference then costs what it did before.*
    """
    typeset = EQUATION_LINE.sub(lambda found: equation_text(found[1], row_form=row_form), text)
    return linked(typeset, app=app, to_lesson=to_lesson)


def linked(text: str, *, app: str = APP, to_lesson: Callable[[Lesson], str]) -> str:
    """Give the links of a text their addresses."""

    def address(found: re.Match[str]) -> str:
        label, kind, target = found.groups()
        return f"{label}({to_lesson(lesson(target)) if kind == 'lesson' else app + room_address(target)})"

    return LINK.sub(address, text)


def equation_text(key: str, *, row_form: bool = False) -> str:
    """Write an equation of the registry in Markdown: the formula, then what it says."""
    entry = equation(key)
    latex = in_lines(entry.latex_row if row_form else entry.latex)
    return f"$$\n{latex}\n$$\n\n*{entry.words}*"


def room_address(target: str) -> str:
    """Write the address of a room with its controls: the app's first room stands at the root.

    >>> room_address("rank?rank_r=4"), room_address("home")
    ('rank?rank_r=4', '')
    """
    return target.removeprefix("home") if target.partition("?")[0] == "home" else target


def links(text: str) -> tuple[tuple[str, str], ...]:
    """List the links of a text into the app and to lessons: (kind, target) each.

    >>> links("[Rank](app:rank?rank_r=4), then [lesson 02](lesson:02)")
    (('app', 'rank?rank_r=4'), ('lesson', '02'))
    """
    return tuple((kind, target) for _, kind, target in LINK.findall(text))


__all__ = [
    "APP",
    "Cell",
    "Lesson",
    "cells",
    "equation_text",
    "home",
    "lesson",
    "lessons",
    "links",
    "prose",
    "room_address",
]
