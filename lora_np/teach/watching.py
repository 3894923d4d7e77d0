"""Calling an answer on a copy of its arguments, and seeing what it does: raise, change them, call what it must not.

Floor 6.  What comes back is not compared here.  A call that never ends is stopped elsewhere, by the process around it.
"""

from __future__ import annotations

import copy
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from lora_np.teach.exercise import Given, Task

ALWAYS_FORBIDDEN = ("lora_np", "autograd", "torch", "peft", "jax", "tensorflow")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is nothing to compare: the mistake's name and a sentence."""

    name: str
    words: str


def call(task: Task, answer: Callable[..., Any], given: Given) -> Any:
    """Return what an answer returns for copies of the arguments, or a `Problem`."""
    arguments = {name: _copied(value) for name, value in given.items()}
    try:
        inspect.signature(answer).bind(*arguments.values())
    except TypeError:
        return Problem("WrongArguments", f"it must take {', '.join(given)}: {task.signature}")
    except ValueError:  # a function that does not tell what it takes
        pass
    try:
        result = guarded(task, lambda: answer(*arguments.values()))
    except AssertionError as error:
        return Problem("Raises", f"it raises AssertionError: {str(error)[:200] or 'without a word'}")
    changed = [name for name in given if not _same(given[name], arguments[name])]
    if changed and not isinstance(result, Problem):
        return Problem(
            "InputChanged",
            f"it writes into its argument {changed[0]}: the caller's array is changed; make a new array",
        )
    return result


def guarded(task: Task, run: Callable[[], Any]) -> Any:
    """Run an answer with everything caught that it may raise; an `AssertionError` goes through, it may be meant."""
    try:
        with _profiled(task) as calls, np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = run()
    except NotImplementedError:
        return Problem("NotWritten", "not written yet")
    except AssertionError:
        raise
    except (Exception, SystemExit) as error:
        return Problem("Raises", _raised(error))
    if calls:
        return Problem("Forbidden", f"it calls {calls[0]}, which this exercise asks you to write yourself")
    if result is Ellipsis:
        return Problem("NotWritten", "not written yet")
    return result


_OF_SHAPES = ("matmul", "broadcast", "not aligned", "boolean index", "einstein")
"""What NumPy's messages about shapes contain."""


def _raised(error: BaseException) -> str:
    """Say what was raised; of two shapes that do not fit, what to do about it."""
    words = f"it raises {type(error).__name__}: {str(error)[:200] or 'without a word'}"
    if isinstance(error, (ValueError, IndexError)) and any(hint in str(error) for hint in _OF_SHAPES):
        return f"two shapes do not fit: write the shape of each array beside the line; {words}"
    return words


# ---- who is called -----------------------------------------------------------------------------------------


@contextmanager
def _profiled(task: Task) -> Iterator[list[str]]:
    """Collect the names of forbidden functions that are called meanwhile."""
    packages = [name for name in ALWAYS_FORBIDDEN if name not in task.allowed]
    found: list[str] = []

    def look(frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            module, name = frame.f_globals.get("__name__") or "", frame.f_code.co_qualname
        elif event == "c_call":
            module, name = getattr(called, "__module__", None) or "", getattr(called, "__qualname__", "")
        else:
            return
        if _is_forbidden(str(module), name, packages, task.forbidden):
            found.append(str(module).partition(".")[0] if "<locals>" in name else f"{module}.{name}")

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(before)


def _is_forbidden(module: str, name: str, packages: list[str], functions: tuple[str, ...]) -> bool:
    """Tell whether a function is in a forbidden package, or one of the functions, wherever NumPy keeps it."""
    if module.partition(".")[0] in packages:
        return not module.startswith("lora_np.teach")
    for one in functions:
        home, _, last = one.rpartition(".")
        if last == name and (module + ".").startswith(home.partition(".")[0] + "."):
            return True
    return False


def unwatched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function that is given to an answer: what it calls is not the answer's doing."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        look = sys.getprofile()
        sys.setprofile(None)
        try:
            return function(*args, **kwargs)
        finally:
            sys.setprofile(look)

    wrapped.__name__ = getattr(function, "__name__", "function")
    return wrapped


# ---- arguments ---------------------------------------------------------------------------------------------


def _copied(value: Any) -> Any:
    return unwatched(value) if callable(value) else copy.deepcopy(value)


def _same(before: Any, after: Any) -> bool:
    """Tell whether an argument is as it was; functions always are."""
    if callable(before):
        return True
    if isinstance(before, np.ndarray):
        return before.shape == after.shape and before.tobytes() == np.asarray(after).tobytes()
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(_same(a, b) for a, b in zip(before, after, strict=True))
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_same(before[key], after[key]) for key in before)
    return bool(before == after) or before != before  # NaN is not itself
