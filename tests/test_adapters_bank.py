"""The bank of adapters: what its operations do, what they refuse, and that nothing is half done.  [adapters-bank]"""

import numpy as np
import pytest

from lora_np import LoraParams, merge
from lora_np.adapters import AdapterBank
from lora_np.errors import (
    AdapterNameError,
    ConfigError,
    DTypeError,
    LoraNpError,
    NonFiniteError,
    OverflowInMergeError,
    RankError,
    ShapeError,
    StateError,
    UnknownAdapterError,
)


def draw(rng, r=2, dtype=np.float64):
    return LoraParams(rng.normal(size=(4, r)).astype(dtype), rng.normal(size=(r, 3)).astype(dtype))


def fill(rng, dtype=np.float64):
    """A bank with "digits" and "letters" active and "spare" not."""
    bank = AdapterBank(rng.normal(size=(4, 3)).astype(dtype))
    for name, r, scale in (("digits", 1, 0.7), ("letters", 2, -0.3), ("spare", 3, 1.1)):
        bank = bank.add(name, draw(rng, r, dtype), scale=scale)
    return bank.activate(["digits", "letters"])


def seen(bank):
    """Everything a bank holds, as bytes."""
    arrays = {**bank.snapshot(), "weight": bank.weight()}
    return {key: np.asarray(value).tobytes() for key, value in arrays.items()}


class TestWhatComesOut:
    @pytest.mark.parametrize("merged", [[], ["digits"], ["letters"], ["digits", "letters"]])
    def test_merging_decides_where_never_whether(self, merged, rng):
        """Two active, one merged: the other still acts.  PEFT drops it.  [adapters-bank] [adapters-merge]"""
        bank, X, bias = fill(rng), rng.normal(size=(5, 3)), rng.normal(size=4)
        W = bank.W0 + sum(bank.adapters[name].delta() for name in ("digits", "letters"))
        acting = bank.merge(merged) if merged else bank
        np.testing.assert_allclose(acting.forward(X), X @ W.T, rtol=0, atol=1e-13)
        np.testing.assert_allclose(acting.forward(X, bias=bias), X @ W.T + bias, rtol=0, atol=1e-13)
        inside = bank.W0 + sum((bank.adapters[name].delta() for name in merged), np.zeros((4, 3)))
        np.testing.assert_allclose(acting.weight(), inside, rtol=0, atol=1e-13)

    def test_disabled_is_the_base_to_the_bit_and_nothing_is_lost(self, rng):
        """disable() touches no weight: enabled again, the same bytes come out, merged or not."""
        bank, X = fill(rng).merge(["digits"]), rng.normal(size=(5, 3))
        off = bank.disable()
        assert off.forward(X).tobytes() == (X @ bank.W0.T).tobytes()
        assert off.weight().tobytes() == bank.weight().tobytes()
        assert seen(off.enable()) == seen(bank)
        assert off.enable().forward(X).tobytes() == bank.forward(X).tobytes()

    def test_nothing_active_is_the_base_to_the_bit_negative_zero_included(self):
        bank = AdapterBank(np.array([[-0.0, 1.0]]))
        X = np.array([[1.0, -0.0], [np.inf, 0.0]])
        with np.errstate(invalid="ignore"):
            assert bank.forward(X).tobytes() == (X @ bank.W0.T).tobytes()
        assert bank.forward(np.zeros((0, 2))).shape == (0, 1)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
    def test_the_base_returns_byte_for_byte(self, dtype, rng):
        """Property 30: ten rounds of merging in any order, in half precision too, the sign of zeros included."""
        bank = fill(rng, dtype)
        W0 = np.array(bank.W0)
        W0[0, 0] = -0.0
        bank = AdapterBank(W0).add("digits", bank.adapters["digits"].p, scale=0.1)
        bank = bank.add("letters", fill(rng, dtype).adapters["letters"].p, scale=0.1).activate(
            ["digits", "letters"]
        )
        for _ in range(10):
            bank = bank.merge(["letters"]).merge(["digits"]).unmerge(["letters"]).unmerge()
        assert bank.weight().dtype == dtype
        assert bank.weight().tobytes() == W0.tobytes()

    def test_the_weight_depends_on_the_set_of_what_is_merged(self, rng):
        """Property 32 to the bit: one by one, the other way round, at once, or with a third that came and went."""
        bank = fill(rng).activate(["digits", "letters", "spare"])
        want = bank.merge(["digits", "letters"]).weight().tobytes()
        assert bank.merge(["digits"]).merge(["letters"]).weight().tobytes() == want
        assert bank.merge(["letters"]).merge(["digits"]).weight().tobytes() == want
        assert bank.merge().unmerge(["spare"]).weight().tobytes() == want

    def test_one_merged_adapter_gives_the_plain_merge(self, rng):
        """Property 29: the same bits as `merge`.  [lora-unmerge]"""
        p = draw(rng)
        bank = (
            AdapterBank(rng.normal(size=(4, 3)))
            .add("digits", p, scale=0.7)
            .activate("digits")
            .merge("digits")
        )
        assert bank.weight().tobytes() == merge(bank.W0, p, scale=0.7).tobytes()

    def test_swapping_is_a_fresh_merge(self, rng):
        """Property 35: the place, merged or not, goes to the other adapter, to the bit.  [adapters-swap]"""
        bank = fill(rng).merge(["digits"])
        swapped = bank.swap("digits", "spare")
        fresh = fill(np.random.default_rng(20230613)).activate(["spare", "letters"]).merge(["spare"])
        assert (swapped.active, swapped.merged) == (("spare", "letters"), ("spare",))
        assert swapped.weight().tobytes() == fresh.weight().tobytes()
        beside = bank.swap("letters", "spare")
        assert (beside.active, beside.merged) == (("digits", "spare"), ("digits",))
        assert beside.weight().tobytes() == bank.weight().tobytes()
        assert fill(rng).swap("digits", "spare").merged == ()


