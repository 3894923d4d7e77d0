"""Which matrices, which rank: a transformer of one block, adapted on every set of matrices at every rank.  Floor 4.

Pretrained on the upright digits, eight tokens of eight pixels, and adapted by LoRA to the turned ones; all that is not
an adapter stays frozen.  A seed fixes split, first weights and batches; `draw` the adapters and their batches.

``python -m lora_np.training.experiments.matrices [FILE]`` runs everything again and writes the file that ships: on one
machine the same bytes each time.  The learning rate was chosen on seeds 0 and 1, for all sets and ranks together.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lora_np import optim
from lora_np._typing import Array
from lora_np.atomic import write_whole
from lora_np.errors import DatasetError
from lora_np.lora import LoraParams
from lora_np.nn import transformer
from lora_np.nn.dense import Dense
from lora_np.nn.losses import accuracy, cross_entropy_gradient
from lora_np.nn.transformer import LAYERS, Signals, Trace, Transformer
from lora_np.training.experiments.records import Record
from lora_np.training.tasks import Task, digit_tasks

SETS = ("q", "k", "v", "o", "qk", "qv", "qkvo", "qkvo12")
RANKS = (1, 2, 4, 8, 16)
SEEDS = (10, 11, 12)
DRAWS = (1, 2)
PAIR = "qv"  # whose factors ship, of the first seed
LIVE_SETS, LIVE_RANKS, LIVE_STEPS = (
    ("q", "v", "qkvo"),
    (1, 4, 16),
    60,
)  # small enough to be run again on a page
SIDES = {"tokens": 8, "pixels": 8, "width": 64, "hidden": 192, "classes": 10, "heads": 4}
PRETRAINING = (800, 3e-3)  # steps, learning rate
ADAPTING = (200, 2e-2)
BATCH, ALPHA_OVER_RANK, SHIFT = 32, 2.0, "rotated-45"
PATH = Path(__file__).with_name("matrices.safetensors")
COMMAND = "python -m lora_np.training.experiments.matrices"


# ---- training ------------------------------------------------------------------------------------------------


class Trains(NamedTuple):
    """What trains: how its arrays are read off a network, put into it, and their gradients, in the same order."""

    parameters: Callable[[Transformer], tuple[Array, ...]]
    put: Callable[[Transformer, tuple[Array, ...]], Transformer]
    gradients: Callable[[Trace, Signals], tuple[Array, ...]]


def _pairs(kind: Callable[..., Any], names: Iterable[str], arrays: tuple[Array, ...]) -> dict[str, Any]:
    """Give every name the next two arrays."""
    return {name: kind(*arrays[2 * i : 2 * i + 2]) for i, name in enumerate(names)}


EVERYTHING = Trains(
    lambda net: (*(array for layer in net.layers.values() for array in layer), net.position),
    lambda net, arrays: replace(net, layers=_pairs(Dense, LAYERS, arrays), position=arrays[-1]),
    lambda trace, signals: (
        *(array for name in LAYERS for array in transformer.gradient(name, trace, signals)),
        signals.position,
    ),
)
ADAPTERS = Trains(
    lambda net: tuple(array for p in net.adapters.values() for array in p),
    lambda net, arrays: replace(net, adapters=_pairs(LoraParams, net.adapters, arrays)),
    lambda _, signals: tuple(array for p in signals.adapters.values() for array in p),
)


def train(
    net: Transformer, task: Task, trains: Trains, rng: np.random.Generator, *, steps: int, lr: float
) -> Iterator[Transformer]:
    """Train by Adam, with a rate that falls linearly to 0; yield the network after each step.  [net-block-backward]"""
    arrays = trains.parameters(net)
    state = optim.adam_init(arrays)
    for step in range(steps):
        rows = rng.choice(task.X.shape[0], BATCH, replace=False)
        trace = transformer.forward(task.X[rows], net)
        signals = transformer.backward(cross_entropy_gradient(trace.logits, task.y[rows]), trace, net)
        rate = lr * (1 - step / steps)
        arrays, state = optim.adam_step(arrays, trains.gradients(trace, signals), state, lr=rate)
        net = trains.put(net, arrays)
        yield net


def held_out(net: Transformer, task: Task) -> float:
    """Return the share of held-out digits that are named rightly."""
    return accuracy(transformer.forward(task.X_test, net).logits, task.y_test)


def tasks(rng: np.random.Generator) -> tuple[Task, Task]:
    """Make the upright and the turned digits, every picture a sequence of its eight lines, in single precision."""

    def in_lines(X: Array) -> Array:
        return X.reshape(-1, SIDES["tokens"], SIDES["pixels"]).astype(np.float32)

    upright, turned = digit_tasks(rng, shift=SHIFT)
    return tuple(Task(in_lines(t.X), t.y, in_lines(t.X_test), t.y_test) for t in (upright, turned))  # type: ignore[return-value]


class Base(NamedTuple):
    """A pretrained transformer, how well it names upright digits that were held out, and the task to adapt to."""

    network: Transformer
    accuracy: float
    turned: Task


def pretrain(seed: int, *, steps: int = PRETRAINING[0]) -> Base:
    """Train a transformer on the upright digits; the same seed gives the same one."""
    rng = np.random.default_rng([seed, 0])
    upright, turned = tasks(rng)
    net = transformer.init(rng, **SIDES, dtype=np.float32)
    *_, net = train(net, upright, EVERYTHING, rng, steps=steps, lr=PRETRAINING[1])
    return Base(net, held_out(net, upright), turned)


def adapting(
    net: Transformer,
    turned: Task,
    targets: str,
    rank: int,
    *,
    seed: int,
    draw: int = 1,
    steps: int = ADAPTING[0],
) -> Iterator[Transformer]:
    """Adapt these matrices to the turned digits; yield the network after each step.  [net-lora]"""
    rng = np.random.default_rng([seed, draw])
    net = transformer.with_adapters(net, rng, tuple(targets), rank=rank, alpha=ALPHA_OVER_RANK * rank)
    return train(net, turned, ADAPTERS, rng, steps=steps, lr=ADAPTING[1])


# ---- the tables and the factors --------------------------------------------------------------------------------


class Run(NamedTuple):
    """One adapted network, and its record."""

    record: Record
    network: Transformer


def runs(
    base: Base, *, seed: int, steps: int = ADAPTING[0], sets: Iterable[str] = SETS, ranks: Iterable[int] = RANKS,
    draws: Iterable[int] = DRAWS, live_steps: int = LIVE_STEPS, first: bool = True,
) -> Iterator[Run]:  # fmt: skip
    """Adapt one pretrained network on every set at every rank; for the `first` seed, the pair again and the live runs.

    Records tell the set, the rank, how many numbers trained, the seed, the draw, the steps and the accuracies.
    """
    first_draw, *others = draws
    plan = [(name, rank, first_draw, steps) for name in sets for rank in ranks]
    if first:
        plan += [(PAIR, rank, draw, steps) for draw in others for rank in ranks]
        plan += [(name, rank, first_draw, live_steps) for name in LIVE_SETS for rank in LIVE_RANKS]
    before = held_out(base.network, base.turned)
    for name, rank, draw, length in plan:
        *_, net = adapting(base.network, base.turned, name, rank, seed=seed, draw=draw, steps=length)
        facts: Record = {"set": name, "rank": rank, "trained": trained(net), "seed": seed, "draw": draw}
        facts |= {"steps": length, "upright": base.accuracy, "before": before}
        yield Run({**facts, "accuracy": held_out(net, base.turned)}, net)


def trained(net: Transformer) -> int:
    """Count the numbers in all adapters."""
    return sum(array.size for p in net.adapters.values() for array in p)


class Shipped(NamedTuple):
    """What ships: all records, the first seed's pretrained transformer, and the factors of its pair of matrices."""

    records: list[Record]
    network: Transformer
    factors: dict[tuple[str, int, int], LoraParams]
    """By matrix, rank and draw."""


