"""Scripts on banks of adapters: the shipped cases, who passes them, and what is found in who does not.

[adapters-bank] [adapters-merge] [adapters-swap]  Property 85.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from lora_np.conformance import check
from lora_np.conformance.runner.adapter import find_adapter
from lora_np.conformance.runner.calling import configuration
from lora_np.conformance.state import model, scripts
from lora_np.conformance.state.explaining import explain
from lora_np.conformance.state.mistakes import MISTAKES, predicted
from lora_np.conformance.state.session import StepError, run_script
from lora_np.conformance.targets.bank_state import CHOICES, BankSession
from lora_np.conformance.vectors.format import read_all
from lora_np.conformance.vectors.generate import scripts as generated
from lora_np.errors import StateError, VectorFileError
from tests.naive import adapters as naive

CASES = read_all(include="lora/state")


def test_there_are_scripts_of_every_step_and_of_every_choice():
    assert len(CASES) >= 60
    assert {step["do"] for case in CASES for step in case.script} == set(scripts.ARGUMENTS)
    asked = {case.option for case in CASES if case.option}
    assert asked == {(f"state.{name}", one) for name, all_of in model.CHOICES.items() for one in all_of}


def test_the_reference_passes_all_at_gold():
    report = check("reference", cases=CASES, level="gold", isolated=False)
    assert [f"{record.id}: {record.problem}" for record in report.failures] == []
    assert report.passed + report.not_claimed == len(CASES)
    assert {record.reason for record in report.records if record.reason} == {
        f"option state.{name} = {one} is not declared"
        for name, all_of in model.CHOICES.items()
        for one in all_of
        if CHOICES[f"state.{name}"] != one
    }


def test_the_base_must_come_back_exactly_where_that_is_said():
    """Property 30.  Once nothing is merged no rounding is allowed, and one unit in the last place is seen."""
    exact = [case for case in CASES if case.config.get("base") == "restored"]
    assert {case.dtype for case in exact} == {"float64", "float32"}
    for case in exact:
        last = case.outputs[f"W.{len(case.script)}"]
        if np.array_equal(last.want, case.inputs["W0"].values):
            assert last.roundings == 0
    full = next(case for case in exact if case.option)
    outputs = dict(run_script(BankSession, configuration(full), arrays(full)))
    outputs["W.4"] = np.nextafter(outputs["W.4"], 9)
    assert explain(full, outputs)[1].startswith("after step 4 (unmerge): the base weight differs from the")


def arrays(case):
    return {name: tensor.values.astype(case.dtype) for name, tensor in case.inputs.items()}


# ---- the model against another one ---------------------------------------------------------------------------


class Loops:
    """The plain dict of the bank's own tests, which shares no line with the model."""

    def __init__(self, W0):
        self.state = naive.bank(fractions(W0))

    def add(self, name, B, A, scale):
        self.state = naive.add_adapter(self.state, name, (fractions(B), fractions(A), Fraction(scale)))

    def delete(self, name):
        self.state = naive.delete(self.state, name)

    def activate(self, names):
        self.state = naive.activate(self.state, names)

    def merge(self, names):
        self.state = naive.merge(self.state, names)

    def unmerge(self, names):
        self.state = naive.unmerge(self.state, names)

    def scale(self, name, scale):
        self.state = naive.change(self.state, name, (None, None, Fraction(scale)))

    def train(self, name, B, A):
        self.state = naive.change(self.state, name, (fractions(B), fractions(A), None))

    def swap(self, old, new):
        self.state = naive.swap(self.state, old, new)

    def disable(self):
        self.state = naive.switch(self.state, False)

    def enable(self):
        self.state = naive.switch(self.state, True)

    def save(self):
        return self.state

    def load(self, saved):
        naive._allowed(not self.state["merged"])
        self.state = saved

    def weight(self):
        return floats(naive.weight(self.state))

    def forward(self, X):
        return floats(naive.output(self.state, fractions(X)))


def fractions(x):
    return [[Fraction(float(v)) for v in row] for row in x]


def floats(x):
    return np.array([[float(v) for v in row] for row in x])


