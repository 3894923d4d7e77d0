"""Targets in other languages: the protocol, programs that misbehave, and the client written in JavaScript."""

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lora_np.conformance.runner.answer import Answer, MalformedAnswerError, Raised, as_json, from_json
from lora_np.conformance.runner.judging import judge
from lora_np.conformance.runner.remote import Remote, _ending
from lora_np.conformance.runner.run import Run
from lora_np.conformance.runner.target import reach_command
from lora_np.conformance.vectors.format import read_all
from lora_np.errors import TargetError
from tests.planted_adapters import lora_case

CLIENT = Path(__file__).parent / "clients" / "lora_client.js"
HELLO = {
    "protocol": 1,
    "name": "odd",
    "version": "0",
    "capabilities": ["lora.forward"],
    "dtypes": ["float64"],
}
ODD = f"""
import json, os, sys, time
print(json.dumps({HELLO!r}), flush=True)
sys.stdin.readline()
for line in sys.stdin:
    asked = json.loads(line)
    how = asked["config"].get("how", "")
    Y = {{"shape": [2, 2], "hex": ["-0x1.3p+4", "0x1p+5", "0x1.c6p+6", "-0x1.cp+3"]}}
    good = json.dumps({{"id": asked["id"], "out": {{"Y": Y}}}})
    if how == "silent": time.sleep(60)
    elif how == "junk": print("Welcome to my library!", flush=True)
    elif how == "other id": print(good.replace(asked["id"], "lora/forward#0"), flush=True)
    elif how == "dies": print("out of memory", file=sys.stderr); sys.exit(5)
    elif how == "half a line": sys.stdout.write(good[:20]); sys.exit(0)
    elif how == "closes": os.close(1); time.sleep(60)
    elif how == "no shape": print(json.dumps({{"id": asked["id"], "out": {{"Y": {{"hex": []}}}}}}), flush=True)
    elif how == "a list": print("[]", flush=True)
    elif how == "talks on": print(good + "\\n" + good, flush=True)
    else: print(good, flush=True)
"""
PROBLEMS = {
    "silent": "no answer within 3 s",
    "junk": "answered a line that is not JSON: 'Welcome to my library!'",
    "other id": "answered a line that is not the answer to",
    "dies": "the process ended with status 5: 'out of memory'",
    "half a line": "the process ended with status 0",
    "closes": "closed its output",
    "no shape": "answered an answer without usable outputs",
    "a list": "answered a line that is not the answer to",
}


def odd(program, **limits):
    return Remote([sys.executable, "-c", program], **limits)


def test_every_way_to_misbehave_is_reported_and_the_program_started_again():
    hows = [how for problem in PROBLEMS for how in (problem, "")]
    started = time.perf_counter()
    with odd(ODD, limit=3.0) as target:
        for number, how in enumerate(hows, 1):
            case = lora_case(number, how=how)
            answer = target.ask(case)
            record = judge(case, answer, target.claims, "gold")
            assert answer.lost == bool(how), (how, answer)
            assert PROBLEMS.get(how, "") in record.problem
            assert record.verdict == ("error" if how else "pass")
    assert time.perf_counter() - started < 60  # the silent one would sleep that long


def test_answers_that_run_ahead_are_noticed():
    with odd(ODD) as target:
        assert target.ask(lora_case(1, how="talks on")).outputs
        assert "not the answer to lora/forward#2" in target.ask(lora_case(2)).problem
        assert target.ask(lora_case(3)).outputs


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("", "ended with status 0"),
        ("import sys; sys.exit('cannot start')", "status 1: 'cannot start'"),
        ("print('hi')", "is no introduction: a line that is not JSON: 'hi'"),
        ("print('{}')", "KeyError: 'protocol'"),
        ("print('[1]')", "TypeError"),
        ("print('{\"protocol\": 2}')", "protocol 2, expected 1"),
        (f"print('''{json.dumps({**HELLO, 'capabilities': 'lora'})}''')", "must be lists of text"),
        ("import time; time.sleep(60)", "said nothing within 1 s"),
    ],
)
def test_a_program_that_does_not_introduce_itself_is_refused(program, words):
    with pytest.raises(TargetError) as refused:
        odd(program, start_limit=1.0 if "sleep" in program else 60.0)
    assert words in str(refused.value)


@pytest.mark.parametrize("command", ["", "/no/such/program", 'a "b'])
def test_a_command_that_cannot_be_run_is_refused(command):
    with pytest.raises(TargetError):
        reach_command(command)


def test_a_program_that_does_not_start_again_is_told_for_each_case(tmp_path):
    flag = tmp_path / "started"
    program = f"import pathlib, sys; p = pathlib.Path({str(flag)!r})\nif p.exists(): sys.exit('once only')\np.touch()\n"
    with odd(program + ODD) as target:
        target.ask(lora_case(1, how="dies"))
        answer = target.ask(lora_case(2))
        assert answer.lost
        assert "did not start again" in answer.problem
        assert "once only" in answer.problem


