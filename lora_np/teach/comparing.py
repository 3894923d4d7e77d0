"""Comparing what an answer returned with what is expected, output by output, in units of u.  Floor 6.

Both become cases of the oracle, so that its bound and its table of mistakes hold for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.question import Question
from lora_np.conformance.runner.comparing import errors_in_u
from lora_np.conformance.runner.levels import limit_in_u
from lora_np.conformance.vectors.format import Case, Output, Tensor
from lora_np.teach.exercise import Exercise, Given
from lora_np.teach.watching import Problem

Named = dict[str, Array]
_KINDS = {"b": "yes or no", "i": "whole numbers", "u": "whole numbers", "f": "numbers", "U": "words"}


@dataclass(frozen=True, eq=False)
class Trial:
    """One case of an exercise with what was got: why it cannot be compared, or which outputs are wrong."""

    task: Exercise
    given: Given
    number: int  # of the case, from 1
    got: Named
    problem: Problem | None = None

    @cached_property
    def want(self) -> Named:
        """What is expected, by name."""
        found = named(self.task, self.task.expected(**self.given), self.given)
        assert not isinstance(found, Problem), (self.task.id, found)
        return found

    @cached_property
    def case(self) -> Case:
        """The trial as a case of the oracle: every output that is a number, with its size S."""
        method, _, operation = (self.task.oracle or "exercise.answer").partition(".")
        sizes = _sizes(self.task, self.given, self.want)
        outputs = {
            name: Output(_numbers(want), sizes[name], int(want.dtype.kind == "f"))
            for name, want in self.want.items()
            if want.dtype.kind != "U"
        }
        inputs = {
            name: Tensor(np.asarray(value), str(np.asarray(value).dtype))
            for name, value in self.given.items()
            if isinstance(value, np.ndarray) and value.dtype.kind in "if"
        }
        return Case(
            f"{self.task.id}#{self.number}", method, operation, self._config(), self._dtype(), inputs, outputs
        )

    def question(self, name: str) -> Question:
        """Ask why one output is what it is."""
        return Question(self.case, name, self.got[name])

    @cached_property
    def errors(self) -> dict[str, Array]:
        """Each element's error in units of u S; infinite where whole numbers or words differ."""
        return {name: self._errors(name) for name in self.want}

    @cached_property
    def wrong(self) -> list[str]:
        """The names of the outputs that are wrong."""
        return [name for name in self.want if self.of_other_shape(name) or self.beyond(name).any()]

    @property
    def ok(self) -> bool:
        """Tell whether everything agrees."""
        return self.problem is None and not self.wrong

    @property
    def worst_u(self) -> float:
        """The largest error of all outputs that can be measured."""
        return max((float(e.max(initial=0.0)) for e in self.errors.values()), default=0.0)

    @property
    def limit_u(self) -> float:
        """The largest error that is right."""
        return limit_in_u("gold", 1, self._dtype(), self.case.method)

    def beyond(self, name: str) -> Array:
        """Tell which elements of an output are beyond the limit."""
        return np.asarray(self.errors[name] > self.limit_u)

    def of_other_shape(self, name: str) -> bool:
        """Tell whether an output has another shape than expected."""
        return bool(self.got[name].shape != self.want[name].shape)

    def _errors(self, name: str) -> Array:
        got, want = self.got[name], self.want[name]
        if got.shape != want.shape:
            return np.zeros(0)
        if of_other_kind(want, got):
            return np.full(want.shape, np.inf)
        if want.dtype.kind != "f":
            return np.where(got == want, 0.0, np.inf)
        with np.errstate(all="ignore"):
            return np.asarray(errors_in_u(_numbers(got), self.case.outputs[name], self._dtype()))

    def _dtype(self) -> str:
        """Name the arithmetic an answer is held to: float32 if that is what all its floats came in."""
        kinds = {str(array.dtype) for array in self.got.values() if array.dtype.kind == "f" and array.ndim}
        return "float32" if kinds and kinds <= {"float32", "float16"} else "float64"

    def _config(self) -> Mapping[str, Any]:
        """Give the rank and alpha as the oracle's table wants them: given, or read off the factors and the scale."""
        if self.task.config is not None:
            return self.task.config(self.given)
        rank = self.given.get("rank", self.given.get("r"))
        if rank is None and isinstance(self.given.get("A"), np.ndarray):
            rank = self.given["A"].shape[0]
        if rank is None:
            return {}
        scale = self.given.get("scale", self.given.get("s", 1.0))
        return {"rank": int(rank), "alpha": float(self.given.get("alpha", scale * rank))}


