"""The pictures of training, what they say at their corner cases, and what a run is called."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from lora_np.figures import train as figures
from lora_np.figures.train_scene import (
    TASKS,
    TICKS,
    Choice,
    Played,
    is_redrawn,
    labels,
    opened,
    pace,
    play,
    teacher_spectrum,
    told,
    trainable,
)
from lora_np.rank import svd
from lora_np.training.recipes import RECIPES
from lora_np.training.watched import WatchSettings
from tests.chart_checks import check_chart


def chosen(task="teacher", **settings):
    usual = {"steps": 30, "batch": 64 if task == "digits" else 0}
    return Choice(task, settings=WatchSettings(**(usual | settings)))


def played(choice, until=None):
    """A run to its end, or as far as a step."""
    run, found = play(choice), []
    while True:
        try:
            found.append(next(run))
        except StopIteration as ended:
            return Played(choice, found, ended.value)
        if found[-1].step == until:
            return Played(choice, found)


def charts(run, layer=0):
    return [
        figures.loss_curves([run]),
        figures.spectrum_growth(run, layer=layer),
        figures.norms(run, layer=layer),
    ]


STATES = {
    "fresh": (chosen(), 0),
    "one step": (chosen(), 1),
    "whole": (chosen(), None),
    "both zero": (chosen(scheme="both-zero"), None),
    "rank 32": (chosen(rank=32), None),
    "rank 1": (chosen(rank=1), None),
    "diverged": (chosen(optimizer="sgd", lr=10.0), None),
    "digits": (chosen("digits", steps=12), None),
    "digits by a probe": (chosen("digits", steps=12, method="probe"), None),
    "digits, full": (chosen("digits", steps=3, method="full"), None),
    **{method: (chosen(steps=3, method=method), None) for method in RECIPES},
}


@pytest.mark.parametrize("state", STATES)
def test_every_picture_is_whole(state):
    choice, until = STATES[state]
    run = played(choice, until)
    for layer in range(len(run.now.layers)):
        for chart in charts(run, layer):
            check_chart(chart)
            assert all(np.isfinite(column).all() for name, column in chart.table.items() if name != "run")


def test_the_loss_picture_compares_runs():
    """The table is what is drawn, run by run; the sentence names the lowest by its own number."""
    runs = [played(chosen(rank=rank, steps=100), until) for rank, until in ((2, None), (4, None), (8, 0))]
    chart = figures.loss_curves(runs)
    check_chart(chart)
    assert [trace.name for trace in chart.figure.data] == ["now: r = 2", "pin 1: r = 4", "pin 2: r = 8"]
    assert chart.table["run"] == [t.name for t in chart.figure.data for _ in t.x]
    assert chart.table["loss, held out"] == [v for t in chart.figure.data for v in t.y]
    assert f"“pin 1: r = 4” ends lowest, at {runs[1].now.held_out:.3g}" in chart.alt
    assert len({(t.line.dash, t.line.color, t.marker.symbol) for t in chart.figure.data}) == 3
    training = figures.loss_curves(runs, half="training")
    assert training.table["loss, training"][-1] == runs[2].now.loss


def test_what_the_sentences_say():
    fresh, flat, diverged, whole = (
        [chart.alt for chart in charts(played(*STATES[name]))]
        for name in ("fresh", "both zero", "diverged", "whole")
    )
    assert fresh[0].startswith("Step 0 of 30: before training")
    assert "nothing moves" in flat[0]
    assert "all singular values are 0; the teacher's change has 4" in flat[1]
    assert "every gradient is exactly 0" in flat[2]
    assert "diverged: at step" in diverged[0]
    assert "overshoots" in diverged[0]
    assert "4 singular values above a hundredth" in whole[1]
    assert figures.spectrum_growth(played(STATES["rank 32"][0])).alt.endswith("The 6 largest are drawn.")
    probe = figures.norms(played(STATES["digits by a probe"][0]), layer=0)
    assert probe.alt == "Step 12: nothing trains in this layer."


def test_the_teacher_s_lines_are_the_teacher_s():
    """By this package's own SVD; the digits have no teacher."""
    choice = chosen()
    _, task = opened(choice)
    np.testing.assert_allclose(teacher_spectrum(choice), svd(task.delta).sigma[:4], rtol=1e-12)
    assert teacher_spectrum(chosen("digits")).size == 0
    table = figures.spectrum_growth(played(choice, 0)).table
    assert table["teacher's σ2"] == pytest.approx([7 / 3])


