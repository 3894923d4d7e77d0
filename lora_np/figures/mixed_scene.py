"""What the room on merging shows of one batch whose rows use different adapters: results, and counted cost.  Floor 6.

Costs are counted, not measured: FLOPs by the rules of `lora_np.cost`, and the numbers of all weights and factors that
are read or written, each once an operation.  On a small batch the second decides how long it takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.adapters.adapter import LoraAdapter
from lora_np.adapters.mixed import forward_mixed
from lora_np.cost.linear import linear_costs
from lora_np.figures.merge_scene import TASKS, UPRIGHT, library, tasks
from lora_np.nn.activations import activation
from lora_np.nn.network import forward
from lora_np.training.experiments.task_adapters import RANK

SEED = 0  # of the digits that are drawn
MOST_ROWS = 64
LAYERS: Mapping[str, tuple[tuple[tuple[int, int], ...], int]] = {
    "this network": (((96, 64), (64, 96), (10, 64)), RANK),
    "a layer of 768 × 768": (((768, 768),), 8),
    "a layer of 4096 × 4096": (((4096, 4096),), 8),
}
"""What costs are counted for: the sizes (d, k) of its layers, and the rank of the adapters."""


class Serving(NamedTuple):
    """The cost of one way to serve a batch: FLOPs, and the numbers of weights and factors that are moved."""

    flops: int
    moved: int


@dataclass(frozen=True, slots=True, eq=False)
class MixedScene:
    """A batch in one forward pass: each row's task, whether its digit is read right, and how far it is from alone.

    `differences` are max |logits in the batch − logits of the row sent alone through its own adapter|; `one_for_all`
    is the best accuracy that a single adapter, or the base, would have on the same rows.
    """

    names: list[str]
    right: list[bool]
    differences: list[float]
    one_for_all: float
    costs: Mapping[str, Serving]

    @property
    def accuracy(self) -> float:
        """The share of the rows that are read right."""
        return sum(self.right) / len(self.right)


def logits_mixed(X: Float[Array, "N k"], rows: Sequence[str | None]) -> Float[Array, "N c"]:
    """Send rows through the shipped network, each with the adapters of its own task.  [adapters-mixed]

    None is the base alone.  Raises what `forward_mixed` raises.
    """
    net, scale = library().base, library().scale
    sigma = activation(net.activation).apply
    H = X
    for index, (W, b) in enumerate(net.layers):
        adapters = {name: LoraAdapter(layers[index], scale) for name, layers in library().adapters.items()}
        H, _ = forward_mixed(X, W, adapters, rows, bias=b)
        X = sigma(H)
    return H


def mixed_scene(names: Sequence[str], rows: int, *, layers: str = "this network") -> MixedScene:
    """Draw digits of several tasks in turn and read them in one pass, each by its own adapter.  [adapters-mixed]

    `names` are tasks; the upright digits use the base alone.  Raises `ConfigError`.

    >>> scene = mixed_scene(["upright", "inverted"], 4)
    >>> scene.names, max(scene.differences) < 1e-12
    (['upright', 'inverted', 'upright', 'inverted'], True)
    """
    for name in names:
        checks.require_one_of("names", name, TASKS)
    checks.require_int("rows", rows, minimum=1)
    used = [names[n % len(names)] for n in range(rows)]
    X, y = drawn(used)
    logits = logits_mixed(X, [None if name == UPRIGHT else name for name in used])
    alone = np.concatenate([_alone(X[n : n + 1], name) for n, name in enumerate(used)])
    best = max(float(np.mean(_alone(X, name).argmax(axis=1) == y)) for name in TASKS)
    counts = {name: used.count(name) for name in names}
    return MixedScene(
        names=used,
        right=[bool(read) for read in logits.argmax(axis=1) == y],
        differences=[float(difference) for difference in np.abs(logits - alone).max(axis=1)],
        one_for_all=best,
        costs=serving_costs(counts, layers=layers),
    )


def drawn(used: Sequence[str]) -> tuple[Array, Array]:
    """Draw held-out digits, one for each row, as its task shows them.

    >>> [part.shape for part in drawn(["upright", "inverted"])]
    [(2, 64), (2,)]
    """
    places = np.random.default_rng(SEED).permutation(len(tasks()[UPRIGHT].y_test))[: len(used)]
    pairs = [(tasks()[name], place) for name, place in zip(used, places, strict=True)]
    X = np.stack([task.X_test[place] for task, place in pairs])
    return X, np.array([task.y_test[place] for task, place in pairs])


def _alone(X: Float[Array, "N k"], name: str) -> Float[Array, "N c"]:
    """Send rows through one adapter, or the base, and nothing else."""
    net = library().base if name == UPRIGHT else library().network(name)
    return forward(X, net).logits


# ---- what it costs -------------------------------------------------------------------------------------------


def serving_costs(rows: Mapping[str, int], *, layers: str) -> dict[str, Serving]:
    """Count three ways to serve rows that use different adapters.  [adapters-mixed] [cost-product]

    In one mixed pass; in one pass for each adapter's rows; by merging each adapter in turn into a fresh weight.  `rows`
    says how many rows use each adapter; those of "upright" use none.  Raises `ConfigError`.

    >>> costs = serving_costs({"upright": 1, "inverted": 1}, layers="a layer of 768 × 768")
    >>> [cost.moved for cost in costs.values()]
    [602112, 1191936, 2371584]
    """
    checks.require_one_of("layers", layers, LAYERS)
    sizes, rank = LAYERS[layers]
    parts = [_layer_costs(rows, d, k, min(rank, d, k)) for d, k in sizes]
    return {
        way: Serving(sum(part[way].flops for part in parts), sum(part[way].moved for part in parts))
        for way in parts[0]
    }


def _layer_costs(rows: Mapping[str, int], d: int, k: int, r: int) -> dict[str, Serving]:
    """Count one layer."""
    groups = [count for name, count in rows.items() if name != UPRIGHT and count]
    bare = int(rows.get(UPRIGHT, 0) > 0)
    frozen = linear_costs(sum(rows.values()), d, k, r)["frozen"].forward.flops
    branches = sum(_branch_flops(count, d, k, r) for count in groups)
    merging = linear_costs(0, d, k, r)["merged"].once.flops
    weight, factors, T = d * k, r * (d + k), len(groups)
    return {
        "one mixed pass": Serving(frozen + branches, weight + T * factors),
        "one pass per adapter": Serving(frozen + branches, (T + bare) * weight + T * factors),
        "merge each in turn": Serving(frozen + T * merging, (3 * T + bare) * weight + T * factors),
    }


def _branch_flops(N: int, d: int, k: int, r: int) -> int:
    """Count what N rows compute beside the frozen product: two thin products, the scaling, the sum."""
    costs = linear_costs(N, d, k, r)
    return costs["lora-2"].forward.flops - costs["frozen"].forward.flops
