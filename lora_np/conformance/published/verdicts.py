"""What people say of the failures: verdicts.toml, read and matched.  Floor 6.  Nothing here runs the suite.

[dora_zero_row]                           a name of its own; the first entry that fits a failure is taken
target = ["peft"]                         the targets it speaks of
capability = "oft.*"                      method and operation, * for any
flag = "Rotation*"                        the diagnoser's flag, * for any, "" for none (left out: any)
problem = "^raised"                       what the sentence of the failure must hold (regular expression; optional)
config = { neumann = false }              what the case's configuration must say; false for what it lacks (optional)
tagged = "TiedScores"                     a flag that the case must carry (optional)
comment = "one adapter alone"             what the case is about, word for word (optional)
most_u = 1.2e9                            the error in units of u that it explains at most (optional)
verdict = "defect"                        or "by design", or "precision"
why = "..."                               one sentence
upstream = "..."                          the report, or that none was found
reproducer = '''...'''                    torch, NumPy and the released package; prints got and want
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from lora_np.conformance.published.records import HERE, VERDICTS, departures
from lora_np.conformance.runner.record import Record
from lora_np.conformance.vectors.format import Case
from lora_np.errors import DatasetError

TABLE = HERE / "verdicts.toml"


class Verdict(NamedTuple):
    """One entry: which failures it speaks of, and what it says."""

    name: str
    target: list[str]
    capability: str
    verdict: str
    why: str
    upstream: str
    reproducer: str = ""
    flag: str = "*"
    problem: str = ""
    config: Mapping[str, Any] = {}
    tagged: str = ""
    comment: str = ""
    dtype: str = ""
    most_u: float = math.inf
    departure: str = ""

    def fits(self, target: str, record: Record, case: Case) -> bool:
        """Tell whether the entry speaks of what a target did with a case."""
        return (
            target in self.target
            and fnmatchcase(record.capability, self.capability)
            and fnmatchcase(record.flag, self.flag)
            and re.search(self.problem, record.problem) is not None
            and all((case.config.get(key) or False) == value for key, value in self.config.items())
            and self.tagged in ("", *case.flags)
            and re.search(self.comment, case.comment) is not None
            and self.dtype in ("", case.dtype)
            and record.error_u <= self.most_u
        )


def read_verdicts(path: Path = TABLE) -> list[Verdict]:
    """Read the entries in their order.  Raises `DatasetError` for a file or an entry that is not one."""
    try:
        stored = tomllib.loads(path.read_text(encoding="utf-8"))
        scripts = {row.id: row.reproducer for row in departures()}
        found = [_entry(Verdict(name=name, **entry), scripts) for name, entry in stored.items()]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise DatasetError(f"{path} is not a table of verdicts: {error}") from None
    for one in found:
        if one.verdict not in VERDICTS:
            raise DatasetError(
                f"{path}, {one.name}: the verdict is {one.verdict!r}, one of {VERDICTS} expected"
            )
        if one.verdict == "defect" and not one.reproducer:
            raise DatasetError(f"{path}, {one.name}: a defect needs a reproducer")
    return found


def _entry(one: Verdict, scripts: Mapping[str, str]) -> Verdict:
    """Give an entry the script of its departure."""
    return one._replace(reproducer=scripts[one.departure]) if one.departure else one


def find(verdicts: Iterable[Verdict], target: str, record: Record, case: Case) -> Verdict | None:
    """Find the first entry that speaks of a failure."""
    return next((one for one in verdicts if one.fits(target, record, case)), None)
