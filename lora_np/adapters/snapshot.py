"""A bank as a plain dict of arrays, and back.  Floor 2.  No files are written here: any tensor file can hold the dict.

Keys: ``base``; for each adapter ``adapter.NAME.B``, ``adapter.NAME.A`` and ``adapter.NAME.scale``; and the numbers of
the adapters, in the order in which they were added, that are ``active`` and ``merged``; ``enabled`` as 0 or 1.
Numbers are float64 whatever the base is, so that scales return to the bit.  The merged weight is not written: it is
made from the base again, the same to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from array_api_compat import array_namespace

from lora_np._typing import Array
from lora_np.errors import ConfigError
from lora_np.lora import LoraParams

Bank = Any
"""An `AdapterBank`; not by that name, because `bank` imports this file."""


def to_arrays(bank: Bank) -> dict[str, Array]:
    """Write a bank down."""
    xp, order = array_namespace(bank.W0), list(bank.adapters)
    found = {"base": bank.W0}
    for name, ((B, A), scale) in bank.adapters.items():
        found[f"adapter.{name}.B"], found[f"adapter.{name}.A"] = B, A
        found[f"adapter.{name}.scale"] = xp.asarray([scale], dtype=xp.float64)
    for key, names in {"active": bank.active, "merged": bank.merged}.items():
        found[key] = xp.asarray([order.index(name) for name in names], dtype=xp.int64)
    return {**found, "enabled": xp.asarray([int(bank.enabled)], dtype=xp.int64)}


def from_arrays(kind: Callable[[Array], Bank], snapshot: Any) -> Bank:
    """Make the bank again, by its own operations: what they refuse is refused here."""
    if not isinstance(snapshot, Mapping):
        raise ConfigError(f"snapshot must be a dict of arrays, got {type(snapshot).__name__}")
    names = [
        key[len("adapter.") : -len(".B")]
        for key in snapshot
        if str(key).startswith("adapter.") and str(key).endswith(".B")
    ]
    expected = ["base", *(f"adapter.{name}.{part}" for name in names for part in ("B", "A", "scale"))]
    expected += ["active", "merged", "enabled"]
    if set(snapshot) != set(expected):
        missing, extra = (
            sorted(set(expected) - set(snapshot)),
            sorted(map(str, set(snapshot) - set(expected))),
        )
        raise ConfigError(
            f"snapshot lacks {missing} and has {extra} besides", fix="pass what `snapshot` returned"
        )
    bank = kind(snapshot["base"])
    for name in names:
        p = LoraParams(snapshot[f"adapter.{name}.B"], snapshot[f"adapter.{name}.A"])
        bank = bank.add(name, p, scale=_numbers(snapshot, f"adapter.{name}.scale", count=1)[0])
    active, merged = (
        [names[int(place)] for place in _numbers(snapshot, key, below=len(names))]
        for key in ("active", "merged")
    )
    bank = bank.activate(active)
    bank = bank.merge(merged) if merged else bank
    return bank if _numbers(snapshot, "enabled", count=1)[0] else bank.disable()


def _numbers(
    snapshot: Mapping[str, Array], key: str, *, count: int | None = None, below: int | None = None
) -> list[float]:
    """Read a short vector as Python numbers; raise unless it is one, of places below a limit where one is given."""
    stored = snapshot[key]
    if not hasattr(stored, "ndim") or stored.ndim != 1 or (count is not None and stored.shape[0] != count):
        raise ConfigError(f"snapshot[{key!r}] must be a vector of {count or 'some'} numbers, got {stored!r}")
    numbers = [float(number) for number in stored]
    if below is not None and not all(number in range(below) for number in numbers):
        raise ConfigError(f"snapshot[{key!r}] must hold numbers of the {below} adapters, got {numbers}")
    return numbers
