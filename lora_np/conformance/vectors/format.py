"""What a case is, and the JSON files that hold cases.  Floor 6.  Nothing here computes or compares.

A file is one method and one operation.  Every number that is not a count is C99 hexadecimal text, so nothing is lost
and any language reads it; 16-bit floats are integers with their bits.  An expected element comes with
`bound`, its size S: an implementation's error is |got − want| / (u S), with u of the case's element type.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from lora_np.conformance.exact.rounding import from_bits, to_bits, to_hex
from lora_np.conformance.vectors.strict_json import read_content
from lora_np.errors import VectorFileError

SUITE = "2026.11"
"""The release of the vectors (calendar version)."""

SCHEMA = "vectors.schema.json"
RESULTS = ("valid", "invalid", "acceptable")
HALF_TYPES = ("float16", "bfloat16")
MEMORY = ("C", "F", "strided", "reversed", "readonly")


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What one output must be: the true values rounded to double, their sizes S, and the roundings K of one road."""

    want: np.ndarray
    size: np.ndarray
    roundings: int


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """An input: numbers as float64 or int64, the element type to pass them in, and how they lie in memory."""

    values: np.ndarray
    dtype: str
    memory: str = "C"  # "C", "F", "strided", "reversed" or "readonly"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One test vector.

    `result` is "valid" (must agree), "invalid" (must be refused; `error` names class and words), or "acceptable" (must
    agree for those who declare the `option`, a (name, value) pair).  `script` holds the steps of a state case.
    """

    id: str
    method: str
    operation: str
    config: Mapping[str, Any]
    dtype: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Output] = field(default_factory=dict)
    result: str = "valid"
    flags: tuple[str, ...] = ()
    comment: str = ""
    option: tuple[str, str] | None = None
    error: Mapping[str, Any] | None = None  # {"class": "ShapeError", "mentions": ["X", "expected (..., 6)"]}
    script: tuple[Mapping[str, Any], ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def capability(self) -> str:
        """The name under which an adapter claims this case: method and operation."""
        return f"{self.method}.{self.operation}"


def shipped() -> Path:
    """Return the directory of the vectors that come with the package."""
    return Path(str(files("lora_np.conformance.vectors") / "v1"))


# ---- numbers as text ----------------------------------------------------------------------------------------


def config_as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """Write a configuration: floats as hexadecimal text under "hex", everything else as it is."""
    return {key: _config_value(value) for key, value in config.items()}


def _config_value(value: Any) -> Any:
    if isinstance(value, float):
        return {"hex": to_hex(value)}
    if isinstance(value, (list, tuple)):
        return [_config_value(item) for item in value]
    return value


def config_from_json(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Read a configuration back."""
    return {key: _read_config_value(value) for key, value in stored.items()}


def _read_config_value(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"hex"}:
        return float.fromhex(value["hex"])
    if isinstance(value, list):
        return [_read_config_value(item) for item in value]
    return value


def tensor_as_json(tensor: Tensor) -> dict[str, Any]:
    """Write an input tensor: shape, element type, and its numbers row by row."""
    stored: dict[str, Any] = {"dtype": tensor.dtype, "shape": list(tensor.values.shape)}
    numbers = tensor.values.ravel().tolist()
    if tensor.dtype in HALF_TYPES:
        stored["bits"] = [to_bits(x, tensor.dtype) for x in numbers]
    elif tensor.dtype.startswith("float"):
        stored["hex"] = [to_hex(x) for x in numbers]
    else:
        stored["int"] = [int(x) for x in numbers]
    if tensor.memory != "C":
        stored["memory"] = tensor.memory
    return stored


def tensor_from_json(stored: Mapping[str, Any]) -> Tensor:
    """Read an input tensor.  Raises `ValueError`."""
    dtype, memory = stored["dtype"], stored.get("memory", "C")
    if memory not in MEMORY:
        raise ValueError(f"memory is {memory!r}, one of {', '.join(MEMORY)} expected")
    if "bits" in stored:
        numbers = [from_bits(bits, dtype) for bits in stored["bits"]]
    elif "hex" in stored:
        numbers = [float.fromhex(text) for text in stored["hex"]]
    else:
        return Tensor(_shaped(stored["int"], stored["shape"], np.int64), dtype, memory)
    return Tensor(_shaped(numbers, stored["shape"]), dtype, memory)


def _shaped(numbers: list[Any], shape: Any, dtype: type = np.float64) -> np.ndarray:
    """Shape a list of numbers.  Raises `ValueError` unless the shape is one and fits."""
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"{shape} is not a shape: whole numbers from 0 expected")
    if math.prod(shape) != len(numbers):
        raise ValueError(f"shape {shape} needs {math.prod(shape)} numbers, there are {len(numbers)}")
    return np.array(numbers, dtype=dtype).reshape(shape)


def output_as_json(output: Output) -> dict[str, Any]:
    """Write an expected output: shape, values, sizes, roundings."""
    return {
        "shape": list(output.want.shape),
        "hex": [to_hex(x) for x in output.want.ravel().tolist()],
        "bound": [to_hex(x) for x in output.size.ravel().tolist()],
        "roundings": output.roundings,
    }


