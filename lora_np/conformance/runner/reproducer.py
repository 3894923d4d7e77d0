"""A script that shows one failure again, with nothing but this package and the target.  Floor 6.

It holds the inputs as numbers, so it can be sent to whoever has to mend the implementation.  For a command it is a
script that asks the one question.
"""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np

from lora_np.conformance.runner.answer import hello, request
from lora_np.conformance.runner.calling import configuration
from lora_np.conformance.runner.record import Record
from lora_np.conformance.vectors.format import SUITE, Case, Tensor

MOST_NUMBERS = 2000
"""A case with more numbers is read from the shipped vectors by its id."""

COMMAND = "command: "
"""How the name of a target that is a command starts."""

_HEAD = '''\
"""{id} of the test vectors {suite}: {problem}

{comment}
"""
'''


def reproducer(case: Case, target: str, record: Record) -> str:
    """Write the script; `record` says what it should show.

    >>> case = Case("lora/forward#1", "lora", "forward", {"rank": 1}, "float64", {})
    >>> script = reproducer(case, "my_package:MyLora", Record(case.id, case.capability, "float64", "fail"))
    >>> "find_adapter('my_package:MyLora')" in script
    True
    """
    words = (record.problem or "a failure").replace("\\", "\\\\").replace('"""', "'''")
    head = _HEAD.format(
        id=case.id, suite=SUITE, problem=words, comment=case.comment.replace("\\", "\\\\") or "Run this file."
    )
    if target.startswith(COMMAND):
        return head + _question(case, target.removeprefix(COMMAND))
    return head + "\n".join(
        [*_imports(case), "", *_adapter(target), *_arguments(case), *_calling(case, record), ""]
    )


def _question(case: Case, command: str) -> str:
    """Ask a command: the greeting, then the case."""
    return f"""import subprocess

command = {shlex.split(command)!r}
lines = [
    {hello(SUITE)!r},
    {request(case)!r},
]
asked = "".join(line + "\\n" for line in lines)
ended = subprocess.run(command, input=asked, text=True, capture_output=True, timeout=60)
print(ended.stdout, ended.stderr)
"""


def _imports(case: Case) -> list[str]:
    names = "read_all, laid_out" if _is_large(case) else "Tensor, laid_out"
    numpy = [] if _is_large(case) or not case.inputs else ["import numpy as np", ""]
    return [
        *numpy,
        "from lora_np.conformance.runner.adapter import find_adapter",
        f"from lora_np.conformance.vectors.format import {names}",
    ]


def _adapter(target: str) -> list[str]:
    if "<locals>" in target or target.startswith("__main__:"):
        return [f"adapter = ...  # put yours here: {target} cannot be imported", ""]
    return [f"adapter = find_adapter({target!r})", ""]


def _arguments(case: Case) -> list[str]:
    """Write the configuration and the inputs as Python; floats are written so that they come back bit for bit."""
    lines = [f"config = {_python(configuration(case))}"]
    if _is_large(case):
        file = f"{case.method}/{case.operation}"
        return [
            *lines,
            f"case = next(case for case in read_all(include={file!r}) if case.id == {case.id!r})",
            "tensors = {name: laid_out(tensor) for name, tensor in case.inputs.items()}",
            "",
        ]
    arrays = [f"    {name!r}: {_tensor(tensor)}," for name, tensor in case.inputs.items()]
    return [*lines, "tensors = {", *arrays, "}", ""]


def _is_large(case: Case) -> bool:
    return sum(tensor.values.size for tensor in case.inputs.values()) > MOST_NUMBERS


def _tensor(tensor: Tensor) -> str:
    kind = "int64" if tensor.values.dtype.kind == "i" else "float64"
    array = f"np.array({_python(tensor.values.tolist())}, dtype={kind!r})"
    if tensor.values.size == 0:
        array += f".reshape({tensor.values.shape})"
    memory = "" if tensor.memory == "C" else f", {tensor.memory!r}"
    return f"laid_out(Tensor({array}, {tensor.dtype!r}{memory}))"


def _python(value: Any) -> str:
    """Write a value as Python: NaN and infinity have no literal of their own."""
    if isinstance(value, float) and not np.isfinite(value):
        return f"float({str(value)!r})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_python(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_python(item)}' for key, item in value.items())}}}"
    return repr(value)


def _calling(case: Case, record: Record) -> list[str]:
    call = f"adapter.{case.operation}({case.method!r}, config, tensors)"
    if case.result == "invalid":
        return [f"print({call})  # must be refused"]
    lines = [f"returned = {call}"]
    if record.index is None:
        return [*lines, "print(returned)"]
    element = f"[{', '.join(map(str, record.index))}]" if record.index else "[()]"
    found = f"returned[{record.output!r}] if isinstance(returned, dict) else returned"
    return [
        *lines,
        f"found = {found}",
        f'print("got ", float(found{element}))',
        f'print("want", {_python(record.want)})',
    ]
