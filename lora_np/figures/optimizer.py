"""Pictures of LoRA as an optimizer: orders of a step, cosines, random factors, sums, scales, trades.  Floor 6.

The pictures of one room stand together, so the file is longer than most.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lora_np.figures.chart import DIVERGING, GREY, Chart, Table, bar_style, finished, line_style, percent
from lora_np.figures.optimizer_scene import AdditiveScene, RandomScene, UpdateScene
from lora_np.figures.trade_scene import TRADES, ScaleScene, TradeScene

FLOOR = 1e-17  # where a gap of zero is drawn on a logarithmic axis
LOG = {"type": "log", "exponentformat": "power"}


# ---- one step ----------------------------------------------------------------------------------------------------


def orders(scene: UpdateScene) -> Chart:
    """Show how large both orders of one step are at every rate.  [view-update]"""
    figure = go.Figure()
    lines = {
        "full gradient, η ‖g_W‖": scene.full,
        "first order, ~ η": scene.first,
        "second order, ~ η²": scene.second,
    }
    for index, (name, sizes) in enumerate(lines.items()):
        style = {"line": line_style(index)["line"]}
        figure.add_scatter(x=scene.rates, y=[y or None for y in sizes], name=name, mode="lines", **style)
    shown = [y if any(scene.second) else None for y in scene.beyond]
    figure.add_scatter(
        x=scene.rates,
        y=shown,
        name="a real step minus its first order",
        mode="markers",
        marker={**line_style(3)["marker"], "size": 9},
    )
    finished(figure, x="learning rate η", y="size of the weight's change, ‖·‖", height=400)
    figure.update_xaxes(**LOG, dtick=1)
    figure.update_yaxes(**LOG, dtick=2)
    return Chart(
        figure,
        _orders_sentence(scene),
        {
            "rate": list(scene.rates),
            "full gradient": scene.full,
            "first order": scene.first,
            "second order": scene.second,
            "real step minus first order": scene.beyond,
        },
    )


def _orders_sentence(scene: UpdateScene) -> str:
    """Say the slopes, and where the second order overtakes the first."""
    first, second = scene.slopes
    if second is None or scene.crossing is None:
        return (
            f"The first order grows with slope {first:.2f}; the second order is 0 at every rate, because B = 0 at the "
            "start."
        )
    return (
        f"On logarithmic axes the first order grows with slope {first:.2f} and the second with slope {second:.2f}; "
        f"they are equally large at a rate of {scene.crossing:.2g}."
    )


def cosine_curve(cosines: Mapping[int, Sequence[float]], *, rank: int, steps: int) -> Chart:
    """Show how well LoRA's step follows the full gradient, against the rank.  [view-first-order] [view-projected]"""
    ranks = list(cosines)
    means = [sum(found) / len(found) for found in cosines.values()]
    low, high = ([end(found) for found in cosines.values()] for end in (min, max))
    figure = go.Figure()
    figure.add_scatter(
        x=ranks,
        y=means,
        mode="lines+markers",
        name=f"mean of {len(cosines[ranks[0]])} starts, from the least to the largest",
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [top - mean for top, mean in zip(high, means, strict=True)],
            "arrayminus": [mean - bottom for mean, bottom in zip(means, low, strict=True)],
        },
        **line_style(0),
    )
    figure.add_hline(y=1, line={"color": GREY, "dash": "dot"}, annotation_text="the full gradient itself")
    finished(figure, x="rank r", y="cosine with the full gradient", height=360)
    figure.update_xaxes(type="log", tickvals=ranks, ticktext=[str(r) for r in ranks])
    figure.update_yaxes(range=[0, 1.12])
    when = "At the start, where B = 0," if steps == 0 else f"After {steps} step{'s'[: steps > 1]},"
    here = means[ranks.index(rank)] if rank in cosines else None
    at_rank = "" if here is None else f" and {here:.2f} at rank {rank}"
    alt = (
        f"{when} the step that LoRA takes has a cosine of {means[0]:.2f} with the full gradient at rank "
        f"{ranks[0]}{at_rank if rank not in (ranks[0], ranks[-1]) else ''}; at rank {ranks[-1]}, where no rank is "
        f"missing, it is {means[-1]:.2f}."
    )
    table: Table = {"rank": ranks, "mean cosine": means, "least": low, "largest": high}
    return Chart(figure, alt, table)


# ---- random factors ----------------------------------------------------------------------------------------------


def convergence(scene: RandomScene, *, rank: int) -> Chart:
    """Show how the mean of random updates comes near its expectation.  [view-random-mean]"""
    figure = go.Figure()
    figure.add_scatter(x=scene.draws, y=scene.errors, name="measured", mode="lines+markers", **line_style(0))
    theory = {"line": line_style(1)["line"]}
    figure.add_scatter(x=scene.draws, y=scene.theory, name="in theory, ~ 1 / √n", mode="lines", **theory)
    finished(figure, x="updates averaged, n", y="distance of their mean from −2 r η g_W", height=360)
    figure.update_xaxes(type="log", tickvals=scene.draws)
    figure.update_yaxes(type="log", tickvals=[0.05, 0.1, 0.2, 0.5, 1, 2, 5])
    alt = (
        f"One update of random factors of rank {rank} is off its mean by {scene.errors[0]:.3g} times its size; the "
        f"mean of {scene.draws[-1]} is off by {scene.errors[-1]:.3g} ({scene.theory[-1]:.3g} in theory)."
    )
    table: Table = {"n": list(scene.draws), "measured": scene.errors, "theory": scene.theory}
    return Chart(figure, alt, table)