class TestValues:
    def test_operations_return_new_banks_and_leave_the_old(self, rng):
        bank = fill(rng)
        before = seen(bank)
        bank.merge(), bank.delete("digits"), bank.scale("digits", 9.0), bank.disable()
        bank.train_step("digits", draw(rng, 1)), bank.activate([]), bank.swap("digits", "spare")
        assert seen(bank) == before

    def test_what_the_caller_writes_later_is_not_seen(self, rng):
        """A bank copies: PEFT merges into a weight that its caller still holds."""
        W0, p = rng.normal(size=(4, 3)), draw(rng)
        bank = AdapterBank(W0).add("digits", p, scale=1.0)
        before = seen(bank)
        W0[0, 0] = p.B[0, 0] = p.A[0, 0] = 99.0
        assert seen(bank) == before
        merged = bank.activate("digits").merge()
        for array in (bank.W0, bank.weight(), merged.weight(), bank.adapters["digits"].p.A):
            with pytest.raises(ValueError, match="read-only"):
                array[0, 0] = 1.0
        with pytest.raises(TypeError):
            bank.adapters["other"] = p
        with pytest.raises(AttributeError):
            bank.enabled = False

    def test_training_and_scaling_replace_one_thing(self, rng):
        bank, p = fill(rng), draw(rng, 1)
        assert bank.scale("digits", 3).adapters["digits"].scale == 3.0
        trained = bank.train_step("digits", p)
        assert trained.adapters["digits"].scale == 0.7
        assert trained.adapters["digits"].p.B.tobytes() == p.B.tobytes()
        assert list(trained.adapters) == ["digits", "letters", "spare"]
        assert trained.delete("digits").active == ("letters",)

    def test_every_library(self, library, rng):
        """The strict namespace and read-only arrays: merge, forward, snapshot and back."""
        W0, p, X = rng.normal(size=(4, 3)), draw(rng), rng.normal(size=(2, 3))
        bank = AdapterBank(library.asarray(W0)).add("digits", LoraParams(*map(library.asarray, p)), scale=0.5)
        bank = bank.activate(["digits"])
        want = X @ (W0 + 0.5 * p.B @ p.A).T
        for state in (bank, bank.merge(), AdapterBank.load(bank.merge().snapshot())):
            got = library.to_numpy(state.forward(library.asarray(X)))
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)
        assert library.to_numpy(bank.merge().unmerge().weight()).tobytes() == W0.tobytes()


