"""What the training room shows: what was chosen, the task that it opens, and a run as far as it got.  Floor 6."""

import functools
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType

import numpy as np

from lora_np._typing import Float
from lora_np.figures.prune_scene import shipped_run
from lora_np.nn.network import Network
from lora_np.training.plans import count_trainable, plan_for
from lora_np.training.recipes import RECIPES, adapted
from lora_np.training.tasks import Regression, Task, teacher_student
from lora_np.training.watched import Point, WatchSettings, student, watch

TASKS: Mapping[str, str] = MappingProxyType(
    {
        "teacher": "one 32 × 32 layer learns what a teacher changed; the change has the rank that you choose",
        "digits": "a network of 64, 96, 64 and 10 units that reads handwritten digits meets digits turned by an eighth",
    }
)
DIGITS_BATCH = 64
TICKS = 12  # a run is over after about so many looks
WORDS = MappingProxyType(
    {
        "method": "{}",
        "rank": "r = {}",
        "alpha": "α = {:g}",
        "scheme": "start {}",
        "optimizer": "{}",
        "lr": "rate {:g}",
        "steps": "{} steps",
        "seed": "seed {}",
        "true_rank": "teacher's rank {}",
        "noise": "noise {:g}",
    }
)
"""How a label says what is different about a run."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A task and how to train on it; `true_rank` and `noise` are the teacher's."""

    task: str = "teacher"
    true_rank: int = 4
    noise: float = 0.0
    settings: WatchSettings = field(default_factory=WatchSettings)


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """A run as far as it got: its points, and the step at which its loss left all bounds, if it did."""

    choice: Choice
    points: Sequence[Point]
    left_at: int | None = None

    @property
    def now(self) -> Point:
        """The last point that was seen."""
        return self.points[-1]


@functools.lru_cache(maxsize=16)
def opened(choice: Choice) -> tuple[Network, Task | Regression]:
    """Make the network that a run starts from, and its task; the seed draws the teacher.  [net-teacher]

    The last few are remembered, so write into none of them.

    >>> net, task = opened(Choice())
    >>> net.widths, task.X.shape
    ((32, 32), (64, 32))
    """
    if choice.task == "digits":
        return _digits()
    rng = np.random.default_rng(choice.settings.seed)
    task = teacher_student(rng, rank=choice.true_rank, noise=choice.noise)
    return student(task), task


def play(choice: Choice) -> Generator[Point, None, int | None]:
    """Train as chosen and yield what is to be seen; returns the step at which the loss left all bounds, or None."""
    return watch(*opened(choice), choice.settings)


def teacher_spectrum(choice: Choice) -> Float[np.ndarray, " q"]:
    """List the singular values of the teacher's change, those that are not zero; none for the digits."""
    _, task = opened(choice)
    if not isinstance(task, Regression):
        return np.zeros(0)
    sigma: np.ndarray = np.linalg.svd(task.delta, compute_uv=False)[: choice.true_rank]
    return sigma


def layer_shape(choice: Choice, layer: int) -> tuple[int, int]:
    """Say how large a layer's weight is: outputs d and inputs k.

    >>> layer_shape(Choice("digits"), 2)
    (10, 64)
    """
    d, k = opened(choice)[0].layers[layer].W.shape
    return d, k


def trainable(choice: Choice) -> tuple[int, int, float]:
    """Count what trains, what there is, and the share."""
    net, _ = opened(choice)
    s = choice.settings
    net = adapted(
        net, np.random.default_rng(s.seed), method=s.method, rank=s.rank, alpha=s.alpha, scheme=s.scheme
    )
    return count_trainable(net, plan_for(RECIPES[s.method].trains, net))


def pace(settings: WatchSettings) -> int:
    """Say how many points one look shows at once, so that a run takes a dozen looks.

    >>> pace(WatchSettings(steps=300)), pace(WatchSettings(steps=5))
    (9, 1)
    """
    return -(-len(settings.points) // TICKS)


def labels(choices: Sequence[Choice]) -> list[str]:
    """Name the run that goes, and then the pinned ones, by what sets them apart; by their method, if nothing does.

    >>> slow, fast = (Choice(settings=WatchSettings(lr=lr)) for lr in (0.01, 0.1))
    >>> labels([slow, fast])
    ['now: rate 0.01', 'pin 1: rate 0.1']
    """
    facts = [_facts(choice) for choice in choices]
    apart = [name for name in WORDS if len({fact[name] for fact in facts}) > 1] or ["method"]
    words = [", ".join(WORDS[name].format(fact[name]) for name in apart) for fact in facts]
    return [f"pin {place}: {text}" if place else f"now: {text}" for place, text in enumerate(words)]


def is_redrawn(kept: Played, now: Played) -> bool:
    """Tell whether a pinned run belongs beside the one that goes: of the same task, and not a part of it."""
    repeated = kept.choice == now.choice and kept.now.step <= now.now.step
    return kept.choice.task == now.choice.task and not repeated


def told(choice: Choice) -> tuple[dict[str, object], dict[str, object]]:
    """Write a choice as arguments: of `teacher_student`, and of `WatchSettings` where they are not the usual ones.

    >>> told(Choice(true_rank=2, settings=WatchSettings(rank=2)))
    ({'rank': 2, 'noise': 0.0}, {'rank': 2})
    """
    usual = asdict(WatchSettings())
    teacher: dict[str, object] = {"rank": choice.true_rank, "noise": choice.noise}
    chosen = {name: value for name, value in asdict(choice.settings).items() if value != usual[name]}
    return (teacher if choice.task == "teacher" else {}), chosen


def _facts(choice: Choice) -> dict[str, object]:
    """Write a choice as one flat table."""
    facts = asdict(choice)
    settings: dict[str, object] = facts.pop("settings")
    return facts | settings


@functools.cache
def _digits() -> tuple[Network, Task]:
    """Take the pretrained network that ships, without its adapters, and the turned digits; write into neither."""
    run = shipped_run()
    return Network(run.state.network.layers, activation=run.state.network.activation), run.task
