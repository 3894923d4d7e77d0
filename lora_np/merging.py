"""Merge the increment into the weight and take it out again.  Floor 1.

`merge` and `unmerge` are plain arithmetic on arrays: unmerging returns the weight up to rounding.  `Merged` is a
weight with a memory: it keeps the weight it started from, so its `unmerge` is bit-identical in every element type,
and it refuses to merge twice.  All are pure: a failing call changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError, StateError
from lora_np.lora import LoraParams


def merge(W0: Float[Array, "d k"], p: LoraParams, *, scale: float) -> Float[Array, "d k"]:
    """Add the increment to the weight.  [lora-merge]

    W = W0 + s B A, the one place where B A is wanted.  Raises `ShapeError`, `DTypeError`, `RankError`,
    `ConfigError`; `NonFiniteError` where the base or a factor holds NaN or infinity; `OverflowInMergeError` where
    the sum does not fit the element type; `StateError` for a weight that is already a `Merged`.

    >>> import numpy as np
    >>> merge(np.eye(2), LoraParams(B=np.ones((2, 1)), A=np.ones((1, 2))), scale=0.5)
    array([[1.5, 0.5],
           [0.5, 1.5]])
    """
    _require_mergeable("W0", W0, p, scale)
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow is raised below, by name
        W = W0 + float(scale) * (p[0] @ p[1])  # (d, k)
    checks.require_no_overflow(W, "merging")
    return W


def unmerge(W: Float[Array, "d k"], p: LoraParams, *, scale: float) -> Float[Array, "d k"]:
    """Subtract the increment from a merged weight, up to rounding.  [lora-unmerge]

    W0 ≈ W − s B A, within γ(2r+6) (|W0| + 2 |s| |B| |A|) of the weight that was merged.  Keep a `Merged` where
    every bit matters.  Raises what `merge` raises.

    >>> import numpy as np
    >>> p = LoraParams(B=np.ones((2, 1)), A=np.ones((1, 2)))
    >>> unmerge(merge(np.eye(2), p, scale=0.5), p, scale=0.5)
    array([[1., 0.],
           [0., 1.]])
    """
    _require_mergeable("W", W, p, scale)
    with np.errstate(over="ignore", invalid="ignore"):
        W0 = W - float(scale) * (p[0] @ p[1])  # (d, k)
    checks.require_no_overflow(W0, "unmerging")
    return W0


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """A weight that remembers what merging would lose.  [lora-merge] [lora-unmerge]

    `W` is the weight to compute with; `merge` and `unmerge` return a new `Merged`.  While merged it holds both the
    merged weight and the one before, d k numbers more.  Arrays are kept, not copied: do not write into them.

    >>> import numpy as np
    >>> p = LoraParams(B=np.full((2, 1), 0.1), A=np.full((1, 2), 0.3))
    >>> W0 = np.array([[0.1, 0.2], [0.3, 0.4]])
    >>> state = Merged(W0).merge(p, scale=0.7, adapter="digits")
    >>> state.adapter, bool((state.unmerge().W == W0).all())
    ('digits', True)
    """

    W: Float[Array, "d k"]
    adapter: str | None = None
    before: Float[Array, "d k"] | None = None

    def merge(self, p: LoraParams, *, scale: float, adapter: str = "adapter") -> Merged:
        """Merge one adapter, under a name.  Raises `StateError` if one is merged already, and what `merge` raises."""
        if not isinstance(adapter, str) or not adapter:
            raise ConfigError(
                f"adapter must be a name, got {adapter!r}", fix="name what is merged, e.g. 'digits'"
            )
        if self.before is not None:
            raise StateError(
                f"adapter {self.adapter!r} is already merged into this weight", fix="unmerge it first"
            )
        return Merged(merge(self.W, p, scale=scale), adapter, self.W)

    def unmerge(self) -> Merged:
        """Return to the weight before merging, bit for bit.  Raises `StateError` if nothing is merged."""
        if self.before is None:
            raise StateError(
                "this weight is in its unmerged state: nothing to take out", fix="merge an adapter first"
            )
        return Merged(self.before)


def _require_mergeable(name: str, W: object, p: LoraParams, scale: float) -> None:
    """Raise unless weight and factors fit together and are finite; say which of them is not."""
    if isinstance(W, Merged):
        state = f"with {W.adapter!r} already merged" if W.before is not None else "with nothing merged"
        raise StateError(
            f"{name} is a Merged weight {state}; expected a plain array",
            fix="call its own merge or unmerge, or pass its W",
        )
    checks.require_weight(name, W, p, scale)
    checks.require_finite(f"the {'base' if name == 'W0' else 'merged'} weight {name}", W)
    checks.require_finite("the adapter's B", p[0])
    checks.require_finite("the adapter's A", p[1])
