"""What a run is written to: JSON, JUnit, the badge, the page; each whole, each readable by what reads such files."""

import json
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from rich.console import Console

from lora_np.conformance import check
from lora_np.conformance.report import files, terminal
from lora_np.conformance.report.badge import badge
from lora_np.conformance.report.histogram import EDGES, counts, histogram
from lora_np.conformance.report.page import MOST_OF_A_METHOD, page
from lora_np.conformance.report.results import as_junit, as_object
from lora_np.conformance.runner.record import Record, Report
from lora_np.conformance.runner.remote import Claims
from lora_np.errors import ConfigError
from tests.planted_adapters import MISTAKES, Planted, Right, lora_case


@pytest.fixture(scope="module")
def report():
    """Every planted mistake, one expected failure, one that passes against expectation."""
    cases = [lora_case(number, mistake=mistake) for number, mistake in enumerate(MISTAKES, 1)]
    merges = [lora_case(n, operation="merge") for n in (1, 2)]
    expected = {"lora/forward#4": "known <to> be & so", "lora/merge#2": "out of date", "lora/merge#9": "gone"}
    return check(Planted(), cases=[*cases, *merges], expected_failures=expected, isolated=False)


@pytest.fixture(scope="module")
def passing():
    return check(Right(), cases=[lora_case()], isolated=False)


def by_hand(**more):
    records = tuple(more.pop("records", ()))
    return Report(records, Claims("x", "1", (), ()), "x", "gold", 0.0, **more)


# ---- JSON ------------------------------------------------------------------------------------------------


def test_the_object_has_the_numbers_and_nothing_that_json_lacks(report):
    found = json.loads(json.dumps(as_object(report), allow_nan=False))
    assert found["cases"] == found["passed"] + found["failed"] + found["xfailed"]
    assert found["cases"] + found["not_claimed"] == len(report.records)
    assert (found["xfailed"], found["not_claimed"]) == (1, 1)
    assert found["failed"] == len(found["failures"])
    assert not found["ok"]
    assert found["target"] == "tests.planted_adapters:Planted"
    assert {"python", "numpy", "cpu", "threads"} <= found["environment"].keys()
    assert found["capabilities"]["lora.merge"]["passed"] == 1
    assert "lora/merge#9" in found["problems"][0]
    wrong = next(one for one in found["failures"] if one["id"] == "lora/forward#20")
    assert wrong["index"] == [1, 0]
    assert wrong["certified"] is True
    assert "find_adapter" in wrong["reproducer"]
    nan = next(one for one in found["failures"] if one.get("got") == "nan")
    assert nan["error_u"] == "inf"
    assert found["xfails"][0]["reason"] == "known <to> be & so"


def test_the_worst_error_is_of_the_cases_that_passed(report, passing):
    assert passing.ok
    assert report.worst_u <= 16
    worst = by_hand(
        records=[Record("a/b#1", "a.b", "float64", "pass", error_u=3.0, limit_u=16.0, percent=18.75)]
    )
    assert worst.worst_u == 3.0
    assert as_object(worst)["capabilities"]["a.b"]["percent"] == 18.75


def test_an_infinite_error_is_left_out_of_the_rows(report):
    row = next(row for row in report.by_capability() if row.capability == "lora.forward")
    assert math.isfinite(row.worst_u)


# ---- JUnit -----------------------------------------------------------------------------------------------


def test_junit_has_a_suite_for_each_capability_and_a_test_for_each_case(report):
    root = ElementTree.fromstring(as_junit(report))
    suites = {suite.get("name"): suite for suite in root}
    assert suites.keys() == {"lora.forward", "lora.merge"}
    forward = suites["lora.forward"]
    assert int(forward.get("tests")) == len(forward.findall("testcase")) == len(MISTAKES)
    for tag, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(forward.get(attribute)) == len(forward.findall(f"testcase/{tag}")) > 0
    assert (
        suites["lora.merge"]
        .find("testcase/failure")
        .get("message")
        .startswith("lora/merge#2: passes, but was")
    )


def test_what_xml_cannot_hold_is_left_out():
    record = Record("a/b#1", "a.b", "float64", "error", problem="bell \x07, half \ud800, null \0, fine é\n")
    root = ElementTree.fromstring(as_junit(by_hand(records=[record])))
    assert root.find(".//error").get("message").split("bell")[1].startswith(" , half , null , fine é")


# ---- badge -----------------------------------------------------------------------------------------------


