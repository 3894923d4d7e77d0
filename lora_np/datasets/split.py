"""Hold out a share of every class.  Floor 4."""

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Int


def stratified_split(
    y: Int[Array, " N"], *, held_out: float, rng: np.random.Generator
) -> tuple[Int[Array, " a"], Int[Array, " b"]]:
    """Draw the rows to train on and the rows to hold out, class by class.

    Every class c gives round(held_out · N_c) of its rows, drawn without replacement.  Both index arrays come in
    increasing order; together they are every row once.  The same generator state gives the same split.
    Raises `ConfigError`, `DTypeError`, `ShapeError`.

    >>> y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> train, test = stratified_split(y, held_out=0.25, rng=np.random.default_rng(0))
    >>> y[train], y[test]
    (array([0, 0, 0, 1, 1, 1]), array([0, 1]))
    """
    checks.require_labels(y)
    checks.require_number("held_out", held_out, above=0.0, below=1.0)
    checks.require_rng(rng)
    out = np.zeros(y.shape[0], dtype=bool)
    for c in np.unique(y):
        members = np.flatnonzero(y == c)
        out[rng.permutation(members)[: round(held_out * len(members))]] = True
    return np.flatnonzero(~out), np.flatnonzero(out)
