"""What the room on parameters shows: one count and its memory beside full fine-tuning, and equal budgets.  Floor 6."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_np.counts import Count, Memory, adapter_file_bytes, architecture, count, training_memory
from lora_np.counts.methods import METHODS

BUDGET_SETS = ("q", "v", "q,v", "q,k,v,o", "mlp", "all-linear")
"""Sets of target matrices among which a budget can be spent."""

_GROUPS = {
    "q": "attention",
    "k": "attention",
    "v": "attention",
    "o": "attention",
    "fc1": "feed-forward",
    "fc2": "feed-forward",
    "gate": "feed-forward",
    "up": "feed-forward",
    "down": "feed-forward",
}


@dataclass(frozen=True, slots=True)
class ParamsScene:
    """A count, the memory of a training step with it and with full fine-tuning, and what a task's file takes.

    `same_budget` maps each set of targets to the largest rank whose LoRA fits the budget, the trainable count here.
    """

    count: Count
    full: Count
    memory: Mapping[str, Memory]
    file_bytes: int
    full_file_bytes: int
    same_budget: Mapping[str, int]

    @property
    def fewer(self) -> float:
        """How many times fewer numbers are trained than in full fine-tuning."""
        return self.full.trainable / max(self.count.trainable, 1)

    @property
    def less(self) -> float:
        """How many times less memory a step takes than full fine-tuning."""
        full, here = self.memory.values()
        return full.total / here.total


def params_scene(
    name: str,
    method: str,
    *,
    rank: int,
    targets: str,
    dtype: str = "bfloat16",
    base_dtype: str = "bfloat16",
    **training: Any,
) -> ParamsScene:
    """Count one method on one architecture, and what training it holds.  [count-lora] [memory-training]

    Options that the method does not have are left out; full fine-tuning keeps its base in `dtype`.  `training` is
    passed on to `training_memory`.  Raises `ConfigError`.

    >>> scene = params_scene("gpt3-175b", "lora", rank=4, targets="q,v", batch=0)
    >>> scene.count.trainable, scene.same_budget["q"]
    (18874368, 8)
    """
    options: dict[str, Any] = {"rank": rank, "targets": targets}
    known = METHODS[method].options if method in METHODS else {}
    here = count(name, method, **{key: value for key, value in options.items() if key in known})
    full = count(name, "full")
    memory = {
        "full fine-tuning": training_memory(full, dtype=dtype, **training),
        method: training_memory(here, dtype=dtype, base_dtype=base_dtype, **training),
    }
    return ParamsScene(
        here,
        full,
        memory,
        adapter_file_bytes(here, dtype=dtype),
        adapter_file_bytes(full, dtype=dtype),
        same_budget(name, here.trainable),
    )


def same_budget(name: str, budget: int) -> dict[str, int]:
    """Find, for each set of targets, the largest LoRA rank that trains at most `budget` numbers.  [count-lora]

    >>> same_budget("gpt2", 294912)["q,v"]
    8
    """
    a = architecture(name)
    each = {targets: count(a, "lora", rank=1, targets=targets).trainable for targets in BUDGET_SETS}
    return {targets: budget // unit for targets, unit in each.items()}


def grouped(count: Count) -> dict[tuple[str, str, bool], int]:
    """Sum a count's tensors by (group, leaf, whether trained): attention's q, k, v, o, feed-forward, the rest.

    >>> from lora_np.counts import count
    >>> grouped(count("gpt2", "lora", rank=8))[("added by lora", "q", True)]
    147456
    """
    sums: dict[tuple[str, str, bool], int] = {}
    for row in count.rows:
        if row.added:
            key = (f"added by {count.method}", row.target or row.name, row.trainable)
        elif row.target:
            key = (_GROUPS[row.target], row.target, row.trainable)
        elif row.role == "embedding" or row.name.startswith("head"):
            key = ("embeddings and head", row.role if row.role == "embedding" else "head", row.trainable)
        else:
            key = ("norms and biases", row.role, row.trainable)
        sums[key] = sums.get(key, 0) + row.count
    return sums