def test_the_model_agrees_with_plain_dicts_and_fractions():
    """Every answer is the correctly rounded one of a bank that is written independently."""
    compared = 0
    for case in CASES:
        asked = case.option is None or CHOICES[case.option[0]] == case.option[1]
        if case.dtype != "float64" or not asked:
            continue
        try:
            got = run_script(Loops, configuration(case), arrays(case))
        except NotImplementedError:
            continue  # combining, and rows of a mixed batch
        compared += 1
        for name, output in case.outputs.items():
            np.testing.assert_array_equal(got[name], output.want, err_msg=f"{case.id} {name}")
    assert compared >= 60


# ---- mistakes -------------------------------------------------------------------------------------------------


def guessed(mistake, case):
    """What an implementation with a mistake answers."""
    t = {name: tensor.values.tolist() for name, tensor in case.inputs.items()}
    return {k: np.array(v, float) for k, v in predicted(mistake, t, configuration(case)).items()}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.sentence[:40])
def test_every_mistake_is_found_and_named(mistake):
    said = set()
    for case in CASES:
        outputs = guessed(mistake, case) if case.dtype == "float64" else {}
        if outputs.keys() == case.outputs.keys():
            flag, words = explain(case, outputs)
            said.add((flag, words.rsplit("; ", 1)[-1]))
            if (mistake.flag, mistake.sentence) in said:
                return
    pytest.fail(f"never told, but {sorted(said)}")


def test_what_no_mistake_explains_is_told_with_its_step():
    case = next(c for c in CASES if c.comment == "merged and unmerged" and c.dtype == "float64")
    good = dict(run_script(BankSession, configuration(case), arrays(case)))
    assert explain(case, good) == ("", "")
    words = {
        "W.3": (good["W.3"] + 1, "after step 3 (merge): the weight is off by up to 1"),
        "Y.3": (good["Y.3"] + 1, "after step 3 (merge): the output is off by up to 1"),
        "W.4": (
            good["W.4"] + 1,
            "after step 4 (unmerge): the base weight differs from the original by up to 1",
        ),
        "Y.4": (good["Y.4"][:1], "after step 4 (unmerge): Y.4 has shape (1, 3), expected (2, 3)"),
    }
    for name, (wrong, sentence) in words.items():
        flag, said = explain(case, {**good, name: wrong})
        assert flag == ""
        assert said.startswith(sentence[:-6])
    del good["W.4"]
    assert explain(case, good) == ("", "after step 4 (unmerge): W.4 is missing")


class Careless(BankSession):
    """Takes names that nobody has for granted, and fails later."""

    def activate(self, names):
        super().activate([name for name in names if name in self.bank.adapters])

    def forward(self, X):
        if not self.bank.active:
            raise RuntimeError("nothing acts")
        return super().forward(X)


def test_a_run_tells_the_step_that_failed():
    case = next(c for c in CASES if c.comment == "none is active")
    with pytest.raises(StepError, match=r"after step 1 \(add 'a' 0.5\): RuntimeError: nothing acts"):
        run_script(Careless, configuration(case), arrays(case))

    class Strict(BankSession):
        def merge(self, names):
            raise StateError("never")

    case = next(c for c in CASES if c.comment == "merged and unmerged")
    with pytest.raises(StepError, match=r"step 3 \(merge\): StateError: never"):
        run_script(Strict, configuration(case), arrays(case))


def test_what_a_session_lacks_is_not_claimed():
    case = next(c for c in CASES if c.comment == "one in the place of the other" and c.dtype == "float64")

    class Small(BankSession):
        swap = None

    with pytest.raises(NotImplementedError, match="Small has no swap"):
        run_script(Small, configuration(case), arrays(case))

    class Smaller(BankSession):
        def weight(self):
            raise NotImplementedError

    with pytest.raises(NotImplementedError):
        run_script(Smaller, configuration(case), arrays(case))


