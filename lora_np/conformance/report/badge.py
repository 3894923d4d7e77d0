"""A badge: who is certified, at which level, and how it went.  Floor 6."""

from __future__ import annotations

from xml.sax.saxutils import escape

from lora_np.conformance.runner.record import Report

PASS_COLOUR, FAIL_COLOUR = (
    "#005f9e",
    "#b34700",
)  # blue and vermilion: told apart by everyone, readable under white


def badge(report: Report) -> str:
    """Draw the badge as SVG."""
    if report.ok:
        said, colour = f"{report.level}, {report.passed} passed", PASS_COLOUR
    elif not report.cases:
        said, colour = "nothing run", FAIL_COLOUR
    else:
        said, colour = f"{report.level}, {report.failed} of {report.cases} failed", FAIL_COLOUR
    left = f"lora_np {report.suite}"
    widths = [round(6.6 * len(text)) + 14 for text in (left, said)]
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{sum(widths)}" height="20" role="img" \
aria-label="{escape(f"{left}: {said}")}">
<title>{escape(f"{left}: {said}")}</title>
<rect width="{sum(widths)}" height="20" rx="3" fill="#444"/>
<path d="M{widths[0]} 0h{widths[1] - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1 -3 3h-{widths[1] - 3}z" fill="{colour}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{widths[0] / 2:g}" y="14">{escape(left)}</text>
<text x="{widths[0] + widths[1] / 2:g}" y="14">{escape(said)}</text>
</g>
</svg>
"""