def everything(
    *, seeds: Iterable[int] = SEEDS, say: Callable[[str], object] = print, **options: Any
) -> Shipped:
    """Run all of it."""
    records: list[Record] = []
    factors: dict[tuple[str, int, int], LoraParams] = {}
    nets: list[Transformer] = []
    for seed in seeds:
        base = pretrain(seed, **({"steps": options["steps"]} if "steps" in options else {}))
        nets.append(base.network)
        for run in runs(base, seed=seed, first=len(nets) == 1, **options):
            records.append(run.record)
            say(str(run.record))
            full = run.record["steps"] == options.get("steps", ADAPTING[0])
            if len(nets) == 1 and run.record["set"] == PAIR and full:
                place = (int(run.record["rank"]), int(run.record["draw"]))
                factors |= {(name, *place): p for name, p in run.network.adapters.items()}
    return Shipped(records, nets[0], factors)


# ---- the file ----------------------------------------------------------------------------------------------------


def write(shipped: Shipped, path: str | Path = PATH) -> None:
    """Write what ships to a file: arrays by name, and the records as JSON in its header."""
    from safetensors.numpy import save

    net = shipped.network
    named = {
        f"base.{name}.{part}": a for name, layer in net.layers.items() for part, a in layer._asdict().items()
    }
    named["base.position"] = net.position
    for (name, rank, draw), p in shipped.factors.items():
        named |= {f"factors.{name}.{rank}.{draw}.{part}": a for part, a in p._asdict().items()}
    arrays = {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in named.items()}
    write_whole(Path(path), save(arrays, metadata={"records": json.dumps(shipped.records)}))


def read(path: str | Path = PATH) -> Shipped:
    """Read what `write` wrote.  Raises `DatasetError` where the file is missing or broken."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            records = json.loads(file.metadata()["records"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        layers = {name: Dense(arrays[f"base.{name}.W"], arrays[f"base.{name}.b"]) for name in LAYERS}
        net = Transformer(layers, arrays["base.position"], heads=SIDES["heads"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read: {error!r}", fix=f"make it again: {COMMAND}") from None
    places = [name.split(".")[1:4] for name in arrays if name.startswith("factors.") and name.endswith(".B")]
    factors = {
        (m, int(r), int(draw)): LoraParams(*(arrays[f"factors.{m}.{r}.{draw}.{part}"] for part in "BA"))
        for m, r, draw in sorted(places, key=lambda place: (place[0], int(place[1]), place[2]))
    }
    return Shipped(records, net, factors)


if __name__ == "__main__":
    write(everything(say=lambda said: print(said, file=sys.stderr)), *sys.argv[1:2])
