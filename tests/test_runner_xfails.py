"""Expected failures: strict, with a reason and an end, and errors that say where and how to mend them."""

import pytest

from lora_np.conformance import check
from lora_np.conformance.runner.xfails import Expected, complaints, read_xfails, require_expected
from lora_np.conformance.vectors.format import SUITE
from lora_np.errors import ConfigError, XfailsFileError
from tests.planted_adapters import Planted, Right, lora_case

GOOD = """
# ours
["lora/forward#17"]
reason = "the scale is kept in float32"
until = "2027.05"
"""


def written(tmp_path, text):
    path = tmp_path / "my.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_is_read(tmp_path):
    found = read_xfails(written(tmp_path, GOOD))
    assert found == {"lora/forward#17": Expected("the scale is kept in float32", "2027.05")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["lora/forward#17"]\nuntil = "2027.05"', ["line 1", "reason", "it has none"]),
        ('\n["lora/forward#17"]\nreason = "  "\nuntil = "2027.05"', ["line 2", "reason", "'  '"]),
        ('["lora/forward#17"]\nreason = 3\nuntil = "2027.05"', ["reason", "got 3"]),
        ('["lora/forward#17"]\nreason = "x"', ["until", "it has none"]),
        ('["lora/forward#17"]\nreason = "x"\nuntil = "2027.13"', ["until", "2027.13"]),
        ('["lora/forward#17"]\nreason = "x"\nuntil = "next year"', ["until", "next year"]),
        ('["lora/forward#17"]\nreason = "x"\nuntil = "2027.05"\nbecause = 1', ["unknown key 'because'"]),
        ('["lora forward"]\nreason = "x"\nuntil = "2027.05"', ["not the id of a case"]),
        ('"lora/forward#17" = 1', ["expected a table, got int"]),
        ('["lora/forward#17"\nreason = "x"', ["not TOML", "line 1"]),
        ('["a/b#1"]\n["a/b#1"]', ["not TOML"]),
        ("a = " + "[" * 3000 + "]" * 3000, ["nested too deeply"]),
        (b"\xff\xfe", ["not UTF-8", "byte 0"]),
    ],
)
def test_a_bad_file_is_refused_with_place_and_remedy(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(XfailsFileError) as refused:
        read_xfails(path)
    for word in [str(path), *words]:
        assert word in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(XfailsFileError, match=r"cannot read .*none.toml"):
        read_xfails(tmp_path / "none.toml")


def test_a_failure_that_is_expected_does_not_fail_the_run():
    cases = [lora_case(1, mistake="one_wrong"), lora_case(2, mistake="raises"), lora_case(3)]
    expected = {"lora/forward#1": "known", "lora/forward#2": "known"}
    report = check(Planted(), cases=cases, expected_failures=expected, isolated=False)
    assert [record.verdict for record in report.records] == ["xfail", "xfail", "pass"]
    assert report.ok
    assert (report.passed, report.failed, report.xfailed) == (1, 0, 2)


def test_a_pass_that_was_not_expected_fails_the_run():
    report = check(Right(), cases=[lora_case()], expected_failures={"lora/forward#1": "old"}, isolated=False)
    assert report.records[0].verdict == "xpass"
    assert "take it off the list" in report.records[0].problem
    assert not report.ok


def test_ids_that_belong_to_no_case_are_named():
    report = check(Right(), cases=[lora_case()], expected_failures={"lora/forward#7": "x"}, isolated=False)
    assert report.passed == 1
    assert not report.ok
    assert "lora/forward#7" in report.problems[0]


def test_an_expectation_that_has_expired_is_void_and_fails_the_run():
    cases = [lora_case(1, mistake="one_wrong"), lora_case(2)]
    gone = {case.id: Expected("soon", "2020.01") for case in cases}
    report = check(Planted(), cases=cases, expected_failures=gone, isolated=False)
    assert [record.verdict for record in report.records] == ["fail", "pass"]
    assert len(report.problems) == 2
    assert f"until 2020.01, and this is {SUITE}" in report.problems[0]


def test_the_end_is_the_last_release_for_which_it_holds():
    assert not Expected("x", SUITE).expired()
    assert not Expected("x").expired()
    assert Expected("x", "2026.09").expired("2026.10")
    assert not Expected("x", "2027.01").expired("2026.12")
    assert complaints({"a/b#1": Expected("x", "2027.01")}, {"a/b#1"}, "2027.02") != []


@pytest.mark.parametrize("reason", ["", "  ", None, 3])
def test_a_reason_must_say_something(reason):
    with pytest.raises(ConfigError, match="must say why"):
        require_expected({"lora/forward#1": reason})


def test_what_include_leaves_out_is_not_looked_for():
    from lora_np.conformance.runner.run import unfounded

    expected = {"dora/forward#1": Expected("x"), "lora/forward#999": Expected("x")}
    assert unfounded(expected, [lora_case()], "lora/") == [
        "lora/forward#999 is expected to fail, but there is no such case"
    ]
