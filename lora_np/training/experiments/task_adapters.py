"""Several tasks on one network: the pretrained digits network and an adapter for each shift of the digits.  Floor 4.

The adapters are trained one by one from the same frozen base, so they share nothing but it.  What ships is
float64, base included, so that nobody has to train before merging, swapping and combining them.

``python -m lora_np.training.experiments.task_adapters [FILE]`` trains them again and writes the file; without FILE,
the one inside the package.  On one machine the file comes out the same to the byte.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from lora_np import checks
from lora_np._typing import Array
from lora_np.atomic import write_whole
from lora_np.errors import DatasetError
from lora_np.lora import LoraParams
from lora_np.nn.dense import Dense
from lora_np.nn.network import Network
from lora_np.training.experiments.adapting import adapted_start
from lora_np.training.experiments.base import SEEDS, last, pretrain
from lora_np.training.loop import Settings, start
from lora_np.training.tasks import Task, digit_tasks

PATH = Path(__file__).with_name("task_adapters.safetensors")
COMMAND = "python -m lora_np.training.experiments.task_adapters"
SHIFTED = ("rotated-45", "rotated-90", "inverted", "renamed")
SEED, RANK = SEEDS[0], 4
TRAINING = Settings("lora", 1000, 1e-2, weight_decay=1.0, report_every=1000)


class TaskAdapters(NamedTuple):
    """One frozen network, the factors of every layer by task, and the scale that all of them share.

    >>> shipped = shipped_task_adapters()
    >>> list(shipped.adapters), shipped.scale, shipped.base.widths
    (['rotated-45', 'rotated-90', 'inverted', 'renamed'], 2.0, (64, 96, 64, 10))
    """

    base: Network
    adapters: Mapping[str, tuple[LoraParams, ...]]
    scale: float

    def network(self, task: str) -> Network:
        """Put one task's adapters beside the base.  [net-lora]  Raises `ConfigError`."""
        checks.require_one_of("task", task, self.adapters)
        return replace(self.base, adapters=self.adapters[task], scale=self.scale)


def task_of(shift: str | None) -> Task:
    """Make the task of a shift as the adapters saw it; None: the upright digits, as the base saw them.

    All tasks hold out the same digits.  Raises `ConfigError`.

    >>> task_of(None).X_test.shape
    (359, 64)
    """
    upright, shifted = digit_tasks(np.random.default_rng([SEED, 0]), shift=shift or SHIFTED[0])
    return upright if shift is None else shifted


def train_task_adapters(*, training: Settings = TRAINING) -> TaskAdapters:
    """Pretrain the base, then adapt it to each shift on its own."""
    base = pretrain(SEED).network
    trained = {}
    for place, shift in enumerate(SHIFTED):
        rng = np.random.default_rng([SEED, 5, place])
        task = task_of(shift)
        trained[shift] = last(start(adapted_start(base, RANK, rng), task, training, rng), task, training)
    adapters = {
        shift: tuple(p for p in state.network.adapters if p is not None) for shift, state in trained.items()
    }
    return TaskAdapters(base, MappingProxyType(adapters), trained[SHIFTED[0]].network.scale)


# ---- the file ------------------------------------------------------------------------------------------------


def write_task_adapters(made: TaskAdapters, path: str | Path = PATH) -> None:
    """Write base and adapters to a safetensors file, in one piece or not at all."""
    from safetensors.numpy import save

    arrays = {
        f"base.{i}.{name}": array
        for i, layer in enumerate(made.base.layers)
        for name, array in layer._asdict().items()
    }
    for task, layers in made.adapters.items():
        arrays |= {f"{task}.{i}.{name}": a for i, p in enumerate(layers) for name, a in p._asdict().items()}
    facts = {
        "command": COMMAND,
        "tasks": list(made.adapters),
        "scale": made.scale,
        "activation": made.base.activation,
    }
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {"about": json.dumps(facts)}  # subtle: one entry, for several come in any order
    write_whole(Path(path), save(whole, metadata=metadata))


def shipped_task_adapters(path: str | Path = PATH) -> TaskAdapters:
    """Read what `write_task_adapters` wrote.  Raises `DatasetError` where the file is missing or broken."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(Path(path), framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["about"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return _rebuilt(facts, arrays)
    except OSError as error:
        problem = f"the task adapters cannot be read from {path}: {error.strerror or error}"
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        problem = f"{path} holds no task adapters: {error!r}"
    raise DatasetError(problem, fix=f"make them again: {COMMAND}")


def _rebuilt(facts: Mapping[str, object], arrays: Mapping[str, Array]) -> TaskAdapters:
    """Make networks of what a file held; the network's own checks run again."""
    count = sum(name.startswith("base.") and name.endswith(".W") for name in arrays)
    layers = tuple(Dense(arrays[f"base.{i}.W"], arrays[f"base.{i}.b"]) for i in range(count))
    adapters = {
        str(task): tuple(LoraParams(arrays[f"{task}.{i}.B"], arrays[f"{task}.{i}.A"]) for i in range(count))
        for task in facts["tasks"]  # type: ignore[attr-defined]
    }
    base = Network(layers, activation=str(facts["activation"]))
    return TaskAdapters(base, MappingProxyType(adapters), float(facts["scale"]))  # type: ignore[arg-type]


def main(arguments: list[str]) -> None:
    """Train and write."""
    write_task_adapters(train_task_adapters(), arguments[0] if arguments else PATH)


if __name__ == "__main__":
    main(sys.argv[1:])
