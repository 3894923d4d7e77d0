"""The options of `count`, read from what people write and checked.  Floor 2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from lora_np import checks
from lora_np.counts.parts import Architecture
from lora_np.errors import ConfigError

GROUPS = MappingProxyType(
    {
        "attention": ("q", "k", "v", "o"),
        "mlp": ("fc1", "fc2", "gate", "up", "down"),
        "all-linear": ("q", "k", "v", "o", "fc1", "fc2", "gate", "up", "down"),
    }
)
"""Words for several targets at once; each means those that the architecture has."""


def settle(a: Architecture, method: str, known: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Check the given options of a method and fill in its defaults, `known`.  Raises `ConfigError`."""
    for name in given:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes no options"
            raise ConfigError(f"method {method!r} has no option {name!r}", fix=takes)
    options = {**known, **given}
    if "layers" not in given:
        options.pop("layers", None)  # all of them
    for name in [name for name, value in options.items() if value is None]:
        raise ConfigError(f"method {method!r} needs {name}", fix=f"for example {name}=8")
    for name in options.keys() & {"prefix", "infix", "classes", "block", "layers"}:
        checks.require_int(name, options[name], minimum=0 if name in ("infix", "prefix") else 1)
    if "layers" in options:
        a.require_uniform("layers")
        if options["layers"] > a.layers:
            raise ConfigError(f"layers = {options['layers']} exceeds the {a.layers} blocks of {a.name}")
    if "targets" in options:
        options["targets"] = _settle_targets(a, options, given)
        if "rank" in options:
            options["rank"] = _settle_ranks(a, options["rank"], options["targets"])
    elif "rank" in options:
        checks.require_rank(options["rank"])
    return options


def _settle_targets(a: Architecture, options: dict[str, Any], given: dict[str, Any]) -> tuple[str, ...]:
    """Read targets: a comma-separated word or an iterable, groups and PEFT's names translated."""
    wanted = options["targets"]
    if "targets" not in given and isinstance(options.get("rank"), Mapping):
        wanted = tuple(options["rank"])
    if not isinstance(wanted, Iterable):
        raise ConfigError(
            f"targets must be names, got {type(wanted).__name__} {wanted!r}", fix='for example "q,v"'
        )
    words = wanted.split(",") if isinstance(wanted, str) else list(wanted)
    words = [str(word).strip() for word in words]
    peft = {name: target for target, name in a.peft_names.items()}
    found: list[str] = []
    for word in words:
        if word in GROUPS:
            found += [target for target in GROUPS[word] if target in a.targets]
        elif word in a.targets or word in peft:
            found.append(peft.get(word, word))
        elif "targets" in given or word not in GROUPS["all-linear"]:  # of a default's fc2 and down one exists
            checks.require_one_of(f"targets of {a.name}", word, (*a.targets, *GROUPS))
    chosen = tuple(dict.fromkeys(found))
    if not chosen:
        raise ConfigError("targets is empty", fix=f"{a.name} has {', '.join(a.targets)}")
    overlap = [t for fused, pieces in a.fused.items() if fused in chosen for t in pieces if t in chosen]
    if overlap:
        raise ConfigError(
            f"targets name {', '.join(overlap)} twice: alone and inside the fused {', '.join(a.fused)}",
            fix="choose one of the two",
        )
    return chosen


def _settle_ranks(a: Architecture, rank: Any, targets: tuple[str, ...]) -> Mapping[str, int]:
    """Give every target a rank; a mapping may use PEFT's names."""
    peft: dict[Any, str] = {name: target for target, name in a.peft_names.items()}
    if isinstance(rank, Mapping):
        ranks = {peft.get(name, name): value for name, value in rank.items()}
    else:
        ranks = dict.fromkeys(targets, rank)
    if set(ranks) != set(targets):
        raise ConfigError(
            f"rank names {', '.join(map(str, ranks))} but targets are {', '.join(targets)}; expected the same names",
            fix="leave targets out, or give one rank for all",
        )
    for value in ranks.values():
        checks.require_rank(value)
    return {target: ranks[target] for target in targets}
