"""Any sequence of operations on a bank, against a plain dict and Fractions.  [adapters-bank]

Property 85, and 31 to 36 on the way: whatever was done, the base is its original bytes, and both the weight and the
output are what the definition says.  The output matters: an error in the bookkeeping may leave the weight right.
"""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from lora_np import LoraParams, errors, merge, unmerge
from lora_np.adapters import AdapterBank, LoraAdapter
from lora_np.conformance.bounds import GOLD
from lora_np.errors import LoraNpError
from tests.exact import exact_error_in_u, fractions_of
from tests.naive import adapters as naive

D, K = 3, 2
NAMES = st.sampled_from(["a", "b", "a", "b", "a", "b", "c", "c", "typo"])
GOOD_LISTS = st.sampled_from([["a"], ["b"], ["a", "b"], ["b", "a", "c"], ["c", "a"], ["b", "c"]])
BAD_LISTS = st.sampled_from([[], ["a", "a"], ["typo"], ["b", "typo"], ["a", "b", "a"]])
LISTS = st.one_of(st.none(), GOOD_LISTS, GOOD_LISTS, BAD_LISTS)
SCALES = st.sampled_from([1.0, 0.3, -2.0, 0.0])
SEEDS = st.integers(0, 999)


def factors(seed, rank):
    rng = np.random.default_rng(seed)
    return LoraParams(rng.normal(size=(D, rank)), rng.normal(size=(rank, K)))


