"""The runner is itself tested: each planted mistake is reported as what it is, and the run goes on."""

import threading
import time
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from lora_np.conformance import check
from lora_np.conformance.runner.adapter import find_adapter
from lora_np.conformance.runner.calling import configuration
from lora_np.conformance.runner.run import PATIENCE
from lora_np.errors import ConfigError, TargetError
from tests.planted_adapters import LOST, MISTAKES, Broken, Planted, Right, Silent, lora_case


def planted_cases(mistakes):
    return [lora_case(number, mistake=mistake) for number, mistake in enumerate(mistakes, 1)]


def assert_reported(report, mistakes):
    assert [record.id for record in report.records] == [f"lora/forward#{n + 1}" for n in range(len(mistakes))]
    for record, (mistake, (verdict, words)) in zip(report.records, mistakes.items(), strict=True):
        assert record.verdict == verdict, (mistake, record)
        assert words in record.problem, (mistake, record.problem)


@pytest.mark.parametrize("isolated", [False, True], ids=["here", "in a process"])
def test_every_planted_mistake_is_reported_and_the_run_goes_on(isolated):
    report = check(Planted(), cases=planted_cases(MISTAKES), isolated=isolated)
    assert_reported(report, MISTAKES)
    assert not report.ok
    assert report.passed == 3
    assert report.not_claimed == 1
    assert report.failed == len(MISTAKES) - 4
    assert report.cases == len(MISTAKES) - 1


def test_what_hangs_or_dies_is_survived_even_in_code_that_never_returns():
    mistakes = {name: ("error", words) for name, words in LOST.items() if name != "swallows"}
    started = time.perf_counter()
    cases = [*planted_cases(mistakes), lora_case(99)]
    report = check(Planted(), cases=cases, limit=3.0)
    assert time.perf_counter() - started < 60  # every one of them sleeps that long if it is let
    assert [record.verdict for record in report.records] == ["error"] * len(mistakes) + ["pass"]
    for record, words in zip(report.records, mistakes.values(), strict=False):
        assert words[1] in record.problem, record


def test_python_code_that_hangs_in_this_process_is_interrupted_also_where_it_catches_everything():
    report = check(
        Planted(), cases=[*planted_cases(("hangs", "swallows")), lora_case(9)], isolated=False, limit=0.5
    )
    assert [record.verdict for record in report.records] == ["error", "error", "pass"]
    assert "no answer within 0.5 s" in report.records[0].problem


def test_a_capability_that_answers_nothing_is_given_up_after_a_while():
    cases = [*planted_cases(["hangs"] * (PATIENCE + 3)), lora_case(50, operation="merge")]
    report = check(Planted(), cases=cases, isolated=False, limit=0.3)
    told = [record.problem for record in report.records]
    assert ["no answer" in text for text in told[:PATIENCE]] == [True] * PATIENCE
    assert all("not asked: 5 cases of lora.forward before it" in text for text in told[PATIENCE:-1])
    assert report.records[-1].verdict == "pass"


def test_an_adapter_of_this_place_only_is_called_here():
    class Local(Right):
        pass

    assert check(Local(), cases=[lora_case()]).ok
    with pytest.raises(TargetError, match="cannot be made in another process"):
        check(Local(), cases=[lora_case()], isolated=True)


def test_an_adapter_that_cannot_be_pickled_is_called_here():
    adapter = Right()
    adapter.lock = (x for x in ())
    assert check(adapter, cases=[lora_case()]).ok


@pytest.mark.parametrize("isolated", [False, None])
def test_a_target_that_cannot_be_made_says_why(isolated):
    with pytest.raises(TargetError, match="the library is not there"):
        check("tests.planted_adapters:Broken", cases=[], isolated=isolated)
    assert Broken is not None


def test_an_operation_that_is_claimed_but_not_there_is_told():
    report = check(Silent(), cases=[lora_case(operation="merge")], isolated=False)
    assert report.records[0].problem == "the adapter claims lora.merge but has no method 'merge'"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_module:X", "cannot be imported"),
        ("tests.planted_adapters:Nobody", "has no class 'Nobody'"),
        ("tests.planted_adapters:Refused", "not today"),
        ("tests.planted_adapters:lora_case", "is not an adapter: it has no name, version, capabilities"),
    ],
)
def test_a_target_that_is_not_there_is_refused_by_name(target, words):
    with pytest.raises(TargetError, match=words):
        find_adapter(target)


def test_the_steps_of_a_state_case_are_handed_over():
    case = replace(lora_case(), script=({"do": "merge"},))
    assert configuration(case)["script"] == [{"do": "merge"}]


def test_a_diagnoser_that_fails_does_not_end_the_run(monkeypatch):
    def broken(case, got):
        raise ZeroDivisionError("what now")

    monkeypatch.setattr("lora_np.conformance.diagnose.diagnose", broken)
    record = check(Planted(), cases=planted_cases(["one_wrong"]), isolated=False).failures[0]
    assert record.diagnosis == "(the diagnoser failed: ZeroDivisionError: what now)"