def output_from_json(stored: Mapping[str, Any]) -> Output:
    """Read an expected output.  Raises `ValueError`."""
    want, size = (
        _shaped([float.fromhex(text) for text in stored[key]], stored["shape"]) for key in ("hex", "bound")
    )
    return Output(want, size, stored["roundings"])


# ---- cases and files ----------------------------------------------------------------------------------------


def case_as_json(case: Case) -> dict[str, Any]:
    """Write what one case adds to its group."""
    stored: dict[str, Any] = {"tcId": int(case.id.rsplit("#", 1)[1]), "comment": case.comment}
    stored["flags"] = list(case.flags)
    stored["in"] = {name: tensor_as_json(tensor) for name, tensor in case.inputs.items()}
    if case.outputs:
        stored["out"] = {name: output_as_json(output) for name, output in case.outputs.items()}
    if case.error is not None:
        stored["error"] = dict(case.error)
    if case.script:
        stored["script"] = [dict(step) for step in case.script]
    if case.option is not None:
        stored["option"] = list(case.option)
    stored["result"] = case.result
    stored["provenance"] = dict(case.provenance)
    return stored


def cases_of(content: Mapping[str, Any]) -> Iterator[Case]:
    """Read all cases of one file's content.  Raises `ValueError` with the case that is at fault."""
    name = f"{content['method']}/{content['operation']}"
    for group in content["testGroups"]:
        config = config_from_json(group["config"])
        for test in group["tests"]:
            try:
                yield _case(name, config, group["dtype"], test)
            except UNREADABLE as error:
                raise ValueError(f"case {test.get('tcId')}: {_in_words(error)}") from None


def _case(name: str, config: Mapping[str, Any], dtype: str, test: Mapping[str, Any]) -> Case:
    method, operation = name.split("/")
    if test["result"] not in RESULTS:
        raise ValueError(f"result is {test['result']!r}, one of {', '.join(RESULTS)} expected")
    return Case(
        id=f"{name}#{test['tcId']}",
        method=method,
        operation=operation,
        config=config,
        dtype=dtype,
        inputs={name: tensor_from_json(stored) for name, stored in test["in"].items()},
        outputs={name: output_from_json(stored) for name, stored in test.get("out", {}).items()},
        result=test["result"],
        flags=tuple(test["flags"]),
        comment=test["comment"],
        option=tuple(test["option"]) if "option" in test else None,
        error=test.get("error"),
        script=tuple(test.get("script", ())),
        provenance=test["provenance"],
    )


UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error)
"""What reading a content of another form raises."""


def _in_words(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def read_file(path: Path) -> list[Case]:
    """Read the cases of one file.  Raises `VectorFileError` with path and reason for anything that is not one."""
    return read_cases(read_content(path), path)


def read_cases(content: Any, path: Path) -> list[Case]:
    """Read the cases of the content of a file.  Raises `VectorFileError`."""
    try:
        return list(cases_of(content))
    except UNREADABLE as error:
        raise VectorFileError(
            f"{path} is not a file of test vectors: {_in_words(error)}", fix="export the vectors again"
        ) from None


def read_all(directory: Path | None = None, include: str = "") -> list[Case]:
    """Read every case below a directory (the shipped one if left out) whose file name starts with `include`.

    `include` is "lora/", "lora/forward", ...; files are read in the order of their names.
    """
    root = shipped() if directory is None else directory
    if not root.is_dir():
        raise VectorFileError(f"{root} is not a directory of test vectors")
    paths = sorted(root.glob("*/*.json"))
    named = {path: path.relative_to(root).with_suffix("").as_posix() for path in paths}
    return [case for path in paths if named[path].startswith(include) for case in read_file(path)]


def laid_out(tensor: Tensor, dtype: str | None = None) -> np.ndarray:
    """Make the array to hand over: element type and memory layout as the case says; never a view of the case itself.

    NumPy has no bfloat16: such numbers come as float32, which holds them exactly.

    >>> laid_out(Tensor(np.eye(2), "float32", "F")).flags.f_contiguous
    True
    """
    name = dtype or tensor.dtype
    values = tensor.values.astype("float32" if name == "bfloat16" else name)
    if tensor.memory == "F":
        return np.asfortranarray(values)
    if tensor.memory == "strided" and values.ndim:
        wide = np.zeros(tuple(2 * n for n in values.shape), dtype=values.dtype)
        view = wide[tuple(slice(None, None, 2) for _ in values.shape)]
        view[...] = values
        return view
    if tensor.memory == "reversed" and values.ndim:
        back = tuple(slice(None, None, -1) for _ in values.shape)
        return np.ascontiguousarray(values[back])[back]
    values = np.array(values)
    values.flags.writeable = tensor.memory != "readonly"
    return values


def is_finite(output: Output) -> bool:
    """Tell whether every expected number is finite, and every size a finite number that is not negative."""
    return bool(
        np.isfinite(output.want).all() and np.isfinite(output.size).all() and (output.size >= 0).all()
    )