def spectra(scene: RandomScene, *, rank: int) -> Chart:
    """Show in how many directions one random update moves, and in how many their mean.  [view-random]"""
    figure = go.Figure()
    index = list(range(1, len(scene.spectra["one update"]) + 1))
    for place, (name, values) in enumerate(scene.spectra.items()):
        figure.add_scatter(x=index, y=values, name=name, mode="lines+markers", **line_style(place))
    finished(figure, x="direction i", y="singular value σᵢ (rate 1)", height=340)
    moved = sum(value > 1e-9 for value in scene.spectra["one update"])
    names = list(scene.spectra)
    alt = (
        f"One update moves the weight in {moved} direction{'s'[: moved > 1]}, 2 r = {2 * rank} at most; the mean of "
        f"{scene.draws[-1]} moves it in all {len(index)}, as the full gradient does."
    )
    return Chart(figure, alt, {"i": index, **{name: scene.spectra[name] for name in names}})


# ---- sums of strips ----------------------------------------------------------------------------------------------


def increments(scene: AdditiveScene) -> Chart:
    """Show what is wanted, and what a product and a sum of strips make of it.  [additive-weight] [additive-blocks]"""
    panels = scene.increments
    figure = make_subplots(1, 3, subplot_titles=list(panels), horizontal_spacing=0.03, shared_yaxes=True)
    top = float(abs(panels["wanted"]).max())
    for column, (name, M) in enumerate(panels.items(), start=1):
        figure.add_heatmap(z=np.round(M, 4), x0=1, y0=1, coloraxis="coloraxis", row=1, col=column, name=name)
    finished(figure, x="column j", height=400)
    figure.update_xaxes(showgrid=False, zeroline=False, constrain="domain", dtick=1)
    figure.update_yaxes(
        showgrid=False, zeroline=False, autorange="reversed", scaleanchor="x", constrain="domain"
    )
    figure.update_yaxes(title_text="row i", col=1)
    bar = {"orientation": "h", "y": -0.3, "yanchor": "top", "len": 0.6, "thickness": 10}
    title = {"text": "size of an entry", "side": "bottom"}
    colours = {"colorscale": [list(stop) for stop in DIVERGING], "cmin": -top, "cmax": top, "cmid": 0}
    figure.update_layout(coloraxis=colours | {"colorbar": bar | {"title": title}})
    alt = (
        f"Of the wanted increment the product of strips misses {percent(scene.left['product'])} of the norm, the sum "
        f"of strips {percent(scene.left['sum'])}."
    )
    where = np.indices(panels["wanted"].shape).reshape(2, -1) + 1
    table: Table = {
        "matrix": [name for name in panels for _ in range(where.shape[1])],
        "row": np.tile(where[0], 3).tolist(),
        "column": np.tile(where[1], 3).tolist(),
        "entry": [float(x) for M in panels.values() for x in M.ravel()],
    }
    return Chart(figure, alt, table)


def directions(scene: AdditiveScene) -> Chart:
    """Show how many numbers are trained, and in how many directions they can move the weight.  [additive-grad]"""
    moments = list(scene.directions)
    trained, reached = ([pair[place] for pair in scene.directions.values()] for place in (0, 1))
    figure = go.Figure()
    for place, (name, each) in enumerate((("numbers trained", trained), ("directions reached", reached))):
        figure.add_bar(y=moments, x=each, name=name, orientation="h", marker=bar_style(place), text=each)
    figure.update_traces(textposition="outside", cliponaxis=False)
    finished(figure, x="how many", y="strips", height=340)
    figure.update_yaxes(autorange="reversed")
    counts = dict(zip(moments, reached, strict=True))
    alt = (
        f"At the start the product reaches {counts['product, at the start']} directions with its {trained[0]} numbers, "
        f"because B = 0, and {counts['product, trained']} after training; the sum reaches "
        f"{counts['sum, at the start']} from the first step on."
    )
    return Chart(figure, alt, {"strips": moments, "numbers trained": trained, "directions reached": reached})


