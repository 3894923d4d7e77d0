"""Pictures of the methods: the lines that differ from LoRA's, the trained numbers, the rank reached.  Floor 6."""

from collections.abc import Sequence

import plotly.graph_objects as go

from lora_np.figures.chart import GREY, Chart, Table, bar_style, finished
from lora_np.figures.methods_scene import D, K, MethodRow

BAR = 24  # pixels of height a method
_GROUPS = {
    "start": ("scaling", "init"),
    "forward": ("forward",),
    "backward": ("backward",),
    "merge": ("merge", "unmerge"),
    "step": ("step",),
}


def line_bars(rows: Sequence[MethodRow], *, chosen: str) -> Chart:
    """Show how many lines of each method LoRA does not have, part by part.  [lora-2]"""
    names = [row.name for row in rows]
    figure = go.Figure()
    counts = {
        group: [sum(row.lines[part] for part in parts) for row in rows] for group, parts in _GROUPS.items()
    }
    for index, (group, values) in enumerate(counts.items()):
        figure.add_bar(y=names, x=values, name=group, orientation="h", marker=bar_style(index))
    _as_list(figure, rows, chosen, x="lines of code that LoRA does not have")
    figure.update_layout(barmode="stack", legend_traceorder="normal")
    row, others = _find(rows, chosen), [one for one in rows if one.own]
    same, few = sum("forward" in one.shared for one in others), sum(one.own <= 10 for one in others)
    alt = (
        f"Of the {len(others)} methods beside LoRA, {same} take its forward as it is, and {few} have at most 10 lines "
        f"of their own; {chosen} has {row.own}."
    )
    table: Table = {"method": names} | {f"lines in {group}": values for group, values in counts.items()}
    return Chart(figure, alt, {**table, "lines in all": [one.own for one in rows]})


def trained_bars(rows: Sequence[MethodRow], *, chosen: str, layer: str) -> Chart:
    """Show how many numbers each method trains, LoRA first.  [count-lora]"""
    names, values = [row.name for row in rows], [row.trained for row in rows]
    figure = _two_kinds(names, values, chosen, [f"{value:,}" for value in values])
    _as_list(figure, rows, chosen, x="trained numbers (logarithmic)")
    figure.update_xaxes(type="log", dtick=1, range=[0, len(str(max(values))) + 0.6])
    most = max(rows, key=lambda row: row.trained)
    least = min(rows, key=lambda row: row.trained)
    times = _find(rows, chosen).trained / _find(rows, "lora").trained
    alt = (
        f"On {layer}, {chosen} trains {_find(rows, chosen).trained:,} numbers, {times:.3g} times as many as LoRA; the "
        f"fewest, {least.trained:,}, are {least.name}'s, the most, {most.trained:,}, are {most.name}'s."
    )
    table: Table = {"method": names, "trained numbers": values}
    return Chart(figure, alt, table)


def rank_bars(rows: Sequence[MethodRow], *, chosen: str, rank: int) -> Chart:
    """Show the rank that a random increment of each method reaches on a small layer.  [lora-delta] [rank-svd]"""
    measured = [row for row in rows if row.rank is not None]
    names, values = [row.name for row in measured], [row.rank or 0 for row in measured]
    figure = _two_kinds(names, values, chosen, [str(value) for value in values])
    _as_list(figure, measured, chosen, x="rank of the increment (dotted: r)")
    figure.update_xaxes(range=[0, min(D, K) * 1.12])
    figure.add_vline(x=rank, line={"color": GREY, "dash": "dot"}, layer="below")
    above = sum(value > rank for value in values)
    here = _find(rows, chosen).rank
    said = (
        f"{chosen}'s random increment has rank {here}"
        if here is not None
        else f"{chosen} changes no weight, so it has no increment"
    )
    alt = (
        f"On a {D} × {K} layer with r = {rank}, {said}; of the {len(measured)} methods that change the weight, "
        f"{above} reach more than r."
    )
    return Chart(figure, alt, {"method": names, "rank": values})


# ---- what the three share ----------------------------------------------------------------------------------


def _two_kinds(names: Sequence[str], values: Sequence[int], chosen: str, text: Sequence[str]) -> go.Figure:
    """Draw bars with their numbers, the chosen method's in another colour and pattern."""
    figure = go.Figure()
    for index, (label, wanted) in enumerate((("other methods", False), (chosen, True))):
        places = [place for place, name in enumerate(names) if (name == chosen) is wanted]
        if places:
            figure.add_bar(
                y=[names[place] for place in places],
                x=[values[place] for place in places],
                text=[text[place] for place in places],
                textposition="outside",
                cliponaxis=False,
                name=label,
                orientation="h",
                marker=bar_style(index),
            )
    return figure


def _as_list(figure: go.Figure, rows: Sequence[MethodRow], chosen: str, *, x: str) -> None:
    """Set the methods under each other in their order, the chosen one's name in bold."""
    names = [row.name for row in rows]
    finished(figure, x=x, y="method", height=110 + BAR * len(names))
    figure.update_layout(bargap=0.3, barmode="overlay")
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=names[::-1],
        tickmode="array",
        tickvals=names,
        ticktext=[f"<b>{name}</b>" if name == chosen else name for name in names],
        title_standoff=12,
    )


def _find(rows: Sequence[MethodRow], name: str) -> MethodRow:
    """Find a method's row."""
    return next(row for row in rows if row.name == name)