class Machine(RuleBasedStateMachine):
    """One bank, and the dict that says what it should be."""

    bank_class = AdapterBank
    dtype = np.float64

    @initialize(seed=SEEDS)
    def start(self, seed):
        rng = np.random.default_rng(seed)
        self.W0 = rng.normal(size=(D, K)).astype(self.dtype)
        self.X = rng.normal(size=(2, K)).astype(self.dtype)
        self.bank, self.model = self.bank_class(self.W0.copy()), naive.bank(fractions_of(self.W0))
        self.saved = None
        for name in ("a", "b"):  # so that short sequences reach what is interesting
            self.add(name, seed + ord(name), 1.0)
        self.activate(["a", "b"])

    def both(self, act, expect):
        """Do it to the bank and to the model: both go on, or both refuse in the same words and nothing changed."""
        before = {key: np.array(value).tobytes() for key, value in self.bank.snapshot().items()}
        weight = self.bank.weight().tobytes()
        try:
            model = expect(self.model)
        except naive.Refused as refused:
            due = refused.args[0]
            with pytest.raises(getattr(errors, due)):
                act(self.bank)
        else:
            old, self.bank, self.model = self.bank, act(self.bank), model
            assert {key: np.array(value).tobytes() for key, value in old.snapshot().items()} == before
            assert old.weight().tobytes() == weight

    def cast(self, p):
        return LoraParams(p.B.astype(self.dtype), p.A.astype(self.dtype))

    @precondition(lambda self: len(self.bank.adapters) < 3)
    @rule(name=NAMES, seed=SEEDS, scale=SCALES)
    def add(self, name, seed, scale):
        p = self.cast(factors(seed, 1 + seed % 2))
        triple = (fractions_of(p.B), fractions_of(p.A), Fraction(scale))
        if name != "typo":
            self.both(lambda b: b.add(name, p, scale=scale), lambda m: naive.add_adapter(m, name, triple))

    @rule(name=NAMES)
    def delete(self, name):
        self.both(lambda b: b.delete(name), lambda m: naive.delete(m, name))

    @rule(name=NAMES, scale=SCALES)
    def scale(self, name, scale):
        self.both(
            lambda b: b.scale(name, scale), lambda m: naive.change(m, name, (None, None, Fraction(scale)))
        )

    @rule(name=NAMES, seed=SEEDS)
    def train_step(self, name, seed):
        rank = self.bank.adapters[name].p.A.shape[0] if name in self.bank.adapters else 1
        p = self.cast(factors(seed, rank))
        change = (fractions_of(p.B), fractions_of(p.A), None)
        self.both(lambda b: b.train_step(name, p), lambda m: naive.change(m, name, change))

    @rule(names=st.one_of(GOOD_LISTS, GOOD_LISTS, BAD_LISTS))
    def activate(self, names):
        self.both(lambda b: b.activate(names), lambda m: naive.activate(m, names))

    @precondition(lambda self: self.bank.active)
    @rule(names=LISTS)
    def merge(self, names):
        self.both(lambda b: b.merge(names), lambda m: naive.merge(m, names))

    @precondition(lambda self: self.bank.merged)
    @rule(names=LISTS)
    def unmerge(self, names):
        self.both(lambda b: b.unmerge(names), lambda m: naive.unmerge(m, names))

    @rule(old=NAMES, new=NAMES)
    def swap(self, old, new):
        self.both(lambda b: b.swap(old, new), lambda m: naive.swap(m, old, new))

    @rule(enabled=st.booleans())
    def switch(self, enabled):
        self.both(lambda b: b.enable() if enabled else b.disable(), lambda m: naive.switch(m, enabled))

    @rule()
    def save(self):
        arrays = {key: np.array(value) for key, value in self.bank.snapshot().items()}
        self.saved = arrays, self.model

    @precondition(lambda self: self.saved is not None)
    @rule()
    def load(self):
        def expect(model):
            naive._allowed(not model["merged"])
            return self.saved[1]

        self.both(lambda b: b.restore(self.saved[0]), expect)

    @invariant()
    def the_base_is_untouched(self):
        assert self.bank.W0.tobytes() == self.W0.tobytes()
        if not self.bank.merged:
            assert self.bank.weight().tobytes() == self.W0.tobytes()

    @invariant()
    def names_and_switches_are_the_models(self):
        model = self.model
        assert sorted(self.bank.adapters) == sorted(model["adapters"])
        assert (list(self.bank.active), set(self.bank.merged)) == (model["active"], model["merged"])
        assert self.bank.enabled == model["enabled"]

    @invariant()
    def weight_and_forward_are_the_definition(self):
        sizes = abs(self.W0).astype(float)
        for (B, A), s in self.bank.adapters.values():
            sizes = sizes + abs(s) * abs(B).astype(float) @ abs(A)
        assert exact_error_in_u(self.bank.weight(), naive.weight(self.model), sizes) <= GOLD
        want = naive.output(self.model, fractions_of(self.X))
        assert exact_error_in_u(self.bank.forward(self.X), want, abs(self.X).astype(float) @ sizes.T) <= GOLD


class HalfMachine(Machine):
    """In single precision, where ten merges and unmerges by arithmetic would show."""

    dtype = np.float32


STEPS = settings(max_examples=30, stateful_step_count=12, deadline=None, derandomize=True)
TestBank = Machine.TestCase
TestBank.settings = STEPS
TestSinglePrecision = HalfMachine.TestCase
TestSinglePrecision.settings = settings(STEPS, max_examples=15)


# ---- the machine itself is tested: it finds each of these -----------------------------------------------------


class _UnmergesByArithmetic(AdapterBank):
    """Unmerging subtracts, as most software does."""

    def unmerge(self, names=None):
        good, W = AdapterBank.unmerge(self, names), self.weight()
        for name in set(self.merged) - set(good.merged):
            W = unmerge(W, self.adapters[name].p, scale=self.adapters[name].scale)
        return good._with(_W=W)


class _ScalesWhileMerged(AdapterBank):
    """The scale changes, the merged weight does not; PEFT 0.21.2 then subtracts what was never added."""

    def scale(self, name, scale):
        if name not in self.merged:
            return AdapterBank.scale(self, name, scale)
        return self._with(adapters={**self.adapters, name: LoraAdapter(self.adapters[name].p, scale)})