def test_the_badge_says_how_it_went(report, passing):
    assert "gold, 1 passed" in badge(passing)
    assert f"gold, {report.failed} of {report.cases} failed" in badge(report)
    assert "nothing run" in badge(by_hand())
    for svg in (badge(passing), badge(report)):
        assert ElementTree.fromstring(svg).get("role") == "img"


# ---- terminal --------------------------------------------------------------------------------------------


def printed(report):
    console = Console(record=True, width=160, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        terminal.show(report, console)
    return console.export_text()


def test_the_terminal_shows_rows_failures_problems_and_the_order_of_authority(report):
    text = printed(report)
    assert re.search(r"lora\.forward\s+│\s+3 │\s+\d+ │\s+1 │", text)
    assert "lora/forward#15: Y[0, 1]: got nan, want 32" in text
    assert "lora/merge#9 is expected to fail, but there is no such case" in text
    assert "1 failed as expected, 1 not claimed" in text
    assert "the paper's equation > the exact oracle" in text


def test_many_failures_are_cut_with_the_way_to_all():
    records = [Record(f"a/b#{n}", "a.b", "float64", "fail", problem="wrong") for n in range(50)]
    text = printed(by_hand(records=records, complete=False))
    assert "... and 10 more; --json FILE or --report DIR has all" in text
    assert "(interrupted)" in text


# ---- the page --------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Collects tags and checks that they close in order."""

    VOID = {"meta", "br"}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing(report):
    text = page(report)
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert all(address.startswith("#") for address in reader.addresses)
    assert not re.search(r"https?://|url\(|@import|<script", text)
    assert "prefers-color-scheme: dark" in text
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    charts = [attrs for tag, attrs in reader.tags if tag == "svg"]
    assert charts
    assert all("Histogram" in attrs["aria-label"] for attrs in charts)
    assert sum(tag == "details" for tag, _ in reader.tags) == report.failed + report.xfailed


def test_the_page_escapes_what_others_wrote():
    record = Record(
        "a/b#1", "a.b", "float64", "fail", problem="<b>&", diagnosis="</p>", reproducer="<script>"
    )
    text = page(by_hand(records=[record], problems=("<i>",)))
    assert "<script>" not in text
    assert "&lt;b&gt;&amp;" in text
    assert "&lt;i&gt;" in text


def test_the_page_of_a_pass_and_of_nothing(passing):
    assert "✓ passes gold" in page(passing)
    assert "<p>None.</p>" in page(passing)
    assert "Nothing that was asked is claimed" in page(by_hand())
    assert "interrupted" in page(by_hand(complete=False))


def test_the_page_does_not_grow_without_end():
    records = [Record(f"a/b#{n}", "a.b", "float64", "fail", problem="x") for n in range(MOST_OF_A_METHOD + 5)]
    assert "… and 5 more: the JSON file has all" in page(by_hand(records=records))


def test_the_histogram_counts_every_case_with_a_number_once():
    errors = [0.0, 0.1, 0.25, 0.3, 1.5, 16.0, 17.0, 1e9, math.inf]
    records = [
        Record(f"a/b#{n}", "a.b", "float64", "pass" if e <= 16 else "fail", e, 16.0)
        for n, e in enumerate(errors)
    ]
    records += [
        Record("a/b#99", "a.b", "float64", "error"),
        Record("a/b#98", "a.b", "float64", "not-claimed"),
    ]
    passed, failed = counts(records)
    assert dict(zip(EDGES, passed, strict=True)) == {
        0.0: 1, 0.25: 2, 0.5: 1, 1.0: 0, 2.0: 1, 4.0: 0, 8.0: 0, 16.0: 1, 64.0: 0, math.inf: 0,
    }  # fmt: skip
    assert (failed[-2], failed[-1]) == (1, 2)
    assert "error above 64 u: 0 passed, 2 failed" in histogram("a", records)
    assert "in units of u" in histogram("a", records)
    assert histogram("a", records[-2:]) == ""


# ---- files -----------------------------------------------------------------------------------------------


def test_all_files_are_written_into_a_directory_that_is_made(report, tmp_path):
    written = files.write_all(tmp_path / "out", report)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(files.NAMES)
    assert json.loads(written[1].read_text())["failed"] == report.failed
    assert written[0].read_text().startswith("<!doctype html>")
    files.write_all(tmp_path / "out", report)  # and again


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        files.require_directory(tmp_path / "file")
    with pytest.raises(ConfigError, match="does not exist"):
        files.require_directory(tmp_path / "a" / "b")
    files.require_directory(None)
