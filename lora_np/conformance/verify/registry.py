"""The table of all checks, and running it.  Floor 6."""

from collections.abc import Iterable, Iterator

from lora_np.conformance.verify import (
    derivatives,
    factoring,
    layer,
    networks,
    optimizer_view,
    pairs,
    pruning,
    steps,
)
from lora_np.conformance.verify.check import Check, Result, run
from lora_np.conformance.verify.implementation import Implementation, available

CHECKS: tuple[Check, ...] = (
    *layer.CHECKS,
    *derivatives.CHECKS,
    *pairs.CHECKS,
    *optimizer_view.CHECKS,
    *steps.CHECKS,
    *pruning.CHECKS,
    *factoring.CHECKS,
    *networks.CHECKS,
)


def plan(implementations: Iterable[Implementation] | None = None) -> list[tuple[Check, Implementation]]:
    """List which check runs on which implementation: a backend is asked only about what it replaces.

    >>> from lora_np.conformance.verify.implementation import reference
    >>> len(plan([reference()])) == len(CHECKS)
    True
    """
    found = available() if implementations is None else implementations
    return [(check, impl) for impl in found for check in CHECKS if impl.is_asked(check.uses)]


def verify(implementations: Iterable[Implementation] | None = None) -> Iterator[Result]:
    """Run every check on every implementation that is there, and yield each result as it comes."""
    for check, implementation in plan(implementations):
        yield run(check, implementation)
