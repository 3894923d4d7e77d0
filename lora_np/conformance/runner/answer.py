"""What came back for one case: outputs, or what was raised, or what went wrong; and its line of JSON.  Floor 6.

Nothing here calls an implementation or compares numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lora_np.conformance.exact.rounding import to_hex
from lora_np.conformance.vectors.format import Case, config_as_json, tensor_as_json

PROTOCOL = 1


class Raised(NamedTuple):
    """What an implementation raised: the name of its class, and its words."""

    name: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Outputs by name; or what was raised; or a `problem`: something else than arrays came back, or nothing.

    `lost` tells that nothing came: no answer in time, or a crash.  `mutated` names the inputs that were written into.
    """

    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    raised: Raised | None = None
    problem: str = ""
    lost: bool = False
    mutated: tuple[str, ...] = ()


class MalformedAnswerError(ValueError):
    """A line that is not an answer of the protocol."""


# ---- what a target is asked ---------------------------------------------------------------------------------


def hello(suite: str) -> str:
    """Write the first line of the protocol: who is asking."""
    return json.dumps({"hello": "lora_np", "protocol": PROTOCOL, "suite": suite})


def request(case: Case) -> str:
    """Write one case as a line: everything an implementation needs, nothing of what is expected but its names."""
    asked: dict[str, Any] = {
        "id": case.id,
        "method": case.method,
        "operation": case.operation,
        "dtype": case.dtype,
        "config": config_as_json(case.config),
        "in": {name: tensor_as_json(tensor) for name, tensor in case.inputs.items()},
        "outputs": list(case.outputs),
    }
    if case.script:
        asked["script"] = [dict(step) for step in case.script]
    return json.dumps(asked)


# ---- what it answers ----------------------------------------------------------------------------------------


def as_json(case_id: str, answer: Answer) -> str:
    """Write an answer as a line."""
    stored: dict[str, Any] = {"id": case_id}
    if answer.raised is not None:
        stored["error"] = {"class": answer.raised.name, "message": answer.raised.message}
    elif answer.problem:
        stored["problem"] = answer.problem
        stored["lost"] = answer.lost
    else:
        stored["out"] = {name: _array_as_json(array) for name, array in answer.outputs.items()}
    if answer.mutated:
        stored["mutated"] = list(answer.mutated)
    return json.dumps(stored)


def _array_as_json(array: np.ndarray) -> dict[str, Any]:
    stored: dict[str, Any] = {"shape": list(array.shape), "dtype": array.dtype.name}
    if array.dtype.kind in "iub":
        return {**stored, "int": [int(x) for x in array.ravel().tolist()]}
    return {**stored, "hex": [to_hex(x) for x in array.astype(np.float64).ravel().tolist()]}


def from_json(line: str, case: Case) -> Answer:
    """Read the answer to a case.  Raises `MalformedAnswerError` with what is wrong with the line."""
    try:
        stored = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        raise MalformedAnswerError(f"a line that is not JSON: {shortened(line)}") from None
    if not isinstance(stored, dict) or stored.get("id") != case.id:
        raise MalformedAnswerError(f"a line that is not the answer to {case.id}: {shortened(line)}")
    try:
        mutated = tuple(str(name) for name in stored.get("mutated", ()))
        if "error" in stored:
            raised = Raised(str(stored["error"]["class"]), str(stored["error"]["message"]))
            return Answer(raised=raised, mutated=mutated)
        if "problem" in stored:
            return Answer(problem=str(stored["problem"]), lost=bool(stored.get("lost")), mutated=mutated)
        outputs = {name: _array_from_json(name, item, case.dtype) for name, item in stored["out"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MalformedAnswerError(
            f"an answer without usable outputs ({type(error).__name__}: {error}): {shortened(line)}"
        ) from None
    return Answer(outputs, mutated=mutated)


def _array_from_json(name: str, stored: Mapping[str, Any], dtype: str) -> np.ndarray:
    """Read an array; its element type is the case's where it is not given."""
    shape = tuple(int(n) for n in stored["shape"])
    if "int" in stored:
        return np.array([int(x) for x in stored["int"]], dtype=np.int64).reshape(shape)
    values = np.array([float.fromhex(text) for text in stored["hex"]], dtype=np.float64)
    kind = stored.get("dtype", dtype)
    kind = carrier(kind) if kind in ("float16", "bfloat16", "float32", "float64") else "float64"
    with np.errstate(over="ignore"):
        array = values.astype(kind)
    if not np.array_equal(array.astype(np.float64), values, equal_nan=True):
        raise ValueError(f"{name} holds numbers that are not {kind}: round them first")
    return array.reshape(shape)


def carrier(dtype: str) -> str:
    """Name the NumPy type that arrays of a case come in: NumPy has no bfloat16, float32 holds it."""
    return "float32" if dtype == "bfloat16" else dtype


def shortened(text: str, most: int = 120) -> str:
    """Quote a text, cut where it is long."""
    text = text.strip()
    return repr(text if len(text) <= most else text[:most] + "…")


def shown(x: float, dtype: str) -> str:
    """Write a number with all the digits that its type needs."""
    if not math.isfinite(x):
        return str(float(x))
    return f"{x:.9g}" if dtype in ("float32", "float16", "bfloat16") else f"{x:.17g}"
