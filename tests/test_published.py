"""What is published of released software: its form, that nothing in it is without a verdict, and damage to it.

`test_published_again.py` runs it again.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from lora_np.conformance.published import departures, measuring, results
from lora_np.conformance.published.__main__ import main, text_of
from lora_np.conformance.published.records import RESULTS, VERDICTS
from lora_np.conformance.published.verdicts import TABLE, Verdict, find, read_verdicts
from lora_np.conformance.runner.record import Record
from lora_np.conformance.runner.run import check, chosen
from lora_np.conformance.targets.layers import LAYERS
from lora_np.errors import DatasetError

FOUND = results()
NAMES = [one.target for one in FOUND.implementations]
FURTHER = (
    "combine-cat",
    "combine-dare",
    "combine-linear",
    "combine-magnitude",
    "combine-svd",
    "combine-ties",
)
BESIDE_LAYERS = (*FURTHER, "prefix-tuning", "houlsby", "pfeiffer")


# ---- what is there ------------------------------------------------------------------------------------------


def test_every_released_target_is_there_once_with_the_versions_of_what_computes():
    assert sorted(measuring.PACKAGES) == NAMES
    for one in FOUND.implementations:
        assert list(one.versions) == ["python", *measuring.PACKAGES[one.target]]
        assert all(one.versions.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_counts_add_up_so_that_no_failure_is_without_a_verdict(name):
    one = FOUND.implementations[NAMES.index(name)]
    for part in ("cases", "passed", "failed", "not_claimed"):
        assert getattr(one, part) == sum(getattr(row, part) for row in one.table)
    assert one.cases == one.passed + one.failed
    assert [row.capability for row in one.table] == sorted({row.capability for row in one.table})
    for row in one.table:
        judged = sum(failure.number for failure in one.failures if failure.capability == row.capability)
        assert (row.cases, row.failed) == (row.passed + row.failed, judged)
        assert 0 <= row.worst_u <= 64  # gold's limits


@pytest.mark.parametrize("name", NAMES)
def test_failures_are_sorted_and_say_everything(name):
    failures = FOUND.implementations[NAMES.index(name)].failures
    keys = [(one.capability, one.name, one.flag) for one in failures]
    assert keys == sorted(set(keys))
    for one in failures:
        assert one.verdict in VERDICTS
        assert one.number > 0
        assert one.case.startswith(f"{one.capability.replace('.', '/')}#")
        assert one.problem
        assert one.why.endswith((".", ".)"))
        assert bool(one.flag) == bool(one.diagnosis) or not one.flag
        assert bool(one.reproducer) == bool(one.prints)
        assert one.verdict != "defect" or "want" in one.prints
        assert len(one.reproducer.strip().splitlines()) <= 20
        assert "no report found in our searches on 2026-11-22" in one.upstream or any(
            word in one.upstream for word in ("issue ", "pull request ", "not searched: ")
        )
        for word in ("lora_np", "sys.path", "/tmp"):
            assert word not in one.reproducer


def test_the_file_is_what_the_records_are_written_as():
    assert text_of(FOUND) == RESULTS.read_text(encoding="utf-8")


def test_every_entry_of_the_verdicts_speaks_of_a_failure_and_says_what_is_published():
    entries = {one.name: one for one in read_verdicts()}
    published = {failure.name: failure for one in FOUND.implementations for failure in one.failures}
    assert entries.keys() == published.keys()
    for name, failure in published.items():
        entry = entries[name]
        assert (entry.verdict, entry.why, entry.upstream, entry.reproducer) == (
            failure.verdict,
            failure.why,
            failure.upstream,
            failure.reproducer,
        )


def test_departures_are_sorted_of_methods_that_there_are_and_complete():
    rows = departures()
    assert [row.id for row in rows] == sorted({row.id for row in rows})
    for row in rows:
        assert row.method in LAYERS or row.method in BESIDE_LAYERS, row.id
        assert row.verdict in VERDICTS
        assert all((row.paper, row.peft, row.effect, row.here))


# ---- damage -------------------------------------------------------------------------------------------------


def damaged(tmp_path, change):
    """A copy of the results, changed."""
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    change(stored)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(stored), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x.pop("level"), "lacks 'level'"),
        (lambda x: x.update(more=1), "has 'more', too"),
        (lambda x: x.update(implementations={}), "implementations cannot be"),
        (lambda x: x.update(implementations=[7]), "expected an object for Measured"),
        (lambda x: x["implementations"][0].update(passed="8"), "passed cannot be '8'"),
        (lambda x: x["implementations"][0].update(passed=True), "passed cannot be True"),
        (lambda x: x["implementations"][0]["table"][0].pop("worst_u"), "lacks 'worst_u'"),
        (lambda x: x["implementations"][0]["failures"][0].update(verdict="fine"), "the verdict is 'fine'"),
    ],
)
def test_damaged_results_are_refused_with_what_is_wrong(tmp_path, change, words):
    with pytest.raises(DatasetError) as caught:
        results(damaged(tmp_path, change))
    assert words in str(caught.value)


def test_missing_and_broken_files_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="cannot read"):
        results(tmp_path / "nothing.json")
    (tmp_path / "half.json").write_text('[{"id": ', encoding="utf-8")
    with pytest.raises(DatasetError, match="not JSON"):
        departures(tmp_path)
    (tmp_path / "half.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DatasetError, match="expected a list of rows"):
        departures(tmp_path)
    with pytest.raises(DatasetError, match="no table of departures"):
        departures(tmp_path / "empty")


def test_two_departures_of_one_id_are_refused(tmp_path):
    row = departures()[0]._asdict()
    (tmp_path / "twice.json").write_text(json.dumps([row, row]), encoding="utf-8")
    with pytest.raises(DatasetError, match="two departures"):
        departures(tmp_path)


ENTRY = '[one]\ntarget = ["t"]\ncapability = "*"\nverdict = "{}"\nwhy = "w."\nupstream = "u"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[one", "not a table of verdicts"),
        ('[one]\nverdict = "defect"\n', "not a table of verdicts"),
        (ENTRY.format("fine"), "the verdict is 'fine'"),
        (ENTRY.format("defect"), "a defect needs a reproducer"),
    ],
)
def test_verdicts_that_are_none_are_refused(tmp_path, text, words):
    path = tmp_path / "verdicts.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=words):
        read_verdicts(path)
    assert TABLE.is_file()


# ---- judging and summing up ---------------------------------------------------------------------------------

CASE = chosen("ia3/unmerge#1")[0]
RECORD = Record(CASE.id, CASE.capability, CASE.dtype, "fail", error_u=100.0, problem="3 of 4 elements wrong")
ANY = Verdict("any", ["peft"], "*", "precision", "w.", "u")


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"target": ["torch"]}, False),
        ({"capability": "ia3.*"}, True),
        ({"capability": "lora.*"}, False),
        ({"flag": ""}, True),
        ({"flag": "Rotation*"}, False),
        ({"problem": "elements? wrong$"}, True),
        ({"problem": "^raised"}, False),
        ({"config": {"feedforward": CASE.config["feedforward"]}}, True),
        ({"config": {"neumann": False}}, True),
        ({"config": {"neumann": 5}}, False),
        ({"tagged": "TiedScores"}, False),
        ({"comment": CASE.comment}, True),
        ({"comment": "another"}, False),
        ({"dtype": "float64"}, True),
        ({"dtype": "float32"}, False),
        ({"most_u": 100.0}, True),
        ({"most_u": 99.0}, False),
    ],
)
def test_an_entry_fits_what_all_its_conditions_allow(changes, fits):
    assert ANY._replace(**changes).fits("peft", RECORD, CASE) is fits


def test_the_first_entry_that_fits_is_taken():
    first, second = ANY._replace(name="no", most_u=1.0), ANY._replace(name="yes")
    assert find([first, second, ANY], "peft", RECORD, CASE) is second
    assert find([first], "peft", RECORD, CASE) is None


class Doubled:
    """W twice as large as it must be."""

    name, version = "doubled", "1"
    dtypes = ("float64",)
    capabilities = ("lora.merge",)
    options = {"errors": "none"}  # noqa: RUF012

    def merge(self, method, config, tensors):
        W = tensors["W0"] + config["alpha"] / config["rank"] * tensors["B"] @ tensors["A"]
        return 2 * W


def test_a_run_is_counted_and_its_failures_are_grouped(monkeypatch):
    cases = [case for case in chosen("lora/merge") if case.dtype == "float64" and case.result == "valid"][:6]
    other = chosen("lora/forward#1")
    monkeypatch.setitem(measuring.PACKAGES, "doubled", ("numpy",))
    report = check(Doubled(), cases=[*cases, *other], isolated=False)
    by_id = {case.id: case for case in [*cases, *other]}
    entry = Verdict("twice", ["doubled"], "lora.*", "defect", "w.", "u", "print('got 2, want 1')")
    one, unjudged = measuring.summed_up("doubled", report, by_id, [entry])
    assert not unjudged
    assert (one.cases, one.passed + one.failed, one.not_claimed) == (6, 6, 0)
    assert [row.capability for row in one.table] == ["lora.merge"]
    assert sum(failure.number for failure in one.failures) == one.failed > 3
    assert {failure.prints for failure in one.failures} == {"got 2, want 1\n"}
    assert one.versions["numpy"] == np.__version__

    none, unjudged = measuring.summed_up("doubled", report, by_id, [])
    assert not none.failures
    assert len(unjudged) == one.failed
    assert unjudged[0].target == "doubled"


def test_a_reproducer_that_fails_is_an_error():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        measuring.run("1 / 0")
    assert measuring.run("") == ""


def test_the_command_refuses_what_it_does_not_know(capsys):
    assert main(["nothing"]) == 2
    assert "no released target is called 'nothing'" in capsys.readouterr().err


def test_the_command_writes_nothing_where_a_verdict_is_missing(tmp_path, monkeypatch, capsys):
    path = tmp_path / "results.json"
    open_one = measuring.Unjudged("torch", "lora.merge", "", "lora/merge#1", "wrong")
    home = "lora_np.conformance.published.__main__"
    monkeypatch.setattr(f"{home}.measure", lambda *_: (FOUND, [open_one]))
    assert main([], path) == 1
    assert not path.exists()
    assert "lora/merge#1" in capsys.readouterr().err


def test_the_command_keeps_the_results_of_the_targets_that_were_not_named(tmp_path, monkeypatch, capsys):
    path = tmp_path / "results.json"
    home = "lora_np.conformance.published.__main__"
    monkeypatch.setattr(f"{home}.measure", lambda *_: (FOUND, []))
    assert main([], path) == 0
    assert path.read_bytes() == RESULTS.read_bytes()
    torch = FOUND.implementations[NAMES.index("torch")]._replace(cases=0)
    monkeypatch.setattr(f"{home}.measure", lambda *_: (FOUND._replace(implementations=(torch,)), []))
    assert main(["torch"], path) == 0
    again = results(path)
    assert [one.target for one in again.implementations] == NAMES
    assert again.implementations[NAMES.index("torch")].cases == 0
    assert "torch: 0 cases" in capsys.readouterr().out


def test_a_failure_is_described_by_the_first_of_them():
    worse = replace(RECORD, id="ia3/unmerge#3", error_u=12345.0)
    found = measuring._failure([RECORD, worse, replace(RECORD, error_u=np.inf)], ANY, "")
    assert (found.case, found.number, found.worst_u) == ("ia3/unmerge#1", 3, 12300.0)
    assert measuring._failure([replace(RECORD, error_u=np.inf)], ANY, "").worst_u is None
