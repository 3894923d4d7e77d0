"""Which step of a script went wrong, and the mistake that would do the same, in a sentence.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lora_np.conformance.runner.calling import configuration
from lora_np.conformance.runner.comparing import errors_in_u, one_output
from lora_np.conformance.state import scripts
from lora_np.conformance.state.mistakes import MISTAKES, Mistake, predicted
from lora_np.conformance.vectors.format import Case, Output

NEAR = 1e4
"""How far, in units of u S, a prediction may be away: it is computed in double precision, in another order."""


def explain(case: Case, outputs: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """Name the mistake and say after which step what is wrong; an empty name where no known mistake does the same.

    Two empty texts where nothing is wrong.
    """
    steps = scripts.read(case.script)
    for number, step in enumerate(steps, start=1):
        wrong = [name for name in scripts.outputs_of(step, number) if not _right(case, name, outputs)]
        if wrong:
            found = _recognized(case, outputs, number)
            where = f"after step {number} ({scripts.in_words(step)}): {_what(case, wrong[0], outputs)}"
            return (found.flag, f"{where}; {found.sentence}") if found else ("", where)
    return "", ""


def _right(case: Case, name: str, outputs: Mapping[str, np.ndarray]) -> bool:
    return name in outputs and one_output(case, name, outputs[name], case.outputs[name], "gold").ok


def _what(case: Case, name: str, outputs: Mapping[str, np.ndarray]) -> str:
    """Say what is wrong with one output."""
    want, got = case.outputs[name].want, outputs.get(name)
    if got is None:
        return f"{name} is missing"
    if name.startswith("refused"):
        return "accepted what must be refused"
    if got.shape != want.shape:
        return f"{name} has shape {got.shape}, expected {want.shape}"
    off = float(np.max(np.abs(got.astype(np.float64) - want), initial=0.0))
    if name.startswith("Y"):
        return f"the output is off by up to {off:.3g}"
    same = np.array_equal(want, case.inputs["W0"].values)
    return (
        f"the base weight differs from the original by up to {off:.3g}"
        if same
        else f"the weight is off by up to {off:.3g}"
    )


def _recognized(case: Case, outputs: Mapping[str, np.ndarray], number: int) -> Mistake | None:
    """Find the mistake that agrees longest, at least with every output up to the step that went wrong."""
    t: dict[str, Any] = {name: tensor.values.tolist() for name, tensor in case.inputs.items()}
    config, best, longest = configuration(case), None, 0
    names = [list(scripts.outputs_of(step, i)) for i, step in enumerate(scripts.read(case.script), start=1)]
    for mistake in MISTAKES:
        guess = predicted(mistake, t, config)
        agreed = 0
        for step in names:
            if not all(_near(case, name, guess, outputs) for name in step):
                break
            agreed += 1
        if agreed >= number and agreed > longest:
            best, longest = mistake, agreed
    return best


def _near(case: Case, name: str, guess: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> bool:
    if name not in guess or name not in outputs:
        return False
    want, got = np.array(guess[name], dtype=np.float64), outputs[name]
    if got.shape != want.shape:
        return False
    size = np.maximum(case.outputs[name].size, np.abs(want))
    return bool((errors_in_u(got, Output(want, size, 1), case.dtype) <= NEAR).all())
