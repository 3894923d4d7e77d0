"""Pictures of merging: its error in each number type, what unmerging gives back, swapping.  Floor 6."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from lora_np._typing import Array, Float
from lora_np.figures.chart import Chart, Table, bar_style, finished, line_style, percent
from lora_np.figures.merge_scene import UNITS, MergedIn

OWN_FRAME = {"color": "#D55E00", "width": 3}


def sized(x: float) -> str:
    """Write an error with two digits.

    >>> sized(1.234e-14), sized(0.09375), sized(0.0)
    ('1.2e-14', '0.094', '0')
    """
    return f"{x:.2g}"


def whole(share: float) -> str:
    """Write a share in whole percent.

    >>> whole(0.861), whole(0.0028)
    ('86 %', '0 %')
    """
    return f"{100 * share:.0f} %"


def output_errors(rows: Sequence[MergedIn]) -> Chart:
    """Show by how much merging changes the output, beside one rounding of the largest output.  [lora-merge]"""
    names = [row.dtype for row in rows]
    errors = [row.output_error for row in rows]
    roundings = [UNITS[row.dtype] * row.output_size for row in rows]
    figure = go.Figure()
    for index, (name, values) in enumerate(
        {"merged against unmerged": errors, "one rounding of the largest score": roundings}.items()
    ):
        shown = [value or None for value in values]
        figure.add_scatter(x=names, y=shown, name=name, mode="lines+markers", **line_style(index))
    finished(figure, x="number type", y="largest difference of a score")
    figure.update_yaxes(type="log", exponentformat="power", nticks=8)
    said = ", ".join(f"{sized(row.output_error)} in {row.dtype}" for row in rows)
    changed = [f"{row.answers_changed} in {row.dtype}" for row in rows if row.answers_changed]
    alt = (
        f"Merging changes the scores (logits) by up to {said}; of {rows[0].digits} digits, it changes the answer for "
        f"{' and '.join(changed) or 'none'}."
    )
    table: Table = {
        "number type": names,
        "merged against unmerged": errors,
        "one rounding of the largest score": roundings,
        "digits read differently": [row.answers_changed for row in rows],
    }
    return Chart(figure, alt, table)


def unmerged_shares(rows: Sequence[MergedIn]) -> Chart:
    """Show what becomes of the weights that are merged and unmerged again.  [lora-unmerge]"""
    names = [row.dtype for row in rows]
    shares = {
        "back, bit for bit": [row.returned for row in rows],
        "not quite back": [row.off for row in rows],
        "left as it was by the merge": [row.untouched for row in rows],
    }
    figure = go.Figure()
    for index, (name, values) in enumerate(shares.items()):
        figure.add_bar(y=names, x=values, name=name, orientation="h", marker=bar_style(index))
    finished(figure, x="share of the weights", y="number type")
    figure.update_layout(barmode="stack", bargap=0.35, legend_traceorder="normal", margin_r=28)
    figure.update_xaxes(tickformat=".0%", range=[0, 1], dtick=0.25)
    figure.update_yaxes(autorange="reversed")
    worst = max(rows, key=lambda row: row.weight_error)
    same = [row.dtype for row in rows if not row.off]
    alt = (
        f"Merged and unmerged, {percent(rows[0].off)} of the weights are not what they were in {rows[0].dtype} and "
        f"{percent(rows[-1].off)} in {rows[-1].dtype}; the worst is off by {sized(worst.weight_error)}, in "
        f"{worst.dtype}."
    )
    if len(same) == len(rows):
        alt = f"Merged and unmerged, all weights come back bit for bit in all {len(rows)} types."
    table: Table = {
        "number type": names,
        **shares,
        "largest error of a weight": [row.weight_error for row in rows],
    }
    return Chart(figure, alt, table)


def swap_heatmap(matrix: Float[Array, "m n"], *, tasks: Sequence[str], models: Sequence[str]) -> Chart:
    """Show the accuracy of every model (rows) on every task (columns), the own task framed.  [adapters-swap]"""
    figure = go.Figure()
    figure.add_heatmap(
        z=np.round(matrix, 4),
        x=list(tasks),
        y=list(models),
        zmin=0,
        zmax=1,
        colorscale="Cividis",
        xgap=2,
        ygap=2,
        text=[[whole(share) for share in row] for row in matrix],
        hovertemplate="%{y} on %{x}: %{text}<extra></extra>",
        showscale=False,  # the numbers stand in the cells
    )
    cells = [(x, y, matrix[j, i]) for i, x in enumerate(tasks) for j, y in enumerate(models)]
    figure.add_scatter(
        x=[x for x, _, _ in cells],
        y=[y for _, y, _ in cells],
        text=[whole(share) for *_, share in cells],
        mode="text",
        textfont={"color": ["black" if share > 0.5 else "white" for *_, share in cells]},
        hoverinfo="skip",
        showlegend=False,
    )
    for place in range(min(matrix.shape)):
        figure.add_shape(
            type="rect", x0=place - 0.5, x1=place + 0.5, y0=place - 0.5, y1=place + 0.5, line=OWN_FRAME
        )
    finished(figure, x="task", y="model", height=420)
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    own = np.diagonal(matrix)
    others = [matrix[i, j] for i in range(matrix.shape[0]) for j in range(matrix.shape[1]) if i != j]
    alt = (
        f"Each model reads {whole(min(own))} to {whole(max(own))} of the held-out digits of its own task, framed, and "
        f"{whole(min(others))} to {whole(max(others))} of the others."
    )
    table: Table = {"model": list(models)} | {
        task: matrix[:, place].tolist() for place, task in enumerate(tasks)
    }
    return Chart(figure, alt, table)


def drift_lines(drift: Mapping[str, Sequence[float]], *, swaps: Sequence[int]) -> Chart:
    """Show how far a weight drifts when merged adapters are swapped again and again.  [adapters-swap]"""
    figure = go.Figure()
    for index, (name, errors) in enumerate(drift.items()):
        shown = [error or None for error in errors]
        figure.add_scatter(x=list(swaps), y=shown, name=name, mode="lines+markers", **line_style(index))
    finished(figure, x="swaps since the base was last at hand", y="largest error of a weight")
    figure.update_xaxes(type="log", tickvals=list(swaps), ticktext=[str(n) for n in swaps])
    figure.update_yaxes(type="log", exponentformat="power", nticks=8)
    coarse, fine = list(drift)[-1], next(iter(drift))
    alt = (
        f"Swapping without the base, the worst weight is off by {sized(drift[coarse][0])} after {swaps[0]} swap in "
        f"{coarse} and by {sized(drift[coarse][-1])} after {swaps[-1]}; in {fine} by {sized(drift[fine][-1])}."
    )
    table: Table = {"swaps": list(swaps)} | {name: list(errors) for name, errors in drift.items()}
    return Chart(figure, alt, table)
