"""LoRAPrune as its authors' program computes it, where that differs from their equations.  Floor 2.

Read from aim-uofa/LoRAPrune at 4da5272, to be compared with; prefer `importance`, `mask` and `schedule`.  It differs:

- a module's score is Σ |Ĝ W| over a group, divided by its norm over all groups; the paper sums squares, unscaled;
- W = W0 + s B A has the scale s = alpha / r, the estimate Ĝ = gB A + B gA − gB gA does not;
- scores start from a running average of zero, and a NaN anywhere skips the update in silence;
- pruning stops at the last step whose ratio is strictly below the target, and counts are cut to whole groups: a
  target of one half prunes 15 of 32 heads and 5503 of 11008 channels;
- a pruned group competes again with importance zero, so a group whose score is exactly zero may take its place.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Bool, Float
from lora_np.errors import ConfigError
from lora_np.lora import LoraParams
from lora_np.prune.criteria import line_sums, sum_by_label
from lora_np.prune.factored import Adapted
from lora_np.prune.gradients import estimated_product, require_gradient
from lora_np.prune.groups import Groups, Part, by_part
from lora_np.prune.schedule import cubic

Module = tuple[Float[Array, "d k"], LoraParams, LoraParams]
"""The frozen weight W0, the factors, and the factors' gradients."""


def module_scores(
    W0: Float[Array, "d k"], p: LoraParams, g: LoraParams, part: Part, count: int, *, scale: float
) -> Float[Array, " q"]:
    """Score the groups of one module, and divide by the norm of the scores.  [prune-released]

    σ_g = Σ_{ij ∈ g} |(gB A + B gA − gB gA)_ij (W0 + s B A)_ij|, and σ / (‖σ‖₂ + 1e-8).  Raises what `estimated` and
    `importance` raise.

    >>> p, g = (
    ...     LoraParams(np.ones((2, 1)), np.ones((1, 1))),
    ...     LoraParams(np.array([[3.0], [4.0]]), np.zeros((1, 1))),
    ... )
    >>> module_scores(np.zeros((2, 1)), p, g, Part(np.arange(2)), 2, scale=1.0).round(6)
    array([0.6, 0.8])
    """
    terms = line_sums(Adapted(W0, p, scale), estimated_product(p, g), axis=part.axis, form="sum-abs")
    scores = sum_by_label(terms, part, count)
    xp = array_namespace(scores)
    return scores / (xp.sqrt(xp.sum(scores * scores)) + 1e-8)


def sensitivity(modules: Mapping[str, Module], groups: Groups, *, scale: float) -> Float[Array, " q"]:
    """Add up the normalized scores of the modules that share groups.  [prune-released]

    `modules` maps each part's name to (W0, p, g).  Raises `GroupError` and what `module_scores` raises.
    """
    by_part("modules", modules, groups)
    for name, module in modules.items():
        require_gradient(f"the gradient of {name!r}", module[2])
    scores = [
        module_scores(*modules[name], part, groups.count, scale=scale) for name, part in groups.parts.items()
    ]
    return sum(scores[1:], start=scores[0])


def update(average: Float[Array, " q"], scores: Float[Array, " q"]) -> Float[Array, " q"]:
    """Blend scores into the average, 0.9 to 0.1; leave it as it is where a score is NaN.  [prune-ema]

    >>> update(np.zeros(1), np.array([np.nan])), update(np.zeros(1), np.ones(1))
    (array([0.]), array([0.1]))
    """
    checks.require_array("average", average)
    checks.require_array("scores", scores)
    checks.require_same_dtype(average=average, scores=scores)
    xp = array_namespace(average, scores)
    return average if bool(xp.isnan(xp.sum(scores))) else average * 0.9 + scores * 0.1


def prune_once(
    average: Float[Array, " q"], kept: Bool[Array, " q"], ratio: float, *, target: float
) -> Bool[Array, " q"]:
    """Prune the int(q · ratio) groups of least importance, the pruned ones counted as zero.  [prune-mask]

    Does nothing once the share that is pruned reaches `target`.  Raises `ConfigError`.

    >>> prune_once(np.array([0.0, 5.0, 7.0]), np.array([True, True, False]), 0.4, target=0.5)
    array([False,  True,  True])
    """
    checks.require_number("ratio", ratio, least=0.0, most=1.0)
    checks.require_number("target", target, least=0.0, most=1.0)
    xp = array_namespace(average, kept)
    total = average.shape[0]
    if total == 0 or 1 - float(xp.sum(xp.astype(kept, average.dtype))) / total >= target:
        return kept
    order = xp.argsort(xp.where(kept, average, xp.zeros_like(average)), stable=True)
    return xp.argsort(order, stable=True) >= int(total * ratio)


def outcome(
    counts: Sequence[int],
    target: float,
    *,
    total: int,
    every: int = 10,
    warmup: float = 0.1,
    cooldown: float = 0.1,
) -> tuple[list[int], float]:
    """Run the released schedule and count the groups that it prunes of each `counts`.  [prune-cubic]

    Prunes at steps that `every` divides, while 0 < ratio < target, int(count · ratio) of each.  Returns the counts
    and the last ratio.  Raises `ConfigError`.

    >>> outcome([32, 11008], 0.5, total=312)[0]
    [15, 5503]
    """
    checks.require_int("total", total, minimum=1)
    checks.require_int("every", every, minimum=1)
    if not all(isinstance(count, (int, np.integer)) and count >= 0 for count in counts):
        raise ConfigError(f"counts must be non-negative ints, got {list(counts)}")
    last = 0.0
    for step in range(0, total + 1, every):
        ratio = cubic(step, total=total, final=target, warmup=warmup, cooldown=cooldown)
        if 0 < ratio < target:
            last = ratio
    return [int(count * last) for count in counts], last
