"""The shipped test vectors, as work that a mutant may break: each file passes or does not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import CodeType

from lora_np.conformance.runner.calling import call
from lora_np.conformance.runner.judging import judge, unclaimed
from lora_np.conformance.targets.reference import Reference
from lora_np.conformance.vectors.format import Case, read_all
from tests.mutation.reach import entered


def reached(codes: Mapping[CodeType, str]) -> dict[str, dict[str, Callable[[], bool]]]:
    """Run every case on the true code: function -> {file: do its cases that enter the function pass?}.

    Raises `RuntimeError` where a case fails on the true code.
    """
    reference = Reference()
    entering: dict[str, dict[str, list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in read_all():
        if unclaimed(case, reference):
            continue
        with entered(codes) as names:
            good = passes(reference, [case])
        if not good:
            raise RuntimeError(f"the true code fails {case.id}")
        for name in names:
            entering[name][case.id.split("#")[0]].append(case)
    return {
        function: {file: lambda cases=cases: passes(reference, cases) for file, cases in files.items()}
        for function, files in entering.items()
    }


def passes(reference: Reference, cases: Sequence[Case]) -> bool:
    """Tell whether every case passes at gold; stops at the first that does not."""
    return all(judge(case, call(reference, case), reference, "gold").verdict == "pass" for case in cases)
