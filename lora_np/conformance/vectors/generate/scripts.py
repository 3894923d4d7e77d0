"""Vectors of state: adapters that are added, merged, changed, saved, and what must be refused.  Floor 6.

A script is written with the small functions below; `must` marks a step that must always be refused, `may` one that is
refused where the first of several good answers is given.  Which class and words are due says the
model; that the step is refused at all is said here, too, and both must agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lora_np.conformance.exact.rounding import to_hex
from lora_np.conformance.state import model
from lora_np.conformance.state import scripts as language
from lora_np.conformance.state.session import run_script
from lora_np.conformance.targets.bank_state import BankSession
from lora_np.conformance.vectors.format import Tensor
from lora_np.conformance.vectors.generate.inputs import Draws
from lora_np.conformance.vectors.generate.plan import Plan, Recipe

Step = dict[str, Any]
SIZES = {"d": 3, "k": 2, "N": 2}
RANKS = {"a": 2, "b": 1, "c": 1}
SCALES = {"a": 0.5, "b": -2.0, "c": 1.25}


# ---- steps, as they are written below ------------------------------------------------------------------------


def _hex(x: float) -> dict[str, str]:
    return {"hex": to_hex(x)}


def add(name: str, factors: str = "") -> Step:
    """Add an adapter; `factors` are those of the same name unless given."""
    of = factors or name
    scale = _hex(SCALES.get(name, 1.0))
    return {"do": "add", "name": name, "B": f"{of}.B", "A": f"{of}.A", "scale": scale}


def on(*names: str) -> Step:
    """Activate."""
    return {"do": "activate", "names": list(names)}


def merge(*names: str) -> Step:
    """Merge; without names, all that are active."""
    return {"do": "merge", "names": list(names)} if names else {"do": "merge"}


def unmerge(*names: str) -> Step:
    """Unmerge; without names, all."""
    return {"do": "unmerge", "names": list(names)} if names else {"do": "unmerge"}


def scale(name: str, to: float) -> Step:
    """Give another scale."""
    return {"do": "scale", "name": name, "scale": _hex(to)}


def train(name: str, factors: str = "") -> Step:
    """Take the factors a2.B and a2.A."""
    of = factors or f"{name}2"
    return {"do": "train", "name": name, "B": f"{of}.B", "A": f"{of}.A"}


def swap(old: str, new: str) -> Step:
    """Put `new` in the place of `old`."""
    return {"do": "swap", "old": old, "new": new}


def combine(new: str, names: str, *weights: float) -> Step:
    """Add the weighted sum of adapters with names of one letter each."""
    return {"do": "combine", "new": new, "names": list(names), "weights": [_hex(w) for w in weights]}


def rows(*names: str | None) -> Step:
    """Send each row through its own adapter."""
    return {"do": "forward", "rows": list(names)}


def delete(name: str) -> Step:
    """Delete."""
    return {"do": "delete", "name": name}


OFF, ENABLE, SAVE, LOAD = ({"do": verb} for verb in ("disable", "enable", "save", "load"))
FORWARD = {"do": "forward", "X": "X2"}


def must(step: Step) -> Step:
    """Mark a step that must be refused."""
    return {**step, "refused": "always"}


def may(step: Step) -> Step:
    """Mark a step that is refused where the choice says so."""
    return {**step, "refused": "asked"}


class Script(NamedTuple):
    """A sequence and what it is there for; `choice` is the question with several good answers that it asks."""

    comment: str
    flags: tuple[str, ...]
    steps: tuple[Step, ...]
    choice: str = ""


ONE, BOTH = (add("a"), on("a")), (add("a"), add("b"), on("a", "b"))
STALE, DOUBLE, BASE, ACTIVE = (
    ("StaleMerge", "BaseCorrupted"),
    ("DoubleMerge",),
    ("BaseCorrupted",),
    ("WrongActive",),
)
UNKNOWN = ("UnknownName", "HalfDone")

SCRIPTS = (
    Script("merged and unmerged", BASE, (*ONE, merge(), unmerge())),
    Script("merged and unmerged three times", BASE, (*ONE, *(merge("a"), unmerge("a")) * 3)),
    Script("two merged at once", (*ACTIVE, *BASE), (*BOTH, merge("a", "b"), unmerge())),
    Script(
        "two merged one by one, unmerged in the same order",
        BASE,
        (*BOTH, merge("a"), merge("b"), unmerge("a"), unmerge("b")),
    ),
    Script(
        "two merged, one of them taken out",
        BASE,
        (*BOTH, merge("b", "a"), unmerge("b"), merge("b"), unmerge()),
    ),
    Script(
        "two active, one merged: the other acts beside it", ACTIVE, (*BOTH, merge("a"), FORWARD, unmerge("a"))
    ),
    Script("two active, the second one merged", ACTIVE, (*BOTH, merge("b"), FORWARD)),
    Script("one merged, then all that are left", (*ACTIVE, *DOUBLE), (*BOTH, merge("a"), merge(), unmerge())),
    Script(
        "three active, two merged", ACTIVE, (*BOTH, add("c"), on("a", "b", "c"), merge("a", "c"), unmerge())
    ),
    Script(
        "one after the other",
        (*BASE, *ACTIVE),
        (*BOTH, on("a"), merge(), unmerge(), on("b"), merge(), unmerge()),
    ),
    Script(
        "a new scale, then merged",
        STALE,
        (*ONE, scale("a", 1.75), merge(), unmerge(), scale("a", -0.5), merge()),
    ),
    Script(
        "trained, merged, unmerged, trained, merged",
        STALE,
        (*ONE, train("a"), merge(), unmerge(), train("a", "a"), merge(), unmerge()),
    ),
    Script(
        "a scale of zero, merged",
        ("StaleMerge",),
        (*BOTH, scale("a", 0.0), merge(), unmerge(), scale("a", 1.0)),
    ),
    Script(
        "another adapter gets a new scale while one is merged",
        (*ACTIVE, "StaleMerge"),
        (*BOTH, merge("a"), scale("b", 0.75), unmerge()),
    ),
    Script(
        "another adapter is trained while one is merged",
        (*ACTIVE, "StaleMerge"),
        (*BOTH, merge("a"), train("b"), unmerge()),
    ),
    Script("none is active", ACTIVE, (*BOTH, on(), on("b"))),
    Script(
        "now one, now the other, now both in another order", ACTIVE, (*BOTH, on("a"), on("b"), on("b", "a"))
    ),
    Script("adding lets nothing act", ACTIVE, (*ONE, add("b"), FORWARD, add("c"), merge())),
    Script("deleted while another is merged", ACTIVE, (*BOTH, merge("a"), delete("b"), unmerge())),
    Script("an inactive adapter is deleted", ACTIVE, (*BOTH, on("a"), delete("b"), merge())),
    Script("one of two active adapters is deleted", ACTIVE, (*BOTH, delete("b"), merge(), unmerge())),
    Script("the only active adapter is deleted: none acts", ACTIVE, (*BOTH, on("a"), delete("a"))),
    Script(
        "deleted, and added with other factors",
        STALE,
        (*ONE, merge(), unmerge(), delete("a"), add("a", "a2"), on("a"), merge()),
    ),
    Script("disabled and enabled", ("DisabledActs",), (*ONE, OFF, ENABLE, merge())),
    Script("disabled with two active, one added", ("DisabledActs",), (*BOTH, OFF, add("c"), ENABLE)),
    Script("one in the place of the other", ACTIVE, (*BOTH, on("a"), swap("a", "b"), merge(), unmerge())),
    Script(
        "one in the place of the other while merged",
        (*ACTIVE, *BASE),
        (*BOTH, on("a"), merge(), swap("a", "b"), unmerge()),
    ),
    Script(
        "there and back while merged",
        BASE,
        (*BOTH, on("a"), merge(), swap("a", "b"), swap("b", "a"), unmerge()),
    ),
    Script(
        "one of two merged is exchanged",
        (*ACTIVE, *BASE),
        (*BOTH, add("c"), merge("a", "b"), swap("a", "c"), unmerge()),
    ),
    Script("saved and loaded", ("LostOnSave",), (*BOTH, SAVE, LOAD, merge(), unmerge())),
    Script("saved, changed, loaded", ("LostOnSave",), (*BOTH, SAVE, train("a"), delete("b"), LOAD)),
    Script("a new scale is saved", ("LostOnSave",), (*ONE, scale("a", 1.75), SAVE, LOAD, merge())),
    Script(
        "trained factors are saved", ("LostOnSave",), (*ONE, train("a"), SAVE, train("a", "a"), LOAD, merge())
    ),
    Script(
        "merging, unmerging, saving, loading", ("LostOnSave", *BASE), (*BOTH, merge(), unmerge(), SAVE, LOAD)
    ),
    Script(
        "the exact sum of two",
        ("MissingScale",),
        (*BOTH, combine("c", "ab", 1.0, 1.0), on("c"), merge(), unmerge()),
    ),
    Script(
        "a weighted sum",
        ("MissingScale", "SignFlipped"),
        (*BOTH, combine("c", "ba", 0.75, -1.5), on("c"), merge()),
    ),
    Script("two tasks in one batch", ("RowsMixed",), (*BOTH, rows("a", "b"), rows("b", "a"))),
    Script("one row without an adapter", ("RowsMixed",), (*BOTH, rows(None, "b"), on("a"), rows("a", None))),
    Script(
        "two tasks in one batch after merging and unmerging",
        ("RowsMixed", *BASE),
        (*BOTH, merge(), unmerge(), rows("b", "a")),
    ),
    # what must be refused, and must change nothing
    Script(
        "merging an inactive adapter",
        (*ACTIVE, "HalfDone"),
        (*BOTH, on("a"), must(merge("b")), merge("a"), unmerge()),
    ),
    Script(
        "merging an active adapter together with an inactive one",
        (*ACTIVE, "HalfDone"),
        (*BOTH, on("a"), must(merge("a", "b")), merge("a")),
    ),
    Script("a typo in what is merged", UNKNOWN, (*ONE, must(merge("typo")), merge("a"))),
    Script("a typo beside a name that is known", UNKNOWN, (*ONE, must(merge("a", "typo")), FORWARD)),
    Script("a typo in what is unmerged", UNKNOWN, (*ONE, merge(), must(unmerge("typo")), FORWARD)),
    Script("a typo in what is activated", UNKNOWN, (*BOTH, must(on("typo")), FORWARD)),
    Script(
        "a typo beside a name that is activated", UNKNOWN, (*ONE, add("b"), must(on("b", "typo")), FORWARD)
    ),
    Script("a typo in what is rescaled", UNKNOWN, (*ONE, must(scale("typo", 3.0)), FORWARD)),
    Script("a typo in what is trained", UNKNOWN, (*ONE, must(train("typo", "a2")), FORWARD)),
    Script("a typo in what is deleted", UNKNOWN, (*ONE, must(delete("typo")), FORWARD)),
    Script("a typo in what is put in", UNKNOWN, (*ONE, merge(), must(swap("a", "typo")), FORWARD)),
    Script("a row with a typo", UNKNOWN, (*BOTH, must(rows("a", "typo")), FORWARD)),
    Script(
        "what gives its place has none",
        (*ACTIVE, "HalfDone"),
        (*BOTH, add("c"), on("a"), must(swap("b", "c")), FORWARD),
    ),
    Script(
        "what takes the place acts already",
        ("DoubleMerge", "HalfDone"),
        (*BOTH, must(swap("a", "b")), FORWARD),
    ),
    Script("a name that is taken", ("HalfDone",), (*ONE, must(add("a", "a2")), merge())),
    Script(
        "a name that is taken, while merged",
        ("HalfDone", *STALE),
        (*ONE, merge(), must(add("a", "a2")), unmerge()),
    ),
    Script("too few weights", ("LengthsTruncated",), (*BOTH, must(combine("c", "ab", 1.0)), FORWARD)),
    Script("too many weights", ("LengthsTruncated",), (*ONE, must(combine("c", "a", 1.0, 99.0)), FORWARD)),
    Script(
        "a combination under a name that is taken",
        ("HalfDone",),
        (*BOTH, must(combine("b", "a", 2.0)), FORWARD),
    ),
    # questions with more than one good answer
    Script(
        "a new scale while merged, then unmerged",
        STALE,
        (*ONE, merge(), may(scale("a", 3.0)), unmerge()),
        "change",
    ),
    Script(
        "a new scale while one of two is merged",
        STALE,
        (*BOTH, merge("a"), may(scale("a", -1.5)), unmerge()),
        "change",
    ),
    Script(
        "a scale of zero while merged",
        STALE,
        (*ONE, merge(), may(scale("a", 0.0)), unmerge(), merge()),
        "change",
    ),
    Script(
        "trained while merged, then unmerged", STALE, (*ONE, merge(), may(train("a")), unmerge()), "change"
    ),
    Script("trained while two are merged", STALE, (*BOTH, merge(), may(train("b")), unmerge()), "change"),
    Script("loaded while merged", ("LostOnSave", *BASE), (*ONE, SAVE, merge(), may(LOAD), FORWARD), "change"),
    Script("deleted while merged", STALE, (*BOTH, merge(), may(delete("a")), FORWARD), "delete"),
    Script(
        "others activated while one is merged",
        (*ACTIVE, "HalfDone"),
        (*BOTH, on("a"), merge(), may(on("b")), FORWARD),
        "activate",
    ),
    Script(
        "one more activated while one is merged",
        ACTIVE,
        (*BOTH, on("a"), merge(), on("a", "b"), FORWARD),
        "activate",
    ),
    Script("adding while merged lets nothing act", ACTIVE, (*ONE, merge(), add("b"), FORWARD), "activate"),
    Script("merged twice", DOUBLE, (*ONE, merge("a"), may(merge("a")), unmerge("a")), "again"),
    Script(
        "one name twice in what is merged", (*DOUBLE, *BASE), (*ONE, may(merge("a", "a")), FORWARD), "again"
    ),
    Script("one name twice among others", DOUBLE, (*BOTH, may(merge("a", "b", "a")), FORWARD), "again"),
    Script("one name twice in what is activated", DOUBLE, (*BOTH, may(on("b", "b")), FORWARD), "again"),
    Script("unmerged twice", BASE, (*ONE, merge(), unmerge(), may(unmerge("a"))), "again"),
    Script("unmerged without having been merged", BASE, (*ONE, may(unmerge()), FORWARD), "again"),
    Script(
        "merged where nothing is left to merge", DOUBLE, (*ONE, merge(), may(merge()), unmerge()), "again"
    ),
    Script(
        "disabled while merged, and enabled", ("DisabledActs", *BASE), (*ONE, merge(), OFF, ENABLE), "disable"
    ),
    Script(
        "disabled while one of two is merged",
        ("DisabledActs", *ACTIVE),
        (*BOTH, merge("a"), OFF, ENABLE),
        "disable",
    ),
    Script(
        "saved while merged, loaded after unmerging",
        ("LostOnSave", *DOUBLE),
        (*ONE, merge(), SAVE, unmerge(), LOAD),
        "load",
    ),
    Script(
        "saved while one of two is merged",
        ("LostOnSave", *ACTIVE),
        (*BOTH, merge("b"), SAVE, unmerge(), LOAD),
        "load",
    ),
    Script("the base comes back bit for bit", BASE, (*ONE, merge(), unmerge()), "base"),
    Script("the base comes back after three rounds of two", BASE, (*BOTH, *(merge(), unmerge()) * 3), "base"),
    Script(
        "the base comes back after a swap", BASE, (*BOTH, on("a"), merge(), swap("a", "b"), unmerge()), "base"
    ),
)
"""A later release appends."""

# ---- plans ----------------------------------------------------------------------------------------------------


def plans() -> list[Plan]:
    """List the scripts, with every answer to the question that one asks."""
    made: list[Plan] = []
    for number, script in enumerate(SCRIPTS):
        for answer in model.CHOICES.get(script.choice, ("",)):
            made.append(_plan(script, answer, "float64", "full" if script.choice == "base" else "short"))
            if script.choice == "base":
                made.append(_plan(script, answer, "float32", "full"))
        if script.choice:
            continue
        if (
            "BaseCorrupted" in script.flags
        ):  # on whole numbers it must come back exactly, however that is done
            made.append(_plan(script, "", "float64", "integers"))
        if number % 3 == 1:
            made.append(_plan(script, "", "float32", "short"))
    return made


def _plan(script: Script, answer: str, dtype: str, kind: str) -> Plan:
    choice = {script.choice: answer} if script.choice else {}
    config = {"base": "restored"} if kind == "integers" else choice
    inputs = _inputs(script, f"lora/state/{script.comment}/{dtype}/{kind}", dtype, kind)
    words = f"{script.comment} ({script.choice}: {answer})" if choice else script.comment
    return Plan(
        config=config,
        dtype=dtype,
        inputs=inputs,
        comment=words,
        flags=(*script.flags, *(("Integers",) if kind == "integers" else ())),
        result="acceptable" if choice else "valid",
        option=(f"state.{script.choice}", answer) if choice else None,
        script=tuple(_expecting(script, config, inputs)),
    )


def _inputs(script: Script, seed: str, dtype: str, kind: str) -> dict[str, Tensor]:
    """Draw the tensors that a script names, in the order in which it does."""
    d, k, N = SIZES["d"], SIZES["k"], SIZES["N"]
    draws = Draws(seed)
    names = ["W0", "X", *(step[key] for step in script.steps for key in ("B", "A", "X") if key in step)]
    shapes: dict[str, tuple[int, ...]] = {"W0": (d, k), "X": (N, k), "X2": (N, k)}
    found = {}
    for name in dict.fromkeys(names):
        rank = RANKS.get(name[0], 1)
        shape = shapes.get(name) or ((d, rank) if name.endswith(".B") else (rank, k))
        found[name] = Tensor(draws.values(kind, shape, dtype), dtype)
    return found


def _expecting(script: Script, config: Mapping[str, Any], inputs: Mapping[str, Tensor]) -> Iterator[Step]:
    """Write into each step what is expected after it.  Raises `ValueError` where the model refuses other steps."""
    t = {name: tensor.values.tolist() for name, tensor in inputs.items()}
    bank = model.Bank(t["W0"])
    for number, marked in enumerate(script.steps, start=1):
        step = {key: value for key, value in marked.items() if key != "refused"}
        step["expect"] = {"weight": f"W.{number}", "Y": f"Y.{number}"}
        mark = marked.get("refused")
        refusing = script.choice and config[script.choice] == model.CHOICES[script.choice][0]
        due = mark == "always" or bool(mark == "asked" and refusing)
        try:
            read = language.read([step])[0]
            after = model.stepped(bank, read, t, config)
            model.output(after, read, t, config)
            bank, refused = after, False
        except model.RefusedError as error:
            refused = True
            step["expect"]["refused"] = {"class": error.name, "mentions": list(error.mentions)}
        if refused != due:
            raise ValueError(f"{script.comment}, step {number}: refused {refused}, written {due}")
        yield step


# ---- the second road ------------------------------------------------------------------------------------------


class Obliging(BankSession):
    """A bank in float64 that answers the questions as it is told: it unmerges first what would be in the way."""

    def __init__(self, W0: np.ndarray, config: Mapping[str, Any]) -> None:
        super().__init__(W0.astype(np.float64))
        self.config = config

    def _apart(self, name: str, choice: str, act: Any, again: bool = True) -> None:
        """Unmerge an adapter, do something to it, and merge it again."""
        merged = name in self.bank.merged and self.config[choice] == "followed"
        if merged:
            super().unmerge([name])
        act()
        if merged and again:
            super().merge([name])

    def delete(self, name: str) -> None:
        """Delete, out of the weight, too."""
        self._apart(name, "delete", lambda: super(Obliging, self).delete(name), again=False)

    def scale(self, name: str, scale: float) -> None:
        """Rescale, in the weight, too."""
        self._apart(name, "change", lambda: super(Obliging, self).scale(name, scale))

    def train(self, name: str, B: Any, A: Any) -> None:
        """Train, in the weight, too."""
        self._apart(name, "change", lambda: super(Obliging, self).train(name, B, A))

    def load(self, saved: Mapping[str, Any]) -> None:
        """Load in place of what is merged."""
        if self.bank.merged and self.config["change"] == "followed":
            super().unmerge(None)
        super().load(saved)
        if self.bank.merged and self.config["load"] == "unmerged":
            super().unmerge(None)

    def add(self, name: str, B: Any, A: Any, scale: float) -> None:
        """Add after unmerging."""
        if self.bank.merged and name not in self.bank.adapters and self.config["activate"] == "unmerged":
            super().unmerge(None)
        super().add(name, B, A, scale)

    def activate(self, names: list[str]) -> None:
        """Activate after unmerging."""
        if self.bank.merged and self.config["activate"] == "unmerged":
            super().unmerge(None)
        super().activate(self._each_once(names))

    def merge(self, names: list[str] | None) -> None:
        """Merge what is not merged yet."""
        self._only(super().merge, names, [name for name in self.bank.active if name not in self.bank.merged])

    def unmerge(self, names: list[str] | None) -> None:
        """Unmerge what is merged."""
        self._only(super().unmerge, names, list(self.bank.merged))

    def disable(self) -> None:
        """Disable after unmerging."""
        if self.bank.merged and self.config["disable"] == "unmerged":
            super().unmerge(None)
        super().disable()

    def _each_once(self, names: list[str]) -> list[str]:
        return list(dict.fromkeys(names)) if self.config.get("again") == "ignored" else names

    def _only(self, act: Any, names: list[str] | None, possible: list[str]) -> None:
        """Leave out what is so already, where that is to be ignored."""
        if self.config.get("again") != "ignored":
            act(names)
            return
        left = [name for name in self._each_once(names or possible) if name in possible]
        if left:
            act(left)


def road(plan: Plan) -> dict[str, Any]:
    """Run the script on banks of arrays."""
    config = {**plan.config, "script": plan.script}
    return run_script(lambda W0: Obliging(W0, plan.config), config, plan.arrays(), words=True)


def recipes() -> list[Recipe]:
    """List this module's file."""
    return [
        Recipe("lora", "state", plans, road=road, road_name="bank of adapters, in float64", formula=model.run)
    ]
