"""The machine that drives any session: it passes the bank, and finds planted mistakes.

[adapters-bank]  Property 85.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from lora_np.adapters.adapter import LoraAdapter
from lora_np.adapters.bank import AdapterBank
from lora_np.conformance.state.machine import REFUSING, Both, machine_for
from lora_np.conformance.targets.bank_state import BankSession
from lora_np.lora import LoraParams
from lora_np.merging import unmerge

FEW = settings(max_examples=25, stateful_step_count=8, deadline=None, derandomize=True, database=None)
MORE = settings(FEW, max_examples=150, phases=[Phase.generate], report_multiple_bugs=False)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_bank_passes(dtype):
    run_state_machine_as_test(machine_for(BankSession, dtype=dtype), settings=FEW)


class Subtracting(BankSession):
    """Unmerging subtracts: the base comes back only nearly."""

    def unmerge(self, names):
        before = self.bank
        super().unmerge(names)
        W = before.weight()
        for name in set(before.merged) - set(self.bank.merged):
            p, scale = before.adapters[name]
            W = unmerge(W, p, scale=scale)
        self.bank = self.bank._with(_W=W)


class Stale(BankSession):
    """A new scale while merged is taken, and the weight stays as it is."""

    def scale(self, name, scale):
        if name in self.bank.merged:
            changed = LoraAdapter(self.bank.adapters[name].p, scale)
            self.bank = self.bank._with(adapters={**self.bank.adapters, name: changed})
        else:
            super().scale(name, scale)


class MergedAlone(BankSession):
    """With something merged, the other active adapters are forgotten: the weight is right, the output is not."""

    def forward(self, X):
        if self.bank.merged and self.bank.enabled:
            return X @ self.bank.weight().T
        return super().forward(X)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Subtracting, "the weight is off by"),
        (Stale, "accepted what must be refused"),
        (MergedAlone, "the output is off by"),
    ],
)
def test_planted_mistakes_are_found(wrong, words):
    """Each of three wrong sessions fails, and the sentence says after which steps."""
    with pytest.raises(AssertionError, match=rf"after add 'a' 1.0; .*: {words}"):
        run_state_machine_as_test(machine_for(wrong), settings=MORE)


class Forgiving(BankSession):
    """Unmerges first what is in the way of a change, and merges it again."""

    def apart(self, name, act):
        merged = name in self.bank.merged
        if merged:
            super().unmerge([name])
        act()
        if merged:
            super().merge([name])

    def scale(self, name, scale):
        self.apart(name, lambda: super(Forgiving, self).scale(name, scale))

    def train(self, name, B, A):
        self.apart(name, lambda: super(Forgiving, self).train(name, B, A))

    def load(self, saved):
        if self.bank.merged:
            super().unmerge(None)
        super().load(saved)


def test_another_choice_is_as_good_if_it_is_declared():
    """What refuses nothing while merged, but renews the weight, passes where that is what is asked for."""
    choices = {**REFUSING, "change": "followed"}
    run_state_machine_as_test(machine_for(Forgiving, choices=choices), settings=FEW)
    with pytest.raises(AssertionError, match="accepted what must be refused"):
        run_state_machine_as_test(machine_for(Forgiving), settings=MORE)


def test_a_refusal_of_what_is_allowed_is_told():
    class Never(BankSession):
        def merge(self, names):
            raise RuntimeError("never")

    both = Both(Never, REFUSING, 1)
    both.take("add", name="a", B="0.B", A="0.A", scale=1.0)
    both.take("activate", names=["a"])
    with pytest.raises(
        AssertionError, match=r"after add 'a' 1.0; activate \['a'\]; merge: RuntimeError: never"
    ):
        both.take("merge")


def test_a_machine_needs_no_bank():
    """Any class with the methods will do: here one that keeps only the sum of increments."""

    class Sums:
        def __init__(self, W0):
            self.bank = AdapterBank(np.array(W0))

        def add(self, name, B, A, scale):
            self.bank = self.bank.add(name, LoraParams(B, A), scale=scale)

        def weight(self):
            return self.bank.weight()

        def forward(self, X):
            return self.bank.forward(X)

    both = Both(Sums, REFUSING, 2)
    both.take("add", name="a", B="0.B", A="0.A", scale=-0.3)
    both.take("add", name="a", B="0.B", A="0.A", scale=1.0)  # refused by both
