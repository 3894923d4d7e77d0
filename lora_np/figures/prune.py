"""Pictures of pruning: units by importance, importance against the truth, accuracy against sparsity.  Floor 6."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from lora_np._typing import Array, Bool, Float
from lora_np.figures.chart import (
    BLUE,
    LINES,
    VERMILLION,
    Chart,
    Table,
    bar_style,
    finished,
    line_style,
    mark,
    percent,
)


def importance_bars(
    scores: Float[Array, " q"], kept: Bool[Array, " q"], *, criterion: str, layer: str
) -> Chart:
    """Show the units of a layer from the most to the least important, those that are cut apart.  [prune-mask]

    Scores are drawn as shares of the largest.
    """
    order = np.argsort(-scores, kind="stable")
    top = float(np.max(scores, initial=0.0)) or 1.0
    shares, stays = scores[order] / top, kept[order]
    place = np.arange(1, order.size + 1)
    figure = go.Figure()
    for name, part, style in (("kept", stays, bar_style(0)), ("cut", ~stays, bar_style(1))):
        figure.add_bar(
            x=place[part],
            y=shares[part],
            name=name,
            marker=style,
            customdata=order[part],
            hovertemplate=_HOVER,
        )
    finished(figure, x="place, most important unit first", y="importance (share of largest)")
    figure.update_yaxes(type="log", exponentformat="power", nticks=6)
    figure.update_layout(bargap=0.15)
    cut = int(np.sum(~kept))
    held = float(shares[stays].sum() / (shares.sum() or 1.0))
    alt = (
        f"{layer}: by “{criterion}”, {cut} of {order.size} units go, and the {order.size - cut} that stay hold "
        f"{percent(held)} of the importance."
    )
    table: Table = {
        "unit": order.tolist(),
        "importance": scores[order].tolist(),
        "kept": ["yes" if stay else "no" for stay in stays],
    }
    return Chart(figure, alt, table)


_GRADES = (("well", 0.8), ("roughly", 0.4), ("weakly", 0.2))  # above which correlation a word holds
_HOVER = "unit %{customdata}<br>share %{y:.3g}<extra></extra>"


def against_truth(
    scores: Float[Array, " q"],
    truth: Float[Array, " q"],
    kept: Bool[Array, " q"],
    *,
    criterion: str,
    correlation: float,
) -> Chart:
    """Show each unit's importance against the loss that its removal really causes.  [prune-true] [prune-importance]"""
    figure = go.Figure()
    for name, part, colour, symbol in (("kept", kept, BLUE, "circle"), ("cut", ~kept, VERMILLION, "x")):
        figure.add_scatter(
            x=_positive(scores)[part],
            y=_positive(truth)[part],
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": 8},
            customdata=np.flatnonzero(part),
            hovertemplate="unit %{customdata}<extra></extra>",
        )
    finished(figure, x=f"importance by “{criterion}”", y="true (change of loss)²")
    figure.update_xaxes(type="log", exponentformat="power", nticks=6)
    figure.update_yaxes(type="log", exponentformat="power", nticks=8)
    how = next((word for word, least in _GRADES if correlation > least), "not at all")
    alt = (
        f"Against the truth, “{criterion}” has a rank correlation of {correlation:.2f} over {scores.size} units: "
        f"it ranks them {how}."
    )
    table: Table = {
        "unit": list(range(scores.size)),
        "importance": scores.tolist(),
        "true squared change of loss": truth.tolist(),
        "kept": ["yes" if stay else "no" for stay in kept],
    }
    return Chart(figure, alt, table)


def _positive(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """Lift zeros to a tenth of the smallest positive number, so that a log axis shows them."""
    least = float(np.min(x[x > 0], initial=np.inf))
    return np.maximum(x, least / 10 if np.isfinite(least) else 1.0)


def accuracy_curves(summaries: Sequence[Mapping[str, object]], *, ratio: float, chosen: str) -> Chart:
    """Show held-out accuracy against the share of units removed: mean and range over seeds, by criterion.  [prune-mask]

    `summaries` are rows with criterion, ratio, n, mean, low and high, sorted by ratio within a criterion.
    """
    figure = go.Figure()
    names = list(dict.fromkeys(str(row["criterion"]) for row in summaries))
    for index, name in enumerate(names):
        rows = [row for row in summaries if row["criterion"] == name]
        x = [row["ratio"] for row in rows]
        band = [row["high"] for row in rows] + [row["low"] for row in reversed(rows)]
        faint = {"x": x + x[::-1], "y": band, "fill": "toself", "line": {"width": 0}, "hoverinfo": "skip"}
        if name == chosen:  # one band: seven would hide each other
            figure.add_scatter(
                **faint,
                mode="lines",
                fillcolor=LINES[index % 7],
                opacity=0.2,
                showlegend=False,
                name=f"{name}, range",
            )
        style = line_style(index)
        style["line"] = {**style["line"], "width": 4 if name == chosen else 1.5}
        figure.add_scatter(x=x, y=[row["mean"] for row in rows], name=name, mode="lines+markers", **style)
    mark(figure, ratio, f" {percent(ratio)} cut ", side="right" if ratio > 0.5 else "left")
    finished(figure, x="share of hidden units removed", y="held-out accuracy", height=400)
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return Chart(figure, _said(summaries, ratio), _columns(summaries))


def _said(summaries: Sequence[Mapping[str, object]], ratio: float) -> str:
    """Say which criterion does best and worst at the ratio nearest to the chosen one."""
    near = min((float(str(row["ratio"])) for row in summaries), key=lambda value: abs(value - ratio))
    there = sorted(
        (row for row in summaries if row["ratio"] == near), key=lambda row: float(str(row["mean"]))
    )
    worst, best = there[0], there[-1]
    return (
        f"With {percent(near)} of the units removed, “{best['criterion']}” keeps {percent(float(str(best['mean'])))} "
        f"accuracy and “{worst['criterion']}” {percent(float(str(worst['mean'])))}: means over {best['n']} seeds; the "
        "band is the range of the chosen criterion."
    )


def _columns(summaries: Sequence[Mapping[str, object]]) -> Table:
    """Turn rows into columns."""
    return {name: [row[name] for row in summaries] for name in summaries[0]}
