"""A method's code beside LoRA's: which of its lines LoRA does not have.  Floor 6.

The lines are read from the running functions, without docstrings, blank lines and, if wanted, the checks of what a user
can get wrong.  A function's listing goes on with the method's own helpers that it calls.  Nothing is executed here.
"""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from functools import cache
from importlib import import_module
from types import FunctionType, MappingProxyType, ModuleType

from lora_np.methods import method

PARTS = ("forward", "backward", "scaling", "init", "merge", "unmerge", "step")
"""The parts of a method; `step` is its own rule for a step, which LoRA leaves to any optimizer."""

_BY_WEIGHT = ("forward", "backward", "scaling", "init", "step", "merge")
_STEPS = ("step", "corrected_gradient")
_SHARED = (
    "lora_np.methods.tensors",
    "lora_np.methods.through_weight",
)  # checks and carpentry of many methods
_FOLLOWED = ("lora_np.methods.", "lora_np.gradient_view.")


def part_of(name: str, part: str) -> FunctionType | None:
    """Find the function of one part of a method, None where it has none.

    >>> part_of("rslora", "forward") is part_of("lora", "forward"), part_of("bitfit", "merge")
    (True, None)
    """
    module = method(name)
    names = _STEPS if part == "step" else (part,)
    found = next((getattr(module, one) for one in names if hasattr(module, one)), None)
    return found if isinstance(found, FunctionType) else None


def listing(name: str, part: str, *, checks: bool = False) -> list[str]:
    """List the code lines of one part of a method: its function, then the method's helpers that it calls.

    >>> listing("rslora", "scaling")
    ['def scaling(alpha: float, rank: int) -> float:', '    return lora.scaling(alpha, rank, use_rslora=True)']
    """
    return _joined(_functions(name, part), checks=checks)


def difference(name: str, part: str, *, checks: bool = False) -> list[str]:
    """Show one part against LoRA's, whole: lines of both start with a blank, LoRA's with −, the method's with +.

    Empty where the method takes LoRA's own function.

    >>> difference("rslora", "scaling")[-1]
    '+    return lora.scaling(alpha, rank, use_rslora=True)'
    """
    return _compared(part, _functions(name, part), checks=checks)


@cache
def own_lines(name: str) -> Mapping[str, int]:
    """Count the lines of each part that LoRA's does not have, checks aside; a helper counts where it comes first.

    >>> own_lines("pissa")["forward"], own_lines("rslora")["scaling"]
    (0, 2)
    """
    counts: dict[str, int] = {}
    listed: set[FunctionType] = set()
    for part in PARTS:
        functions = [one for one in _functions(name, part) if one not in listed]
        lines = _compared(part, functions, checks=False)
        counts[part] = sum(line.startswith("+") and line != "+" for line in lines)
        listed.update(functions)
    return MappingProxyType(counts)


def taken_over(name: str) -> list[str]:
    """List the parts that a method takes from LoRA as they are.

    >>> taken_over("lora-plus")
    ['forward', 'backward', 'scaling', 'init', 'merge', 'unmerge']
    """
    return [part for part in PARTS if part_of(name, part) is part_of("lora", part) is not None]


def equations_of(name: str) -> list[str]:
    """List the keys of the equations that a method's own parts implement, layer first; at most five.

    >>> equations_of("rslora"), equations_of("lora")[:2]
    (['lora-scale-rs'], ['lora-2', 'grad-2'])
    """
    known = [key for part in _BY_WEIGHT for key in _keys("lora", part)[:1]]
    if name == "lora":
        return known
    own = [part for part in _BY_WEIGHT if part not in taken_over(name)]
    found = [key for part in own for key in _keys(name, part)]
    return [key for key in dict.fromkeys(found) if key not in known][:5]


