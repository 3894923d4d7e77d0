"""Pictures of combining: every method's rank and distance from the exact sum, and what comes of it.  Floor 6."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from lora_np.figures.chart import GREY, LINES, MARKERS, Chart, Table, bar_style, finished, percent
from lora_np.figures.combine_scene import Combination

EXACT = 1e-12  # relative errors below are rounding


def rank_and_error(combinations: Mapping[str, Combination], least: Sequence[float], *, chosen: str) -> Chart:
    """Show each method's rank and error, over the least error that each rank allows.  [combine-svd] [combine-cat]"""
    figure = go.Figure()
    figure.add_scatter(
        x=list(range(len(least))),
        y=list(least),
        name="least possible",
        mode="lines",
        line={"color": GREY, "width": 2},
    )
    for index, (name, found) in enumerate(combinations.items()):
        marker = {
            "color": LINES[index],
            "symbol": MARKERS[index],
            "size": 16 if name == chosen else 10,
            "line": {"width": 0},
        }
        figure.add_scatter(
            x=[found.rank], y=[found.error], name=name, mode="markers", marker=marker, cliponaxis=False
        )
    finished(
        figure, x="rank of the result in this layer", y="error (share of the exact sum's norm)", height=400
    )
    figure.update_yaxes(rangemode="tozero")
    here = combinations[chosen]
    alt = f"“{chosen}” makes an increment of rank {here.rank}: the exact sum."
    if here.error >= EXACT:
        alt = (
            f"“{chosen}” makes an increment of rank {here.rank}, {percent(here.error)} of the exact sum's norm away "
            f"from it; the nearest increment of that rank is {away(least[here.rank])}."
        )
    names = list(combinations)
    table: Table = {
        "method": names,
        "rank": [combinations[name].rank for name in names],
        "error": [combinations[name].error for name in names],
        "least possible at that rank": [least[combinations[name].rank] for name in names],
    }
    return Chart(figure, alt, table)


def away(error: float) -> str:
    """Say how large a relative error is; what rounding explains is none.

    >>> away(0.25), away(1e-16)
    ('25 % away', 'exact')
    """
    return f"{percent(error)} away" if error >= EXACT else "exact"


def accuracy_bars(
    tasks: Sequence[str],
    base: Sequence[float],
    own: Sequence[float],
    combined: Sequence[float],
    *,
    method: str,
) -> Chart:
    """Show what the combination reads of every task, beside the base and the task's own adapter.  [combine-sum]"""
    figure = go.Figure()
    series = {"base alone": base, "its own model": own, "combined": combined}
    for index, (name, values) in enumerate(series.items()):
        figure.add_bar(x=list(tasks), y=list(values), name=name, marker=bar_style(index))
    finished(figure, x="task", y="held-out accuracy")
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_yaxes(tickformat=".0%", range=[0, 1])
    said = ", ".join(f"{name} {percent(value)}" for name, value in zip(tasks, combined, strict=True))
    alt = f"Combined by “{method}”, the network reads {said}."
    table: Table = {"task": list(tasks)} | {name: list(values) for name, values in series.items()}
    return Chart(figure, alt, table)
