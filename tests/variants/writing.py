"""What a variant is: functions of (config, tensors) for some capabilities; and what the vectors say of it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lora_np.conformance.runner.comparing import Difference, compare
from lora_np.conformance.vectors.format import Case, laid_out
from tests.historic.seeding import flat, is_asked

Answer = Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], Any]

VARIANTS: dict[str, dict[str, Answer]] = {}
"""For each variant its functions, by capability."""


def variant(name: str, *capabilities: str) -> Callable[[Answer], Answer]:
    """Register a function as a variant's answer to capabilities."""

    def register(answer: Answer) -> Answer:
        for capability in capabilities:
            VARIANTS.setdefault(name, {})[capability] = answer
        return answer

    return register


class Outcome(NamedTuple):
    """How many cases a variant was asked, its worst error in u, and what failed."""

    asked: int
    worst: float
    failed: list[str]


def run(functions: Mapping[str, Answer], cases: Iterable[Case]) -> Outcome:
    """Ask a variant for all it claims, in both element types."""
    asked, worst, failed = 0, 0.0, []
    for case in cases:
        if case.capability not in functions or not is_asked(case):
            continue
        asked += 1
        found = compare(case, answered(functions[case.capability], case), "gold")
        worst = max([worst, *(difference.error_u for difference in found)])
        failed += [describe(case, difference) for difference in found if not difference.ok]
    return Outcome(asked, worst, failed)


def answered(function: Answer, case: Case) -> dict[str, np.ndarray]:
    """Ask for one answer, in the element type of the case; rows of several leading axes are handed over flat."""
    tensors = {name: laid_out(tensor) for name, tensor in case.inputs.items()}
    if "LeadingAxes" in case.flags:
        tensors |= {name: flat(tensors[name]) for name in ("X", "gY") if name in tensors}
    with np.errstate(all="ignore"):
        found = function(dict(case.config) | {"dtype": case.dtype, "method": case.method}, tensors)
    if not isinstance(found, Mapping):
        found = {next(iter(case.outputs)): found}
    arrays = {name: np.asarray(array, dtype=case.dtype) for name, array in found.items()}
    if "LeadingAxes" in case.flags:
        arrays |= {
            name: arrays[name].reshape(case.outputs[name].want.shape)
            for name in ("Y", "gX")
            if name in arrays
        }
    return arrays


def describe(case: Case, difference: Difference) -> str:
    """Name case and output, and say how far off it is."""
    return f"{case.id} ({case.comment}, {case.dtype}) {difference.output}: {difference.problem or difference.error_u}"