class TestSnapshots:
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
    def test_a_snapshot_restores_every_bit(self, dtype, rng):
        """Base, factors, scales of double precision, order, what is active, merged and enabled; and the weight."""
        for bank in (
            fill(rng, dtype),
            fill(rng, dtype).activate(["spare", "digits"]).merge(["spare"]).disable(),
        ):
            stored = {key: np.array(value) for key, value in bank.snapshot().items()}
            again = AdapterBank.load(stored)
            assert seen(again) == seen(bank)
            assert (again.active, again.merged, again.enabled) == (bank.active, bank.merged, bank.enabled)
            assert AdapterBank(bank.W0).restore(stored).weight().tobytes() == bank.weight().tobytes()

    def test_an_empty_bank_too(self):
        assert seen(AdapterBank.load(AdapterBank(np.eye(2)).snapshot())) == seen(AdapterBank(np.eye(2)))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: s.pop("base"), r"lacks \['base'\]"),
            (lambda s: s.pop("adapter.digits.A"), r"lacks \['adapter.digits.A'\]"),
            (lambda s: s.update(extra=np.zeros(1)), r"has \['extra'\] besides"),
            (lambda s: s.update(active=np.array([7])), r"numbers of the 3 adapters, got \[7.0\]"),
            (lambda s: s.update(merged=np.array([0.5])), r"numbers of the 3 adapters"),
            (lambda s: s.update(enabled=np.zeros((1, 1))), "must be a vector of 1 numbers"),
            (lambda s: s.update({"adapter.digits.scale": 3.0}), "must be a vector of 1 numbers, got 3.0"),
        ],
    )
    def test_what_snapshot_cannot_have_written_is_refused(self, change, message, rng):
        stored = fill(rng).snapshot()
        change(stored)
        with pytest.raises(ConfigError, match=message):
            AdapterBank.load(stored)

    def test_a_snapshot_is_checked_as_everything_else(self, rng):
        bank = fill(rng)
        with pytest.raises(ConfigError, match="dict of arrays, got list"):
            AdapterBank.load([])
        stored = bank.snapshot() | {"adapter.digits.B": np.full((4, 1), np.nan)}
        with pytest.raises(NonFiniteError, match="the B of adapter 'digits' holds 4"):
            AdapterBank.load(stored)
        stored = bank.snapshot() | {"merged": np.array([2])}
        with pytest.raises(StateError, match="'spare' is not active"):
            AdapterBank.load(stored)


