"""A base weight with named adapters, as a value: every operation returns a new bank.  Floor 2.

Two questions are kept apart.  *Which* increments act: the active adapters, while the bank is enabled.  *Where* they
are added: merged ones inside the weight, the others beside it.  So merging never changes what comes out, disabling
never touches the weight, and whatever fails changes nothing.

    X  ──►  W0 + Σ merged  ──►  + Σ active, not merged  ──►  Y            (disabled: X ──► W0 ──► Y)

The base is kept, byte for byte, and the merged weight is made from it anew, from the set of what is merged; nothing
is ever subtracted.  A bank copies what it is given, and gives out arrays that refuse writing where the library can.
One value and its operations, a little longer than most files: their rules are best read side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.adapters import snapshot as files
from lora_np.adapters.adapter import LoraAdapter, require_adapter, require_base, require_finite_factors
from lora_np.adapters.names import require_distinct, require_known, require_new_name
from lora_np.adapters.several import merge_several
from lora_np.errors import RankError, StateError
from lora_np.lora import LoraParams


@dataclass(frozen=True, slots=True, eq=False)
class AdapterBank:
    """Several adapters on one base weight.  [adapters-bank] [adapters-merge] [adapters-swap]

    Start from ``AdapterBank(W0)`` and `add`; the other fields are for reading.  Raises `ShapeError`, `DTypeError`,
    `NonFiniteError`.

    >>> p = LoraParams(B=np.ones((2, 1)), A=np.ones((1, 2)))
    >>> bank = AdapterBank(np.eye(2)).add("digits", p, scale=0.5).activate(["digits"])
    >>> bank.forward(np.ones((1, 2))), bank.merge().weight()
    (array([[2., 2.]]), array([[1.5, 0.5],
           [0.5, 1.5]]))
    """

    W0: Float[Array, "d k"]
    adapters: Mapping[str, LoraAdapter] = field(default_factory=lambda: MappingProxyType({}), init=False)
    active: tuple[str, ...] = field(default=(), init=False)
    merged: tuple[str, ...] = field(default=(), init=False)
    enabled: bool = field(default=True, init=False)
    _W: Float[Array, "d k"] = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        checks.require_ndim("W0", self.W0, 2, "d, k")
        checks.require_finite("the base weight W0", self.W0)
        object.__setattr__(self, "W0", _own(self.W0))
        object.__setattr__(self, "_W", self.W0)

    # ---- which adapters there are ------------------------------------------------------------------------------

    def add(self, name: str, p: LoraParams, *, scale: float) -> AdapterBank:
        """Add an adapter under a new name; it does not act until it is activated.

        Raises `AdapterNameError`, `ShapeError`, `DTypeError`, `RankError`, `ConfigError`, `NonFiniteError`.
        """
        require_new_name(name, self.adapters)
        return self._with(adapters={**self.adapters, name: self._fitting(name, LoraAdapter(p, scale))})

    def delete(self, name: str) -> AdapterBank:
        """Remove an adapter, from the active ones too.  Raises `UnknownAdapterError`; `StateError` while merged."""
        self._require_unmerged(name, "deleted")
        rest = {other: adapter for other, adapter in self.adapters.items() if other != name}
        return self._with(adapters=rest, active=tuple(other for other in self.active if other != name))

    def scale(self, name: str, scale: float) -> AdapterBank:
        """Give an adapter another scale.  Raises `UnknownAdapterError`, `ConfigError`; `StateError` while merged."""
        self._require_unmerged(name, "rescaled")
        return self._replaced(name, LoraAdapter(self.adapters[name].p, scale))

    def train_step(self, name: str, p: LoraParams) -> AdapterBank:
        """Give an adapter the factors that a step of training made.

        Raises `UnknownAdapterError`; `StateError` while merged; `RankError` where the rank is another one, and what
        `add` raises.
        """
        self._require_unmerged(name, "trained")
        return self._replaced(name, LoraAdapter(p, self.adapters[name].scale))

    # ---- which of them act -------------------------------------------------------------------------------------

    def activate(self, names: str | Sequence[str]) -> AdapterBank:
        """Let these adapters act, and no others; an empty list: none.

        Raises `UnknownAdapterError`; `StateError` for a name given twice, or where a merged one would cease to act.
        """
        chosen = require_distinct(names, self.adapters)
        for name in self.merged:
            if name not in chosen:
                raise StateError(
                    f"adapter {name!r} is merged and cannot be deactivated",
                    fix=f"unmerge first: unmerge([{name!r}])",
                )
        return self._with(active=chosen)

    def enable(self) -> AdapterBank:
        """Let the active adapters act again."""
        return self._with(enabled=True)

    def disable(self) -> AdapterBank:
        """Let the base alone act.  What is merged stays merged and waits."""
        return self._with(enabled=False)

    # ---- where they are added ----------------------------------------------------------------------------------

    def merge(self, names: str | Sequence[str] | None = None) -> AdapterBank:
        """Merge active adapters into the weight; without names, all that are not merged yet.  [adapters-merge]

        The weight depends on the set of what is merged, to the bit, not on the order or the number of calls.  Raises
        `UnknownAdapterError`; `StateError` for an adapter that is merged already, named twice, or not active, or where
        nothing is left to merge; `OverflowInMergeError`.
        """
        chosen = require_distinct(self._unmerged() if names is None else names, self.adapters)
        if not chosen:
            raise StateError("there is nothing to merge", fix="activate an adapter that is not merged yet")
        for name in chosen:
            if name in self.merged:
                raise StateError(f"adapter {name!r} is already merged", fix="unmerge it first")
            if name not in self.active:
                raise StateError(
                    f"adapter {name!r} is not active (active: {list(self.active)}): merging would let it act",
                    fix="activate it first",
                )
        return self._with_merged({*self.merged, *chosen})

    def unmerge(self, names: str | Sequence[str] | None = None) -> AdapterBank:
        """Take merged adapters out again; without names, all of them.  [lora-unmerge]

        Where none is left, the weight is the base, byte for byte.  Raises `UnknownAdapterError`; `StateError` for an
        adapter that is not merged, or where nothing is.
        """
        chosen = require_distinct(self.merged if names is None else names, self.adapters)
        if not chosen:
            raise StateError("nothing is merged: there is nothing to take out", fix="merge an adapter first")
        for name in chosen:
            if name not in self.merged:
                raise StateError(
                    f"adapter {name!r} is not merged (merged: {list(self.merged)})", fix="leave it out"
                )
        return self._with_merged(set(self.merged) - set(chosen))

    def swap(self, old: str, new: str) -> AdapterBank:
        """Let one adapter take the place of another, merged where that was merged.  [adapters-swap]

        The same bits as if `new` had been merged from the start.  Raises `UnknownAdapterError`; `StateError` where
        `old` does not act or `new` does already; `OverflowInMergeError`.
        """
        require_known(old, self.adapters)
        require_known(new, self.adapters)
        if old not in self.active:
            raise StateError(
                f"adapter {old!r} is not active: it has no place to give", fix=f"activate {new!r}"
            )
        if new in self.active:
            raise StateError(
                f"adapter {new!r} is active already", fix=f"leave {old!r} out: activate the others"
            )
        active = tuple(new if name == old else name for name in self.active)
        bank = self._with(active=active)
        return (
            bank._with_merged({new if name == old else name for name in self.merged}) if self.merged else bank
        )

    # ---- what comes out ----------------------------------------------------------------------------------------

    def weight(self) -> Float[Array, "d k"]:
        """Return the weight with what is merged: W0 itself, byte for byte, where nothing is.  [adapters-merge]"""
        return self._W

    def forward(
        self, X: Float[Array, "N k"], *, bias: Float[Array, " d"] | None = None
    ) -> Float[Array, "N d"]:
        """Apply the layer to rows: the base, what is merged into it, and the other active adapters.  [adapters-bank]

        Disabled, the base alone.  Raises `ShapeError`, `DTypeError`.
        """
        W = self._W if self.enabled else self.W0
        require_base(X, W, bias)
        Y = X @ W.T  # (N, d)
        for name in self._unmerged() if self.enabled else ():
            (B, A), s = self.adapters[name]
            Y = Y + s * ((X @ A.T) @ B.T)  # (N, d)
        return Y if bias is None else Y + bias

    # ---- saving and loading ------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Array]:
        """Write everything down as arrays: a plain dict that any file of tensors can hold."""
        return files.to_arrays(self)

    def restore(self, snapshot: Mapping[str, Array]) -> AdapterBank:
        """Load what `snapshot` wrote, in place of everything here.  `AdapterBank.load` needs no bank.

        Raises `StateError` while something is merged here, and what `load` raises.
        """
        if self.merged:
            raise StateError(
                f"adapters {list(self.merged)} are merged: loading would lose the base", fix="unmerge first"
            )
        return type(self).load(snapshot)

    @classmethod
    def load(cls, snapshot: Mapping[str, Array]) -> AdapterBank:
        """Make a bank from what `snapshot` wrote: the same, to the bit.

        Raises `ConfigError` for what `snapshot` cannot have written, and what `add`, `activate` and `merge` raise.
        """
        made: AdapterBank = files.from_arrays(cls, snapshot)
        return made

    # ---- inner ---------------------------------------------------------------------------------------------------

    def _with(self, **changes: Any) -> AdapterBank:
        """Return a bank with some fields changed; all others, arrays included, are shared."""
        bank = object.__new__(type(self))
        for name in self.__slots__:
            value = changes.get(name, getattr(self, name))
            object.__setattr__(bank, name, MappingProxyType(value) if isinstance(value, dict) else value)
        return bank

    def _with_merged(self, names: set[str]) -> AdapterBank:
        """Make the weight for a set of merged adapters, added in the order in which the bank got them."""
        merged = tuple(name for name in self.adapters if name in names)
        W = merge_several(self.W0, [self.adapters[name] for name in merged]) if merged else self.W0
        return self._with(merged=merged, _W=_locked(W))

    def _replaced(self, name: str, adapter: LoraAdapter) -> AdapterBank:
        """Return a bank with one adapter changed, in its place."""
        fitting = self._fitting(name, adapter)
        rank = self.adapters[name].p.A.shape[0]
        if fitting.p.A.shape[0] != rank:
            raise RankError(
                f"the factors of {name!r} have rank {rank}, the new ones rank {fitting.p.A.shape[0]}",
                fix="delete the adapter and add the other one",
            )
        return self._with(adapters={**self.adapters, name: fitting})

    def _fitting(self, name: str, adapter: LoraAdapter) -> LoraAdapter:
        """Return the bank's own copy of an adapter; raise unless it fits the base and is finite."""
        require_adapter(f"adapter {name!r}", adapter, *self.W0.shape)
        p, scale = adapter
        checks.require_same_dtype(W0=self.W0, B=p[0], A=p[1])
        require_finite_factors(f"adapter {name!r}", p)
        return LoraAdapter(LoraParams(_own(p[0]), _own(p[1])), float(scale))

    def _unmerged(self) -> tuple[str, ...]:
        """Name the active adapters that are not merged."""
        return tuple(name for name in self.active if name not in self.merged)

    def _require_unmerged(self, name: str, what: str) -> None:
        """Raise unless the adapter is there and not merged."""
        require_known(name, self.adapters)
        if name in self.merged:
            raise StateError(
                f"adapter {name!r} is merged and cannot be {what}", fix=f"unmerge first: unmerge([{name!r}])"
            )


def _own(x: Array) -> Array:
    """Copy an array, so that nobody else holds it."""
    return _locked(array_namespace(x).asarray(x, copy=True))


def _locked(x: Array) -> Array:
    """Make an array of ours refuse writing, where its library can."""
    if isinstance(x, np.ndarray):
        x.flags.writeable = False
    return x
