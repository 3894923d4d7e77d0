"""What is right: a bank of adapters as a value, and each step as a function from bank to bank.  Floor 6.

Plain loops on nested lists of any kind of number, independent of `lora_np.adapters`.  Two questions are kept apart:
which increments act (the active adapters, while enabled), and where they are added (merged ones in the weight).

    weight   W0 + Σ merged s B A             output   X (W0 + Σ active s B A)ᵀ, or X W0ᵀ while disabled

`log` lists every increment that was added to the weight or taken out of it, with its sign.  The true weight does not
depend on it, but the error of an implementation that adds and subtracts does; so sizes and roundings come from there.

Some questions have two good answers.  Which one is asked for stands in the configuration (`CHOICES`):

    change    scale, train or load while merged: "refused", or "followed": the weight changes with the adapter
    delete    deleting what is merged: "refused", or "followed": it leaves the weight, too
    activate  activating or adding while merged: "kept": what is merged stays so, and cannot be deactivated; or
              "unmerged": all is unmerged first
    again     merging what is merged, unmerging what is not, one name twice: "refused" or "ignored"
    disable   while merged: "kept": the weight stays as it is and waits; or "unmerged"
    load      what was merged when it was saved: "merged" again, or "unmerged"
    base      "restored": where nothing is merged the weight is the base, bit for bit
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from lora_np.conformance.exact.loops import Matrix, each, product, times_vector
from lora_np.conformance.state import scripts
from lora_np.conformance.state.scripts import Step

Config = Mapping[str, Any]
Tensors = Mapping[str, Any]

CHOICES: dict[str, tuple[str, ...]] = {
    "change": ("refused", "followed"),
    "delete": ("refused", "followed"),
    "activate": ("kept", "unmerged"),
    "again": ("refused", "ignored"),
    "disable": ("kept", "unmerged"),
    "load": ("merged", "unmerged"),
    "base": ("restored",),
}
"""The questions with several good answers: an adapter declares its answer as the option "state.change", ...."""


class RefusedError(Exception):
    """A step that must be refused: the name of the class that is due, and the words to mention."""

    def __init__(self, name: str, *mentions: str) -> None:
        super().__init__(f"{name}: {', '.join(mentions)}")
        self.name, self.mentions = name, mentions


class Part(NamedTuple):
    """One term of an increment: s B A."""

    scale: Any
    B: Matrix
    A: Matrix


Parts = tuple[Part, ...]
"""An adapter: its increment is the sum of these."""


class Bank(NamedTuple):
    """A base weight, the adapters by name, which of them act, which are merged, and what happened to the weight."""

    base: Matrix
    adapters: Mapping[str, Parts] = {}
    active: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    enabled: bool = True
    log: tuple[tuple[int, Parts], ...] = ()
    saved: Any = None


# ---- what a bank holds and gives --------------------------------------------------------------------------


def _with_increment(W: Matrix, parts: Parts, sign: int) -> Matrix:
    for s, B, A in parts:
        W = each(lambda w, x, s=s: w + s * x if sign > 0 else w - s * x, W, product(B, A))
    return W


def weight(bank: Bank, config: Config) -> Matrix:
    """Return the weight with what is merged."""
    if config.get("base") == "restored" and not bank.merged:
        return bank.base
    W = bank.base
    for sign, parts in bank.log:
        W = _with_increment(W, parts, sign)
    return W


def forward(bank: Bank, X: Matrix, config: Config) -> Matrix:
    """Apply the layer to rows: the weight, and the active adapters that are not merged; disabled, the base."""
    W, beside = weight(bank, config), [name for name in bank.active if name not in bank.merged]
    if not bank.enabled:
        for name in bank.merged:
            W = _with_increment(W, bank.adapters[name], -1)
    return [_row(W, [bank.adapters[name] for name in beside if bank.enabled], x) for x in X]


def _row(W: Matrix, adapters: Sequence[Parts], x: list[Any]) -> list[Any]:
    y = times_vector(W, x)
    for parts in adapters:
        for s, B, A in parts:
            y = [v + s * u for v, u in zip(y, times_vector(B, times_vector(A, x)), strict=True)]
    return y


def forward_rows(bank: Bank, X: Matrix, rows: Sequence[str | None]) -> Matrix:
    """Apply to each row the base and its own adapter, or none."""
    require_known(bank, *(name for name in rows if name is not None))
    own = [[] if name is None else [bank.adapters[name]] for name in rows]
    return [_row(bank.base, adapters, x) for x, adapters in zip(X, own, strict=True)]


# ---- the steps ----------------------------------------------------------------------------------------------


def require_known(bank: Bank, *names: str) -> None:
    """Raise `RefusedError` for the first name that no adapter has."""
    for name in names:
        if name not in bank.adapters:
            raise RefusedError("UnknownAdapterError", f"'{name}'")


def _require(condition: Any, *mentions: str, name: str = "StateError") -> None:
    if not condition:
        raise RefusedError(name, *mentions)


def _once(names: Sequence[str], config: Config) -> tuple[str, ...]:
    """Return names, each once."""
    kept = tuple(dict.fromkeys(names))
    if len(kept) < len(names):
        _require(config["again"] == "ignored", "'" + next(n for n in names if list(names).count(n) > 1) + "'")
    return kept


def moved(bank: Bank, sign: int, names: Sequence[str]) -> Bank:
    """Put adapters into the weight, sign 1, or take them out, sign -1."""
    log = bank.log + tuple((sign, bank.adapters[name]) for name in names)
    rest = tuple(name for name in bank.merged if name not in names)
    return bank._replace(log=log, merged=rest + tuple(names) if sign > 0 else rest)


def _replaced(bank: Bank, name: str, parts: Parts, config: Config) -> Bank:
    """Give an adapter other parts; one that is merged is exchanged in the weight, or that is refused."""
    if name not in bank.merged:
        return bank._replace(adapters={**bank.adapters, name: parts})
    _require(config["change"] == "followed", f"'{name}'", "merged")
    changed = bank._replace(adapters={**bank.adapters, name: parts})
    return changed._replace(log=(*bank.log, (-1, bank.adapters[name]), (1, parts)))


def _add(bank: Bank, t: Tensors, config: Config, *, name: str, B: str, A: str, scale: Any) -> Bank:
    _require(name not in bank.adapters, f"'{name}'", name="AdapterNameError")
    if bank.merged and config["activate"] == "unmerged":
        bank = moved(bank, -1, bank.merged)
    return bank._replace(adapters={**bank.adapters, name: (Part(scale, t[B], t[A]),)})


def _delete(bank: Bank, t: Tensors, config: Config, *, name: str) -> Bank:  # noqa: ARG001
    require_known(bank, name)
    if name in bank.merged:
        _require(config["delete"] == "followed", f"'{name}'", "merged")
        bank = moved(bank, -1, [name])
    return bank._replace(
        adapters={other: parts for other, parts in bank.adapters.items() if other != name},
        active=tuple(other for other in bank.active if other != name),
    )


def _activate(bank: Bank, t: Tensors, config: Config, *, names: Sequence[str]) -> Bank:  # noqa: ARG001
    require_known(bank, *names)
    chosen = _once(names, config)
    if bank.merged and config["activate"] == "unmerged":
        bank = moved(bank, -1, bank.merged)
    for name in bank.merged:
        _require(name in chosen, f"'{name}'", "merged")
    return bank._replace(active=chosen)


def _merge(bank: Bank, t: Tensors, config: Config, *, names: Sequence[str] | None = None) -> Bank:  # noqa: ARG001
    left = [name for name in bank.active if name not in bank.merged]
    require_known(bank, *(names or ()))
    chosen = _once(left if names is None else names, config)
    for name in chosen:
        _require(name in bank.active, f"'{name}'", "not active")
    new = [name for name in chosen if name not in bank.merged]
    if len(new) < len(chosen) or not new:
        _require(config["again"] == "ignored")
    return moved(bank, 1, new)


def _unmerge(bank: Bank, t: Tensors, config: Config, *, names: Sequence[str] | None = None) -> Bank:  # noqa: ARG001
    require_known(bank, *(names or ()))
    chosen = _once(bank.merged if names is None else names, config)
    out = [name for name in chosen if name in bank.merged]
    if len(out) < len(chosen) or not out:
        _require(config["again"] == "ignored")
    return moved(bank, -1, out)


def _scale(bank: Bank, t: Tensors, config: Config, *, name: str, scale: Any) -> Bank:  # noqa: ARG001
    require_known(bank, name)
    ((_, B, A),) = bank.adapters[name]  # a combined adapter has no scale of its own
    return _replaced(bank, name, (Part(scale, B, A),), config)


def _train(bank: Bank, t: Tensors, config: Config, *, name: str, B: str, A: str) -> Bank:
    require_known(bank, name)
    ((scale, _, _),) = bank.adapters[name]
    return _replaced(bank, name, (Part(scale, t[B], t[A]),), config)


def _swap(bank: Bank, t: Tensors, config: Config, *, old: str, new: str) -> Bank:  # noqa: ARG001
    require_known(bank, old, new)
    _require(old in bank.active, f"'{old}'", "not active")
    _require(new not in bank.active, f"'{new}'", "active")
    merged = old in bank.merged
    bank = moved(bank, -1, [old]) if merged else bank
    bank = bank._replace(active=tuple(new if name == old else name for name in bank.active))
    return moved(bank, 1, [new]) if merged else bank


def _combine(
    bank: Bank,
    t: Tensors,  # noqa: ARG001
    config: Config,  # noqa: ARG001
    *,
    new: str,
    names: Sequence[str],
    weights: Sequence[Any],
) -> Bank:
    _require(new not in bank.adapters, f"'{new}'", name="AdapterNameError")
    require_known(bank, *names)
    _require(len(names) == len(weights), str(len(weights)), str(len(names)), name="ConfigError")
    pairs = zip(names, weights, strict=True)
    parts = [Part(w * s, B, A) for name, w in pairs for s, B, A in bank.adapters[name]]
    return bank._replace(adapters={**bank.adapters, new: tuple(parts)})


def _disable(bank: Bank, t: Tensors, config: Config) -> Bank:  # noqa: ARG001
    if bank.merged and config["disable"] == "unmerged":
        bank = moved(bank, -1, bank.merged)
    return bank._replace(enabled=False)


def _enable(bank: Bank, t: Tensors, config: Config) -> Bank:  # noqa: ARG001
    return bank._replace(enabled=True)


def _save(bank: Bank, t: Tensors, config: Config) -> Bank:  # noqa: ARG001
    return bank._replace(saved=bank._replace(saved=None))


def _load(bank: Bank, t: Tensors, config: Config) -> Bank:  # noqa: ARG001
    if bank.merged:
        _require(config["change"] == "followed", "merged")
    saved: Bank = bank.saved
    loaded = saved._replace(merged=(), log=(), saved=saved)
    return moved(loaded, 1, saved.merged) if saved.merged and config["load"] == "merged" else loaded


def _forward(bank: Bank, t: Tensors, config: Config, **_: Any) -> Bank:  # noqa: ARG001
    return bank


STEPS: dict[str, Callable[..., Bank]] = {
    "add": _add,
    "delete": _delete,
    "activate": _activate,
    "merge": _merge,
    "unmerge": _unmerge,
    "scale": _scale,
    "train": _train,
    "swap": _swap,
    "combine": _combine,
    "disable": _disable,
    "enable": _enable,
    "save": _save,
    "load": _load,
    "forward": _forward,
}


def stepped(
    bank: Bank, step: Step, t: Tensors, config: Config, steps: Mapping[str, Callable[..., Bank]] = STEPS
) -> Bank:
    """Take one step.  Raises `RefusedError` for one that must be refused, `KeyError` where a choice must be made."""
    named = scripts.arguments(step)
    if "scale" in named:
        named["scale"] = Fraction(named["scale"])
    if "weights" in named:
        named["weights"] = [Fraction(weight) for weight in named["weights"]]
    return steps[step["do"]](bank, t, config, **named)


def output(
    bank: Bank, step: Step, t: Tensors, config: Config, forward: Callable[..., Matrix] = forward
) -> Matrix:
    """Return what comes out after a step: of the rows X, or as the step says."""
    X = t[step.get("X", "X")]
    return forward_rows(bank, X, step["rows"]) if "rows" in step else forward(bank, X, config)


def run(t: Tensors, config: Config) -> dict[str, Any]:
    """Run config["script"]: weight and output after every step, and 1 for each that is refused.

    Raises `ValueError` unless exactly those steps are refused that the script says.
    """
    bank, outputs = Bank(t["W0"]), {}
    for number, step in enumerate(scripts.read(config["script"]), start=1):
        refusal = step["expect"].get("refused")
        try:
            after = stepped(bank, step, t, config)
            Y = output(after, step, t, config)
            due = None
        except RefusedError as refused:
            after, due = bank, {"class": refused.name, "mentions": list(refused.mentions)}
            Y = forward(bank, t["X"], config)
            outputs[f"refused.{number}"] = 1
        if due != refusal:
            raise ValueError(
                f"step {number} ({scripts.in_words(step)}): refused {due}, the script says {refusal}"
            )
        bank = after
        outputs |= {step["expect"]["weight"]: weight(bank, config), step["expect"]["Y"]: Y}
    return outputs
