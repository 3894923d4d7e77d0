"""Pictures of where adapters go: accuracy by set of matrices, shared directions, amplification.  Floor 6."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from lora_np.figures.chart import (
    BLUE,
    DIVERGING,
    GREY,
    MARKERS,
    ORANGE,
    Chart,
    Table,
    bar_style,
    finished,
    percent,
)
from lora_np.figures.subspace_scene import PhiScene, Strength, told
from lora_np.training.experiments.records import Record

SHARED = ((0.0, "rgba(0,114,178,0)"), (1.0, BLUE))
"""Nothing shared: the paper shows through; everything: blue."""


# ---- accuracy ------------------------------------------------------------------------------------------------


def budget_dots(rows: Sequence[Record], runs: Sequence[Record], *, before: float) -> Chart:
    """Show what each set of matrices reaches with equally many trained numbers, the best on top.  [count-lora]

    `rows` are summaries, the best first; `runs` the single seeds, drawn faintly; `before` is without adapters.
    """
    names = {(row["set"], row["rank"]): f"{told(str(row['set']))}, r = {row['rank']}" for row in rows}
    figure = go.Figure()
    seeds = [run for run in runs if (run["set"], run["rank"]) in names]
    figure.add_scatter(
        x=[run["accuracy"] for run in seeds],
        y=[names[run["set"], run["rank"]] for run in seeds],
        mode="markers",
        name="one seed",
        marker={"symbol": "circle-open", "size": 9, "color": GREY},
    )
    figure.add_scatter(
        x=[row["mean"] for row in rows],
        y=list(names.values()),
        mode="markers",
        name="mean",
        marker={"symbol": "diamond", "size": 12, "color": BLUE},
    )
    figure.add_vline(x=before, line={"color": GREY, "dash": "dot"})
    figure.add_annotation(
        x=before, y=0, yref="paper", text=" before ", showarrow=False, xanchor="left", yanchor="bottom"
    )
    finished(figure, x="held-out accuracy on turned digits", y="adapted matrices, rank", height=500)
    figure.update_xaxes(tickformat=".0%", range=[0, 1.02], dtick=0.2)
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=list(names.values()))
    figure.update_layout(legend={"x": 1, "xanchor": "right"})
    best, worst = rows[0], rows[-1]
    alt = (
        f"With {rows[0]['trained']:,} trained numbers each, {_where(best)} reaches {_percent(best)} and "
        f"{_where(worst)} {_percent(worst)}: means over {best['n']} seeds, from {percent(before)} before adapting."
    )
    table: Table = {
        "matrices": [told(str(row["set"])) for row in rows],
        "rank": [row["rank"] for row in rows],
        "mean accuracy": [row["mean"] for row in rows],
        "lowest": [row["low"] for row in rows],
        "highest": [row["high"] for row in rows],
    }
    return Chart(figure, alt, table)


def rank_curves(rows: Sequence[Record], *, chosen: str) -> Chart:
    """Show accuracy against rank for every set, one of them in colour with its range over seeds.  [count-lora]

    `rows` are summaries with set, rank, trained, n, mean, low and high, sorted by rank within a set.
    """
    figure = go.Figure()
    names = list(dict.fromkeys(str(row["set"]) for row in rows))
    for name in sorted(names, key=lambda name: name == chosen):  # the chosen one last, on top
        own = [row for row in rows if row["set"] == name]
        x, y = [row["rank"] for row in own], [row["mean"] for row in own]
        high, low = ([float(row[end]) for row in own] for end in ("high", "low"))
        picked = name == chosen
        spread = {
            "type": "data",
            "symmetric": False,
            "array": [top - float(mean) for top, mean in zip(high, y, strict=True)],
            "arrayminus": [float(mean) - bottom for bottom, mean in zip(low, y, strict=True)],
        }
        figure.add_scatter(
            x=x,
            y=y,
            name=told(name),
            mode="lines+markers",
            line={"color": BLUE if picked else GREY, "width": 4 if picked else 1},
            marker={"symbol": [*MARKERS, "hexagram"][names.index(name) % 8], "size": 11 if picked else 8},
            error_y=spread if picked else None,
        )
    finished(figure, x="rank r", y="held-out accuracy on turned digits", height=500)
    ranks = sorted({int(row["rank"]) for row in rows})
    figure.update_xaxes(type="log", tickvals=ranks, ticktext=[str(r) for r in ranks])
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    own = [row for row in rows if row["set"] == chosen]
    best = max(own, key=lambda row: float(row["mean"]))
    most = "" if best is own[-1] else f", and most, {_percent(best)}, at rank {best['rank']}"
    alt = (
        f"{told(chosen)}: {_percent(own[0])} at rank {own[0]['rank']}, {_percent(own[-1])} at rank {own[-1]['rank']}"
        f"{most}; means over {best['n']} seeds."
    )
    table: Table = {
        "matrices": [told(str(row["set"])) for row in rows],
        **{name: [row[name] for row in rows] for name in ("rank", "trained")},
        "mean accuracy": [row["mean"] for row in rows],
        "lowest": [row["low"] for row in rows],
        "highest": [row["high"] for row in rows],
    }
    return Chart(figure, alt, table)


def _where(row: Record) -> str:
    """Say which matrices at which rank."""
    return f"{told(str(row['set']))} at rank {row['rank']}"


def _percent(row: Record) -> str:
    """Write a summary's mean."""
    return percent(float(row["mean"]))