def _keys(name: str, part: str) -> list[str]:
    """Read the equation keys in the first lines of one part's docstring."""
    function = part_of(name, part)
    text = ((function.__doc__ if function else "") or "").split("\n\n")[0]
    return re.findall(r"\[([a-z0-9]+(?:-[a-z0-9]+)+)\]", text)


def _compared(part: str, functions: list[FunctionType], *, checks: bool) -> list[str]:
    """Compare functions of a method with LoRA's of the same part."""
    known = _functions("lora", part)
    if functions == known:
        return []
    old, new = _joined(known, checks=checks), _joined(functions, checks=checks)
    return [line.rstrip() for line in unified_diff(old, new, n=len(old) + len(new), lineterm="")][3:]


# ---- reading a function ------------------------------------------------------------------------------------


def bare_lines(function: FunctionType, *, checks: bool = False) -> list[str]:
    """Read a function's lines without docstring and blank lines, and without checks unless they are wanted."""
    lines, statement = _read(function)
    left_out = {number for node in _left_out(statement, checks=checks) for number in _numbers(node)}
    kept = [lines[number - 1] for number in _numbers(statement) if number not in left_out]
    return [re.sub(r"  # (type: ignore|noqa).*", "", line) for line in kept if line.strip()]


def _joined(functions: list[FunctionType], *, checks: bool) -> list[str]:
    """Put the lines of several functions under each other, a blank line between two."""
    lines = [line for one in functions for line in ("", *bare_lines(one, checks=checks))]
    return lines[1:]


def _left_out(tree: ast.AST, *, checks: bool) -> Iterator[ast.stmt]:
    """Find the statements that a listing leaves out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node
        elif not checks and not isinstance(node, ast.Raise) and _is_check(node):
            assert isinstance(node, ast.stmt)
            yield node


def _is_check(node: ast.AST) -> bool:
    """Tell whether a statement only refuses bad input: a call of a require function, a raise, or a block of these."""
    if isinstance(node, ast.If | ast.For):
        return not node.orelse and all(_is_check(inner) for inner in node.body)
    if isinstance(node, ast.Raise):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _requires(node.value.func)


def _requires(function: ast.expr) -> bool:
    """Tell by its name whether a called function is a check."""
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name.lstrip("_").startswith("require")


def _numbers(node: ast.stmt) -> range:
    """List the line numbers of a statement."""
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _functions(name: str, part: str) -> list[FunctionType]:
    """List the function of one part, and the helpers of methods that it calls, in the order of their first use."""
    first = part_of(name, part)
    found = [first] if first is not None else []
    for one in found:
        for node in ast.walk(_read(one)[1]):
            helper = _called(node, one.__globals__)
            if helper is not None and helper not in found:
                found.append(helper)
    return found


def _called(node: ast.AST, names: Mapping[str, object]) -> FunctionType | None:
    """Find the helper that a name, or a module's attribute, stands for."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        owner = names.get(node.value.id)
        found = getattr(owner, node.attr, None) if isinstance(owner, ModuleType) else None
    else:
        found = names.get(node.id) if isinstance(node, ast.Name) else None
    return found if isinstance(found, FunctionType) and _is_helper(found) else None


def _is_helper(function: FunctionType) -> bool:
    """Tell whether a listing goes on with it: a function of a method's file, and no check."""
    if function.__module__ in _SHARED or not function.__module__.startswith(_FOLLOWED):
        return False
    return not function.__name__.lstrip("_").startswith(("require", "named"))


def _read(function: FunctionType) -> tuple[list[str], ast.stmt]:
    """Read the lines of a function's file, and the function's own statement."""
    lines, statements = _file(function.__module__)
    return lines, statements[function.__code__.co_firstlineno]


@cache
def _file(module: str) -> tuple[list[str], Mapping[int, ast.stmt]]:
    """Read a module's file once: its lines, and its statements by their first line."""
    text = inspect.getsource(import_module(module))
    return text.splitlines(), {statement.lineno: statement for statement in ast.parse(text).body}
