"""Pictures of the oracle's report: who passes what, and how far off everybody is, counted in roundings.  Floor 6."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from lora_np.conformance.bounds import GOLD
from lora_np.figures.chart import GREY, LINES, MARKERS, Chart, Table, finished
from lora_np.figures.report_scene import Standing, in_roundings

DORA = 64.0  # the limit where a norm divides
EXACT = 0.1  # where an error of nothing is drawn: a log axis has no zero
ROW, TALL = 21, 25  # pixels of a line, in the table and in the picture
_TINTS = ("rgba(0,0,0,0)", "rgba(0,114,178,0.22)", "rgba(230,159,0,0.28)", "rgba(213,94,0,0.45)")


def marks(rows: Sequence[Standing]) -> Chart:
    """Show for every method and implementation whether all passes, how many cases fail, or that it is not claimed.

    What fails by design, because another choice was made on purpose, has a sign of its own.
    """
    names = list(dict.fromkeys(row.implementation for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    at = {(row.implementation, row.method): row for row in rows}
    cells = [[_kind(at[name, method]) for name in names] for method in methods]
    figure = go.Figure()
    figure.add_heatmap(
        z=cells,
        x=names,
        y=methods,
        zmin=0,
        zmax=3,
        colorscale=[
            stop for place, tint in enumerate(_TINTS) for stop in ((place / 4, tint), ((place + 1) / 4, tint))
        ],
        showscale=False,
        xgap=2,
        ygap=2,
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[row.implementation for row in rows],
        y=[row.method for row in rows],
        mode="text",
        text=[row.mark for row in rows],
        customdata=[row.words for row in rows],
        hovertemplate="%{x}, %{y}: %{customdata}<extra></extra>",
        showlegend=False,
    )
    finished(figure, x="implementation", y="method", height=110 + ROW * len(methods))
    figure.update_xaxes(side="top", showgrid=False, fixedrange=True)
    figure.update_yaxes(range=[len(methods) - 0.5, -0.5], showgrid=False, fixedrange=True, dtick=1)
    asked, failed = [row for row in rows if row.asked], [row for row in rows if row.failed]
    cases, wrong = sum(row.asked for row in rows), sum(row.failed for row in rows)
    alt = (
        f"{len(names)} implementations were asked {cases:,} cases in {len(asked)} pairs of method and implementation; "
        f"{wrong:,} cases fail, in {len(failed)} of the pairs, and {len(rows) - len(asked)} pairs are not claimed. "
        "✓: all pass; ✗: so many are wrong; ≠: so many differ by design; –: not claimed."
    )
    table: Table = {
        "implementation": [row.implementation for row in rows],
        "method": [row.method for row in rows],
        "asked": [row.asked for row in rows],
        "passed": [row.passed for row in rows],
        "failed": [row.failed for row in rows],
        "by design": [row.by_design for row in rows],
        "not claimed": [row.not_claimed for row in rows],
    }
    return Chart(figure, alt, table)


def _kind(row: Standing) -> int:
    """Tell the kind of a standing: 0 not claimed, 1 all pass, 2 others by design, 3 mistakes."""
    return 0 if not row.asked else 1 + bool(row.failed) + bool(row.mistakes)


def worst_errors(
    rows: Sequence[Standing], *, tolerance: str, chosen: str = "", what: str = "method"
) -> Chart:
    """Show the worst error of what passed and of what failed, in units of u, with the limits.  [oracle-error]

    `tolerance` is an ordinary test's, such as "1e-5"; it is drawn where double precision has it.  The dots of the
    implementation `chosen` are larger.  An error of nothing is drawn at 0.1.
    """
    rows = [row for row in rows if row.asked]
    names = list(dict.fromkeys(row.implementation for row in rows))
    methods = list(dict.fromkeys(row.method for row in rows))
    figure = go.Figure()
    for index, name in enumerate(names):
        shift = 0.6 * ((index + 0.5) / len(names) - 0.5)  # side by side within a line
        theirs = [(row, methods.index(row.method) + shift) for row in rows if row.implementation == name]
        _dots(figure, theirs, index, large=name == chosen)
    sight = in_roundings(float(tolerance))
    height = 160 + TALL * len(methods)
    _line(figure, GOLD, "16 u", "right")
    _line(figure, DORA, "64 u", "left")
    _line(figure, sight, f"a test to {tolerance}", "center")
    finished(figure, x="worst error, in roundings u (log)", y=what, height=height)
    figure.update_xaxes(type="log", range=[-1.3, 17.3], dtick=3, exponentformat="power")
    figure.update_yaxes(
        range=[len(methods) - 0.4, -0.6],
        tickvals=list(range(len(methods))),
        ticktext=methods,
        zeroline=False,
        fixedrange=True,
    )
    figure.update_layout(legend={"y": 1 + 24 / (height - 130)}, margin={"t": 80})
    table: Table = {
        "implementation": [row.implementation for row in rows],
        what: [row.method for row in rows],
        "worst that passed (u)": [row.worst_passed for row in rows],
        "worst that failed (u)": [row.worst_failed for row in rows],
    }
    return Chart(figure, _said(rows, tolerance, sight), table)


def _line(figure: go.Figure, x: float, text: str, side: str) -> None:
    """Draw a limit, and its name above it; `side` says which end of the text is at the line."""
    figure.add_vline(x=x, line={"color": GREY, "dash": "dot"})
    figure.add_annotation(
        x=math.log10(x), y=1, yref="paper", text=text, showarrow=False, yanchor="bottom", xanchor=side
    )


def _dots(figure: go.Figure, rows: Sequence[tuple[Standing, float]], index: int, *, large: bool) -> None:
    """Draw one implementation: a filled mark where cases passed, an open one where they failed with a number."""
    name, colour, symbol = rows[0][0].implementation, LINES[index % 7], MARKERS[index % 7]
    for verdict, open_ in (("passed", ""), ("failed", "-open")):
        dots = [(getattr(row, f"worst_{verdict}"), y, row.method) for row, y in rows]
        dots = [dot for dot in dots if dot[0] is not None]
        figure.add_scatter(
            x=[max(error, EXACT) for error, _, _ in dots],
            y=[y for _, y, _ in dots],
            customdata=[(method, f"{error:.3g} u") for error, _, method in dots],
            mode="markers",
            name=name,
            legendgroup=name,
            zorder=0 if large else 1,
            showlegend=verdict == "passed",
            marker={
                "color": colour,
                "symbol": f"{symbol}{open_}",
                "size": 11 if large else 7,
                "line": {"width": 2 if open_ else 0},
            },
            hovertemplate=f"{name}, %{{customdata[0]}}: worst that {verdict} %{{customdata[1]}}<extra></extra>",
        )


def _said(rows: Sequence[Standing], tolerance: str, sight: float) -> str:
    """Say what passed, what failed, and what an ordinary test would have seen of it."""
    good = max(rows, key=lambda row: row.worst_passed or 0.0)
    passed, asked = sum(row.passed for row in rows), sum(row.asked for row in rows)
    text = (
        f"{passed:,} of {asked:,} cases pass, the worst of them with {good.worst_passed or 0:.3g} u, "
        f"{good.implementation}'s {good.method}"
    )
    wrong = [row for row in rows if row.worst_failed is not None]
    if not wrong:
        return f"{text}; nothing failed with a number."
    worst = max(wrong, key=lambda row: row.worst_failed or 0.0)
    unseen = sum((row.worst_failed or 0.0) < sight for row in wrong)
    return (
        f"{text}; of what failed, {worst.implementation}'s {worst.method} is the worst, {worst.worst_failed:.2g} u. "
        f"Filled: passed; open: failed. {unseen} of the {len(wrong)} open marks are left of the line of a test to "
        f"{tolerance} in double precision, which does not see them."
    )