# ---- shared directions -----------------------------------------------------------------------------------------


_HOVER = "i = %{y}, j = %{x}<br>φ = %{customdata[0]:.2f}<br>chance %{customdata[1]:.2f}<extra></extra>"


def phi_heatmap(scene: PhiScene, *, beyond_chance: bool) -> Chart:
    """Show φ(i, j) of two factors, or what of it chance does not explain.  [subspace-phi] [subspace-random]"""
    shown = scene.excess if beyond_chance else scene.phi
    p, q = shown.shape
    figure = go.Figure(
        go.Heatmap(
            z=shown,
            x=list(range(1, q + 1)),
            y=list(range(1, p + 1)),
            customdata=np.stack([scene.phi, scene.chance], axis=-1),
            hovertemplate=_HOVER,
            colorscale=[list(stop) for stop in (DIVERGING if beyond_chance else SHARED)],
            zmin=-1 if beyond_chance else 0,
            zmax=1,
            xgap=1,
            ygap=1,
            colorbar={"title": {"text": "φ − chance" if beyond_chance else "φ"}, "thickness": 12},
        )
    )
    first, second = scene.names
    finished(figure, x=f"j: top directions of {second}", y=f"i: top directions of {first}", height=420)
    figure.update_xaxes(showgrid=False, zeroline=False, constrain="domain", dtick=max(1, q // 8))
    figure.update_yaxes(
        showgrid=False, zeroline=False, constrain="domain", dtick=max(1, p // 8), autorange="reversed"
    )
    alt = (
        f"{first} against {second}: their first directions share φ(1, 1) = {scene.phi[0, 0]:.2f}, where chance in "
        f"{scene.n} dimensions gives {scene.chance[0, 0]:.2f}; all {p} and all {q} share {scene.phi[-1, -1]:.2f}, "
        f"chance {scene.chance[-1, -1]:.2f}."
    )
    i, j = np.indices(shown.shape) + 1
    table: Table = {
        "i": i.ravel().tolist(),
        "j": j.ravel().tolist(),
        "φ": scene.phi.ravel().tolist(),
        "chance": scene.chance.ravel().tolist(),
    }
    return Chart(figure, alt, table)


# ---- amplification ---------------------------------------------------------------------------------------------

_DIRECTIONS = {"own": "directions of W₀ itself", "inside": "directions of ΔW", "random": "random directions"}


def strength_bars(rows: Sequence[Strength], *, matrix: str, rank: int) -> Chart:
    """Show how strong W₀ is in its own, the increment's, and random directions, and ‖ΔW‖.  [subspace-amplification]"""
    figure = go.Figure()
    x = [f"{row.rank}<br>× {row.factor:.1f}" for row in rows]
    for index, (name, words) in enumerate(_DIRECTIONS.items()):
        y = [getattr(row, name) for row in rows]
        figure.add_bar(x=x, y=y, name=f"W₀ in {words}", marker=bar_style(index))
    delta = [row.delta for row in rows]
    line = {"color": ORANGE, "dash": "dot", "width": 2}
    marker = {"symbol": "diamond", "size": 11, "color": ORANGE}
    figure.add_scatter(x=x, y=delta, name="the increment ΔW itself", line=line, marker=marker)
    finished(
        figure,
        x="rank r, and amplification ‖ΔW‖ / ‖Uᵀ W₀ V‖",
        y="strength ‖ · ‖ (unit of an entry)",
        height=440,
    )
    figure.update_layout(bargap=0.25)
    row = next(row for row in rows if row.rank == rank)
    alt = (
        f"W_{matrix} at rank {rank}: the increment has strength {row.delta:.1f}; in the increment's directions W₀ has "
        f"{row.inside:.2f}, in its own top ones {row.own:.1f}, in random ones {row.random:.2f}: amplified "
        f"{row.factor:.1f} times."
    )
    table: Table = {
        "rank": [row.rank for row in rows],
        "‖ΔW‖": delta,
        "W₀ in ΔW's directions": [row.inside for row in rows],
        "W₀ in its own": [row.own for row in rows],
        "W₀ in random ones": [row.random for row in rows],
        "amplification": [row.factor for row in rows],
    }
    return Chart(figure, alt, table)
