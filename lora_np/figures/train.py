"""Pictures of training: losses compared, the spectrum of what is added, the sizes of what trains.  Floor 6."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from lora_np.figures.chart import GREY, Chart, Table, finished, line_style
from lora_np.figures.train_scene import Played, labels, teacher_spectrum
from lora_np.training.watched import SIGMAS, Point

DRAWN = 6  # singular values that have a line of their own
LOSS = {"teacher": "half the mean squared error", "digits": "cross-entropy in nats"}
HALVES = ("held out", "training")
STYLES = {"B": 0, "A": 1, "W": 2, "b": 3}
WHAT = {"B": "B", "A": "A", "W": "the change of W", "b": "the change of b"}
NOTHING = 1e-12  # a singular value below this is rounding
BELOW = 1e-9  # of the first value: what lies deeper is as good as zero, and not drawn


def loss_curves(runs: Sequence[Played], *, half: str = "held out") -> Chart:
    """Show the loss against the step, of the run that goes and of those that were pinned.  [net-squared-error]

    The first run is the one that goes.  [net-cross-entropy]
    """
    names = labels([run.choice for run in runs])
    losses = [[_loss(point, half) for point in run.points] for run in runs]
    drawn = zip(runs, names, losses, strict=True)
    figure = go.Figure([_line(i, name, _steps(run), values) for i, (run, name, values) in enumerate(drawn)])
    unit = LOSS[runs[0].choice.task]
    finished(figure, x="step", y=f"loss, {half} ({unit})", height=400)
    steps = max(run.choice.settings.steps for run in runs)
    vertical = _log_axis([value for values in losses for value in values])
    figure.update_layout(xaxis_range=[0, steps], yaxis=vertical, showlegend=len(runs) > 1)
    table: Table = {
        "run": [name for run, name in zip(runs, names, strict=True) for _ in run.points],
        "step": [step for run in runs for step in _steps(run)],
        f"loss, {half}": [value for values in losses for value in values],
    }
    return Chart(figure, _loss_sentence(runs, names, losses, half), table)


def spectrum_growth(run: Played, *, layer: int = 0) -> Chart:
    """Show how the singular values of what is added grow, beside the teacher's.  [lora-delta] [net-teacher]"""
    sigma = [point.layers[layer].sigma[:DRAWN] for point in run.points]
    true = teacher_spectrum(run.choice)[:DRAWN].tolist()
    steps, length = _steps(run), run.choice.settings.steps
    columns = {f"σ{i + 1}": [float(values[i]) for values in sigma] for i in range(len(sigma[0]))}
    goals = [_goal(value, length, first=index == 0) for index, value in enumerate(true)]
    lines = [_line(index, name, steps, values) for index, (name, values) in enumerate(columns.items())]
    figure = go.Figure(goals + lines)
    finished(figure, x="step", y="singular value of the increment", height=460)
    top = max([*true, *(max(values) for values in columns.values())]) or 1.0
    figure.update_layout(xaxis_range=[0, length], yaxis_range=[-0.03 * top, 1.08 * top])
    theirs = {f"teacher's σ{i + 1}": [value] * len(steps) for i, value in enumerate(true)}
    table: Table = {"step": steps, **columns, **theirs}
    return Chart(figure, _spectrum_sentence(run, layer), table)


def norms(run: Played, *, layer: int = 0) -> Chart:
    """Show how large what trains is, and how large its gradients are.  [lora-grad-b] [lora-grad-a]"""
    seen, steps = [point.layers[layer] for point in run.points], _steps(run)
    table: dict[str, Sequence[Any]] = {"step": steps}
    lines, slopes = [], []
    for name in seen[0].sizes:
        sizes, gradients = ([getattr(s, f)[name] for s in seen] for f in ("sizes", "gradients"))
        shared = {"legendgroup": name, "showlegend": False, "yaxis": "y2"}
        lines += [_line(STYLES[name], WHAT[name], steps, values) for values in (sizes, gradients)]
        lines[-1] |= shared
        table |= {f"norm of {WHAT[name]}": sizes, f"norm of the gradient of {name}": gradients}
        slopes += gradients
    nothing = [0.0] * len(steps)
    figure = go.Figure(lines or [_line(0, "nothing trains here", steps, nothing) | {"yaxis": "y2"}])
    finished(figure, x="step", y="norm", height=540)
    figure.update_layout(
        legend_traceorder="normal",  # a group of one line is no column of its own
        xaxis={"range": [0, run.choice.settings.steps], "anchor": "y2"},
        yaxis={"domain": [0.53, 1], "rangemode": "tozero"},
        yaxis2={"domain": [0, 0.47], "title_text": "norm of the gradient", "automargin": True}
        | _log_axis(slopes),
    )
    return Chart(figure, _norm_sentence(run, layer), table)