def test_a_time_limit_needs_the_main_thread_and_is_left_out_elsewhere():
    found = []
    thread = threading.Thread(
        target=lambda: found.append(check(Right(), cases=[lora_case()], isolated=False))
    )
    thread.start()
    thread.join()
    assert found[0].ok


def test_what_is_no_adapter_is_refused():
    with pytest.raises(TargetError, match="object is not an adapter: it has no name"):
        check(object(), cases=[])
    with pytest.raises(TargetError, match="neither shipped nor of the form"):
        check("refrence", cases=[])
    with pytest.raises(ConfigError, match="level"):
        check(Right(), level="platinum", cases=[])


@pytest.mark.parametrize("memory", ["C", "F", "strided", "reversed", "readonly"])
def test_inputs_come_in_the_layout_that_the_case_asks_for(memory):
    seen = {}

    class Looks(Right):
        def forward(self, method, config, t):
            seen.update(t)
            return super().forward(method, config, t)

    assert check(Looks(), cases=[lora_case(memory=memory)]).ok
    flags = seen["W0"].flags
    assert flags.writeable == (memory != "readonly")
    assert flags.c_contiguous == (memory in ("C", "readonly"))
    assert flags.f_contiguous == (memory == "F")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_element_type_is_handed_over_and_expected_back(dtype):
    seen = []

    class Looks(Right):
        def forward(self, method, config, t):
            seen.append((config["dtype"], t["X"].dtype.name))
            return super().forward(method, config, t)

    assert check(Looks(), cases=[lora_case(dtype=dtype)]).ok
    assert seen == [(dtype, "float32" if dtype == "bfloat16" else dtype)]


# ---- claims ---------------------------------------------------------------------------------------------------------


def test_what_is_not_claimed_is_not_run_and_is_no_failure():
    class Little(Right):
        capabilities = ("lora.merge",)
        dtypes = ("float32",)
        options: ClassVar[dict] = {"gelu": "tanh, erf"}

    cases = [
        lora_case(1, operation="merge", dtype="float32"),
        lora_case(2, operation="merge"),
        lora_case(3, dtype="float32"),
    ]
    report = check(Little(), cases=cases)
    assert [record.verdict for record in report.records] == ["pass", "not-claimed", "not-claimed"]
    assert "element type float64" in report.records[1].reason
    assert "capability lora.forward" in report.records[2].reason
    assert report.ok
    assert report.cases == 1


def test_a_choice_is_run_only_where_it_is_declared():
    class Chooses(Right):
        options: ClassVar[dict] = {"gelu": "tanh, erf", "norm": "detached"}

    options = [
        ("gelu", "erf"),
        ("gelu", "tanh"),
        ("norm", "attached"),
        ("norm", "detached"),
        ("side", "left"),
    ]
    cases = [replace(lora_case(n), option=option, result="acceptable") for n, option in enumerate(options)]
    verdicts = [record.verdict for record in check(Chooses(), cases=cases).records]
    assert verdicts == ["pass", "pass", "not-claimed", "pass", "not-claimed"]


def test_nothing_run_is_no_pass():
    assert not check(Right(), cases=[]).ok


# ---- input that must be refused -----------------------------------------------------------------------------


class Refuses(Right):
    """Raises what config["raises"] says, or accepts."""

    def forward(self, method, config, t):
        from lora_np import errors

        if "raises" in config:
            raise getattr(errors, config["raises"], KeyError)(config.get("words", "X has 7 columns"))
        return np.zeros(1)


class RefusesInOurWords(Refuses):
    options: ClassVar[dict] = {"errors": "lora_np"}


def bad(number, **config):
    error = {"class": "ShapeError", "mentions": ["X"]}
    return lora_case(number, result="invalid", error=error, **config)


def test_any_exception_refuses_unless_our_words_are_claimed():
    cases = [
        bad(1, raises="ShapeError"),
        bad(2, raises="KeyError"),
        bad(3, raises="ShapeError", words="no"),
        bad(4),
    ]
    verdicts = [record.verdict for record in check(Refuses(), cases=cases, isolated=False).records]
    assert verdicts == ["pass", "pass", "pass", "fail"]
    report = check(RefusesInOurWords(), cases=cases, isolated=False)
    assert [record.verdict for record in report.records] == ["pass", "fail", "fail", "fail"]
    told = [record.problem for record in report.records]
    assert "raised KeyError, expected ShapeError" in told[1]
    assert "does not mention 'X'" in told[2]
    assert "accepted what must be refused with ShapeError" in told[3]


def test_who_checks_nothing_is_not_asked_to_refuse():
    class Careless(Right):
        options: ClassVar[dict] = {"errors": "none"}

    assert check(Careless(), cases=[bad(1)]).records[0].verdict == "not-claimed"


def test_bad_input_that_hangs_is_an_error():
    report = check(Planted(), cases=[lora_case(result="invalid", mistake="hangs")], isolated=False, limit=0.1)
    assert report.records[0].verdict == "error"