def test_the_digits_start_at_the_network_that_ships():
    """Real ones: its loss on turned digits is far above nothing and falls; the network is not changed by a run."""
    net, task = opened(chosen("digits"))
    before = [a.tobytes() for layer in net.layers for a in layer]
    run = played(chosen("digits", steps=60))
    assert net.widths == (64, 96, 64, 10)
    assert net.adapters == (None, None, None)
    assert run.points[0].held_out > 2.0
    assert run.now.held_out < 0.5 * run.points[0].held_out
    assert [a.tobytes() for layer in net.layers for a in layer] == before
    assert task.X.shape == (1438, 64)


@pytest.mark.parametrize(
    ("method", "task", "trained", "whole"),
    [
        ("lora", "teacher", 4 * 64, 1056),
        ("lora-fa", "teacher", 4 * 32, 1056),
        ("full", "teacher", 1056, 1056),
        ("bitfit", "teacher", 32, 1056),
        ("probe", "digits", 650, 13098),
        ("lora", "digits", 4 * (64 + 96 + 96 + 64 + 64 + 10), 13098),
    ],
)
def test_what_trains_by_hand(method, task, trained, whole):
    assert trainable(chosen(task, method=method)) == (trained, whole, trained / whole)


def test_labels_say_what_sets_runs_apart():
    usual = chosen()
    assert labels([usual]) == ["now: lora"]
    assert labels([usual, usual]) == ["now: lora", "pin 1: lora"]
    other = replace(chosen(alpha=16.0, seed=3), noise=0.1)
    assert labels([usual, other]) == ["now: α = 8, seed 0, noise 0", "pin 1: α = 16, seed 3, noise 0.1"]


def test_a_pinned_run_is_drawn_unless_the_other_repeats_it():
    short, long = played(chosen(), 2), played(chosen(), 5)
    assert is_redrawn(long, short)
    assert not is_redrawn(short, long)
    assert not is_redrawn(long, long)
    assert is_redrawn(played(chosen(rank=1), 0), long)
    assert not is_redrawn(played(chosen("digits"), 0), long)


def test_what_is_told_makes_the_same_choice():
    for choice in (chosen(), chosen("digits", rank=2), replace(chosen(lr=0.5), true_rank=8, noise=0.3)):
        teacher, settings = told(choice)
        assert WatchSettings(**settings) == choice.settings
        assert teacher == (
            {} if choice.task == "digits" else {"rank": choice.true_rank, "noise": choice.noise}
        )
        assert len(settings) < len(asdict(choice.settings))
    assert set(TASKS) == {"teacher", "digits"}


def test_a_run_takes_a_dozen_looks():
    for steps in (50, 300, 2000):
        settings = WatchSettings(steps=steps)
        assert TICKS - 2 <= len(settings.points) / pace(settings) <= TICKS


@pytest.mark.parametrize(
    ("values", "kind", "inside"),
    [
        ([9.0], None, None),
        ([0.0, 0.0], None, None),
        ([9.0, 8.5, 3.0], None, None),
        ([9.0, 0.5], "log", 0.5),
        ([9.0, 0.0, 1e-5], "log", 1e-5),
        ([9.0, 1e-30], "log", 9e-9),
    ],
)
def test_the_loss_axis_is_logarithmic_where_there_is_room(values, kind, inside):
    """All that is drawn is inside; what is a billion times smaller than the first is left below."""
    run = played(chosen(), 0)
    point = run.now
    points = [point._replace(step=step, held_out=value) for step, value in enumerate(values)]
    axis = figures.loss_curves([Played(run.choice, points)]).figure.layout.yaxis
    assert axis.type == kind
    if kind == "log":
        low, high = (10**end for end in axis.range)
        assert low < inside < 9.0 < high
        assert low > 1e-9
