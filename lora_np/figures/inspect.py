"""Pictures of an adapter by itself: its spectra, and the rank that it needs.  Floor 6.

What needs a base or another adapter beside it is in `inspect_beside`.
"""

import plotly.graph_objects as go

from lora_np.adapters.report import ModuleReport
from lora_np.figures.chart import (
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    VERMILLION,
    Chart,
    Table,
    bar_style,
    finished,
    in_bytes,
    mark,
    percent,
)
from lora_np.figures.inspect_scene import InspectScene, short_names, summary

MARKS = ((0.9, GREEN, "triangle-up"), (0.95, PURPLE, "x"), (0.99, VERMILLION, "diamond"))
ENERGIES = tuple(share for share, *_ in MARKS)
NAMED = (
    24  # more modules than this are numbered below the axis; their names are in the hover and in the table
)
FAINT = "rgba(128,128,128,0.45)"


def spectra(scene: InspectScene, name: str, *, energy: float) -> Chart:
    """Show one module's singular values, those that the energy needs apart from the rest, before all others'.

    [increment-thin] [increment-cut]
    """
    chosen = scene.module(name)
    sigma = [float(value) for value in chosen.spectrum.sigma]
    kept = chosen.kept(energy)
    figure = go.Figure()
    xs: list[int | None] = []
    ys: list[float | None] = []
    for report in scene.reports:
        values = [float(value) for value in report.spectrum.sigma if value > 0]
        xs += [*range(1, len(values) + 1), None]
        ys += [*values, None]
    figure.add_scatter(
        x=xs, y=ys, mode="lines", name=f"all {len(scene.reports)} modules", line={"color": FAINT, "width": 1}
    )
    figure.add_scatter(
        x=list(range(1, len(sigma) + 1)), y=sigma, mode="lines", line={"color": BLUE}, showlegend=False
    )
    for label, places, color, symbol in (
        ("needed", range(kept), BLUE, "circle"),
        ("could go", range(kept, len(sigma)), VERMILLION, "circle-open"),
    ):
        figure.add_scatter(
            x=[place + 1 for place in places],
            y=[sigma[place] for place in places],
            mode="markers",
            name=label,
            marker={"color": color, "symbol": symbol, "size": 10, "line": {"width": 2}},
        )
    finished(figure, x="direction i", y="singular value σᵢ (unit of W)")
    longest = max(len(report.spectrum.sigma) for report in scene.reports)
    figure.update_yaxes(type="log", tickformat="~g")
    figure.update_xaxes(range=[0.5, longest + 0.5], tickformat="d")
    if 0 < kept < len(sigma):
        mark(figure, kept + 0.5, f" {percent(energy)} of the energy to the left ", side="left")
    return Chart(figure, _spectrum_sentence(chosen, energy), _spectrum_table(scene))


def _spectrum_sentence(chosen: ModuleReport, energy: float) -> str:
    """Say what one spectrum shows."""
    if not chosen.norm:
        return f"The increment of {chosen.name} is zero: its {chosen.rank} directions are all unused."
    sigma = [float(value) for value in chosen.spectrum.sigma]
    return (
        f"In {chosen.name}, {chosen.kept(energy)} of {chosen.rank} directions hold {percent(energy)} of the energy; "
        f"the singular values run from {sigma[0]:.3g} to {sigma[-1]:.3g}, and the effective rank is "
        f"{chosen.spectrum.effective_rank:.2g}."
    )


def _spectrum_table(scene: InspectScene) -> Table:
    """List every singular value that is drawn."""
    rows = [
        (report.name, i, float(value), float(report.spectrum.energies[i]))
        for report in scene.reports
        for i, value in enumerate(report.spectrum.sigma, start=1)
    ]
    names = ("module", "i", "singular value", "energy of the first i")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


# ---- rank that could go --------------------------------------------------------------------------------------


def ranks(scene: InspectScene, *, energy: float) -> Chart:
    """Show for each module the rank that is stored and the rank that shares of the energy need.  [increment-cut]"""
    reports, x = scene.reports, list(range(1, len(scene.reports) + 1))
    figure, names = go.Figure(), scene.names
    figure.add_bar(
        x=x,
        y=[report.rank for report in reports],
        name="stored",
        customdata=names,
        hovertemplate="%{customdata}: %{y} stored<extra></extra>",
        marker={"color": "rgba(128,128,128,0.25)", "line": {"color": GREY, "width": 1}},
        width=0.9,
    )
    figure.add_bar(
        x=x,
        y=[report.kept(energy) for report in reports],
        name=f"needed for {percent(energy)}",
        customdata=names,
        hovertemplate="%{customdata}: %{y} needed<extra></extra>",
        marker=bar_style(0),
        width=0.55,
    )
    for share, color, symbol in MARKS:
        if share != energy:
            figure.add_scatter(
                x=x,
                y=[report.kept(share) for report in reports],
                mode="markers",
                name=f"for {percent(share)}",
                customdata=names,
                hovertemplate=f"%{{customdata}}: %{{y}} for {percent(share)}<extra></extra>",
                marker={"color": color, "symbol": symbol, "size": 9, "line": {"color": "white", "width": 1}},
            )
    finished(figure, y="rank (directions)")
    figure.update_layout(barmode="overlay")
    module_axis(figure, scene)
    whole = summary(scene, energy)
    alt = (
        f"For {percent(energy)} of their energy, the {whole.modules} modules need {whole.kept_ranks} of their "
        f"{whole.ranks} directions: {percent(whole.saved_share)} of the factors' numbers, "
        f"{in_bytes(whole.saved_bytes)}, could go."
    )
    return Chart(figure, alt, modules_table(scene, energy=energy))


def modules_table(scene: InspectScene, *, energy: float) -> Table:
    """List all that is known of each module; None where there is no number."""
    shares = sorted({*ENERGIES, energy})
    columns: dict[str, list[object]] = {
        "module": list(scene.names),
        "d": [report.shape[0] for report in scene.reports],
        "k": [report.shape[1] for report in scene.reports],
        "r": [report.rank for report in scene.reports],
        "alpha": [report.alpha for report in scene.reports],
        "scale": [report.scale for report in scene.reports],
        "norm": [report.norm for report in scene.reports],
        "norm / base norm": [report.relative_norm for report in scene.reports],
        "effective rank": [report.spectrum.effective_rank for report in scene.reports],
        "stable rank": [report.spectrum.stable_rank for report in scene.reports],
    }
    for share in shares:
        columns[f"rank for {percent(share)}"] = [report.kept(share) for report in scene.reports]
    return columns


# ---- shared --------------------------------------------------------------------------------------------------


def module_axis(figure: go.Figure, scene: InspectScene) -> None:
    """Name the modules below the axis where they are few, else number them in the file's order."""
    count = len(scene.reports)
    if count <= NAMED:
        figure.update_xaxes(
            tickvals=list(range(1, count + 1)),
            ticktext=short_names(scene.names),
            tickangle=-90,
            title_text="module",
        )
    else:
        figure.update_xaxes(title_text="module, numbered as in the table", tickformat="d")
    figure.update_xaxes(range=[0.4, count + 0.6])
