"""A chart of errors: how many cases err by how much, passed and failed.  Floor 6.  Inline SVG, no script."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from html import escape

from lora_np.conformance.runner.record import Record

EDGES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, math.inf)
"""Upper edges of the bins, in units of u; the first holds what is exact, the last everything beyond."""
EDGE_NAMES = ("0", "¼", "½", "1", "2", "4", "8", "16", "64")

_WIDTH, _HEIGHT = 460, 190
_LEFT, _BOTTOM, _TOP = 46, 44, 12


def counts(records: Iterable[Record]) -> tuple[list[int], list[int]]:
    """Count passed and failed cases by bin; a case without numbers (raised, wrong shape) has no error to show."""
    passed, failed = [0] * len(EDGES), [0] * len(EDGES)
    for record in records:
        if record.verdict in ("pass", "fail", "xfail", "xpass") and (record.limit_u or record.error_u):
            counted = passed if record.verdict in ("pass", "xpass") else failed
            counted[bisect_left(EDGES, record.error_u)] += 1
    return passed, failed


def histogram(name: str, records: Sequence[Record]) -> str:
    """Draw the errors of one method; empty where none has a number."""
    passed, failed = counts(records)
    highest = max(a + b for a, b in zip(passed, failed, strict=True))
    if not highest:
        return ""
    words = _words(name, passed, failed)
    step = (_WIDTH - _LEFT - 8) / len(EDGES)
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(words)}">',
        f"<title>{escape(f'Errors of {name}')}</title><desc>{escape(words)}</desc>",
        *_axes(step, highest),
    ]
    for i, (good, bad) in enumerate(zip(passed, failed, strict=True)):
        x = _LEFT + i * step + 3
        parts += [
            _bar(x, step - 6, 0, good, highest, "pass", f"{good} passed, {_range(i)}"),
            _bar(x, step - 6, good, bad, highest, "fail", f"{bad} failed, {_range(i)}"),
        ]
        if good + bad:
            parts.append(_text("count", x + step / 2 - 3, _y(good + bad, highest) - 3, str(good + bad)))
    return "".join([*parts, "</svg>"])


def _text(kind: str, x: float, y: float, words: str, more: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{more}>{escape(words)}</text>'


def _range(i: int) -> str:
    if i == 0:
        return "exact"
    if math.isinf(EDGES[i]):
        return f"error above {EDGES[i - 1]:g} u"
    return f"error above {EDGES[i - 1]:g} u, up to {EDGES[i]:g} u"


def _y(count: int, highest: int) -> float:
    room = _HEIGHT - _BOTTOM - _TOP - 12
    return _HEIGHT - _BOTTOM - room * count / highest


def _bar(x: float, width: float, start: int, count: int, highest: int, kind: str, words: str) -> str:
    if not count:
        return ""
    top, bottom = _y(start + count, highest), _y(start, highest)
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}">'
        f"<title>{escape(words)}</title></rect>"
    )


def _axes(step: float, highest: int) -> list[str]:
    """Draw both axes with their names and units."""
    base, right = _HEIGHT - _BOTTOM, _WIDTH - 8
    middle = (_TOP + base) / 2
    labels = ["0", *(f"≤ {edge}" for edge in EDGE_NAMES[1:]), f"> {EDGE_NAMES[-1]}"]
    return [
        f'<path class="axis" d="M{_LEFT} {_TOP}V{base}H{right}"/>',
        *(_text("tick", _LEFT + (i + 0.5) * step, base + 14, label) for i, label in enumerate(labels)),
        _text("name", (_LEFT + right) / 2, _HEIGHT - 8, "worst error of a case, in units of u"),
        _text("name", 14, middle, "cases", f' transform="rotate(-90 14 {middle:.1f})"'),
        _text("tick end", _LEFT - 5, _y(highest, highest) + 4, str(highest)),
        _text("tick end", _LEFT - 5, base + 4, "0"),
    ]


def _words(name: str, passed: Sequence[int], failed: Sequence[int]) -> str:
    """Say in words what the chart shows."""
    bins = [
        f"{_range(i)}: {good} passed" + (f", {bad} failed" if bad else "")
        for i, (good, bad) in enumerate(zip(passed, failed, strict=True))
        if good + bad
    ]
    return f"Histogram of the worst error of each case of {name}. " + "; ".join(bins) + "."
