"""Pictures of an adapter beside its base, and beside another: what a merge loses, how alike two are.  Floor 6."""

import plotly.graph_objects as go

from lora_np.adapters.inspection import chance_cosine
from lora_np.figures.chart import (
    GREEN,
    GREY,
    PURPLE,
    VERMILLION,
    Chart,
    Table,
    bar_style,
    finished,
    percent,
)
from lora_np.figures.inspect import module_axis
from lora_np.figures.inspect_scene import InspectScene, summary

# ---- what a merge loses --------------------------------------------------------------------------------------


def merge_losses(scene: InspectScene) -> Chart:
    """Show for each module how many entries a 16-bit merge leaves as they were, and how much it loses.

    [increment-rounded] [increment-unchanged]
    """
    found = [(x, report) for x, report in enumerate(scene.reports, start=1) if report.merges]
    figure = go.Figure()
    table: dict[str, list[object]] = {"module": [report.name for _, report in found]}
    for index, dtype in enumerate(("bfloat16", "float16")):
        losses = [report.merges[dtype] for _, report in found]
        names = [report.name for _, report in found]
        figure.add_bar(
            x=[x for x, _ in found],
            y=[100 * loss.unchanged_share for loss in losses],
            name=f"{dtype}: entries left as they were",
            customdata=names,
            hovertemplate="%{customdata}: %{y:.3g} % of the entries stay<extra></extra>",
            marker=bar_style(index),
        )
        figure.add_scatter(
            x=[x + (-0.2, 0.2)[index] for x, _ in found],  # over its own bar
            y=[100 * loss.lost if not loss.overflowed else None for loss in losses],
            mode="markers",
            name=f"{dtype}: lost of ‖ΔW‖",
            customdata=names,
            hovertemplate="%{customdata}: %{y:.3g} % of the increment's size<extra></extra>",
            marker={
                "color": (PURPLE, GREEN)[index],
                "symbol": ("diamond", "cross")[index],
                "size": 9,
                "line": {"color": "white", "width": 1},
            },
        )
        table |= {
            f"{dtype}: entries to change": [loss.changing for loss in losses],
            f"{dtype}: left as they were": [loss.unchanged for loss in losses],
            f"{dtype}: lost share of the norm": [None if loss.overflowed else loss.lost for loss in losses],
            f"{dtype}: largest error": [None if loss.overflowed else loss.largest_error for loss in losses],
            f"{dtype}: entries beyond range": [loss.overflowed for loss in losses],
        }
    finished(figure, y="share (%)")
    figure.update_layout(barmode="group")
    figure.update_yaxes(rangemode="tozero")
    module_axis(figure, scene)
    return Chart(figure, _merge_sentence(scene), table)


def _merge_sentence(scene: InspectScene) -> str:
    """Say what merging in either type does to the entries, and where it overflows."""
    shares = summary(scene, 1.0).unchanged
    said = " and ".join(f"{percent(share)} in {dtype}" for dtype, share in shares.items())
    losses = [(dtype, loss, report.name) for report in scene.reports for dtype, loss in report.merges.items()]
    words = [f"Of the entries that the adapter changes, a merge leaves as they were: {said}."]
    fitting = [(loss.lost, dtype, name) for dtype, loss, name in losses if not loss.overflowed]
    if fitting:
        lost, dtype, name = max(fitting)
        words.append(f"The most is lost in {name}: {percent(lost)} of the increment's size in {dtype}.")
    beyond = sum(loss.overflowed for _, loss, _ in losses)
    if beyond:
        words.append(f"{beyond:,} entries do not fit the type: they would become infinite.")
    return " ".join(words)


# ---- likeness to another adapter -----------------------------------------------------------------------------


def likenesses(scene: InspectScene, *, directions: int) -> Chart:
    """Show for each module the cosine of two increments, and how much of their top directions they share.

    [increment-cosine] [subspace-phi] [increment-chance]
    """
    found = [(x, report, report.likeness) for x, report in enumerate(scene.reports, start=1)]
    rows = [
        (x, report, like, min(directions, len(like.outputs))) for x, report, like in found if like is not None
    ]
    xs, names = [x for x, *_ in rows], [report.name for _, report, *_ in rows]
    outputs = [like.outputs[i - 1] for _, _, like, i in rows]
    inputs = [like.inputs[i - 1] for _, _, like, i in rows]
    chance = [i / min(report.shape) for _, report, _, i in rows]
    figure = go.Figure()
    figure.add_bar(
        x=xs, y=[like.cosine for _, _, like, _ in rows], name="cosine", customdata=names,
        hovertemplate="%{customdata}: cosine %{y:.3f}<extra></extra>", marker=bar_style(0), width=0.6,
    )  # fmt: skip
    figure.add_scatter(
        x=xs,
        y=chance,
        mode="lines",
        name="φ by chance, at most",
        customdata=names,
        hovertemplate="%{customdata}: by chance φ = %{y:.3f}<extra></extra>",
        line={"color": GREY, "dash": "dot", "shape": "hvh"},
    )
    for label, values, color, symbol, shift in (
        ("φ of outputs", outputs, VERMILLION, "circle", -0.2),
        ("φ of inputs", inputs, GREEN, "square", 0.2),
    ):
        figure.add_scatter(
            x=[x + shift for x in xs],  # so that neither hides the other
            y=values,
            mode="markers",
            name=label,
            customdata=names,
            hovertemplate=f"%{{customdata}}: {label} %{{y:.3f}}<extra></extra>",
            marker={"color": color, "symbol": symbol, "size": 9, "line": {"color": "white", "width": 1}},
        )
    finished(figure, y="cosine, φ (1 = the same)")
    lowest = min((like.cosine for _, _, like, _ in rows), default=0.0)
    figure.update_yaxes(
        range=[min(-0.1, lowest - 0.05), 1.02]
    )  # one scale for all pairs: they are to be compared
    module_axis(figure, scene)
    table: Table = {
        "module": names,
        "cosine": [like.cosine for _, _, like, _ in rows],
        "cosine by chance": [chance_cosine(*report.shape) for _, report, *_ in rows],
        "directions": [i for *_, i in rows],
        "φ of outputs": outputs,
        "φ of outputs by chance": [i / report.shape[0] for _, report, _, i in rows],
        "φ of inputs": inputs,
        "φ of inputs by chance": [i / report.shape[1] for _, report, _, i in rows],
    }
    return Chart(figure, _likeness_sentence(table, directions), table)


def _likeness_sentence(table: Table, directions: int) -> str:
    """Say how alike two adapters are, against chance."""
    cosines = sorted(table["cosine"])
    if not cosines:
        return "0 modules can be compared: they are not in both adapters, or an increment is zero."
    above = sum(
        phi > 2 * by_chance
        for side in ("outputs", "inputs")
        for phi, by_chance in zip(table[f"φ of {side}"], table[f"φ of {side} by chance"], strict=True)
    )
    return (
        f"The two increments have cosines from {cosines[0]:.2f} to {cosines[-1]:.2f}, where chance gives about "
        f"±{max(table['cosine by chance']):.2g}; of {2 * len(cosines)} spaces of the top "
        f"{'direction' if directions == 1 else f'{directions} directions'}, {above} overlap more than twice what "
        "chance gives."
    )
