"""What the room on cost shows: one layer's costs in every variant, and along the batch.  Floor 6."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lora_np.bench.machine import Machine
from lora_np.bench.measure import LinearTime
from lora_np.cost import Crossovers, LinearCosts, VariantCost, crossovers, linear_costs, predicted_seconds
from lora_np.errors import ConfigError

ROWS = tuple(2**i for i in range(15))
"""Batch sizes along which the forms are compared: 1 to 16384."""

PHASES = ("forward", "backward", "step")


@dataclass(frozen=True, slots=True)
class CostScene:
    """The costs at N rows; the FLOPs of the two forms over the frozen layer's along `ROWS`; where they cross."""

    costs: LinearCosts
    phase: str
    ratios: Mapping[str, Sequence[float]]
    crossings: Crossovers

    @property
    def crossover(self) -> float:
        """The batch from which lora-1 takes fewer FLOPs in this phase; infinite where it never does."""
        return float(getattr(self.crossings, f"{self.phase}_counted"))

    def step_over(self, variant: str, other: str = "frozen") -> float:
        """Divide the FLOPs of a step in two variants."""
        return self.costs[variant].step_flops / self.costs[other].step_flops


def cost_scene(
    N: int, d: int, k: int, rank: int, *, phase: str = "forward", dtype: str = "float32"
) -> CostScene:
    """Count a layer's costs, and how they go with the batch.  [cost-forward] [cost-crossover]

    Raises `ConfigError`, `DTypeError`.

    >>> scene = cost_scene(512, 256, 256, 8)
    >>> round(scene.crossover), round(scene.ratios["lora-2"][0], 3)
    (136, 1.066)
    """
    if phase not in PHASES:
        raise ConfigError(f"phase must be one of {', '.join(PHASES)}, got {phase!r}")
    along = [linear_costs(n, d, k, rank, dtype) for n in ROWS]
    ratios = {
        name: [_flops(costs[name], phase) / _flops(costs["frozen"], phase) for costs in along]
        for name in ("lora-2", "lora-1")
    }
    return CostScene(linear_costs(N, d, k, rank, dtype), phase, ratios, crossovers(d, k, rank))


def _flops(variant: VariantCost, phase: str) -> int:
    """FLOPs of one phase."""
    return variant.step_flops if phase == "step" else int(getattr(variant, phase).flops)


def floors(costs: LinearCosts, machine: Machine, forms: Sequence[str], *, phase: str) -> dict[str, float]:
    """Predict the least seconds of a phase from the machine's measured rates.  [cost-roofline]"""
    rates = {"flops_per_second": 1e9 * machine.gemm_gflops, "bytes_per_second": 1e9 * machine.copy_gbytes}
    return {
        form: sum(predicted_seconds(getattr(costs[form], part), **rates) for part in _parts(phase))
        for form in forms
    }


def seconds(times: Mapping[str, LinearTime], *, phase: str) -> dict[str, float]:
    """Read the measured seconds of a phase.

    >>> seconds({"lora-2": LinearTime(forward_ms=1.0, backward_ms=2.0)}, phase="step")
    {'lora-2': 0.003}
    """
    return {
        form: 1e-3 * sum(getattr(time, f"{part}_ms") for part in _parts(phase))
        for form, time in times.items()
    }


def _parts(phase: str) -> tuple[str, ...]:
    """Name the parts of a phase: a step is forward and backward."""
    return ("forward", "backward") if phase == "step" else (phase,)
