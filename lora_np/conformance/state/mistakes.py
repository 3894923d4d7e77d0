"""Mistakes that are made with merged adapters: each is the model with some steps done wrongly.  Floor 6.

They predict what an implementation with that mistake gives, which is how `explaining` recognizes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from lora_np.conformance.exact.loops import Matrix
from lora_np.conformance.state import model, scripts
from lora_np.conformance.state.model import STEPS, Bank, Config, Part, RefusedError, Tensors, moved

Forward = Callable[[Bank, Matrix, Config], Matrix]


class Mistake(NamedTuple):
    """A flag, what is done wrongly in a sentence, and the steps and the forward pass that do it."""

    flag: str
    sentence: str
    steps: Mapping[str, Callable[..., Bank]]
    forward: Forward = model.forward


# ---- wrong steps --------------------------------------------------------------------------------------------


def _stale_scale(bank: Bank, t: Tensors, config: Config, *, name: str, scale: Any) -> Bank:
    if name not in bank.merged:
        return STEPS["scale"](bank, t, config, name=name, scale=scale)
    ((_, B, A),) = bank.adapters[name]
    return bank._replace(adapters={**bank.adapters, name: (Part(scale, B, A),)})


def _stale_train(bank: Bank, t: Tensors, config: Config, *, name: str, B: str, A: str) -> Bank:
    if name not in bank.merged:
        return STEPS["train"](bank, t, config, name=name, B=B, A=A)
    ((scale, _, _),) = bank.adapters[name]
    return bank._replace(adapters={**bank.adapters, name: (Part(scale, t[B], t[A]),)})


def _merge_each(bank: Bank, t: Tensors, config: Config, *, names: Sequence[str] | None = None) -> Bank:
    """Every name that is given is added, once more if it is given once more."""
    if names is None or not set(names) <= set(bank.active):
        return STEPS["merge"](bank, t, config, names=names)
    return moved(bank, 1, names)


def _activate_each(bank: Bank, t: Tensors, config: Config, *, names: Sequence[str]) -> Bank:
    return STEPS["activate"](bank, t, config, names=list(dict.fromkeys(names)))._replace(active=tuple(names))


def _merge_inactive(bank: Bank, t: Tensors, config: Config, *, names: Sequence[str] | None = None) -> Bank:
    active = bank.active if names is None else tuple(dict.fromkeys((*bank.active, *names)))
    merged = STEPS["merge"](bank._replace(active=active), t, config, names=names)
    return merged._replace(active=bank.active)


def _known_only(verb: str) -> Callable[..., Bank]:
    """Pass over names that nobody has."""

    def step(bank: Bank, t: Tensors, config: Config, **named: Any) -> Bank:
        if named.get("names") is not None:
            known = [name for name in named["names"] if name in bank.adapters]
            if len(known) < len(named["names"]) and not known and verb != "activate":
                return bank
            named["names"] = known
        if any(
            named.get(key, next(iter(bank.adapters), None)) not in bank.adapters
            for key in ("name", "old", "new")
        ):
            return bank
        return STEPS[verb](bank, t, config, **named)

    return step


def _cut(bank: Bank, t: Tensors, config: Config, *, new: str, names: Any, weights: Any) -> Bank:
    least = min(len(names), len(weights))
    return STEPS["combine"](bank, t, config, new=new, names=names[:least], weights=weights[:least])


def _taken(bank: Bank, t: Tensors, config: Config, *, new: str, names: Any, weights: Any) -> Bank:
    if new in bank.adapters:
        return bank
    return STEPS["combine"](bank, t, config, new=new, names=names, weights=weights)


def _another_acts(bank: Bank, t: Tensors, config: Config, *, name: str) -> Bank:
    left = STEPS["delete"](bank, t, config, name=name)
    return left if left.active else left._replace(active=tuple(left.adapters)[:1])


def _first_scales(bank: Bank, t: Tensors, config: Config) -> Bank:
    """Load the scales that the adapters were added with."""
    loaded = STEPS["load"](bank, t, config)
    added = {s["name"]: s for s in reversed(scripts.read(config["script"])) if s["do"] == "add"}
    adapters = {
        name: tuple(part._replace(scale=added[name]["scale"]) if name in added else part for part in parts)
        for name, parts in loaded.adapters.items()
    }
    return loaded._replace(adapters=adapters)


def _merged_alone(bank: Bank, X: Matrix, config: Config) -> Matrix:
    """With something merged, the other active adapters are forgotten."""
    return model.forward(bank._replace(active=bank.merged) if bank.merged else bank, X, config)


def _disabled_but_merged(bank: Bank, X: Matrix, config: Config) -> Matrix:
    """Disabled, what is merged acts all the same."""
    return model.forward(bank if bank.enabled else bank._replace(active=(), enabled=True), X, config)


PASSED_OVER = {
    verb: _known_only(verb) for verb in ("merge", "unmerge", "activate", "scale", "train", "delete")
}

MISTAKES = (
    Mistake(
        "StaleMerge",
        "stale merge: the weight keeps the old increment, and unmerging takes out the new one",
        {"scale": _stale_scale, "train": _stale_train},
    ),
    Mistake(
        "DoubleMerge",
        "an adapter that is named twice, or merged already, is counted once more",
        {"merge": _merge_each, "activate": _activate_each},
    ),
    Mistake("WrongActive", "with something merged, the other active adapters are dropped", {}, _merged_alone),
    Mistake(
        "WrongActive",
        "an inactive adapter is merged, and acts in place of the active ones",
        {"merge": _merge_inactive},
        _merged_alone,
    ),
    Mistake("WrongActive", "an inactive adapter is merged, and acts", {"merge": _merge_inactive}),
    Mistake("UnknownName", "a name that no adapter has is passed over in silence", PASSED_OVER),
    Mistake(
        "LengthsTruncated",
        "adapters and weights are paired as far as the shorter list goes",
        {"combine": _cut},
    ),
    Mistake("HalfDone", "nothing is combined, and nothing is said", {"combine": _taken}),
    Mistake("WrongActive", "deleting an active adapter lets another one act", {"delete": _another_acts}),
    Mistake(
        "LostOnSave", "the scale is not saved: loading brings back the first one", {"load": _first_scales}
    ),
    Mistake(
        "StaleMerge",
        "stale merge, and with something merged the other active adapters are dropped",
        {"scale": _stale_scale, "train": _stale_train},
        _merged_alone,
    ),
    Mistake("DisabledActs", "disabled, what is merged acts all the same", {}, _disabled_but_merged),
)
"""The simplest first."""


def predicted(mistake: Mistake, t: Tensors, config: Config) -> dict[str, Any]:
    """Run config["script"] as the mistake does; it ends where the mistake cannot go on."""
    bank, steps, outputs = Bank(t["W0"]), {**STEPS, **mistake.steps}, {}
    for number, step in enumerate(scripts.read(config["script"]), start=1):
        Y = None
        try:
            bank = model.stepped(bank, step, t, config, steps)
            Y = model.output(bank, step, t, config, mistake.forward)
            refused = 0
        except RefusedError:
            refused = 1
        except KeyError:  # a question that the right course does not ask
            break
        if "refused" in step["expect"]:
            outputs[f"refused.{number}"] = refused
        elif refused:
            break
        Y = mistake.forward(bank, t["X"], config) if Y is None else Y
        outputs |= {step["expect"]["weight"]: model.weight(bank, config), step["expect"]["Y"]: Y}
    return outputs
