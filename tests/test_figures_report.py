"""The oracle's pictures and what they are made of: counted again from the published file, row by row."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from lora_np.conformance.published import results
from lora_np.conformance.published.records import RESULTS
from lora_np.conformance.vectors.format import read_all
from lora_np.figures.report import EXACT, marks, worst_errors
from lora_np.figures.report_again import OWN, RUNS, asked_again, rerun, standings_of
from lora_np.figures.report_scene import (
    IMPLEMENTATIONS,
    Standing,
    findings,
    in_roundings,
    method_sizes,
    report_scene,
)
from tests.chart_checks import check_chart

SCENE = report_scene()
ROWS = SCENE.rows(SCENE.claimed)
STORED = json.loads(RESULTS.read_text())["implementations"]


def exhausted(generator):
    """Run a generator to its end: what it yielded, and what it returned."""
    said = []
    while True:
        try:
            said.append(next(generator))
        except StopIteration as ended:
            return said, ended.value


# ---- what is shown -----------------------------------------------------------------------------------------------


def test_every_stored_case_is_in_one_standing():
    for one in STORED:
        rows = [row for row in SCENE.standings if row.implementation == one["target"]]
        assert sum(row.asked for row in rows) == one["cases"]
        assert sum(row.passed for row in rows) == one["passed"]
        assert sum(row.failed for row in rows) == one["failed"]
        by_design = sum(row["number"] for row in one["failures"] if row["verdict"] == "by design")
        assert sum(row.by_design for row in rows) == by_design


def test_asked_and_not_claimed_make_the_whole_suite():
    """The sizes come from the manifest; the cases themselves are counted here."""
    counted = {}
    for case in read_all():
        counted[case.method] = counted.get(case.method, 0) + 1
    assert method_sizes() == counted
    assert list(method_sizes()) == sorted(counted)
    for row in SCENE.standings:
        assert row.asked + row.not_claimed == counted[row.method]


def test_a_standing_is_summed_by_hand():
    """IA3 in PEFT: five operations, their counts and the worst of both kinds, read off the stored rows."""
    stored = next(one for one in STORED if one["target"] == "peft")
    table = [row for row in stored["table"] if row["capability"].startswith("ia3.")]
    failures = [row for row in stored["failures"] if row["capability"].startswith("ia3.")]
    row = next(r for r in SCENE.standings if (r.implementation, r.method) == ("peft", "ia3"))
    assert row.asked == sum(r["cases"] for r in table)
    assert row.worst_passed == max(r["worst_u"] for r in table)
    assert row.worst_failed == max(r["worst_u"] for r in failures if r["worst_u"] is not None)
    assert row.worst_failed > 1e8  # the epsilon that unmerging adds


def test_every_implementation_has_words():
    assert IMPLEMENTATIONS.keys() == SCENE.implementations.keys()


@pytest.mark.parametrize(
    ("row", "mark", "words"),
    [
        (Standing("x", "lora", 0, 0, 9, None, None), "–", "not claimed"),
        (Standing("x", "lora", 9, 9, 0, 1.0, None), "✓", "all 9 pass"),
        (Standing("x", "lora", 9, 7, 0, 1.0, 99.0), "✗ 2", "2 of 9 fail, 0 of them by design"),
        (Standing("x", "lora", 9, 7, 0, 1.0, None, 2), "≠ 2", "2 of 9 fail, 2 of them by design"),
        (Standing("x", "lora", 9, 5, 0, 1.0, None, 3), "✗ 1", "4 of 9 fail, 3 of them by design"),
    ],
)
def test_a_standing_in_signs_and_words(row, mark, words):
    assert row.mark == mark
    assert row.words == words


def test_findings_hold_every_failure_once():
    for one in results().implementations:
        found = findings(one)
        assert sum(row.cases for row in found) == one.failed
        assert len({row.name for row in found}) == len(found)
        assert [row.cases for row in found] == sorted((row.cases for row in found), reverse=True)
    assert findings(SCENE.implementations["torch"]) == []


def test_findings_of_one_method():
    found = findings(SCENE.implementations["peft"], "oft")
    assert {where.partition(".")[0] for row in found for where in row.where} == {"oft"}
    assert "oft-exact-side" in {row.name for row in found}


def test_a_tolerance_in_roundings():
    """[oracle-error]: u is half the machine epsilon."""
    assert in_roundings(1e-5) == 1e-5 / (np.finfo(np.float64).eps / 2)
    assert in_roundings(2.0**-53) == 1.0


# ---- the pictures ------------------------------------------------------------------------------------------------


def test_the_marks():
    chart = marks(ROWS)
    check_chart(chart)
    texts = next(trace for trace in chart.figure.data if trace.type == "scatter")
    assert set(texts.text) > {"✓", "–"}
    assert all(any(text.startswith(sign) for sign in "✓✗≠–") for text in texts.text)
    assert f"{sum(one['cases'] for one in STORED):,} cases" in chart.alt
    assert f"{sum(one['failed'] for one in STORED):,} cases fail" in chart.alt
    colours = next(trace for trace in chart.figure.data if trace.type == "heatmap").z
    assert np.shape(colours) == (len(SCENE.claimed), len(STORED))


def test_all_methods_can_be_shown():
    check_chart(marks(SCENE.rows(SCENE.methods)))
    assert set(SCENE.claimed) < set(SCENE.methods)
    assert "houlsby" in SCENE.methods
    assert "houlsby" not in SCENE.claimed


@pytest.mark.parametrize("tolerance", ["1e-3", "1e-5", "1e-10"])
def test_the_worst_errors(tolerance):
    """The dots left of an ordinary test's line are counted again."""
    chart = worst_errors(ROWS, tolerance=tolerance, chosen="peft")
    check_chart(chart)
    wrong = [x for x in chart.table["worst that failed (u)"] if x is not None]
    unseen = sum(x * 2.0**-53 < float(tolerance) for x in wrong)
    assert f"{unseen} of the {len(wrong)} open marks are left" in chart.alt
    drawn = [x for trace in chart.figure.data for x in trace.x]
    assert min(drawn) >= EXACT
    assert len(drawn) == len(wrong) + sum(x is not None for x in chart.table["worst that passed (u)"])


