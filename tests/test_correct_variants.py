"""Right implementations written in other ways pass at gold: no false alarm."""

import math

import pytest

import tests.variants.low_rank
import tests.variants.others
from lora_np.conformance.vectors.format import Case, read_all
from tests.variants.writing import VARIANTS, run

WRITINGS = (tests.variants.low_rank, tests.variants.others)
"""Imported, they have registered their variants."""


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Case]]:
    """The shipped vectors, by capability."""
    found: dict[str, list[Case]] = {}
    for case in read_all():
        found.setdefault(case.capability, []).append(case)
    return found


def test_there_are_many_variants_of_many_methods():
    methods = {capability.split(".")[0] for functions in VARIANTS.values() for capability in functions}
    assert len(VARIANTS) >= 40
    assert len(methods) >= 18


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_a_right_implementation_written_otherwise_passes_at_gold(name, cases):
    """Another order of summation, another association, another layout or more bits are no mistakes."""
    functions = VARIANTS[name]
    outcome = run(functions, (case for capability in functions for case in cases[capability]))
    assert outcome.failed == []
    assert outcome.asked >= 20
    assert 0 <= outcome.worst <= 64


def test_a_variant_with_a_mistake_fails(cases):
    """The same harness sees one: the tests above could fail."""
    capability = "lora.forward"
    right = VARIANTS["einsum"][capability]
    outcome = run({capability: lambda c, t: right(c, t) * (1 + 1e-12)}, cases[capability])
    assert outcome.failed
    assert math.isfinite(outcome.worst)
