"""Calling one adapter with one case, in this process.  Floor 6.  Nothing here knows what is expected.

The adapter gets fresh arrays in the memory layout that the case asks for; afterwards their bytes must be what they
were.  Whatever it raises or returns becomes an `Answer`.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lora_np.conformance.runner.adapter import Adapter
from lora_np.conformance.runner.answer import Answer, Raised
from lora_np.conformance.runner.deadline import OutOfTime, deadline
from lora_np.conformance.vectors.format import Case, laid_out


def call(adapter: Adapter, case: Case, *, limit: float | None = None) -> Answer:
    """Ask an adapter for the outputs of a case; `limit` seconds are enforced where the system has interval timers."""
    operation = getattr(adapter, case.operation, None)
    if not callable(operation):
        return Answer(problem=f"the adapter claims {case.capability} but has no method {case.operation!r}")
    tensors = {name: laid_out(tensor) for name, tensor in case.inputs.items()}
    before = {name: array.tobytes() for name, array in tensors.items()}
    try:
        with deadline(limit):
            returned = operation(case.method, configuration(case), dict(tensors))
    except OutOfTime:
        return Answer(problem=f"no answer within {limit:g} s", lost=True)
    except (Exception, SystemExit) as error:
        raised = Raised(type(error).__name__, str(error))
        return Answer(raised=raised, mutated=_changed(tensors, before))
    answer = named(returned, tuple(case.outputs))
    return replace(answer, mutated=_changed(tensors, before))


def configuration(case: Case) -> dict[str, Any]:
    """Return what an adapter gets as `config`: the numbers, the element type, and the steps of a state case."""
    config = {**case.config, "dtype": case.dtype}
    if case.script:
        config["script"] = [dict(step) for step in case.script]
    return config


def _changed(tensors: Mapping[str, np.ndarray], before: Mapping[str, bytes]) -> tuple[str, ...]:
    return tuple(name for name, array in tensors.items() if array.tobytes() != before[name])


def named(returned: Any, names: tuple[str, ...]) -> Answer:
    """Take what an operation returned as arrays by name; say what it is instead, where it is not that.

    >>> named(np.ones(2), ("Y",)).outputs, named(np.ones(2), ("gX", "gB")).problem
    ({'Y': array([1., 1.])}, 'returned one array where gX, gB are wanted: return a mapping')
    """
    if not isinstance(returned, Mapping):
        if len(names) != 1:
            what = "one array" if isinstance(returned, np.ndarray) else _kind(returned)
            wanted = f"where {', '.join(names)} are wanted: return a mapping" if names else ""
            return Answer(problem=f"returned {what} {wanted}".strip())
        returned = {names[0]: returned}
    outputs = {}
    for name, value in returned.items():
        array = np.asarray(value) if isinstance(value, (np.generic, numbers.Real)) else value
        if not isinstance(array, np.ndarray):
            return Answer(problem=f"returned {_kind(value)} for {name}, not a NumPy array")
        if array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
        if array.dtype.kind not in "fiub":
            return Answer(
                problem=f"returned {name} of element type {array.dtype}, which holds no real numbers"
            )
        outputs[str(name)] = array
    return Answer(outputs)


def _kind(value: Any) -> str:
    """Name the type of what was returned, with its module unless it is built in."""
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