class _MergedAloneActs(AdapterBank):
    """With something merged, the other active adapters are forgotten: PEFT 0.21.2."""

    def forward(self, X, *, bias=None):
        return X @ self.weight().T if self.merged and self.enabled else AdapterBank.forward(self, X)


class _MergesTwice(AdapterBank):
    """A name that is given twice counts twice."""

    def merge(self, names=None):
        good = AdapterBank.merge(self, None if names is None else list(dict.fromkeys(names)))
        return good


class _IgnoresUnknownNames(AdapterBank):
    """A typo is no reason to stop."""

    def activate(self, names):
        return AdapterBank.activate(self, [name for name in names if name in self.adapters])


class _DisablingUnmerges(AdapterBank):
    """Disabled, the layer is unmerged for good: PEFT 0.21.2."""

    def disable(self):
        bank = AdapterBank.disable(self)
        return bank.unmerge() if bank.merged else bank


class _ForgetsTheScaleWhenMerging(AdapterBank):
    """B A instead of s B A, in the weight alone."""

    def merge(self, names=None):
        good, W = AdapterBank.merge(self, names), self.W0
        for name in good.merged:
            W = merge(W, self.adapters[name].p, scale=1.0)
        return good._with(_W=W)


class _SavesWithoutTheSwitch(AdapterBank):
    """What is saved is enabled when it comes back."""

    def snapshot(self):
        return {**AdapterBank.snapshot(self), "enabled": np.array([1])}


PLANTED = [
    _UnmergesByArithmetic,
    _ScalesWhileMerged,
    _MergedAloneActs,
    _MergesTwice,
    _IgnoresUnknownNames,
    _DisablingUnmerges,
    _ForgetsTheScaleWhenMerging,
    _SavesWithoutTheSwitch,
]


def drive(machine, seed, steps=40):
    """Call rules at random and look at every invariant: hypothesis shrinks better, this strays further."""
    rng = np.random.default_rng(seed)
    run = machine()
    run.start(seed)

    def name():
        return str(rng.choice(["a", "b", "a", "b", "c", "typo"]))

    def names():
        return [None, ["a"], ["b"], ["c"], ["a", "b"], ["b", "c", "a"], ["a", "a"], ["typo"], []][
            rng.integers(9)
        ]

    for _ in range(steps):
        number, scale = int(rng.integers(1000)), float(rng.choice([1.0, 0.3, -2.0]))
        moves = [
            lambda: run.add(name(), number, scale),  # noqa: B023 (called in the same turn)
            lambda: run.delete(name()),
            lambda: run.scale(name(), scale),  # noqa: B023
            lambda: run.train_step(name(), number),  # noqa: B023
            lambda: run.activate(names() or ["a", "b", "c"]),
            lambda: run.activate(names() or ["b", "a"]),
            lambda: run.merge(names()),
            lambda: run.merge(names()),
            lambda: run.unmerge(names()),
            lambda: run.swap(name(), name()),
            lambda: run.switch(number % 3 > 0),  # noqa: B023
            run.save,
            lambda: run.saved and run.load(),
        ]
        moves[rng.integers(len(moves))]()
        run.the_base_is_untouched()
        run.names_and_switches_are_the_models()
        run.weight_and_forward_are_the_definition()


def drive_twelve(machine):
    """Twelve such sequences, the same each time."""
    for seed in range(12):
        drive(machine, seed)


@pytest.mark.parametrize("machine", [Machine, HalfMachine])
def test_long_random_sequences_too(machine):
    """Property 85: twelve times forty operations, many of which are refused."""
    drive_twelve(machine)


@pytest.mark.parametrize("wrong", PLANTED, ids=lambda cls: cls.__name__)
def test_planted_errors_are_found(wrong):
    """The machine itself is tested: each wrong bank fails on one of these sequences."""
    machine = type("Planted", (Machine,), {"bank_class": wrong})
    with pytest.raises((AssertionError, LoraNpError, pytest.fail.Exception)):
        drive_twelve(machine)
