"""How much to prune at each step, and the running average that decides what.  Floor 2.

Plain functions of the step: no schedule object holds state, so a run can be resumed from its step and its average.
"""

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError, ShapeError


def cubic(
    step: float,
    *,
    total: float,
    final: float,
    initial: float = 0.0,
    warmup: float = 0.1,
    cooldown: float = 0.1,
) -> float:
    """Return the share of groups to have pruned by a step: fast at first, then gently.  [prune-cubic]

    s = final + (initial − final) (1 − (t − w T) / (T − (w + c) T))³, clamped to `initial` for the first share w of
    the `total` steps T (warm-up) and to `final` for the last share c (cool-down, for the weights to recover).
    Raises `ConfigError`.

    >>> [cubic(t, total=100, final=0.5) for t in (0, 10, 50, 90, 100)]
    [0.0, 0.0, 0.4375, 0.5, 0.5]
    """
    _require_cubic(step, total, initial, final, warmup, cooldown)
    start, stop = warmup * total, total - cooldown * total
    if step <= start:
        return float(initial)
    if step >= stop:
        return float(final)
    left = 1 - (step - start) / (stop - start)
    ratio = final + (initial - final) * left**3
    return float(min(max(ratio, initial), final))


def moving_average(
    average: Float[Array, " q"] | None, scores: Float[Array, " q"], *, decay: float = 0.9
) -> Float[Array, " q"]:
    """Blend new scores into the running average.  [prune-ema]

    Ḡ_t = λ Ḡ_(t−1) + (1 − λ) Ĝ_t, from Ḡ_0 = 0 where `average` is None.  Starting at zero makes the first averages
    small, all by one factor, which changes no ranking; `debiased` takes it out.  Raises `NonFiniteError` rather than
    let a NaN into the average, where it would stay; `ConfigError`, `ShapeError`, `DTypeError`.

    >>> import numpy as np
    >>> moving_average(None, np.array([10.0]))
    array([1.])
    """
    checks.require_number("decay", decay, least=0.0, below=1.0)
    checks.require_array("scores", scores)
    checks.require_finite("scores", scores)
    if average is None:
        average = array_namespace(scores).zeros_like(scores)
    checks.require_array("average", average)
    checks.require_same_dtype(average=average, scores=scores)
    if tuple(average.shape) != tuple(scores.shape):
        raise ShapeError(
            f"scores have shape {tuple(scores.shape)}, expected {tuple(average.shape)}, the average's"
        )
    return float(decay) * average + (1 - float(decay)) * scores


def debiased(average: Float[Array, " q"], *, decay: float, steps: int) -> Float[Array, " q"]:
    """Divide a running average that began at zero by the weight it has gathered.  [prune-ema]

    Ḡ_t / (1 − λ^t).  Raises `ConfigError`, `DTypeError`.

    >>> import numpy as np
    >>> debiased(moving_average(None, np.array([10.0]), decay=0.5), decay=0.5, steps=1)
    array([10.])
    """
    checks.require_array("average", average)
    checks.require_number("decay", decay, least=0.0, below=1.0)
    checks.require_int("steps", steps, minimum=1)
    return average / (1 - float(decay) ** steps)


def _require_cubic(
    step: float, total: float, initial: float, final: float, warmup: float, cooldown: float
) -> None:
    """Raise unless the schedule runs forward, up, and has a middle."""
    checks.require_number("step", step, least=0.0)
    checks.require_number("total", total, above=0.0)
    checks.require_number("initial", initial, least=0.0, below=1.0)
    checks.require_number("final", final, least=0.0, below=1.0)
    checks.require_number("warmup", warmup, least=0.0, below=1.0)
    checks.require_number("cooldown", cooldown, least=0.0, below=1.0)
    if initial > final:
        raise ConfigError(f"initial {initial} exceeds final {final}: pruned groups do not come back")
    if warmup + cooldown >= 1:
        raise ConfigError(f"warmup {warmup} and cooldown {cooldown} leave no steps between them")
