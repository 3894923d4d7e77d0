"""Mistakes that released software has made: the vectors detect all of them, and the diagnoser names them first.

``pytest -s tests/test_historic_bugs.py`` prints the table: what detects a bug, its name, where it was reported.
"""

import re
from collections import Counter

import pytest

import tests.historic.combining
import tests.historic.layouts
import tests.historic.merges
import tests.historic.norms
import tests.historic.products
import tests.historic.pruning
import tests.historic.rules
import tests.historic.scales
from lora_np.conformance.runner.run import check
from lora_np.conformance.vectors.format import read_all, shipped
from tests.historic.seeding import BUGS as SEEDED
from tests.historic.seeding import Found, Wrong, run

SUBJECTS = (
    tests.historic.combining,
    tests.historic.scales,
    tests.historic.layouts,
    tests.historic.merges,
    tests.historic.norms,
    tests.historic.products,
    tests.historic.pruning,
    tests.historic.rules,
)
"""Imported, they have registered their bugs."""

LEAST_BUGS, LEAST_NAMED = 60, 0.9

SHIPPED = {
    path.relative_to(shipped()).with_suffix("").as_posix().replace("/", ".")
    for path in shipped().glob("*/*.json")
}
BUGS = [seeded for seeded in SEEDED if seeded.capability in SHIPPED]
"""Those of capabilities that have vectors."""


@pytest.fixture(scope="module")
def table() -> dict[str, Found]:
    """Every bug run against every shipped vector of its capability."""
    cases = read_all()
    found = {seeded.title: run(seeded, cases) for seeded in BUGS}
    print(as_text(found))
    return found


def as_text(found: dict[str, Found]) -> str:
    """Write the table, a line for each bug."""
    lines = ["", f"{'bug':44} {'detected by':32} {'named':26} reported"]
    for seeded in BUGS:
        one = found[seeded.title]
        where = f"{one.cases[0]} and {len(one.cases) - 1} more" if one.cases else "nothing"
        mark = "" if one.name in seeded.names else " (!)"
        lines.append(f"{seeded.title:44} {where:32} {one.name + mark:26} {seeded.source}")
    named = sum(found[seeded.title].name in seeded.names for seeded in BUGS)
    lines.append(
        f"{len(BUGS)} bugs, {sum(bool(one.cases) for one in found.values())} detected, {named} named first"
    )
    return "\n".join(lines)


def test_there_are_enough_bugs_and_each_has_its_own_name():
    assert len(BUGS) >= LEAST_BUGS
    assert max(Counter(seeded.title for seeded in BUGS).values()) == 1


def test_at_least_sixty_were_reported_somewhere():
    """A thread (owner/repository#number) or a released version stands for a report.

    "after" says that the thread is about the same mistake in another place, "no report" that none was found.
    """
    assert all(
        re.match(r"no report: |(after )?[\w-]+/[\w.-]+( \d| 4da|#\d)|(after )?loralib \d", one.source)
        for one in BUGS
    )
    reported = [one for one in BUGS if not one.source.startswith("no report")]
    assert len(reported) >= LEAST_BUGS


def test_every_bug_is_detected_by_the_shipped_vectors(table):
    assert [title for title, found in table.items() if not found.cases] == []


def test_nine_of_ten_bugs_are_named_first(table):
    missed = {
        seeded.title: table[seeded.title].name
        for seeded in BUGS
        if table[seeded.title].name not in seeded.names
    }
    assert len(missed) <= (1 - LEAST_NAMED) * len(BUGS), missed


def test_the_sentence_says_how_many_elements_and_what(table):
    """The diagnosis of a missing scale, as it is printed."""
    found = table["alpha_ignored_when_merging"].diagnosis
    assert found is not None
    assert re.search(r"all \d+ elements are wrong", found.sentence)
    assert "is the scale missing?" in found.sentence
    assert "[MissingScale]" in str(found)
    assert found.output == "W"


def test_a_bug_is_an_adapter_that_the_runner_reports():
    """The same mistake through the runner: cases fail, and their records carry the flag."""
    seeded = next(one for one in BUGS if one.title == "alpha_for_alpha_over_rank")
    cases = [case for case in read_all(include="lora/forward") if case.result == "valid"][:10]
    report = check(Wrong(seeded), cases=cases, isolated=False)
    flags = {record.flag for record in report.records if record.verdict == "fail"}
    assert "RankNotDivided" in flags
