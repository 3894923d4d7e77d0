"""Contestants must compute the same before they are timed.  Floor 6."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lora_np.errors import LoraNpError

CLOSE = (
    1e-4  # relative, in the Frobenius norm: float32 sums in other orders stay below, another formula does not
)


def require_same(results: Mapping[str, Any]) -> None:
    """Raise unless every contestant's arrays equal the first one's, up to rounding in float32.

    >>> require_same({"ours": (np.ones(3),), "theirs": (np.ones(3),)})
    """
    (first, want), *others = results.items()
    for name, got in others:
        for index, (x, y) in enumerate(zip(want, got, strict=True)):
            mine, other = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
            if mine.shape != other.shape:
                raise LoraNpError(
                    f"result {index} of {name} has shape {other.shape}, of {first} {mine.shape}"
                )
            gap = float(np.linalg.norm(mine - other))
            if not gap <= CLOSE * float(np.linalg.norm(mine)):
                raise LoraNpError(
                    f"result {index} of {name} differs from that of {first} by {gap:.2g} in norm",
                    fix="one of the two is wrong: run lora-np verify",
                )
