"""Answering the protocol for a Python adapter: ``python -m lora_np.conformance.runner.serve TARGET``.  Floor 6.

What the adapter prints goes to standard error, so that it cannot be taken for an answer.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lora_np.conformance.runner.adapter import Adapter, find_adapter, require_adapter
from lora_np.conformance.runner.answer import PROTOCOL, Answer, as_json
from lora_np.conformance.runner.calling import call
from lora_np.conformance.vectors.format import Case, Output, config_from_json, tensor_from_json
from lora_np.errors import LoraNpError


def command_for(target: str | Adapter) -> list[str]:
    """Return the command that serves a target by its name, or an adapter that can be pickled."""
    start = [sys.executable, "-m", "lora_np.conformance.runner.serve"]
    if isinstance(target, str):
        return [*start, target]
    return [*start, "--pickled", base64.b64encode(pickle.dumps(target)).decode()]


def environment() -> dict[str, str]:
    """Return this process's environment, with the places that it imports from."""
    places = [os.path.abspath(place or ".") for place in sys.path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


def case_of(asked: Mapping[str, Any]) -> Case:
    """Read a request as a case whose expected outputs are known by name only."""
    import numpy as np

    unknown = Output(np.zeros(()), np.zeros(()), 0)
    return Case(
        id=asked["id"],
        method=asked["method"],
        operation=asked["operation"],
        config=config_from_json(asked["config"]),
        dtype=asked["dtype"],
        inputs={name: tensor_from_json(stored) for name, stored in asked["in"].items()},
        outputs=dict.fromkeys(asked["outputs"], unknown),
        script=tuple(asked.get("script", ())),
    )


def introduction(adapter: Adapter) -> str:
    """Write the line with which a target says who it is and what it claims."""
    return json.dumps(
        {
            "protocol": PROTOCOL,
            "name": adapter.name,
            "version": adapter.version,
            "capabilities": sorted(adapter.capabilities),
            "dtypes": sorted(adapter.dtypes),
            "options": dict(adapter.options),
        }
    )


def main(arguments: Sequence[str]) -> int:
    """Answer every line of standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # prints of the adapter, and of C code under it
    try:
        adapter = _adapter(arguments)
        sys.stdin.readline()  # who asks: there is one version of the protocol
        answers.write(introduction(adapter) + "\n")
    except LoraNpError as error:
        print(error, file=sys.stderr)
        return 2
    answers.flush()
    for line in sys.stdin:
        case = case_of(json.loads(line))
        try:
            text = as_json(case.id, call(adapter, case))
        except (TypeError, ValueError) as error:
            text = as_json(case.id, Answer(problem=f"returned what cannot be written down: {error}"))
        answers.write(text + "\n")
        answers.flush()
    return 0


def _adapter(arguments: Sequence[str]) -> Adapter:
    if arguments[0] == "--pickled":
        return require_adapter(pickle.loads(base64.b64decode(arguments[1])))
    return find_adapter(arguments[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
