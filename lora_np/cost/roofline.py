"""Predicted time: each operation at the rate of the arithmetic or of the memory, whichever is slower.  Floor 2.

The two rates are inputs, measured elsewhere on the machine at hand; a prediction is a floor that code can approach,
not a time that it will take.
"""

from __future__ import annotations

from collections.abc import Iterable

from lora_np import checks
from lora_np.cost.linear import Line


def predicted_seconds(lines: Iterable[Line], *, flops_per_second: float, bytes_per_second: float) -> float:
    """Add up the roofline times of operations, such as those of a `Phase`.  [cost-roofline]

    t = Σ max(FLOPs / rate, bytes / bandwidth): one operation after another, each limited by one of the two.
    Raises `ConfigError`.

    >>> from lora_np.cost.linear import linear_costs
    >>> costs = linear_costs(512, 768, 768, 8, "float32")
    >>> 1e6 * predicted_seconds(costs["frozen"].forward, flops_per_second=1e12, bytes_per_second=1e11)
    603.979776
    """
    return sum(
        _seconds(line, flops_per_second, bytes_per_second)
        for line in _checked(lines, flops_per_second, bytes_per_second)
    )


def limits(lines: Iterable[Line], *, flops_per_second: float, bytes_per_second: float) -> list[str]:
    """Name what limits each operation: "arithmetic" or "memory".  [cost-roofline]  Raises `ConfigError`.

    >>> from lora_np.cost.linear import linear_costs
    >>> forward = linear_costs(512, 768, 768, 8, "float32")["lora-2"].forward
    >>> limits(forward, flops_per_second=1e12, bytes_per_second=1e11)
    ['memory', 'arithmetic', 'memory', 'memory', 'memory']
    """
    return [
        "arithmetic" if line.flops / flops_per_second >= line.bytes_moved / bytes_per_second else "memory"
        for line in _checked(lines, flops_per_second, bytes_per_second)
    ]


def _seconds(line: Line, flops_per_second: float, bytes_per_second: float) -> float:
    return max(line.flops / flops_per_second, line.bytes_moved / bytes_per_second)


def _checked(lines: Iterable[Line], flops_per_second: float, bytes_per_second: float) -> Iterable[Line]:
    checks.require_number("flops_per_second", flops_per_second, above=0)
    checks.require_number("bytes_per_second", bytes_per_second, above=0)
    return lines
