"""Pictures of parameters and memory: where the numbers are, what training holds, equal budgets.  Floor 6."""

from collections.abc import Mapping
from dataclasses import asdict

import plotly.graph_objects as go

from lora_np.counts import Count, Memory
from lora_np.figures.chart import (
    BLUE,
    VERMILLION,
    Chart,
    Table,
    bar_style,
    counted,
    finished,
    in_bytes,
    percent,
)
from lora_np.figures.params_scene import grouped

_SLATE = (
    "#2F3640",
    "#414B57",
    "#5C6773",
)  # root, group, part: white letters are legible on each, on any paper
TRAINED = "#A84A00"  # vermillion, darkened until white letters are legible on it
_TERMS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer state",
    "master": "master copy",
    "activations": "activations",
}


def treemap(count: Count) -> Chart:
    """Show all parameters as areas, the trained ones apart.  [count-share]"""
    sums = grouped(count)
    root = count.architecture.name
    groups = dict.fromkeys(group for group, _, _ in sums)
    ids, labels, parents, values, colours = [root], [root], [""], [count.total], [_SLATE[0]]
    for group in groups:
        ids.append(group)
        labels.append(group)
        parents.append(root)
        values.append(sum(n for (g, _, _), n in sums.items() if g == group))
        colours.append(_SLATE[1])
    for (group, leaf, trained), n in sums.items():
        ids.append(f"{group}/{leaf}/{trained}")
        labels.append(f"{leaf}{' (trained)' if trained else ''}")
        parents.append(group)
        values.append(n)
        colours.append(TRAINED if trained else _SLATE[2])
    figure = go.Figure(
        go.Treemap(
            ids=ids,
            labels=labels,
            parents=parents,
            values=values,
            branchvalues="total",
            marker={"colors": colours, "line": {"width": 1, "color": _SLATE[0]}},
            textfont={"color": "white"},
            text=[counted(n) for n in values],
            texttemplate="%{label}<br>%{text}",
            hovertemplate="%{label}: %{value:,} parameters<extra></extra>",
            pathbar={"visible": False},
        )
    )
    finished(figure, height=380)
    figure.update_layout(margin={"l": 0, "r": 0, "t": 8, "b": 0})
    alt = (
        f"{root} under {count.method}: {counted(count.trainable)} of {counted(count.total)} parameters are trained, "
        f"{percent(count.share)}; areas are in proportion, the trained ones in colour"
        f"{', too small to see here.' if count.share < 1e-3 else '.'}"
    )
    table: Table = {
        "group": [group for group, _, _ in sums],
        "part": [leaf for _, leaf, _ in sums],
        "trained": ["yes" if trained else "no" for _, _, trained in sums],
        "parameters": list(sums.values()),
    }
    return Chart(figure, alt, table)


def memory_bars(memory: Mapping[str, Memory]) -> Chart:
    """Show what a training step holds, term by term, one bar for each way of training.  [memory-training]"""
    names = list(memory)
    figure = go.Figure()
    for index, (term, word) in enumerate(_TERMS.items()):
        sizes = [getattr(memory[name], term) / 1e9 for name in names]
        if any(sizes):
            figure.add_bar(y=names, x=sizes, name=word, orientation="h", marker=bar_style(index))
    finished(figure, x="memory of one step (GB)", height=300)
    figure.update_layout(barmode="stack", bargap=0.35, legend_traceorder="normal")
    figure.update_yaxes(autorange="reversed", title_text="")
    first, last = memory[names[0]], memory[names[-1]]
    top = max(asdict(last), key=lambda term: asdict(last)[term])
    alt = (
        f"One training step holds {in_bytes(first.total)} with {names[0]} and {in_bytes(last.total)} with {names[-1]}: "
        f"{first.total / max(last.total, 1):.1f} times less. The largest part of the latter is {_TERMS[top]}, "
        f"{in_bytes(getattr(last, top))}."
    )
    table: Table = {"training": names} | {
        f"{word} (bytes)": [getattr(memory[name], term) for name in names] for term, word in _TERMS.items()
    }
    return Chart(figure, alt, table)


def budget_bars(same_budget: Mapping[str, int], *, budget: int, chosen: str) -> Chart:
    """Show the rank that one budget buys on each set of matrices: few of high rank or many of low.  [count-lora]"""
    names, ranks = list(same_budget), list(same_budget.values())
    figure = go.Figure(
        go.Bar(
            x=names,
            y=ranks,
            text=[str(rank) for rank in ranks],
            textposition="outside",
            cliponaxis=False,
            marker={
                "color": [VERMILLION if name == chosen else BLUE for name in names],
                "pattern": {"shape": ["/" if n == chosen else "" for n in names], "fillmode": "overlay"},
            },
        )
    )
    finished(figure, x="matrices that get an adapter", y="rank r that the budget buys")
    figure.update_xaxes(type="category")
    figure.update_layout(bargap=0.3)
    alt = (
        f"{counted(budget)} trained parameters buy rank {max(ranks)} on {names[ranks.index(max(ranks))]} "
        f"alone or rank {min(ranks)} on {names[ranks.index(min(ranks))]}."
    )
    return Chart(figure, alt, {"targets": names, "largest rank within the budget": ranks})
