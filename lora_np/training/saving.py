"""A run to a file and back, bit for bit.  Floor 4.

The file is in the safetensors format: the arrays under names such as ``layers.0.W``, and everything else as one JSON
text in its header.  It is written beside its destination and then renamed, so an interruption leaves the old file
whole.  Nothing in it is ever executed; a file that is broken raises `RunFileError` and nothing else.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lora_np._typing import Array
from lora_np.atomic import write_whole
from lora_np.errors import LoraNpError, RunFileError
from lora_np.lora import LoraParams
from lora_np.nn.dense import Dense
from lora_np.nn.network import Network
from lora_np.training.loop import OPTIMIZERS, Settings, State, generator_at, require_resumable
from lora_np.training.pruning import PruneSettings

FORMAT = "lora_np run 1"


def save(path: str | Path, state: State, settings: Settings | PruneSettings) -> None:
    """Write a state and the settings of its run to a file, in one piece or not at all.

    Raises `RunFileError` where the file cannot be written.
    """
    from safetensors.numpy import save as to_bytes

    content = to_bytes(_arrays_of(state), metadata={"run": json.dumps(_facts_of(state, settings))})
    path = Path(path)
    try:
        write_whole(path, content)
    except OSError as error:
        raise RunFileError(f"the run cannot be written to {path}: {error.strerror}") from None


def load(path: str | Path) -> tuple[State, Settings | PruneSettings]:
    """Read what `save` wrote: the state, and the settings to go on with.

    Raises `RunFileError` where the file is missing, broken, or something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except OSError as error:
        raise RunFileError(f"no run can be read from {path}: {error.strerror or error}") from None
    except (SafetensorError, TypeError, ValueError) as error:
        raise RunFileError(
            f"{path} is not a whole safetensors file: {error}",
            fix="it was cut short or changed; save it again",
        ) from None
    return _rebuilt(path, metadata, arrays)


# ---- a state as arrays and facts ---------------------------------------------------------------------------


def _arrays_of(state: State) -> dict[str, Array]:
    """Name every array of a state."""
    import numpy as np

    net = state.network
    named: dict[str, Array] = {}
    for index, (layer, p) in enumerate(zip(net.layers, net.adapters, strict=True)):
        named |= {f"layers.{index}.{name}": value for name, value in layer._asdict().items()}
        if p is not None:
            named |= {f"adapters.{index}.{name}": value for name, value in p._asdict().items()}
    named |= {f"masks.{index}": mask for index, mask in enumerate(net.masks) if mask is not None}
    named |= {f"scores.{index}": scores for index, scores in enumerate(state.scores)}
    for field in state.optimizer._fields[1:]:
        values = getattr(state.optimizer, field)
        named |= {f"optimizer.{field}.{index}": value for index, value in enumerate(values)}
    return {name: np.ascontiguousarray(value) for name, value in named.items()}


def _facts_of(state: State, settings: Settings | PruneSettings) -> dict[str, Any]:
    """Collect everything that is not an array; JSON gives every float back as it was."""
    net = state.network
    return {
        "format": FORMAT,
        "step": state.step,
        "loss": state.loss,
        "test_loss": state.test_loss,
        "accuracy": state.accuracy,
        "rng_state": dict(state.rng_state),
        "scale": net.scale,
        "activation": net.activation,
        "adapters": [p is not None for p in net.adapters],
        "masks": [mask is not None for mask in net.masks],
        "scores": len(state.scores),
        "optimizer": {"step": state.optimizer.step, "arrays": _optimizer_lengths(state.optimizer)},
        "prunes": isinstance(settings, PruneSettings),
        "settings": asdict(settings),
    }


def _optimizer_lengths(optimizer: Any) -> int:
    """Count the arrays in each field of an optimizer's state."""
    return len(optimizer[1]) if len(optimizer) > 1 else 0


def _rebuilt(
    path: Path, metadata: dict[str, str], arrays: dict[str, Array]
) -> tuple[State, Settings | PruneSettings]:
    """Make state and settings of what a file held; whatever does not fit is the file's fault."""
    try:
        facts = json.loads(metadata["run"])
        if facts["format"] != FORMAT:
            raise RunFileError(f"{path} has format {facts['format']!r}, expected {FORMAT!r}")
        settings = _settings_of(facts)
        state = _state_of(facts, arrays, settings.training if facts["prunes"] else settings)
    except RunFileError:
        raise
    except KeyError as error:
        raise RunFileError(f"{path} lacks {error}: it is not a run that lora_np saved") from None
    except LoraNpError as error:
        raise RunFileError(f"{path} holds a run that cannot be: {error.problem}") from None
    except (TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise RunFileError(f"{path} holds no run that can be read: {error}") from None
    return state, settings


def _settings_of(facts: dict[str, Any]) -> Any:
    """Rebuild the settings; their own checks run again."""
    values = dict(facts["settings"])
    if not facts["prunes"]:
        return Settings(**values)
    return PruneSettings(**(values | {"training": Settings(**values["training"])}))


def _state_of(facts: dict[str, Any], arrays: dict[str, Array], training: Settings) -> State:
    """Rebuild the state; the network's own checks run again."""
    layers = range(len(facts["adapters"]))
    net = Network(
        layers=tuple(Dense(arrays[f"layers.{i}.W"], arrays[f"layers.{i}.b"]) for i in layers),
        adapters=_where(
            facts["adapters"], lambda i: LoraParams(arrays[f"adapters.{i}.B"], arrays[f"adapters.{i}.A"])
        ),
        masks=_where(facts["masks"], lambda i: arrays[f"masks.{i}"]),
        scale=facts["scale"],
        activation=facts["activation"],
    )
    kind, count = OPTIMIZERS[training.optimizer][2], facts["optimizer"]["arrays"]
    moments = (
        tuple(arrays[f"optimizer.{field}.{i}"] for i in range(count))
        for field in kind._fields[1:]  # type: ignore[attr-defined]
    )
    generator_at(facts["rng_state"])  # raises where the random numbers could not go on
    state = State(
        step=facts["step"],
        network=net,
        optimizer=kind(facts["optimizer"]["step"], *moments),
        rng_state=facts["rng_state"],
        loss=facts["loss"],
        test_loss=facts["test_loss"],
        accuracy=facts["accuracy"],
        scores=tuple(arrays[f"scores.{i}"] for i in range(facts["scores"])),
    )
    require_resumable(state, training)
    return state


def _where(there: list[bool], make: Callable[[int], Any]) -> tuple[Any, ...]:
    """Make what is there, and None elsewhere."""
    return tuple(make(index) if present else None for index, present in enumerate(there))
