"""Matrices to look at: each kind shows one thing about rank.  Floor 6.  Nothing here decides what is true of them."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.datasets.digits import load_digits
from lora_np.datasets.digits import rows as as_rows
from lora_np.errors import ConfigError

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "exact": "a product of two strips, of rank k exactly",
        "decay": "a spectrum that falls off as a power, as increments of real fine-tuning do",
        "random": "independent noise: every direction matters about equally",
        "identity": "ones on the diagonal: almost all entries are zero, and every direction matters equally",
        "digits": "real data: handwritten digits, one picture a row",
    }
)
"""What each kind of matrix is, in words."""


def example_matrix(
    kind: str,
    rows: int,
    columns: int,
    *,
    planted: int = 4,
    decay: float = 1.0,
    noise: float = 0.0,
    seed: int = 0,
) -> Float[Array, "m n"]:
    """Make a matrix of one kind, of largest singular value about 1, with noise added.  [rank-factorization]

    `planted` is the rank of the kind "exact"; `decay` the power p of the kind "decay", σ_i = i^−p; `noise` the
    spectral size of the added noise against that of the matrix.  "digits" takes the first `rows` pictures and
    `columns` pixels, centred.  The same arguments always give the same matrix.

    >>> example_matrix("identity", 2, 3)
    array([[1., 0., 0.],
           [0., 1., 0.]])
    """
    checks.require_one_of("kind", kind, KINDS)
    checks.require_int("rows", rows, minimum=1)
    checks.require_int("columns", columns, minimum=1)
    rng = np.random.default_rng([seed, rows, columns])
    M = _MAKERS[kind](rng, rows, columns, planted, decay)
    static = rng.normal(size=(rows, columns)) / (np.sqrt(rows) + np.sqrt(columns))  # spectral norm about 1
    return M + noise * static if noise else M


def _exact(rng: np.random.Generator, rows: int, columns: int, planted: int, _: float) -> Float[Array, "m n"]:
    """Multiply two strips of `planted` columns and rows."""
    rank = min(planted, rows, columns)
    left, right = rng.normal(size=(rows, rank)), rng.normal(size=(rank, columns))
    return left @ right / np.sqrt(rows * columns)  # spectral norm about 1


def _decay(rng: np.random.Generator, rows: int, columns: int, _: int, decay: float) -> Float[Array, "m n"]:
    """Give random orthonormal directions the weights i^−p."""
    size = min(rows, columns)
    left = np.linalg.qr(rng.normal(size=(rows, size)))[0]
    right = np.linalg.qr(rng.normal(size=(columns, size)))[0]
    return (left * np.arange(1, size + 1.0) ** -decay) @ right.T


def _random(rng: np.random.Generator, rows: int, columns: int, _: int, __: float) -> Float[Array, "m n"]:
    """Draw independent entries."""
    return rng.normal(size=(rows, columns)) / (np.sqrt(rows) + np.sqrt(columns))


def _identity(_: np.random.Generator, rows: int, columns: int, __: int, ___: float) -> Float[Array, "m n"]:
    """Put ones on the diagonal."""
    return np.eye(rows, columns)


def _digits(_: np.random.Generator, rows: int, columns: int, __: int, ___: float) -> Float[Array, "m n"]:
    """Stack pictures as rows and subtract the mean picture; divide by the size that the largest σ can have."""
    X = as_rows(load_digits().X)
    if rows > X.shape[0] or columns > X.shape[1]:
        raise ConfigError(
            f"the digits are {X.shape[0]} pictures of {X.shape[1]} pixels, got rows={rows}, columns={columns}",
            fix="ask for fewer",
        )
    centred = X[:rows, :columns] - X[:rows, :columns].mean(axis=0)
    return centred / max(float(np.linalg.norm(centred)), 1.0)


_MAKERS = {"exact": _exact, "decay": _decay, "random": _random, "identity": _identity, "digits": _digits}
