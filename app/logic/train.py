"""Training: the limits of what can be chosen, the live run, the pinned runs, and the scripts to take along."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from app import frame
from app.live import Live, live
from lora_np import lora, optim
from lora_np.figures.train import WHAT
from lora_np.figures.train_scene import (
    DIGITS_BATCH,
    TASKS,
    Choice,
    Played,
    is_redrawn,
    layer_shape,
    pace,
    play,
    told,
    trainable,
)
from lora_np.training.recipes import RECIPES, adapted
from lora_np.training.tasks import teacher_student
from lora_np.training.watched import WatchSettings, increment, watch

KEY, PINNED = "train_run", "train_pins"
PINS = 4
RANKS = [1, 2, 3, 4, 6, 8, 12, 16, 32]
TRUE_RANKS = [1, 2, 4, 8, 16]
ALPHAS = [1, 2, 4, 8, 16, 32, 64]
RATES = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
LENGTHS = [50, 100, 300, 1000, 2000]
NOISES = [0.0, 0.1, 0.3, 1.0]
OPTIMIZERS = ["adam", "momentum", "sgd"]
SEEDS = 9
SCHEMES = {"B zero": "kaiming", "A zero": "zero-A", "both zero": "both-zero", "both random": "symmetric"}
LAYERS = {"first": 0, "second": 1, "third": 2}
DRAW_THEIR_START = ("lora", "rslora", "lora-plus", "lora-fa")
WITHOUT_FACTORS = ("full", "bitfit", "probe")
METHODS = list(RECIPES)
STEPS: dict[str, Callable[..., Any]] = {
    "adam": optim.adam_step,
    "momentum": optim.momentum_step,
    "sgd": optim.sgd_step,
}
EQUATION_OF_STEP = {"adam": "optim-adam", "momentum": "optim-momentum", "sgd": "view-sgd"}
GROWTH_CODE = (increment, adapted)  # began the run, and measures what it added
__all__ = ["TASKS", "Choice", "Live", "increment", "pace", "trainable", "watch"]


def choice(task: str, true_rank: int, noise: float, **settings: Any) -> Choice:
    """Gather what the controls say; the digits come in batches, the teacher's rows all at once."""
    batch = DIGITS_BATCH if task == "digits" else 0
    return Choice(task, true_rank, noise, WatchSettings(batch=batch, **settings))


def run(chosen: Choice) -> Live:
    """Find the session's run of what is chosen, held at step 0 if it is new."""
    return live(KEY, chosen, lambda: play(chosen))


def played(live_run: Live) -> Played:
    """Say how far a run got."""
    return Played(live_run.about, tuple(live_run.seen), live_run.outcome)


# ---- runs that were pinned -----------------------------------------------------------------------------------


def pins() -> list[Played]:
    """List the session's pinned runs, oldest first."""
    return st.session_state.setdefault(PINNED, [])


def pin(live_run: Live) -> None:
    """Keep a run as far as it got, in the place of an earlier pin of the same; past the limit, do nothing."""
    others = [kept for kept in pins() if kept.choice != live_run.about]
    st.session_state[PINNED] = [*others, played(live_run)][:PINS]


def unpin_all() -> None:
    """Forget all pinned runs."""
    st.session_state[PINNED] = []


def compared(now: Played) -> list[Played]:
    """List the run that goes, and the pinned ones of its task that it does not repeat."""
    return [now, *(kept for kept in pins() if is_redrawn(kept, now))]


# ---- what a card needs -----------------------------------------------------------------------------------------


def loss_equations(task: str) -> tuple[str, ...]:
    """Name the equations of the loss."""
    return ("net-teacher", "net-squared-error") if task == "teacher" else ("net-cross-entropy",)


def task_code(task: str) -> tuple[Callable[..., Any], ...]:
    """Name the functions that made the losses."""
    return (watch, teacher_student) if task == "teacher" else (watch,)


def gradient_equations(chosen: Choice) -> tuple[str, ...]:
    """Name the equations of the gradients and of the step."""
    s = chosen.settings
    own = ("net-backward",) if s.method in WITHOUT_FACTORS else ("lora-grad-b", "lora-grad-a")
    return (
        *own,
        EQUATION_OF_STEP[s.optimizer] if own[0] != "net-backward" or s.optimizer != "sgd" else "optim-sgd",
    )