def test_after_an_accepted_typo_later_failures_are_no_news():
    case = next(c for c in CASES if c.comment == "merging an inactive adapter")

    class Accepting(BankSession):
        def merge(self, names):
            if names == ["a"]:
                raise RuntimeError("already gone")

    outputs = run_script(Accepting, configuration(case), arrays(case))
    assert outputs["refused.5"] == 0
    assert "W.6" not in outputs
    assert explain(case, {name: np.asarray(x) for name, x in outputs.items()})[1].startswith(
        "after step 5 (merge ['b']): accepted what must be refused"
    )


def test_with_words_a_refusal_must_have_ours():
    case = next(c for c in CASES if c.comment == "a typo in what is merged")

    class Terse(BankSession):
        def merge(self, names):
            if names == ["typo"]:
                raise KeyError("typo")
            super().merge(names)

    outputs = [run_script(Terse, configuration(case), arrays(case), words=words) for words in (False, True)]
    assert [one["refused.3"] for one in outputs] == [1, 0]


# ---- scripts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"do": "levitate"}, "step 1 does 'levitate'"),
        (
            {"do": "merge", "name": "a"},
            r"step 1 \(merge\) has the arguments \['name'\], expected \[\] and, if",
        ),
        ({"do": "swap", "old": "a"}, r"expected \['new', 'old'\]"),
    ],
)
def test_a_script_that_is_none_is_refused(step, words):
    with pytest.raises(VectorFileError, match=words):
        scripts.read([step])


def test_a_script_says_rightly_what_is_refused():
    case = next(c for c in CASES if c.comment == "a typo in what is merged")
    steps = [
        {**step, "expect": {k: v for k, v in step["expect"].items() if k != "refused"}}
        for step in case.script
    ]
    t = {name: tensor.values.tolist() for name, tensor in case.inputs.items()}
    with pytest.raises(ValueError, match=r"step 3 \(merge \['typo'\]\): refused .*, the script says None"):
        model.run(t, {**case.config, "script": steps})


def test_a_choice_that_a_script_does_not_make_is_an_error():
    """A script asks one question at most: the model does not guess the answer to another."""
    case = next(c for c in CASES if c.option == ("state.change", "followed"))
    t = {name: tensor.values.tolist() for name, tensor in case.inputs.items()}
    with pytest.raises(KeyError, match="change"):
        model.run(t, {"script": case.script})


def test_a_mark_that_the_model_does_not_share_is_an_error(monkeypatch):
    wrong = generated.Script("x", (), (*generated.ONE, generated.must(generated.merge())))
    monkeypatch.setattr(generated, "SCRIPTS", (wrong,))
    with pytest.raises(ValueError, match="x, step 3: refused False, written True"):
        generated.plans()


def test_the_request_of_a_remote_target_holds_the_script():
    """The runner's lines carry scripts as they are, so that any language can run them."""
    report = check("reference", cases=CASES[:3], level="gold", isolated=True)
    assert report.passed == 3


# ---- PEFT -------------------------------------------------------------------------------------------------------


IN_PEFT = {
    ("two active, one merged: the other acts beside it", "WrongActive"),
    ("merging an inactive adapter", "WrongActive"),
    ("a new scale while merged, then unmerged", "StaleMerge"),
    ("trained while merged, then unmerged", "StaleMerge"),
    ("one name twice in what is merged", "DoubleMerge"),
    ("a typo in what is merged", "UnknownName"),
    ("too few weights", "LengthsTruncated"),
    ("too many weights", "LengthsTruncated"),
    ("a new scale is saved", "LostOnSave"),
}
"""What these scripts find in PEFT 0.21.2 by themselves, and the flag of the diagnosis."""


def test_what_is_found_in_peft():
    """Each is found and named, and what PEFT does rightly passes."""
    pytest.importorskip("peft")
    right = {"merged and unmerged", "two merged at once", "one after the other", "saved and loaded"}
    rows = right | {row for row, _ in IN_PEFT}
    of_row = {case.id: case.comment.split(" (")[0] for case in CASES if case.dtype == "float64"}
    asked = [case for case in CASES if of_row.get(case.id) in rows]
    report = check(find_adapter("peft"), cases=asked, level="gold", isolated=False)
    assert {(of_row[record.id], record.flag) for record in report.failures} == IN_PEFT
    assert report.passed >= 6
