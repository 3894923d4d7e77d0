"""What a bug is, an adapter made of one, and what the vectors and the diagnoser say of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lora_np.conformance.diagnose import Diagnosis, diagnoses, verdict
from lora_np.conformance.runner.comparing import compare
from lora_np.conformance.vectors.format import Case, laid_out

Arrays = Mapping[str, np.ndarray]
Answer = Callable[[Mapping[str, Any], Arrays], Any]

ENOUGH, ENOUGH_GRADIENTS = 12, 6
"""Failing cases that the diagnoser looks at: more make it surer, and slower, above all for gradients."""


class Bug(NamedTuple):
    """A wrong implementation of one capability: where it was reported, what it must be called, and its lines.

    `names` has more than one entry where the same numbers come of two mistakes.
    """

    source: str
    capability: str
    names: tuple[str, ...]
    answer: Answer

    @property
    def title(self) -> str:
        return self.answer.__name__


BUGS: list[Bug] = []


def bug(source: str, capability: str, *names: str) -> Callable[[Answer], Answer]:
    """Register a function of (config, tensors) as a bug."""

    def register(answer: Answer) -> Answer:
        BUGS.append(Bug(source, capability, names, answer))
        return answer

    return register


class Wrong:
    """The adapter: whatever operation it is asked for, the bug answers."""

    version = "historic"
    dtypes = ("float32", "float64")

    def __init__(self, seeded: Bug) -> None:
        self.name = seeded.title
        self.seeded = seeded
        self.capabilities = (seeded.capability,)
        self.options: dict[str, str] = {}

    def __getattr__(self, operation: str) -> Any:
        return lambda method, config, tensors: self.seeded.answer(config, tensors)


class Found(NamedTuple):
    """What became of a bug: the cases that failed, of how many, its name, and the first names of single cases."""

    cases: list[str]
    asked: int
    diagnosis: Diagnosis | None
    firsts: Mapping[str, int]

    @property
    def name(self) -> str:
        return "" if self.diagnosis is None else self.diagnosis.name


def run(seeded: Bug, cases: Iterable[Case]) -> Found:
    """Ask a bug for the answers to all cases of its capability, and let the diagnoser look at the first that fail."""
    failing, asked = {}, 0
    for case in cases:
        if case.capability != seeded.capability or not is_asked(case):
            continue
        asked += 1
        got = ask(seeded, case)
        if got is None or not all(difference.ok for difference in compare(case, got, "gold")):
            failing[case.id] = case, got
    findings = [diagnoses(case, got) for case, got in varied(failing.values())]
    firsts = Counter(found[0].name if found else "" for found in findings)
    return Found(list(failing), asked, verdict(findings), firsts)


def varied(
    failing: Iterable[tuple[Case, dict[str, np.ndarray] | None]],
) -> list[tuple[Case, dict[str, np.ndarray]]]:
    """Pick cases that were answered, one for each configuration first: what fits only one of them is a coincidence."""
    answered = [(case, got) for case, got in failing if got is not None]
    configs: Counter[str] = Counter()
    order = []
    for case, _ in answered:
        key = repr(sorted(case.config.items(), key=str))
        order.append((configs[key], case.dtype != "float64", len(order)))
        configs[key] += 1
    gradients = bool(answered) and answered[0][0].operation == "backward"
    return [answered[place[2]] for place in sorted(order)[: ENOUGH_GRADIENTS if gradients else ENOUGH]]


def is_asked(case: Case) -> bool:
    """Tell whether wrong and right variants are asked: not about refusals, storage types, or another form of gelu."""
    return case.result != "invalid" and case.dtype in Wrong.dtypes and case.option != ("gelu", "tanh")


def ask(seeded: Bug, case: Case) -> dict[str, np.ndarray] | None:
    """Ask for one answer; None where the bug raises, which is a failure, too."""
    tensors = {name: laid_out(tensor) for name, tensor in case.inputs.items()}
    if "LeadingAxes" in case.flags:
        tensors |= {name: flat(tensors[name]) for name in ("X", "gY") if name in tensors}
    try:
        with np.errstate(all="ignore"):
            answer = seeded.answer(dict(case.config) | {"dtype": case.dtype}, tensors)
    except (ValueError, IndexError, np.linalg.LinAlgError):
        return None
    if not isinstance(answer, Mapping):
        answer = {next(iter(case.outputs)): answer}
    arrays = {name: np.asarray(array) for name, array in answer.items()}
    if "LeadingAxes" in case.flags:
        arrays |= {
            name: arrays[name].reshape(case.outputs[name].want.shape)
            for name in ("Y", "gX")
            if name in arrays
        }
    return arrays


def flat(rows: np.ndarray) -> np.ndarray:
    """Put rows (..., k) one after the other; tokens (...) too."""
    return rows.reshape(-1) if rows.dtype.kind == "i" else rows.reshape(-1, rows.shape[-1])