def gauge(scene: AdditiveScene, *, shift: float) -> Chart:
    """Show the strips before and after a constant moved from one to the other.  [additive-gauge]"""
    figure = make_subplots(1, 2, subplot_titles=["first column of B", "first row of A"], shared_yaxes=True)
    for place, (name, values) in enumerate(scene.strips.items()):
        index = list(range(1, len(values) + 1))
        figure.add_scatter(
            x=index,
            y=values,
            name=name,
            mode="lines+markers",
            row=1,
            col=1 + place // 2,
            **line_style(place),
        )
    finished(figure, x="entry", height=320)
    figure.update_layout(legend={"y": 1.14}, margin={"t": 60})
    figure.update_yaxes(title_text="value")
    alt = (
        f"c = {shift:g} moved from A to B changes every number of both strips, and no entry of the weight by more than "
        f"{gap_text(scene.moved)}: the strips are not determined by the weight."
    )
    table: Table = {
        "strip": [name for name, values in scene.strips.items() for _ in values],
        "entry": [i + 1 for values in scene.strips.values() for i in range(len(values))],
        "value": [float(x) for x in chain(*scene.strips.values())],
    }
    return Chart(figure, alt, table)


def gap_text(gap: float) -> str:
    """Write a gap with one digit, and nothing as nothing.

    >>> gap_text(3.2e-16), gap_text(0.0), gap_text(0.43)
    ('3e-16', '0', '0.4')
    """
    return f"{gap:.1g}"


# ---- scales and trades -------------------------------------------------------------------------------------------


def scales(scene: ScaleScene) -> Chart:
    """Show the first gradient against the rank under both rules of the scale.  [lora-scale] [lora-scale-rs]"""
    figure = go.Figure()
    for index, (rule, sizes) in enumerate(scene.gradient.items()):
        figure.add_scatter(
            x=scene.ranks, y=sizes, name=f"s = {rule}", mode="lines+markers", **line_style(index)
        )
    finished(figure, x="rank r", y="size of the first gradient, ‖g_B‖", height=360)
    figure.update_xaxes(type="log", tickvals=scene.ranks)
    figure.update_yaxes(type="log", exponentformat="power", dtick="D2")
    words = " and ".join(f"slope {slope + 0.0:.2f} under s = {rule}" for rule, slope in scene.slopes.items())
    alt = f"From rank {scene.ranks[0]} to {scene.ranks[-1]} the first gradient of B goes with {words}."
    names = {rule: f"‖g_B‖ under {rule}" for rule in scene.gradient}
    table: dict[str, Any] = {"rank": list(scene.ranks)}
    return Chart(
        figure, alt.replace("-0.00", "0.00"), table | {names[k]: v for k, v in scene.gradient.items()}
    )


def gaps(scene: TradeScene, *, c: float) -> Chart:
    """Show how far each trade of α for the rate leads from the run it began with.  [view-sgd] [view-adam]"""
    trades, figure = list(TRADES), go.Figure()
    for index, (optimizer, found) in enumerate(scene.gaps.items()):
        heights = [max(found[trade], FLOOR) for trade in trades]
        text = [gap_text(found[trade]) for trade in trades]
        figure.add_bar(x=trades, y=heights, name=optimizer, marker=bar_style(index), text=text)
    finished(
        figure,
        x=f"what is divided while α is multiplied by c = {c:g}",
        y="relative gap of the weight",
        height=400,
    )
    figure.update_traces(textposition="outside", cliponaxis=False)
    figure.update_yaxes(**LOG, range=[-18, 1.5], dtick=3)
    exact = {name: [t for t in trades if found[t] < 1e-3] for name, found in scene.gaps.items()}
    said = "; ".join(
        f"under {name} {' and '.join(f'“{trade}”' for trade in found) or 'no trade'} leaves the run as it was (gap "
        f"{gap_text(max((scene.gaps[name][trade] for trade in found), default=0))})"
        for name, found in exact.items()
    )
    alt = f"α times {c:g}: {said}."
    table: Table = {"divided": trades} | {
        name: [found[t] for t in trades] for name, found in scene.gaps.items()
    }
    return Chart(figure, alt, table)


def losses(scene: TradeScene, *, trade: str, c: float) -> Chart:
    """Show the losses of both optimizers, before and after one trade.  [view-sgd] [view-adam]"""
    figure = go.Figure()
    table: dict[str, Any] = {"step": list(range(len(scene.base["SGD"])))}
    for index, optimizer in enumerate(scene.base):
        runs = {"": scene.base[optimizer], f", α × {c:g} and {trade}": scene.traded[optimizer][trade]}
        for place, (words, run) in enumerate(runs.items()):
            style = line_style(2 * index + place)
            figure.add_scatter(
                x=table["step"],
                y=run,
                name=f"{optimizer}{words}",
                mode="markers" if place else "lines",
                **(style if place else {"line": style["line"]}),
            )
            table |= {f"{optimizer}{', traded' if place else ''}": run}
    finished(figure, x="step", y="loss ‖ΔW − D‖² / 2", height=400)
    figure.update_yaxes(rangemode="tozero")
    ends = {name: (scene.base[name][-1], scene.traded[name][trade][-1]) for name in scene.base}
    said = "; ".join(
        f"{name} ends at {a:.3g} before the trade and at {b:.3g} after" for name, (a, b) in ends.items()
    )
    return Chart(figure, f"α times {c:g} with {trade}: {said}.", table)