# ---- what the pictures share -----------------------------------------------------------------------------------


def _loss(point: Point, half: str) -> float:
    """Read the loss of one half of the task."""
    return point.held_out if half == "held out" else point.loss


def _steps(run: Played) -> list[int]:
    return [point.step for point in run.points]


def _line(index: int, name: str, steps: Sequence[int], values: Sequence[float]) -> dict[str, Any]:
    """Draw a line whose markers are few: they tell lines apart, they do not mark steps."""
    style = line_style(index)
    style["marker"] |= {"maxdisplayed": 9}
    return {"type": "scatter", "mode": "lines+markers", "x": steps, "y": values, "name": name, **style}


def _goal(value: float, length: int, *, first: bool) -> dict[str, Any]:
    """Draw a level that the run may reach; one entry in the legend stands for all."""
    line = {"color": GREY, "width": 1}
    place = {"x": [0, length], "y": [value, value], "mode": "lines", "line": line}
    return {
        "type": "scatter",
        "name": "the teacher's",
        "showlegend": first,
        "legendgroup": "teacher",
        **place,
    }


def _log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Make an axis logarithmic where there is room for it; what is as good as zero is left below it."""
    top = max(values, default=0.0)
    lowest = max(min((value for value in values if value > 0), default=1.0), BELOW * top)
    span = math.log10(top / lowest) if top > 0 else 0.0
    if span < 0.5:  # a third of the largest, or more
        return {"rangemode": "tozero"}
    low, room = math.log10(lowest), 0.06 * span
    shape = {"type": "log", "range": [low - room, low + span + room]}
    if span >= 2:
        return shape | {"dtick": math.ceil(span / 5), "exponentformat": "power"}
    tens = range(math.floor(low), math.ceil(low + span))
    ticks = [float(f"{digit}e{ten}") for ten in tens for digit in (1, 2, 5)]
    return shape | {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


# ---- what they say -----------------------------------------------------------------------------------------------


def _loss_sentence(
    runs: Sequence[Played], names: Sequence[str], losses: Sequence[Sequence[float]], half: str
) -> str:
    """Say how far the run has come, and how it compares."""
    run, values = runs[0], losses[0]
    step, steps = run.now.step, run.choice.settings.steps
    if run.left_at is not None:
        text = (
            f"The run diverged: at step {run.left_at} its loss was more than 10,000 times the first, or no number at "
            "all; such a learning rate overshoots."
        )
    elif step == 0:
        text = f"Step 0 of {steps:,}: before training, the loss ({half}) is {values[0]:.3g}."
    elif len(set(values)) == 1:
        text = f"At step {step:,} of {steps:,} the loss ({half}) is still exactly {values[0]:.3g}: nothing moves."
    else:
        text = f"At step {step:,} of {steps:,} the loss ({half}) has gone from {values[0]:.3g} to {values[-1]:.3g}."
    if len(runs) > 1:
        best = min(range(len(runs)), key=lambda index: losses[index][-1])
        text += f" Of {len(runs)} runs, “{names[best]}” ends lowest, at {losses[best][-1]:.3g}."
    return text


def _spectrum_sentence(run: Played, layer: int) -> str:
    """Say how many directions the increment uses, and how many it would need."""
    sigma, step = run.now.layers[layer].sigma, f"{run.now.step:,}"
    wanted = f"; the teacher's change has {run.choice.true_rank}" if run.choice.task == "teacher" else ""
    if sigma[0] < NOTHING:
        return f"At step {step} the weight has not changed: all singular values are 0{wanted}."
    used = int((sigma > sigma[0] / 100).sum())
    count = f"{used} or more" if used == SIGMAS else f"{used}"
    drawn = f" The {DRAWN} largest are drawn." if used > DRAWN else ""
    return (
        f"At step {step} the increment has {count} singular values above a hundredth of its largest, which is "
        f"{sigma[0]:.3g}{wanted}.{drawn}"
    )


def _norm_sentence(run: Played, layer: int) -> str:
    """Say how what trains grew, and whether anything still pulls at it."""
    first, now = run.points[0].layers[layer], run.now.layers[layer]
    if not now.sizes:
        return f"Step {run.now.step:,}: nothing trains in this layer."
    grew = " and ".join(f"{WHAT[n]} from {first.sizes[n]:.3g} to {now.sizes[n]:.3g}" for n in now.sizes)
    if not any(now.gradients.values()):
        return f"Step {run.now.step:,}: every gradient is exactly 0, so nothing moves; in norm, {grew}."
    pulls = " and ".join(f"{now.gradients[n]:.2g} for {n}" for n in now.gradients)
    return f"By step {run.now.step:,} the norms went: {grew}; the gradients' norms are {pulls}."
