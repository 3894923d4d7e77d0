"""The process that checks a student's file: `python -m lora_np.teach.running FILE ID:FUNCTION ...`.  Floor 6.

It runs only what a function needs: its own definition, and whatever above it defines a name that it uses.  So a slow
or broken cell elsewhere costs nothing.  One line of JSON an exercise, in order, is all that it prints; what the
answer prints is dropped.  It knows no time limit: who started it does.
"""

from __future__ import annotations

import ast
import json
import os
import symtable
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from lora_np.teach.grade.reading import Cell, UnreadableError, read


class Statement(NamedTuple):
    """A statement at the top of a file, the names that it binds and those that it uses, and its cell."""

    node: ast.stmt
    binds: frozenset[str]
    uses: frozenset[str]
    cell: int


class MissingError(Exception):
    """Says why there is no function to check."""


def statements(cells: Iterable[Cell]) -> tuple[list[Statement], dict[int, str]]:
    """Read the statements of all cells, and say of each cell that cannot be read, by its place, why."""
    found, broken = [], {}
    for place, cell in enumerate(cells):
        try:
            body = ast.parse(cell.code).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f", its line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            broken[place] = f"{cell.where}{line}: {getattr(error, 'msg', None) or error}"
            continue
        found += [Statement(node, *_names(node), place) for node in body]
    return found, broken


def _names(node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """Give the names that a statement binds or changes at the top of the file, and those that it uses from there.

    A star stands for whatever an import brings.
    """
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        return frozenset("*"), frozenset()
    top = symtable.symtable(ast.unparse(node), "statement", "exec")
    here = [symbol for symbol in top.get_symbols() if not symbol.is_namespace()]
    binds = {one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported()}
    uses = {symbol.get_name() for symbol in here if symbol.is_referenced()} | _globals(top)
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        parts = (one for one in ast.walk(node) if isinstance(one, (ast.Attribute, ast.Subscript)))
        binds |= {_root(one) for one in parts if isinstance(one.ctx, ast.Store)}
    return frozenset(binds), frozenset(uses)


def _globals(table: symtable.SymbolTable) -> set[str]:
    """Give the names that the functions inside look up at the top of the file."""
    inside = table.get_children()
    own = {symbol.get_name() for child in inside for symbol in child.get_symbols() if symbol.is_global()}
    return own.union(*map(_globals, inside))


def _root(target: ast.expr) -> str:
    """Give the name that an assignment changes: X of `X[0] = 1`."""
    while isinstance(target, (ast.Attribute, ast.Subscript)):
        target = target.value
    return target.id if isinstance(target, ast.Name) else ""


def needed(found: list[Statement], name: str) -> list[Statement]:
    """Choose what a function needs, in the order of the file: its last definition, and what that uses, and so on."""
    last = max((one.cell for one in found if name in one.binds), default=-1)
    before = [one for one in found if one.cell <= last]
    wanted, seen = {name, "*"}, set[str]()
    while wanted - seen:
        seen |= wanted
        wanted |= {use for one in before if one.binds & seen for use in one.uses}
    return [one for one in before if one.binds & seen]


def function(cells: list[Cell], name: str, path: str) -> Callable[..., Any]:
    """Make a student's function.  Raises `MissingError`, with a sentence, where that fails."""
    found, broken = statements(cells)
    chosen = needed(found, name)
    if not any(name in one.binds for one in chosen):
        raise MissingError(
            next(iter(broken.values())) if broken else f"the function {name} is not in the file"
        )
    space: dict[str, Any] = {"__name__": "__student__", "__file__": path}
    for one in chosen:
        module = ast.Module([one.node], type_ignores=[])
        try:
            exec(compile(module, path, "exec"), space)
        except (Exception, SystemExit) as error:
            where = f"{cells[one.cell].where}, its line {one.node.lineno}"
            raise MissingError(f"{where}: {type(error).__name__}: {str(error)[:200]}") from None
    made: Callable[..., Any] = space[name]
    return made


def outcome(path: Path, id: str, name: str) -> dict[str, Any]:
    """Check one exercise of a file."""
    from lora_np.teach.exercises import exercise
    from lora_np.teach.judging import judge

    try:
        verdict = judge(exercise(id), function(read(path), name, str(path)))
    except (MissingError, UnreadableError) as error:
        return {"id": id, "ok": False, "name": "Missing", "words": str(error)}
    return {"id": id, "ok": verdict.ok, "name": verdict.name, "words": verdict.words}


def main() -> None:
    """Check the exercises named after the file, one after the other."""
    path = Path(sys.argv[1])
    speak = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    import lora_np.teach  # before the first answer's time runs

    print(lora_np.teach.__name__, file=speak, flush=True)
    for asked in sys.argv[2:]:
        print(json.dumps(outcome(path, *asked.split(":"))), file=speak, flush=True)


if __name__ == "__main__":
    main()
