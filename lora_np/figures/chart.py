"""What a picture is: figure, sentence, table; and the one look that all pictures share.  Floor 6.

Colours are Okabe and Ito's, told apart by colour-blind readers; a second channel (dash, marker, pattern) always says
the same.  Paper, grid and fonts belong to whoever shows the figure, so nothing here sets them.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
)
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
GREY = "#808080"
LINES = (*PALETTE, GREY)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "2px,6px")
MARKERS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star")
PATTERNS = ("", "/", ".", "x", "-", "|")
DIVERGING = ((0.0, BLUE), (0.5, "rgba(128,128,128,0)"), (1.0, VERMILLION))
"""Blue below, vermillion above, and nothing at zero: the paper shows through, white or black."""


Table = Mapping[str, Sequence[Any]]
"""Columns of equal length by name; None where there is no number."""


class Chart(NamedTuple):
    """A picture: the figure, what it shows in one computed sentence, and the numbers in it by column."""

    figure: go.Figure
    alt: str
    table: Table


def csv_text(table: Table) -> str:
    """Write a chart's table as CSV, one header line first.

    >>> csv_text({"rank": [1, 2], "error": [0.5, 0.25]}).split()
    ['rank,error', '1,0.5', '2,0.25']
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue()


def line_style(index: int) -> dict[str, Any]:
    """Style the series number `index`: colour, dash and marker all differ."""
    place = index % len(LINES)
    return {
        "line": {"color": LINES[place], "dash": DASHES[place], "width": 2},
        "marker": {"color": LINES[place], "symbol": MARKERS[place], "size": 8},
    }


def bar_style(index: int) -> dict[str, Any]:
    """Style the bar series number `index`: colour and pattern both differ."""
    return {
        "color": PALETTE[index % 6],
        "pattern": {"shape": PATTERNS[index % 6], "solidity": 0.2, "fgcolor": "white", "fillmode": "overlay"},
        "line": {"width": 0},
    }


def finished(figure: go.Figure, *, x: str = "", y: str = "", height: int = 340) -> go.Figure:
    """Give a figure its axis titles and the common layout: legend on top, zoom that survives an update."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "title_text": ""},
        uirevision="keep",
        hovermode="closest",
    )
    figure.update_xaxes(title_text=x, automargin=True)
    figure.update_yaxes(title_text=y, automargin=True)
    return figure


def mark(figure: go.Figure, x: float, text: str, *, log: bool = False, side: str = "left") -> None:
    """Draw a dotted line down at `x` and write beside it; `side` is where the text hangs."""
    figure.add_vline(x=x, line={"color": GREY, "dash": "dot"})
    place = (
        math.log10(x) if log else x
    )  # subtle: on a log axis, lines are placed by value and texts by exponent
    figure.add_annotation(x=place, y=1, yref="paper", text=text, showarrow=False, xanchor=side, yanchor="top")


# ---- numbers as a reader wants them --------------------------------------------------------------------------


def counted(n: float) -> str:
    """Write a count as people say it.

    >>> counted(294912), counted(6738415616), counted(512)
    ('295 k', '6.74 billion', '512')
    """
    return _scaled(n, 1000, ("", " k", " million", " billion", " trillion"))


def in_bytes(n: float) -> str:
    """Write a number of bytes in decimal units.

    >>> in_bytes(37748736), in_bytes(1.2e12)
    ('37.7 MB', '1.2 TB')
    """
    return _scaled(n, 1000, (" B", " kB", " MB", " GB", " TB", " PB"))


def in_seconds(t: float) -> str:
    """Write a duration with the unit that fits.

    >>> in_seconds(0.00042), in_seconds(2.5)
    ('420 µs', '2.5 s')
    """
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if t >= factor:
            return f"{t / factor:.3g} {unit}"
    return f"{t / 1e-9:.3g} ns"


def percent(share: float) -> str:
    """Write a share as a percentage with three digits, never rounded up to all or down to nothing.

    >>> percent(0.0046), percent(0.99996), percent(1e-7), percent(1)
    ('0.46 %', '> 99.9 %', '0.00001 %', '100 %')
    """
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    text = f"{100 * share:.3g}"
    return f"{float(text):.10f}".rstrip("0").rstrip(".") + " %" if "e" in text else f"{text} %"


def _scaled(n: float, base: int, units: tuple[str, ...]) -> str:
    """Write three digits and the largest unit that leaves at least one before the point."""
    size, step = abs(n), 0
    while size >= 999.5 and step < len(units) - 1:
        size, step = size / base, step + 1
    digits = f"{size:.0f}" if size >= 99.5 or (step == 0 and size == int(size)) else f"{size:.3g}"
    return f"{'-' if n < 0 else ''}{digits}{units[step]}"
