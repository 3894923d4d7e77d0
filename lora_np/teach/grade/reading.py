"""What stands in a script or a notebook, cell by cell, and which lesson it answers.  Floor 6.  Nothing is run here.

Both are read with the standard library alone: whatever a student hands in, what is wrong with it must end in a
sentence.
"""

from __future__ import annotations

import ast
import codecs
import io
import json
import re
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_BYTES = 20_000_000
"""A larger file is not read: a lesson with all its outputs is far smaller."""

KINDS = (".py", ".ipynb")
_CELL = re.compile(r"^#\s*%%(?P<rest>.*)$", re.MULTILINE)
_TAGS = re.compile(r"tags\s*=\s*\[([^\]]*)\]")
_MAGIC = re.compile(r"^(\s*)([%!?].*|[\w.]+\?{1,2})\s*$")
_CHECKED = re.compile(r"""\bcheck\(\s*["'](\d\d)\.\w+["']""")
_NUMBERED = re.compile(r"^(\d\d)(?!\d)")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of code, where it stands (for a message), and its tags."""

    code: str
    where: str
    tags: tuple[str, ...] = ()
    line: int = 1  # of the file that its code begins on


class UnreadableError(Exception):
    """Says why there is nothing to run in a file; for the report, not for the caller's mistakes."""


# ---- which lesson it answers ---------------------------------------------------------------------------------


def lessons_of(path: Path, cells: Iterable[Cell]) -> list[str]:
    """Tell which lessons a file answers: those whose exercises it checks, else the number its name begins with.

    >>> lessons_of(Path("anna.py"), [Cell('check("05.2", backward)', "cell 1")])
    ['05']
    >>> lessons_of(Path("05_backward.py"), [])
    ['05']
    """
    checked = {number for cell in cells for number in _CHECKED.findall(cell.code)}
    numbered = _NUMBERED.match(path.name)
    return sorted(checked) or ([numbered[1]] if numbered else [])


# ---- what stands in a file -----------------------------------------------------------------------------------


def read(path: Path) -> list[Cell]:
    """Read the code cells of a script or a notebook.  Raises `UnreadableError` with the sentence for the report."""
    if path.is_symlink() or not path.is_file():
        raise UnreadableError("is a link or a special file; hand in the file itself")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UnreadableError(
                f"is larger than {MOST_BYTES // 10**6} MB; clear the outputs and hand it in again"
            )
        text = _text(path.read_bytes())
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    if not text.strip():
        raise UnreadableError("is empty")
    cells = _of_notebook(text) if path.suffix.lower() == ".ipynb" else _of_script(text)
    if not cells:
        raise UnreadableError("holds no code")
    return cells


def _text(content: bytes) -> str:
    """Decode as Python would, and what an editor of Windows writes too."""
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = content.decode("utf-16")
        else:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
            text = content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise UnreadableError(f"is not text in UTF-8: {error}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _of_notebook(text: str) -> list[Cell]:
    try:
        notebook: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"is not a notebook: its JSON is broken ({str(error)[:80]})") from None
    listed = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(listed, list):
        raise UnreadableError("is not a notebook: it is JSON without a list of cells")
    cells = []
    for number, (kind, code, tags) in enumerate(map(_notebook_cell, listed), 1):
        plain = _without_magic(code)
        if kind == "code" and plain.strip():
            cells.append(Cell(plain, f"cell {number}", tags))
    return cells


def _notebook_cell(cell: Any) -> tuple[str, str, tuple[str, ...]]:
    if not isinstance(cell, dict):
        return "", "", ()
    source, metadata = cell.get("source", ""), cell.get("metadata")
    code = (
        "".join(map(str, source)) if isinstance(source, list) else source if isinstance(source, str) else ""
    )
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return str(cell.get("cell_type")), code, tuple(map(str, tags)) if isinstance(tags, list) else ()


def _of_script(text: str) -> list[Cell]:
    marks = list(_CELL.finditer(text))
    if not marks:
        return _statements(text)
    starts = [0, *(mark.start() for mark in marks)]
    heads = ["", *(mark["rest"] for mark in marks)]
    cells = []
    for start, end, head in zip(starts, [*starts[1:], len(text)], heads, strict=True):
        body, line = text[start:end], text.count("\n", 0, start) + 1
        if "[markdown]" in head or "[raw]" in head or not _has_code(body):
            continue
        tags = _TAGS.search(head)
        named = tuple(tag.strip(" \"'") for tag in tags[1].split(",")) if tags else ()
        cells.append(Cell(_without_magic(body), f"cell at line {line}", named, line))
    return cells


def _has_code(body: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in body.splitlines())


def _statements(text: str) -> list[Cell]:
    """Cut a script without cell marks at its top, so that an error in one part does not lose the others."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [Cell(text, "line 1")]  # running it says what is wrong with it
    lines = text.split("\n")
    cells, before = [], 0
    for one in body:
        first = min([one.lineno, *(mark.lineno for mark in getattr(one, "decorator_list", ()))])
        if first <= before:  # two statements on one line: leave the script whole
            return [Cell(text, "line 1")]
        before = one.end_lineno or first
        cells.append(Cell("\n".join(lines[first - 1 : before]), f"line {first}", line=first))
    return cells


def _without_magic(code: str) -> str:
    """Make the lines that only IPython understands harmless, in a cell that Python does not understand as it is."""
    head, _, rest = code.lstrip().partition("\n")
    if head.startswith("%%"):
        code = rest if head.startswith(("%%time", "%%capture")) else ""
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "\n".join(_MAGIC.sub(r"\1pass  # \2", line) for line in code.split("\n"))
    return code