class TestRefusals:
    """Rows 24 to 29 of the table of bad input: class, words, and no byte moved."""

    MERGED = "unmerge first"

    @pytest.mark.parametrize(
        ("act", "error", "message"),
        [
            (lambda b, p: b.merge(["digits"]), StateError, "'digits' is already merged; unmerge it first"),
            (
                lambda b, p: b.unmerge(["letters"]),
                StateError,
                r"'letters' is not merged \(merged: \['digits'\]\)",
            ),
            (lambda b, p: b.unmerge().unmerge(), StateError, "nothing is merged"),
            (lambda b, p: b.merge().merge(), StateError, "nothing to merge"),
            (lambda b, p: b.merge([]), StateError, "nothing to merge"),
            (
                lambda b, p: b.merge(["letters", "letters"]),
                StateError,
                r"'letters' .*2 times, at positions \[0, 1\]",
            ),
            (lambda b, p: b.activate(["digits", "digits"]), StateError, r"at positions \[0, 1\]"),
            (lambda b, p: b.merge(["spare"]), StateError, r"'spare' is not active .*activate it first"),
            (
                lambda b, p: b.merge(["digit"]),
                UnknownAdapterError,
                r"'digit'; there are \['digits'.*did you mean 'digits'",
            ),
            (
                lambda b, p: b.merge(["qqq"]),
                UnknownAdapterError,
                r"no adapter is named 'qqq'.*\]  *\[LNP|'qqq'; there are",
            ),
            (lambda b, p: b.unmerge("digit"), UnknownAdapterError, "did you mean 'digits'"),
            (lambda b, p: b.activate(["digit"]), UnknownAdapterError, "did you mean 'digits'"),
            (lambda b, p: b.activate(3), UnknownAdapterError, "list of adapter names, got int"),
            (lambda b, p: b.activate([3]), UnknownAdapterError, "no adapter is named 3"),
            (lambda b, p: b.delete("digit"), UnknownAdapterError, "did you mean 'digits'"),
            (lambda b, p: b.scale("digit", 1.0), UnknownAdapterError, "did you mean 'digits'"),
            (lambda b, p: b.train_step("digit", p), UnknownAdapterError, "did you mean 'digits'"),
            (lambda b, p: b.swap("digit", "spare"), UnknownAdapterError, "did you mean 'digits'"),
            (lambda b, p: b.swap("digits", "spar"), UnknownAdapterError, "did you mean 'spare'"),
            (lambda b, p: b.swap("spare", "letters"), StateError, "'spare' is not active"),
            (lambda b, p: b.swap("digits", "letters"), StateError, "'letters' is active already"),
            (lambda b, p: b.scale("digits", 2.0), StateError, f"rescaled; {MERGED}"),
            (lambda b, p: b.train_step("digits", p), StateError, f"trained; {MERGED}"),
            (lambda b, p: b.delete("digits"), StateError, f"deleted; {MERGED}"),
            (lambda b, p: b.activate(["letters"]), StateError, f"deactivated; {MERGED}"),
            (lambda b, p: b.restore(b.unmerge().snapshot()), StateError, MERGED),
            (
                lambda b, p: b.add("digits", p, scale=1.0),
                AdapterNameError,
                "'digits' exists already; there are",
            ),
            (lambda b, p: b.add("", p, scale=1.0), AdapterNameError, "is empty"),
            (lambda b, p: b.add("a.b", p, scale=1.0), AdapterNameError, r"'a.b' holds '\.' at position 1"),
            (lambda b, p: b.add("../evil", p, scale=1.0), AdapterNameError, r"holds '\.' at position 0"),
            (lambda b, p: b.add("a/b", p, scale=1.0), AdapterNameError, "holds '/' at position 1"),
            (lambda b, p: b.add("C:\\x", p, scale=1.0), AdapterNameError, "holds ':' at position 1"),
            (lambda b, p: b.add("a\0", p, scale=1.0), AdapterNameError, r"holds '\\x00' at position 1"),
            (lambda b, p: b.add(3, p, scale=1.0), AdapterNameError, "must be a str, got int 3"),
            (
                lambda b, p: b.add("new", p, scale=float("nan")),
                ConfigError,
                "scale of adapter 'new' must be finite",
            ),
            (
                lambda b, p: b.scale("letters", float("inf")),
                ConfigError,
                "scale of adapter 'letters' must be finite",
            ),
            (lambda b, p: b.add("new", None, scale=1.0), ConfigError, r"p must be the pair \(B, A\)"),
            (lambda b, p: b.add("new", LoraParams(p.A, p.B), scale=1.0), ShapeError, "these look swapped"),
            (
                lambda b, p: b.add("new", draw(np.random.default_rng(0), dtype="f4"), scale=1.0),
                DTypeError,
                "float32",
            ),
            (
                lambda b, p: b.add("new", LoraParams(p.B * np.nan, p.A), scale=1.0),
                NonFiniteError,
                "B of adapter 'new'",
            ),
            (
                lambda b, p: b.train_step("letters", draw(np.random.default_rng(0), 1)),
                RankError,
                "rank 2, the new ones",
            ),
            (lambda b, p: b.scale("letters", 1e308).merge(), OverflowInMergeError, "inf"),
            (lambda b, p: b.forward(np.zeros((2, 4))), ShapeError, r"expected \(..., 3\)"),
            (lambda b, p: b.disable().forward(np.zeros((2, 3), "f4")), DTypeError, "X is float32"),
            (lambda b, p: AdapterBank(np.full((2, 2), np.nan)), NonFiniteError, "base weight W0"),
            (lambda b, p: AdapterBank(np.zeros(3)), ShapeError, "1 axes"),
            (lambda b, p: AdapterBank([[1.0]]), DTypeError, "must be an array"),
        ],
    )
    def test_each_is_named_and_changes_nothing(self, act, error, message, rng):
        bank = (
            fill(rng)
            .train_step("letters", LoraParams(np.full((4, 2), 8.0), np.full((2, 3), 8.0)))
            .merge(["digits"])
        )
        before = seen(bank)
        with pytest.raises(LoraNpError, match=message) as caught:
            act(bank, draw(rng))
        assert type(caught.value) is error
        assert seen(bank) == before

    def test_a_list_that_fails_at_its_end_merges_nothing(self, rng):
        """Property 34: the first of two names is good, the second is not; PEFT leaves the first merged."""
        bank = fill(rng)
        bank = bank.train_step("letters", LoraParams(np.full((4, 2), 1e200), np.full((2, 3), 1e200)))
        before = seen(bank)
        for names, error in (
            (["digits", "spare"], StateError),
            (["digits", "letters"], OverflowInMergeError),
        ):
            with pytest.raises(error):
                bank.merge(names)
            assert seen(bank) == before
