"""What the room on merging shows of several adapters at once: combined into one, by every method.  Floor 6.

Every layer is combined on its own, with the same weights.  What comes out is put into the base and read by digits of
every task.  The singular values are found with the fastest backend there is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.adapters import (
    LoraAdapter,
    combine_cat,
    combine_dare,
    combine_linear,
    combine_magnitude,
    combine_ties,
    draw_keep,
    total_increment,
)
from lora_np.backends import best_backend
from lora_np.figures.merge_scene import accuracies, library, with_weights
from lora_np.nn.network import Network
from lora_np.rank.decomposition import truncate
from lora_np.rank.spectrum import spectrum_report
from lora_np.training.experiments.task_adapters import SHIFTED

METHODS: Mapping[str, str] = {
    "cat": "factors side by side: the exact sum",
    "svd": "the nearest increment of a chosen rank",
    "linear": "factor added to factor",
    "ties": "trim, elect a sign for each entry, average those who agree",
    "dare": "drop entries at random, blow up the others, add (one draw)",
    "magnitude": "keep the largest entries of each, add",
}
SEED = 0  # of the entries that DARE drops


class Combination(NamedTuple):
    """One method's increment of one layer: its exact numerical rank, and its distance from the exact sum.

    `error` is ‖ΔW − Σ τ‖_F / ‖Σ τ‖_F, 0 where the sum is.
    """

    rank: int
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class CombineScene:
    """Every method on the same adapters and weights.

    `combinations` and `least`, the least possible relative errors at rank 0, 1, 2, ..., are those of one layer;
    `accuracy` is held out, by task, of the base with the chosen method's increments in every layer.
    """

    chosen: str
    layer: int
    combinations: Mapping[str, Combination]
    least: list[float]
    accuracy: list[float]


def layer_adapters(index: int) -> list[LoraAdapter]:
    """Take the adapters of one layer, one for each task.

    >>> [adapter.p.A.shape for adapter in layer_adapters(0)]
    [(4, 64), (4, 64), (4, 64), (4, 64)]
    """
    return [LoraAdapter(library().adapters[task][index], library().scale) for task in SHIFTED]


def combine(
    method: str, adapters: Sequence[LoraAdapter], *, weights: Sequence[float], rank: int, density: float
) -> Float[Array, "d k"]:
    """Combine the adapters of one layer and multiply the result out.

    [combine-cat] [combine-svd] [combine-linear] [combine-ties] [combine-dare] [combine-magnitude]

    `rank` counts for svd alone and is capped at min(d, k); `density` for ties, dare and magnitude.  Raises
    `ConfigError` and what the method raises.
    """
    checks.require_one_of("method", method, METHODS)
    d, k = adapters[0].p.B.shape[0], adapters[0].p.A.shape[1]
    match method:
        case "cat":
            return combine_cat(adapters, weights=weights).delta()
        case "svd":
            found = best_backend().svd(total_increment(adapters, weights=weights))
            return truncate(found, min(rank, d, k)).matrix()  # `combine_svd`, with the fastest backend
        case "linear":
            return combine_linear(adapters, weights=weights).delta()
        case "ties":
            return combine_ties(adapters, density=density, weights=weights)
        case "dare":
            rng = np.random.default_rng(SEED)
            keep = [draw_keep(rng, d, k, density=density) for _ in adapters]
            return combine_dare(adapters, keep, density=density, weights=weights)
        case _:
            return combine_magnitude(adapters, density=density, weights=weights)


def combine_scene(
    method: str, weights: Sequence[float], *, rank: int = 4, density: float = 0.5, layer: int = 0
) -> CombineScene:
    """Combine the shipped adapters by every method in one layer, and read digits with the chosen one's result.

    [combine-sum] [combine-svd] [adapters-merge]

    Raises `ConfigError` and what the methods raise.

    >>> scene = combine_scene("cat", [1, 1, 0, 0])
    >>> scene.combinations["cat"].rank, scene.combinations["linear"].rank
    (8, 4)
    """
    combinations, least = layer_study(weights, rank=rank, density=density, layer=layer)
    accuracy = accuracies(combined_network(method, weights, rank=rank, density=density))
    return CombineScene(method, layer, combinations, least, accuracy)


def layer_study(
    weights: Sequence[float], *, rank: int, density: float, layer: int
) -> tuple[dict[str, Combination], list[float]]:
    """Find every method's rank and error in one layer, and the least possible error at each rank.  [combine-svd]"""
    adapters = layer_adapters(layer)
    total = total_increment(adapters, weights=weights)
    deltas = {name: combine(name, adapters, weights=weights, rank=rank, density=density) for name in METHODS}
    report = spectrum_report(best_backend().svd(total))
    least = [float(error) for error in report.errors / (report.errors[0] or 1.0)]
    found = {
        name: Combination(best_backend().matrix_rank(delta), relative_error(delta, total))
        for name, delta in deltas.items()
    }
    return found, least


def combined_network(method: str, weights: Sequence[float], *, rank: int, density: float) -> Network:
    """Put one method's increments into the base, layer by layer.  [adapters-merge]"""
    base = library().base
    deltas = [
        combine(method, layer_adapters(index), weights=weights, rank=rank, density=density)
        for index in range(len(base.layers))
    ]
    return with_weights(base, [W + delta for (W, _), delta in zip(base.layers, deltas, strict=True)])


def relative_error(delta: Float[Array, "d k"], total: Float[Array, "d k"]) -> float:
    """Compare an increment with the exact sum: the norm of the difference over the norm of the sum.

    >>> relative_error(np.array([[3.0, 4.0]]), np.array([[0.0, 4.0]]))
    0.75
    """
    size = float(np.linalg.norm(total))
    return float(np.linalg.norm(delta - total)) / size if size else 0.0
