"""The registry of equations: every formula of the sources that the code implements, under one key each.  Floor 0.

A docstring cites an equation by its key in square brackets; a test holds that every cited key exists here and
that every key is cited by code and by a test.  The app and the lessons render the same entries, so a correction
is made once.  One file per subject; this one joins them and looks things up.
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from lora_np.equations import (
    adapters,
    cost,
    counts,
    gradient_view,
    layouts,
    lora,
    methods_low_rank,
    methods_modules,
    methods_shapes,
    networks,
    optim,
    oracle,
    prune,
    rank,
    subspace,
)
from lora_np.equations._entry import Equation
from lora_np.errors import ConfigError

_SUBJECTS = (
    rank,
    lora,
    gradient_view,
    optim,
    cost,
    counts,
    subspace,
    prune,
    networks,
    adapters,
    methods_low_rank,
    methods_shapes,
    methods_modules,
    layouts,
    oracle,
)


def _join() -> Mapping[str, Equation]:
    """Join the subjects' tables; a key stands in one of them only."""
    joined: dict[str, Equation] = {}
    for subject in _SUBJECTS:
        repeated = joined.keys() & subject.EQUATIONS.keys()
        if repeated:
            raise ConfigError(f"equation keys stand in two subjects: {sorted(repeated)}")
        joined.update(subject.EQUATIONS)
    return MappingProxyType(joined)


EQUATIONS: Mapping[str, Equation] = _join()


def equation(key: str) -> Equation:
    """Look up one equation by its key; a key that is not there raises `ConfigError` with the nearest ones.

    >>> equation("lora-merge").words
    'After training, add the increment to the weight: inference then costs what it did before.'
    """
    if key not in EQUATIONS:
        close = difflib.get_close_matches(key, EQUATIONS, n=3)
        raise ConfigError(
            f"no equation has the key {key!r}", fix=f"close: {', '.join(close)}" if close else ""
        )
    return EQUATIONS[key]


__all__ = ["EQUATIONS", "Equation", "equation"]
