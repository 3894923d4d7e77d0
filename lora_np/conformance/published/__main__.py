"""``python -m lora_np.conformance.published [TARGET...]``: run the released targets, write results.json.  Floor 6.

With targets, their results are replaced and the others' kept.  Where a failure has no verdict, nothing is written, the
failures are listed, and the status is 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lora_np.atomic import write_whole
from lora_np.conformance.published.measuring import PACKAGES, measure
from lora_np.conformance.published.records import RESULTS, Results, results
from lora_np.conformance.published.verdicts import read_verdicts
from lora_np.conformance.vectors.format import read_all


def main(targets: list[str], path: Path = RESULTS) -> int:
    """Measure `targets` (all of them if none is named) and write the results; return the exit status."""
    if unknown := sorted(set(targets) - PACKAGES.keys()):
        print(
            f"no released target is called {unknown[0]!r}; there are {', '.join(PACKAGES)}", file=sys.stderr
        )
        return 2
    found, unjudged = measure(read_all(), read_verdicts(), targets or PACKAGES)
    for open_one in unjudged:
        print(f"no verdict: {' | '.join(open_one)}", file=sys.stderr)
    if unjudged:
        return 1
    if targets:
        before = results(path).implementations if path.exists() else ()
        kept = [one for one in before if one.target not in targets]
        ordered = sorted((*found.implementations, *kept), key=lambda one: one.target)
        found = found._replace(implementations=tuple(ordered))
    write_whole(path, text_of(found).encode())
    for one in found.implementations:
        print(f"{one.target}: {one.cases} cases, {one.passed} passed, {one.failed} failed")
    return 0


def text_of(found: Results) -> str:
    """Write results as JSON."""
    plain = found._asdict() | {
        "implementations": [
            one._asdict()
            | {
                "table": [row._asdict() for row in one.table],
                "failures": [row._asdict() for row in one.failures],
            }
            for one in found.implementations
        ]
    }
    return json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
