"""Pictures of cost: work and traffic of each variant, where the forms cross, prediction and clock.  Floor 6."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lora_np.cost import LinearCosts
from lora_np.figures.chart import Chart, Table, bar_style, counted, finished, in_seconds, line_style, mark

VARIANTS = ("frozen", "lora-2", "lora-1", "merged", "full")
"""In the order in which a reader compares them."""


def work_bars(costs: LinearCosts) -> Chart:
    """Show FLOPs, and bytes moved, of forward and backward in every variant.  [cost-forward] [cost-backward]"""
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.06)
    names = list(VARIANTS)
    for index, phase in enumerate(("forward", "backward")):
        phases = [getattr(costs[name], phase) for name in names]
        for column, sizes in enumerate(
            ([p.flops / 1e6 for p in phases], [p.bytes_moved / 1e6 for p in phases]), 1
        ):
            figure.add_bar(
                y=names,
                x=sizes,
                name=phase,
                orientation="h",
                marker=bar_style(index),
                legendgroup=phase,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    finished(figure, height=340)
    figure.update_xaxes(title_text="million FLOPs", col=1)
    figure.update_xaxes(title_text="MB moved", col=2)
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(barmode="stack", bargap=0.3, legend_traceorder="normal")
    one, two, full, frozen = (costs[name].step_flops for name in ("lora-1", "lora-2", "full", "frozen"))
    alt = (
        f"A step of lora-2 takes {counted(two)} FLOPs, {two / frozen:.2f} times the frozen layer's; lora-1 takes "
        f"{one / frozen:.2f} times and full fine-tuning {full / frozen:.2f} times."
    )
    table: dict[str, Sequence[object]] = {"variant": names}
    for phase in ("forward", "backward"):
        table[f"{phase} FLOPs"] = [getattr(costs[name], phase).flops for name in names]
        table[f"{phase} bytes moved"] = [getattr(costs[name], phase).bytes_moved for name in names]
        table[f"{phase} peak bytes"] = [getattr(costs[name], phase).peak_bytes for name in names]
    return Chart(figure, alt, table)


def operations(costs: LinearCosts, variant: str, *, phase: str) -> Table:
    """List what a variant computes, line by line, with its cost.  [cost-product]"""
    parts = ("forward", "backward") if phase == "step" else (phase,)
    lines = [line for part in parts for line in getattr(costs[variant], part).lines]
    return {
        "operation": [line.formula for line in lines],
        "FLOPs": [line.flops for line in lines],
        "bytes moved": [line.bytes_moved for line in lines],
    }


def crossing(
    rows: Sequence[int], ratios: Mapping[str, Sequence[float]], *, crossover: float, here: int, phase: str
) -> Chart:
    """Show how much more than the frozen layer each form computes, against the batch.  [cost-crossover]

    `ratios` maps a variant to its FLOPs over the frozen layer's at each of `rows`; `crossover` is the N at which
    the two forms are even, infinite where they never are.
    """
    figure = go.Figure()
    for index, (name, values) in enumerate(ratios.items()):
        figure.add_scatter(x=list(rows), y=list(values), name=name, mode="lines+markers", **line_style(index))
    if rows[0] <= crossover <= rows[-1]:
        mark(
            figure,
            crossover,
            f" N* = {crossover:.0f} ",
            log=True,
            side="left" if here < crossover else "right",
        )
    mark(figure, here, " here ", log=True, side="right" if here < crossover else "left")
    finished(figure, x="rows of the batch N (tokens)", y=f"{phase} FLOPs over frozen")
    figure.update_xaxes(type="log", tickvals=list(rows[::3]), ticktext=[f"{n:,}" for n in rows[::3]])
    figure.update_yaxes(type="log", dtick="D2")
    at = list(rows).index(here)
    said = ", ".join(f"{name} {values[at]:.3g}" for name, values in ratios.items())
    end = (
        f"From N* = {crossover:.0f} rows on, lora-1 takes fewer."
        if crossover < float("inf")
        else "lora-2 takes fewer at every batch size."
    )
    alt = f"{phase.capitalize()} FLOPs over the frozen layer's at N = {here}: {said}. {end}"
    return Chart(
        figure, alt, {"rows N": list(rows)} | {f"{name} / frozen": list(v) for name, v in ratios.items()}
    )


def measured_times(predicted: Mapping[str, float], measured: Mapping[str, float], *, phase: str) -> Chart:
    """Show the least time that the machine's rates allow beside the time measured, in seconds.  [cost-roofline]"""
    names = list(measured)
    figure = go.Figure()
    for index, (word, times) in enumerate({"predicted floor": predicted, "measured": measured}.items()):
        figure.add_bar(x=names, y=[1e3 * times[name] for name in names], name=word, marker=bar_style(index))
    finished(figure, x="variant", y=f"time of {phase} (ms)")
    figure.update_layout(barmode="group", bargap=0.3)
    fastest = min((n for n in names if n.startswith("lora")), key=lambda n: measured[n])
    odd = any(measured[name] < predicted[name] for name in names)
    warning = (
        " A time below its floor: the machine was busy when its rates were taken; measure again."
        if odd
        else ""
    )
    alt = (
        f"Measured here: {', '.join(f'{name} {in_seconds(measured[name])}' for name in names)}. "
        f"Of the two forms {fastest} is faster at these sizes.{warning}"
    )
    table: Table = {
        "variant": names,
        "predicted floor (ms)": [1e3 * predicted[name] for name in names],
        "measured (ms)": [1e3 * measured[name] for name in names],
    }
    return Chart(figure, alt, table)