def test_a_line_without_an_end_is_no_answer(monkeypatch):
    monkeypatch.setattr("lora_np.conformance.runner.remote.LONGEST_LINE", 1000)
    endless = ODD.replace(
        'elif how == "a list": print("[]", flush=True)', 'elif how == "endless": print("x" * 5000)'
    )
    with odd(endless) as target:
        assert target.ask(lora_case(1, how="endless")).problem == "answered a line without an end"
        assert target.ask(lora_case(2)).outputs


def test_a_program_that_does_not_leave_when_asked_is_killed(monkeypatch):
    monkeypatch.setattr("lora_np.conformance.runner.remote.FAREWELL", 0.2)
    target = odd(ODD + "\ntime.sleep(60)\n")
    process = target._process
    target.close()
    assert process.poll() == -9
    target.close()  # twice is once


def test_an_answer_that_comes_just_as_the_time_ends_counts_and_the_program_is_started_again(monkeypatch):
    with odd(ODD) as target:
        line = (as_json("lora/forward#1", Answer({"Y": np.ones(1)})) + "\n").encode()
        monkeypatch.setattr(target, "_exchange", lambda *_: (line, True))
        assert target.ask(lora_case(1)).outputs["Y"] == [1.0]
        monkeypatch.undo()
        assert target.ask(lora_case(2)).outputs["Y"].shape == (2, 2)


@pytest.mark.parametrize(("code", "words"), [(0, "status 0"), (-9, "SIGKILL"), (-99, "signal 99")])
def test_an_ending_is_named(code, words):
    assert words in _ending(code)


# ---- lines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        Answer({"Y": np.array([[0.1, -0.0], [np.inf, np.nan]])}),
        Answer({"Y": np.array([0.1], dtype=np.float32), "n": np.array(3)}),
        Answer({"Y": np.zeros((0, 3), dtype=np.float16)}),
        Answer({"Y": np.longdouble("0.1") * np.ones(2)}),
        Answer({"mask": np.array([True, False])}),
        Answer(raised=Raised("ShapeError", "X has 7 columns\nand “more”")),
        Answer(problem="returned nothing", mutated=("X",)),
        Answer(problem="no answer", lost=True),
    ],
)
def test_answers_survive_the_journey(answer):
    case = lora_case()
    found = from_json(as_json(case.id, answer), case)
    assert (found.raised, found.problem, found.lost, found.mutated) == (
        answer.raised,
        answer.problem,
        answer.lost,
        answer.mutated,
    )
    for name, array in answer.outputs.items():
        assert found.outputs[name].shape == array.shape
        assert np.array_equal(found.outputs[name], array.astype(np.float64), equal_nan=True)
        if array.dtype in (np.float16, np.float32, np.float64):
            assert found.outputs[name].dtype == array.dtype


def test_numbers_that_the_element_type_does_not_have_are_refused():
    line = json.dumps({"id": "lora/forward#1", "out": {"Y": {"shape": [1], "hex": [(0.1).hex()]}}})
    assert from_json(line, lora_case()).outputs["Y"] == [0.1]
    with pytest.raises(MalformedAnswerError, match="not float32: round them first"):
        from_json(line, lora_case(dtype="float32"))


# ---- the client in JavaScript -------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_the_client_in_javascript_passes_at_gold():
    """[lora-fwd] [lora-grad-a] [lora-grad-b] [lora-grad-x] [lora-merge] [lora-unmerge]"""
    cases = read_all(include="lora/") + read_all(include="rslora/")
    with reach_command(f"node {CLIENT}") as target:
        run = Run(target, level="gold")
        for case in cases:
            run.judge(case)
    report = run.report()
    assert [record.problem for record in report.failures] == []
    assert report.passed >= 150
    assert {row.capability for row in report.by_capability() if row.passed} >= {
        f"lora.{operation}" for operation in ("forward", "backward", "merge", "unmerge")
    }


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_a_mistake_in_the_client_is_found(tmp_path):
    """α / r is replaced by α · r: every case in which r is not 1 must fail."""
    wrong = tmp_path / "wrong.js"
    text = CLIENT.read_text()
    assert "alpha / config.rank" in text
    wrong.write_text(text.replace("alpha / config.rank", "alpha * config.rank"))
    cases = [case for case in read_all(include="lora/forward") if case.config["rank"] > 1][:12]
    with reach_command(f"node {wrong}") as target:
        run = Run(target, level="bronze")
        verdicts = {run.judge(case).verdict for case in cases if case.dtype == "float64"}
    assert "fail" in verdicts