def test_what_passed_is_within_the_limits():
    for row in ROWS:
        if row.worst_passed is not None:
            assert row.worst_passed <= (64 if row.method == "dora" else 16)
        if row.worst_failed is not None:
            assert row.worst_failed > 16


def test_the_sentence_when_nothing_failed():
    chart = worst_errors([Standing("torch", "lora", 9, 9, 0, 2.5, None)], tolerance="1e-5", what="operation")
    check_chart(chart)
    assert (
        chart.alt
        == "9 of 9 cases pass, the worst of them with 2.5 u, torch's lora; nothing failed with a number."
    )
    assert chart.figure.layout.yaxis.title.text == "operation"


# ---- what is measured --------------------------------------------------------------------------------------------


def test_our_own_four_pass_what_they_claim():
    said, rows = exhausted(rerun("lora-xs"))
    shares = [share for share, _ in said]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] < 1
    size = method_sizes()["lora-xs"]
    for name in OWN:
        theirs = [row for row in rows if row.implementation == name]
        assert sum(row.asked + row.not_claimed for row in theirs) == size
        assert all(row.failed == 0 for row in theirs)
    assert len(said) == size * len(OWN)
    check_chart(worst_errors(rows, tolerance="1e-5", what="operation"))


def test_few_runs_of_training_are_asked_again():
    """And everything else: what is left out is only training."""
    whole = list(read_all(include="lora/"))
    asked = {case.id for case in asked_again("lora")}
    left_out = [case for case in whole if case.id not in asked]
    assert {case.operation for case in left_out} == {"train"}
    assert sum(case.operation == "train" for case in whole) - len(left_out) == RUNS


def test_a_rerun_that_is_left_does_no_more():
    work = rerun("lora-xs")
    next(work)
    work.close()
    with pytest.raises(StopIteration):
        next(work)


def test_standings_of_a_run_that_fails():
    """Wrong numbers, refusals and what is not claimed, each counted by hand."""

    def record(verdict, error):
        return SimpleNamespace(
            capability="lora.forward",
            verdict=verdict,
            error_u=error,
            failing=verdict in ("fail", "error", "xpass"),
        )

    group = [
        record("pass", 1.5),
        record("pass", 3.0),
        record("fail", 1e9),
        record("fail", math.inf),
        record("error", 0.0),
        record("not-claimed", 0.0),
    ]
    (row,) = standings_of("mine", group)
    assert row == Standing("mine", "lora.forward", 5, 2, 1, 3.0, 1e9)
