"""Where in a file the operators apply, and the code that results."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from tests.mutation.operators import OPERATORS


@dataclass(frozen=True)
class Mutant:
    """One change of one function; `key` names it and stays the same while the function's text does."""

    module: str
    function: str
    line: int
    operator: str
    before: str
    after: str
    ordinal: int
    position: tuple[int, int, int]  # which function, which node of it, which change of that node
    guards: bool = False  # it changes a check of arguments, and no number

    @property
    def key(self) -> str:
        repeated = f" #{self.ordinal}" if self.ordinal else ""
        return f"{self.module}::{self.function}: {self.operator}: {self.before} -> {self.after}{repeated}"


def functions_of(tree: ast.Module) -> list[tuple[str, ast.FunctionDef]]:
    """List functions and methods with their qualified names; a function inside a function belongs to the outer one."""
    found: list[tuple[str, ast.FunctionDef]] = []

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                found.append((prefix + child.name, child))
            elif isinstance(child, ast.ClassDef):
                visit(child, f"{prefix}{child.name}.")

    visit(tree, "")
    return found


def _mutable(function: ast.FunctionDef) -> list[ast.AST]:
    """List the nodes of a function's body that compute: no annotations, no docstring, no text of a message."""
    body = function.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    skipped: set[int] = set()
    nodes = [node for statement in body for node in ast.walk(statement)]
    for node in nodes:
        hidden: list[ast.AST] = []
        if isinstance(node, (ast.Raise, ast.JoinedStr)):
            hidden = [node]
        elif isinstance(node, ast.AnnAssign):
            hidden = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            hidden = [x for x in (*node.args.args, *node.args.kwonlyargs, node.returns) if x is not None]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "cast" and node.args:
            hidden = [node.args[0]]
        elif isinstance(node, ast.keyword) and node.arg == "strict":
            hidden = [node.value]  # zip(strict=...) guards against our own errors; no input reaches it
        for one in hidden:
            skipped |= {id(x) for x in ast.walk(one)}
    return [node for node in nodes if id(node) not in skipped]


def _guarding(function: ast.FunctionDef, name: str) -> set[int]:
    """Find the nodes that only decide whether input is refused: calls of checks, and tests that lead to a raise."""
    if any(word in name for word in ("require", "raise", "name_rows")):  # checks, and the messages of errors
        return {id(node) for node in ast.walk(function)}
    found: set[int] = set()
    for node in ast.walk(function):
        called = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
        if called is not None and "require" in ast.unparse(called.func):
            found |= {id(x) for x in ast.walk(node)}
        if isinstance(node, ast.If) and any(isinstance(x, ast.Raise) for x in node.body):
            found |= {id(x) for x in ast.walk(node)}
        if isinstance(node, ast.For) and all(id(x) in found or _checks(x) for x in node.body):
            found |= {id(x) for x in ast.walk(node)}
    return found


def _checks(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and "require" in ast.unparse(statement)


def mutants_of(module: str, path: Path) -> list[Mutant]:
    """List every mutant of a file."""
    tree = ast.parse(path.read_text())
    seen: dict[str, int] = {}
    found = []
    for i, (name, function) in enumerate(functions_of(tree)):
        guarding = _guarding(function, name)
        for j, node in enumerate(_mutable(function)):
            for k, (operator, after) in enumerate(_changes(node)):
                text = (ast.unparse(node), ast.unparse(ast.fix_missing_locations(after)))
                plain = f"{module}::{name}: {operator}: {text[0]} -> {text[1]}"
                seen[plain] = seen.get(plain, -1) + 1
                line = getattr(node, "lineno", 0)
                position, guards = (i, j, k), id(node) in guarding
                found.append(Mutant(module, name, line, operator, *text, seen[plain], position, guards))
    return found


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for operator in OPERATORS:
        yield from operator(node)


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self.target, self.replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self.replacement if node is self.target else super().generic_visit(node)


def code_of(mutant: Mutant, path: Path) -> CodeType:
    """Compile the file with the mutant in it, and return the changed function's code."""
    tree = ast.parse(path.read_text())
    i, j, k = mutant.position
    node = _mutable(functions_of(tree)[i][1])[j]
    after = copy.deepcopy(list(_changes(node))[k][1])
    changed = ast.fix_missing_locations(_Replace(node, after).visit(tree))
    return _find(compile(changed, str(path), "exec"), mutant.function)


def _find(code: CodeType, name: str) -> CodeType:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == name:
                return constant
            inner = _find(constant, name) if name.startswith(constant.co_qualname + ".") else None
            if inner is not None:
                return inner
    raise LookupError(f"no code for {name}")
