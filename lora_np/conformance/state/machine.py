"""Any sequence of operations on a session, against the model: a machine for hypothesis.  Floor 6.

Needs hypothesis, which the extra "test" brings; it is imported when a machine is made.

    TestMine = machine_for(MySession).TestCase
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lora_np.conformance.bounds import GOLD, error_in_u
from lora_np.conformance.exact.loops import each, flat
from lora_np.conformance.exact.number import Exact
from lora_np.conformance.exact.rounding import to_hex
from lora_np.conformance.state import model, scripts
from lora_np.conformance.state.session import Session, take

REFUSING = {"change": "refused", "delete": "refused", "activate": "kept", "again": "refused"}
REFUSING |= {"disable": "kept", "load": "merged", "base": "restored"}
"""The choices of `AdapterBank`; see `lora_np.conformance.state.model.CHOICES`."""

D, K, RANK = 3, 2, 1


class Both:
    """A session and the model of it, which take the same steps."""

    def __init__(
        self,
        make: Callable[[np.ndarray], Session],
        config: Mapping[str, str],
        seed: int,
        dtype: str = "float64",
    ) -> None:
        rng = np.random.default_rng(seed)
        self.tensors = {
            name: rng.normal(size=shape).astype(dtype)
            for name, shape in {"W0": (D, K), "X": (2, K), **self._factors()}.items()
        }
        self.exact = {name: each(Exact.of, x.tolist()) for name, x in self.tensors.items()}
        self.config, self.done = config, list[str]()
        self.session, self.bank = make(self.tensors["W0"].copy()), model.Bank(self.exact["W0"])
        self.store: dict[str, Any] = {}

    @staticmethod
    def _factors() -> dict[str, tuple[int, int]]:
        shapes = {"B": (D, RANK), "A": (RANK, K)}
        return {f"{i}.{part}": shape for i in range(6) for part, shape in shapes.items()}

    def take(self, verb: str, **named: Any) -> None:
        """Take a step: both do it, or both refuse; then weight and output must be right.

        Raises `AssertionError` with the steps so far.
        """
        if "scale" in named:
            named["scale"] = {"hex": to_hex(float(named["scale"]))}
        (step,) = scripts.read([{"do": verb, **named, "expect": {}}])
        self.done.append(scripts.in_words(step))
        try:
            bank, refused = model.stepped(self.bank, step, self.exact, self.config), False
        except model.RefusedError:
            bank, refused = self.bank, True
        try:
            take(self.session, step, self.tensors, self.store)
        except Exception as error:
            if not refused:
                raise AssertionError(f"{self.path()}: {type(error).__name__}: {error}") from error
        else:
            assert not refused, f"{self.path()}: accepted what must be refused"
        self.bank = bank
        self.compare()

    def compare(self) -> None:
        """Compare weight and output with the model's.  Raises `AssertionError`."""
        X = self.tensors["X"]
        wants = {
            "the weight": (self.session.weight(), model.weight(self.bank, self.config)),
            "the output": (self.session.forward(X), model.forward(self.bank, self.exact["X"], self.config)),
        }
        for what, (got, want) in wants.items():
            numbers = flat(want)
            values = np.array([float(x.value) for x in numbers]).reshape(got.shape)
            sizes = np.array([x.size for x in numbers]).reshape(got.shape)
            limit = GOLD if any(x.roundings for x in numbers) else 0.0
            error = error_in_u(got, values, sizes)
            assert error <= limit, f"{self.path()}: {what} is off by {error:.3g} u, limit {limit:g} u"

    def path(self) -> str:
        """Say what was done."""
        return f"after {'; '.join(self.done)}"


def machine_for(
    make: Callable[[np.ndarray], Session],
    *,
    choices: Mapping[str, str] = REFUSING,
    dtype: str = "float64",
) -> Any:
    """Make a `RuleBasedStateMachine` class that drives ``make(W0)`` through any sequence of steps.

    `choices` answers the questions that have several good answers.  After every step weight and output are compared.
    """
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

    names = st.sampled_from(["a", "b", "a", "b", "a", "b", "c", "typo"])
    good = st.sampled_from([["a"], ["b"], ["a", "b"], ["b", "a"]])
    lists = st.one_of(good, good, st.sampled_from([["a", "a"], ["c", "a"], ["typo"], ["b", "typo"]]))
    scales = st.sampled_from([1.0, 0.3, -2.0, 0.0])
    factors = st.integers(2, 5)

    def pair(i: int) -> dict[str, str]:
        return {"B": f"{i}.B", "A": f"{i}.A"}

    class Machine(RuleBasedStateMachine):
        @initialize(seed=st.integers(0, 999))
        def start(self, seed: int) -> None:
            self.both = Both(make, choices, seed, dtype)
            for i, name in enumerate("ab"):
                self.both.take("add", name=name, scale=1.0 + i, **pair(i))
            self.both.take("activate", names=["a", "b"])

    def plain(verb: str, needs: Callable[[Any], Any] = lambda bank: bank, **arguments: Any) -> Any:
        def step(self: Any, **named: Any) -> None:
            if "factors" in named:
                named |= pair(named.pop("factors"))
            if named.get("names", "") is None:
                del named["names"]
            self.both.take(verb, **named)

        step.__name__ = verb
        as_rule: Any = rule(**arguments)
        allowed: Any = precondition(lambda self: needs(self.both.bank))
        return allowed(as_rule(step))

    anything = st.one_of(st.none(), lists)
    steps = {
        "add": plain(
            "add",
            lambda bank: len(bank.adapters) < 4,
            name=st.sampled_from("abc"),
            factors=factors,
            scale=scales,
        ),
        "delete": plain("delete", name=names),
        "activate": plain("activate", names=lists),
        "merge": plain("merge", lambda bank: bank.active, names=anything),
        "unmerge": plain("unmerge", lambda bank: bank.merged, names=anything),
        "scale": plain("scale", name=names, scale=scales),
        "train": plain("train", name=names, factors=factors),
        "swap": plain("swap", old=names, new=names),
        "disable": plain("disable"),
        "enable": plain("enable", lambda bank: not bank.enabled),
        "save": plain("save"),
        "load": plain("load", lambda bank: bank.saved is not None),
    }
    return type("Machine", (Machine,), steps)
