"""Scripts and notebooks of a lesson, for students and for teachers.  Floor 6.

nbgrader reads a cell's metadata: an answer is a *solution* cell, a check is a *grade* cell whose value is its points
(so that an unsolved exercise costs its points and stops nothing).  otter-grader reads raw cells around a question.
Both take the markers `# BEGIN SOLUTION` and `# END SOLUTION`.  The bytes are the same on every machine.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from lora_np.equations import equation
from lora_np.teach.build.strip import CHECK, chunks, strip, without_solutions
from lora_np.teach.lessons import Cell, Lesson, cells, linked, prose

WIDTH = 108
"""Letters in a line of prose of a script."""

_HEADING = re.compile(r"^### Exercise (\d\d\.\w+) (★+)", re.MULTILINE)
_EQUATION_COMMENT = re.compile(r"^# \[([a-z0-9]+(?:-[a-z0-9]+)+)\]$", re.MULTILINE)


class Part(NamedTuple):
    """A cell of a lesson, where it stands, and the exercise it belongs to if it asks or checks one."""

    cell: Cell
    place: int
    exercise: str
    function: str
    points: int

    @property
    def asks(self) -> bool:
        """Whether an answer is written here."""
        return "exercise" in self.cell.tags

    @property
    def checks(self) -> bool:
        """Whether an answer is checked here."""
        return "check" in self.cell.tags

    @property
    def explains(self) -> bool:
        """Whether it gives answers away."""
        return "solution" in self.cell.tags


@lru_cache(maxsize=32)
def parts(text: str) -> tuple[Part, ...]:
    """Split a lesson and say of each cell which exercise it belongs to; an exercise is worth its stars in points."""
    found = cells(text)
    stars = {id: len(marks) for cell in found for id, marks in _HEADING.findall(cell.text)}
    result = []
    for place, cell in enumerate(found):
        mine = {"exercise", "check"} & set(cell.tags)
        later = (CHECK.search(other.text) for other in found[place:]) if mine else iter(())
        check = next((match for match in later if match), None)
        id, function = check.groups() if check else ("", "")
        result.append(Part(cell, place, id, function, stars.get(id, 1)))
    return tuple(result)


# ---- scripts -------------------------------------------------------------------------------------------------


def student_script(lesson: Lesson) -> str:
    """Write the script that a student fills in: no solutions, links with addresses, each equation in words.

    The formula itself is in the notebooks, in the app, and in the third level of a hint.
    """
    found = (("\n".join(chunk.lines), chunk.is_code) for chunk in chunks(strip(lesson.text)))
    return "\n".join(text if is_code else _for_editor(text) for text, is_code in found)


def _for_editor(text: str) -> str:
    """Write prose for a reader who sees plain text."""

    def in_words(found: re.Match[str]) -> str:
        entry = equation(found[1])
        words = f"[{entry.key}] {entry.words}"
        return "\n".join(textwrap.wrap(words, WIDTH, initial_indent="# ", subsequent_indent="# "))

    return _EQUATION_COMMENT.sub(in_words, linked(text, to_lesson=lambda other: f"{other.name}.py"))


# ---- notebooks -----------------------------------------------------------------------------------------------


def student_notebook(lesson: Lesson) -> str:
    """Write the notebook that a student fills in; nbgrader grades it as it does its own."""
    return _written(_graded_cell(part, solved=False) for part in parts(lesson.text) if not part.explains)


def solution_notebook(lesson: Lesson) -> str:
    """Write the notebook with its solutions, the answers to the quiz and why they are right."""
    return _written(_graded_cell(part, solved=True) for part in parts(lesson.text))


def nbgrader_source(lesson: Lesson) -> str:
    """Write the notebook from which nbgrader makes its assignment: solutions between markers, nothing explained."""
    return _written(_graded_cell(part, solved=True) for part in parts(lesson.text) if not part.explains)


def otter_master(lesson: Lesson) -> str:
    """Write the notebook from which `otter assign` makes its assignment."""
    found = [part for part in parts(lesson.text) if not part.explains]
    return _written(chain([_raw("ASSIGNMENT CONFIG", "top", name=lesson.name)], *(map(_otter_cells, found))))


def _written(made: Iterable[Any]) -> str:
    """Write a notebook of cells."""
    import nbformat

    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook = nbformat.v4.new_notebook(cells=list(made), metadata=metadata)
    nbformat.validate(notebook)
    text: str = nbformat.writes(notebook)
    return text + "\n"


def _plain_cell(part: Part, source: str) -> Any:
    """Make a cell; its id says where it stands in the lesson."""
    from nbformat import v4

    metadata = {"tags": list(part.cell.tags)} if part.cell.tags else {}
    made = v4.new_code_cell if part.cell.kind == "code" else v4.new_markdown_cell
    return made(source, id=f"cell-{part.place:03d}", metadata=metadata)


def _graded_cell(part: Part, *, solved: bool) -> Any:
    """Make a cell as nbgrader reads it."""
    source = part.cell.text if part.cell.kind == "code" else prose(part.cell.text)
    if part.cell.kind == "code" and not solved:
        source = without_solutions(source, part.exercise)
    if part.checks:
        source = CHECK.sub(rf"{part.points} * \g<0>  # points", source)
    cell = _plain_cell(part, source)
    if part.asks or part.checks:
        name = f"{'answer' if part.asks else 'check'}-{part.exercise.replace('.', '-')}"
        cell.metadata["nbgrader"] = {
            "schema_version": 3,
            "grade_id": name,
            "grade": part.checks,
            "locked": part.checks,
            "solution": part.asks,
            "task": False,
        } | ({"points": part.points} if part.checks else {})
    return cell


# ---- otter ---------------------------------------------------------------------------------------------------


def _otter_cells(part: Part) -> Iterator[Any]:
    """Give the cells of a part: an answer opens its question, the check is the question's test and closes it."""
    from nbformat import v4

    name = f"q{part.exercise.replace('.', '_')}"
    id = f"{part.place:03d}"
    if part.asks:
        yield _raw("BEGIN QUESTION", f"{id}-question", name=name, points=part.points)
        yield _raw("BEGIN SOLUTION", f"{id}-begin")
        yield _plain_cell(part, part.cell.text)
        yield _raw("END SOLUTION", f"{id}-end")
    elif part.checks:
        test = f'from lora_np.teach import exercise, judge\njudge(exercise("{part.exercise}"), {part.function}).ok'
        right = v4.new_output("execute_result", {"text/plain": "True"}, execution_count=1)
        yield _raw("BEGIN TESTS", f"{id}-tests")
        yield v4.new_code_cell(test, id=f"{id}-test", outputs=[right])
        yield _raw("END TESTS", f"{id}-tested")
        yield _raw("END QUESTION", f"{id}-answered")
        yield _plain_cell(part, part.cell.text)
    else:
        yield _plain_cell(part, part.cell.text if part.cell.kind == "code" else prose(part.cell.text))


def _raw(sign: str, id: str, **config: object) -> Any:
    """Make one of the raw cells that otter-grader reads."""
    from nbformat import v4

    lines = [f"# {sign}", *(f"{key}: {value}" for key, value in config.items())]
    return v4.new_raw_cell("\n".join(lines), id=f"otter-{id}")


__all__ = [
    "Part",
    "nbgrader_source",
    "otter_master",
    "parts",
    "solution_notebook",
    "student_notebook",
    "student_script",
]