def gradient_code(chosen: Choice) -> tuple[Callable[..., Any], ...]:
    """Name the functions that made the gradients and took the step."""
    return (lora.backward, STEPS[chosen.settings.optimizer])


def growth_equations(chosen: Choice) -> tuple[str, ...]:
    """Name the equations of what training adds, and of where it starts."""
    method = chosen.settings.method
    if method in WITHOUT_FACTORS:
        return ("net-update",)
    start = {"pissa": "pissa-start", "milora": "milora-start", "olora": "olora-start"}.get(
        method, "lora-init"
    )
    if chosen.settings.scheme == "symmetric" and method in DRAW_THEIR_START:
        start = "lora-symmetric"
    return ("lora-delta", start, "lora-scale-rs" if method == "rslora" else "lora-scale")


def sizes(chosen: Choice, layer: int) -> dict[str, tuple[int, ...]]:
    """Give the letters' sizes in the layer that is shown, in the paper's form."""
    d, k = layer_shape(chosen, layer)
    square = {"W_0": (d, k), r"\Delta W": (d, k)}
    if chosen.settings.method in WITHOUT_FACTORS:
        return square
    r = min(chosen.settings.rank, d, k)
    return square | {"B": (d, r), "A": (r, k), "r": (r,)}


# ---- scripts -----------------------------------------------------------------------------------------------------

OPEN = {
    "teacher": (
        "from lora_np.training import WatchSettings, student, teacher_student, watch",
        "task = teacher_student(np.random.default_rng(settings.seed), **teacher)",
        "student(task)",
    ),
    "digits": (
        "from lora_np.figures.train_scene import Choice, opened\nfrom lora_np.training import WatchSettings, watch",
        'before, task = opened(Choice("digits"))',
        "before",
    ),
}


def loss_script(runs: Sequence[Played], half: str) -> str:
    """Write the script that trains every run that is drawn, as far as it is drawn."""
    imports, make, net = OPEN[runs[0].choice.task]
    loss = "held_out" if half == "held out" else "loss"
    body = f"""
import numpy as np
{imports}

numbers = {{"step": [], "loss, {half}": []}}
for teacher, chosen, until in runs:
    settings = WatchSettings(**chosen)
    {make}
    for point in watch({net}, task, settings):
        numbers["step"].append(point.step)
        numbers["loss, {half}"].append(point.{loss})
        if point.step == until:
            break
print(numbers)
"""
    return frame.script(body, runs=[(*told(each.choice), each.now.step) for each in runs])


def layer_script(run: Played, layer: int, numbers: str, **values: object) -> str:
    """Write the script that trains one run and reads a layer of it."""
    imports, make, net = OPEN[run.choice.task]
    body = f"""
import numpy as np
{imports}

settings = WatchSettings(**chosen)
{make}
points = [point for point in watch({net}, task, settings) if point.step <= until]
seen = [point.layers[layer] for point in points]
numbers = {{"step": [point.step for point in points]}}
{numbers}
print(numbers)
"""
    teacher, chosen = told(run.choice)
    return frame.script(body, teacher=teacher, chosen=chosen, until=run.now.step, layer=layer, **values)


def growth_script(run: Played, layer: int, drawn: int) -> str:
    """Write the script of the singular values."""
    body = 'for i in range(drawn):\n    numbers[f"σ{i + 1}"] = [float(glimpse.sigma[i]) for glimpse in seen]'
    return layer_script(run, layer, body, drawn=drawn)


def norm_script(run: Played, layer: int) -> str:
    """Write the script of the norms."""
    body = """for letter, words in letters.items():
    numbers[f"norm of {words}"] = [glimpse.sizes[letter] for glimpse in seen]
    numbers[f"norm of the gradient of {letter}"] = [glimpse.gradients[letter] for glimpse in seen]"""
    letters = {letter: WHAT[letter] for letter in run.now.layers[layer].sizes}
    return layer_script(run, layer, body, letters=letters)
