"""Pictures of rank: a matrix beside its low-rank stand-in, its spectrum, the error left at each rank.  Floor 6."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lora_np._typing import Array, Float
from lora_np.figures.chart import (
    BLUE,
    DIVERGING,
    VERMILLION,
    Chart,
    Table,
    bar_style,
    finished,
    mark,
    percent,
)
from lora_np.figures.rank_scene import CELLS, pooled


def triptych(
    M: Float[Array, "m n"], B: Float[Array, "m r"], A: Float[Array, "r n"], *, energy: float
) -> Chart:
    """Show a matrix, its rank-r stand-in B A, and what is left, on one colour scale.  [rank-eckart-young]"""
    rank, M_r = B.shape[1], B @ A
    panels = {"M": M, f"B A, rank {rank}": M_r, "M − B A": M - M_r}
    cells = [np.round(pooled(P), 4) for P in panels.values()]
    top = max(float(np.quantile(np.abs(cells[0]), 0.995)), float(np.abs(cells[0]).max()) / 4, 1e-12)
    figure = make_subplots(1, 3, subplot_titles=list(panels), horizontal_spacing=0.02, shared_yaxes=True)
    high, wide = (-(-side // CELLS) for side in M.shape)  # entries a cell
    for column, Z in enumerate(cells, start=1):
        name = list(panels)[column - 1]
        figure.add_heatmap(z=Z, dx=wide, dy=high, coloraxis="coloraxis", row=1, col=column, name=name)
    finished(figure, x="column", height=420)
    figure.update_xaxes(showgrid=False, zeroline=False, constrain="domain")
    figure.update_yaxes(
        showgrid=False, zeroline=False, constrain="domain", autorange="reversed", scaleanchor="x"
    )
    figure.update_yaxes(title_text="row", col=1)
    figure.update_layout(
        coloraxis={
            "colorscale": [list(stop) for stop in DIVERGING],
            "cmin": -top,
            "cmax": top,
            "cmid": 0,
            "colorbar": {
                "title": {"text": "size of an entry", "side": "bottom"},
                "thickness": 10,
                "orientation": "h",
                "y": -0.24,
                "yanchor": "top",
                "len": 0.6,
            },
        }
    )
    figure.update_xaxes(matches="x")
    block = f" Each cell is the mean of {high} × {wide} entries." if high * wide > 1 else ""
    alt = (
        f"A {M.shape[0]} × {M.shape[1]} matrix, its best stand-in of rank {rank}, and the difference: "
        f"rank {rank} keeps {percent(energy)} of the energy.{block}"
    )
    names = [name for name, Z in zip(panels, cells, strict=True) for _ in range(Z.size)]
    where = np.indices(cells[0].shape).reshape(2, -1)
    table: Table = {
        "panel": names,
        "cell row": np.tile(where[0], 3).tolist(),
        "cell column": np.tile(where[1], 3).tolist(),
        "mean entry": np.concatenate([Z.ravel() for Z in cells]).tolist(),
    }
    return Chart(figure, alt, table)


def spectrum(sigma: Sequence[float], *, rank: int, energy: float, effective_rank: float) -> Chart:
    """Show the singular values as bars, those that rank r keeps apart from those it cuts.  [rank-svd]"""
    values = np.asarray(sigma, dtype=float)
    index = np.arange(1, values.size + 1)
    figure = go.Figure()
    for name, part, style in (("kept", index <= rank, bar_style(0)), ("cut", index > rank, bar_style(1))):
        figure.add_bar(x=index[part], y=values[part], name=name, marker=style)
    finished(figure, x="index i", y="singular value σᵢ (same unit as the entries)")
    figure.update_layout(bargap=0.15)
    alt = (
        f"{values.size} singular values from {values.max(initial=0):.3g} down to {values.min(initial=np.inf):.3g}; "
        f"the first {min(rank, values.size)} hold {percent(energy)} of the energy, "
        f"and the effective rank is {effective_rank:.1f}."
    )
    table: Table = {"i": index.tolist(), "singular value": values.tolist(), "kept": (index <= rank).tolist()}
    return Chart(figure, alt, table)


def error_curve(
    bound: Sequence[float], measured: dict[int, float], *, rank: int, unit: str = "share of the norm"
) -> Chart:
    """Show the least possible error at each rank, and the error measured where it was tried.  [rank-eckart-young]

    `bound` is the error for r = 0, 1, ...; `measured` maps ranks to ‖M − B A‖ as computed from the product itself.
    """
    ranks = list(range(len(bound)))
    figure = go.Figure()
    figure.add_scatter(
        x=ranks, y=list(bound), name="least possible (Eckart–Young)", line={"color": BLUE, "width": 2}
    )
    figure.add_scatter(
        x=list(measured),
        y=list(measured.values()),
        mode="markers",
        name="measured ‖M − B A‖",
        marker={"color": VERMILLION, "symbol": "diamond-open", "size": 9, "line": {"width": 2}},
    )
    mark(figure, rank, f" r = {rank} ", side="left" if 2 * rank < len(ranks) else "right")
    finished(figure, x="rank r", y=f"error ({unit})")
    figure.update_yaxes(rangemode="tozero")
    alt = (
        f"The error left falls from {percent(bound[0])} of the norm at rank 0 to {percent(bound[rank])} at rank "
        f"{rank}; the measured error there is {percent(measured[rank])}."
        if bound[0]
        else "The matrix is zero: no error at any rank."
    )
    table: Table = {
        "rank": ranks,
        f"least possible error ({unit})": list(bound),
        f"measured error ({unit})": [measured.get(r) for r in ranks],
    }
    return Chart(figure, alt, table)
