"""Print the hint table: every answer of the collection, the hint it must get, the hint it gets, and the percentage."""

import sys

from tests.answers import LESSONS, is_as_expected, judged, submissions

rows = [(one, judged(one)) for lesson in sys.argv[1:] or LESSONS for one in submissions(lesson)]
for one, verdict in rows:
    mark = " " if is_as_expected(one, verdict) else "✗"
    print(f"{mark} {one.id:8} {one.label:28} {one.name:22} {verdict.name:22} {verdict.words}")
for kind, chosen in (
    ("wrong answers with the right hint", [row for row in rows if row[0].name != "Right"]),
    ("right answers accepted", [row for row in rows if row[0].name == "Right"]),
):
    good = sum(is_as_expected(*row) for row in chosen)
    print(f"{kind}: {good} of {len(chosen)}" + (f" = {good / len(chosen):.1%}" if chosen else ""))
