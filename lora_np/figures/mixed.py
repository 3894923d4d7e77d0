"""Pictures of a batch that mixes adapters: who reads which row, and what serving it costs.  Floor 6."""

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lora_np.figures.chart import BLUE, VERMILLION, Chart, Table, bar_style, counted, finished
from lora_np.figures.mixed_scene import MixedScene, Serving


def batch_rows(scene: MixedScene) -> Chart:
    """Show the adapter of every row, and which rows are read right.  [adapters-mixed]"""
    place = list(range(1, len(scene.names) + 1))
    figure = go.Figure()
    for name, right, colour, symbol in (
        ("read right", True, BLUE, "circle"),
        ("read wrong", False, VERMILLION, "x"),
    ):
        rows = [n for n, read in enumerate(scene.right) if read is right]
        figure.add_scatter(
            x=[place[n] for n in rows],
            y=[scene.names[n] for n in rows],
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": 11},
        )
    finished(figure, x="row of the batch", y="task, and its adapter")
    figure.update_yaxes(categoryorder="array", categoryarray=list(dict.fromkeys(scene.names))[::-1])
    figure.update_xaxes(range=[0.5, len(scene.names) + 0.5], tickformat="d")
    figure.update_layout(showlegend=True)
    count = len(set(scene.names))
    alt = (
        f"One pass reads {sum(scene.right)} of {len(scene.names)} rows right, from {count} "
        f"task{'s' if count > 1 else ''}; each row comes out as if sent alone, to within {max(scene.differences):.2g}."
    )
    table: Table = {
        "row": place,
        "task": list(scene.names),
        "read right": ["yes" if read else "no" for read in scene.right],
        "difference from alone": list(scene.differences),
    }
    return Chart(figure, alt, table)


def serving_bars(costs: Mapping[str, Serving], *, layers: str) -> Chart:
    """Show what three ways to serve the batch compute, and how many weights they move.  [adapters-mixed]"""
    ways, panels = list(costs), ("million FLOPs", "million weights moved")
    figure = make_subplots(2, 1, vertical_spacing=0.28)
    for row, sizes in enumerate(zip(*costs.values(), strict=True), start=1):
        figure.add_bar(
            y=ways,
            x=[size / 1e6 for size in sizes],
            text=[counted(size) for size in sizes],
            textposition="outside",
            textangle=0,
            cliponaxis=False,
            orientation="h",
            marker=bar_style(row - 1),
            showlegend=False,
            row=row,
            col=1,
        )
        room = 1.25 * max(sizes) / 1e6  # for the numbers beside the bars
        figure.update_xaxes(range=[0, room], row=row, col=1)
    finished(figure, y="way to serve", height=420)
    for row, title in enumerate(panels, start=1):
        figure.update_xaxes(title_text=title, row=row, col=1)
    figure.update_layout(bargap=0.35)
    figure.update_yaxes(autorange="reversed")
    mixed, apart, merged = costs.values()
    alt = (
        f"For {layers}, one mixed pass takes {counted(mixed.flops)} FLOPs and moves {counted(mixed.moved)} weights; "
        f"one pass per adapter moves {apart.moved / mixed.moved:.3g} times as many; merging each in turn takes "
        f"{merged.flops / mixed.flops:.3g} times the FLOPs and moves {merged.moved / mixed.moved:.3g} times as many."
    )
    table: Table = {
        "way to serve": ways,
        "FLOPs": [cost.flops for cost in costs.values()],
        "weights moved": [cost.moved for cost in costs.values()],
    }
    return Chart(figure, alt, table)