def named(task: Exercise, answer: Any, given: Given) -> Named | Problem:
    """Give the parts of an answer their names, as arrays; a `Problem` where there are too few, or no numbers."""
    if answer is None:
        return Problem("NothingReturned", "it returns nothing: is there a return at its end?")
    if task.seen is not None:
        try:
            parts: Mapping[str, Any] = task.seen(answer, given)
        except Exception as error:
            return Problem(
                "WrongType", f"what it returns cannot be used: {type(error).__name__}: {str(error)[:200]}"
            )
    elif len(task.returns) == 1:
        parts = {task.returns[0]: answer}
    elif isinstance(answer, Mapping) and set(answer) == set(task.returns):
        parts = {name: answer[name] for name in task.returns}
    elif isinstance(answer, (tuple, list)) or (isinstance(answer, np.ndarray) and answer.ndim):
        if len(answer) != len(task.returns):
            return Problem("WrongCount", _count(len(answer), task.returns))
        parts = dict(zip(task.returns, answer, strict=True))
    else:
        return Problem("WrongCount", _count(1, task.returns))
    found = _arrays(parts)
    if isinstance(found, Problem) and isinstance(answer, tuple) and len(parts) == 1 and task.seen is None:
        return Problem("WrongCount", _count(len(answer), task.returns))
    return found


def _arrays(parts: Mapping[str, Any]) -> Named | Problem:
    found: Named = {}
    for name, value in parts.items():
        if value is None or value is Ellipsis:
            return Problem("NothingReturned", f"{name} is {value}")
        try:
            array = np.asarray(value)
        except ValueError:
            return Problem("WrongType", f"{name} has rows of different lengths")
        if array.dtype.kind not in _KINDS:
            return Problem("WrongType", f"{name} is {type(value).__name__}, an array of numbers is expected")
        found[name] = array
    return found


def _count(number: int, returns: tuple[str, ...]) -> str:
    things, are = "thing" if number == 1 else "things", "is" if len(returns) == 1 else "are"
    return f"it returns {number} {things}, {len(returns)} {are} expected: {', '.join(returns)}"


def of_other_kind(want: Array, got: Array) -> bool:
    """Tell whether words came for numbers, or numbers for words."""
    return bool((want.dtype.kind == "U") != (got.dtype.kind == "U"))


def kind(array: Array) -> str:
    """Say what an array is made of."""
    return _KINDS[array.dtype.kind]


def _numbers(array: Array) -> Array:
    return np.asarray(array, dtype=np.float64)


def _sizes(task: Exercise, given: Given, want: Named) -> Named:
    """Compute the sizes S of all outputs, never below the values themselves."""
    with np.errstate(all="ignore"):
        found: Any = task.size(given) if task.size else _at_absolute_values(task, given)
    if not isinstance(found, Mapping):
        found = dict.fromkeys(want, found)
    floors = {name: np.abs(_numbers(array)) for name, array in want.items() if array.dtype.kind != "U"}
    return {
        name: np.maximum(floor, np.broadcast_to(_numbers(found.get(name, 0.0)), floor.shape))
        for name, floor in floors.items()
    }


def _at_absolute_values(task: Exercise, given: Given) -> Any:
    """Evaluate what is expected with every float made positive: the sum of the sizes of all terms."""
    positive = {name: _absolute(value) for name, value in given.items()}
    found = named(task, task.expected(**positive), positive)
    return {} if isinstance(found, Problem) else {n: a for n, a in found.items() if a.dtype.kind != "U"}


def _absolute(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return np.abs(value)
    return abs(value) if isinstance(value, float) else value
