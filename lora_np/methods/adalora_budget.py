"""AdaLoRA, the budget rule: which triplets of which layers stay.  Floor 2.

After each step: `sensitivity` of every number, smoothed into a `History` by `smooth`, becomes a score per number and
per triplet (`triplet_scores`); `budget` says how many triplets all layers may keep; `keep` chooses them, and `mask`
sets lam of the others to zero (Zhang et al., arXiv 2303.10512, eqs. 5 to 12).  A triplet keeps its P and Q, so it can
come back: masks are chosen anew each time, not multiplied.

Two places where released code and paper part, and what stands here:

    the schedule   the paper prints (1 − (t − t_i − t_f) / (T − t_i − t_f))³, which at t = t_i exceeds 1 and so starts
                   above the initial budget; the authors' code and PEFT leave t_f out of the numerator, and so does
                   this file: it runs from the initial budget to the final one without a jump
    ties           the authors' code and PEFT drop every triplet at or below the k-th smallest score, so equal scores
                   drop more than the budget asks for; here exactly the budget is kept, earlier layers and earlier
                   triplets first
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Bool, Float
from lora_np.errors import ConfigError, ShapeError
from lora_np.methods.adalora import AdaloraParams
from lora_np.methods.tensors import require_params, require_tensors


class History(NamedTuple):
    """The running averages of one layer: of its sensitivities, and of how far each step strays from them."""

    mean: AdaloraParams
    spread: AdaloraParams


def sensitivity(p: AdaloraParams, g: AdaloraParams) -> AdaloraParams:
    """Estimate how much the loss would change if a number were zero.  [adalora-sensitivity]

    I = |w ∘ g|, of every number of P, lam and Q, with the gradient at these same numbers.  Raises `ShapeError`,
    `DTypeError`, `RankError`, `ConfigError`.

    >>> import numpy as np
    >>> p = AdaloraParams(P=np.array([[2.0]]), lam=np.array([-3.0]), Q=np.array([[0.0]]))
    >>> sensitivity(p, p).lam
    array([9.])
    """
    d, r, k = _require_triplets("p", p)
    _require_triplets("g", g, d=d, r=r, k=k)
    checks.require_same_dtype(p=p.P, g=g.P)
    return _map(lambda w, gw: abs(w * gw), p, g)


def start(p: AdaloraParams) -> History:
    """Start both averages at zero.  [adalora-smoothing]

    >>> import numpy as np
    >>> start(AdaloraParams(P=np.ones((1, 1)), lam=np.ones(1), Q=np.ones((1, 1)))).mean.lam
    array([0.])
    """
    _require_triplets("p", p)
    zero = _map(lambda w: array_namespace(w).zeros_like(w), p)
    return History(zero, zero)


def smooth(
    history: History, p: AdaloraParams, g: AdaloraParams, *, beta1: float = 0.85, beta2: float = 0.85
) -> History:
    """Blend the sensitivities of one step into the averages.  [adalora-smoothing]

    Ī ← β1 Ī + (1 − β1) I, then Ū ← β2 Ū + (1 − β2) |I − Ī| with the new Ī.  No bias correction.  Raises
    `NonFiniteError` rather than let a NaN into the averages, where it would stay, and what `sensitivity` raises.

    >>> import numpy as np
    >>> p = AdaloraParams(P=np.ones((1, 1)), lam=np.array([4.0]), Q=np.ones((1, 1)))
    >>> history = smooth(start(p), p, p, beta1=0.5, beta2=0.75)
    >>> history.mean.lam, history.spread.lam
    (array([8.]), array([2.]))
    """
    checks.require_instance("history", history, History, fix="begin with start(p)")
    checks.require_number("beta1", beta1, least=0, below=1)
    checks.require_number("beta2", beta2, least=0, below=1)
    now = sensitivity(p, g)
    for name, values in now._asdict().items():
        checks.require_finite(f"the sensitivity of {name}", values)
    d, r, k = _require_triplets("p", p)
    for name, averages in history._asdict().items():
        _require_triplets(f"history.{name}", averages, d=d, r=r, k=k)
        checks.require_same_dtype(**{f"history.{name}": averages.P, "p": p.P})
    b1, b2 = float(beta1), float(beta2)
    mean = _map(lambda old, new: b1 * old + (1 - b1) * new, history.mean, now)
    spread = _map(
        lambda old, new, average: b2 * old + (1 - b2) * abs(new - average), history.spread, now, mean
    )
    return History(mean, spread)


def triplet_scores(history: History) -> Float[Array, " r"]:
    """Score the triplets of one layer.  [adalora-score]

    S_i = s(lam_i) + (1/d) Σ_j s(P_ji) + (1/k) Σ_j s(Q_ij) with s = Ī ∘ Ū.  Raises `ConfigError`, `ShapeError`.

    >>> import numpy as np
    >>> mean = AdaloraParams(P=np.array([[1.0], [3.0]]), lam=np.array([2.0]), Q=np.array([[5.0]]))
    >>> triplet_scores(History(mean, mean))
    array([34.])
    """
    checks.require_instance("history", history, History, fix="begin with start(p)")
    d, r, k = _require_triplets("history.mean", history.mean)
    _require_triplets("history.spread", history.spread, d=d, r=r, k=k)
    checks.require_same_dtype(mean=history.mean.P, spread=history.spread.P)
    if not d or not k:
        raise ShapeError(f"a layer of d = {d}, k = {k} has no numbers to average over")
    s = _map(lambda average, stray: average * stray, history.mean, history.spread)
    xp = array_namespace(s.lam)
    return s.lam + xp.sum(s.P, axis=0) / d + xp.sum(s.Q, axis=1) / k  # (r,)


def budget(step: int, *, total: int, initial: int, final: int, warmup: int = 0, cooldown: int = 0) -> int:
    """Say how many triplets all layers together may keep after a step.  [adalora-budget]

    `initial` up to step `warmup`; `final` from step `total` − `cooldown` on; in between, rounded down,
    final + (initial − final) (1 − (t − warmup) / (total − cooldown − warmup))³.  Whole numbers throughout, so the
    rounding down is exact.  Raises `ConfigError`.

    >>> [budget(t, total=100, initial=12, final=8, warmup=10, cooldown=30) for t in (10, 11, 20, 40, 70)]
    [12, 11, 10, 8, 8]
    """
    for name, value in {"step": step, "initial": initial, "final": final, "warmup": warmup}.items():
        checks.require_int(name, value, minimum=0)
    checks.require_int("cooldown", cooldown, minimum=0)
    checks.require_int("total", total, minimum=1)
    if final > initial:
        raise ConfigError(f"final {final} exceeds initial {initial}: the budget only shrinks")
    length = total - cooldown - warmup
    if length <= 0:
        raise ConfigError(
            f"warmup {warmup} and cooldown {cooldown} leave no step of {total} for the budget to shrink in",
            fix="make total larger, or warmup or cooldown smaller",
        )
    left = min(max(total - cooldown - step, 0), length)
    return int(final + (initial - final) * left**3 // length**3)


def keep(scores: Sequence[Float[Array, " r"]], budget: int) -> tuple[Bool[Array, " r"], ...]:
    """Choose the triplets to keep: the best ones of all layers together.  [adalora-keep]

    One mask per layer, True for kept; min(budget, all) are kept in total, and of equal scores the earlier layer's
    and the earlier triplet's.  Raises `NonFiniteError`, `ConfigError`, `ShapeError`, `DTypeError`.

    >>> import numpy as np
    >>> keep([np.array([3.0, 1.0]), np.array([1.0, 2.0])], 3)
    (array([ True,  True]), array([False,  True]))
    """
    checks.require_int("budget", budget, minimum=0)
    if not isinstance(scores, (list, tuple)):
        raise ConfigError(f"scores must be a list of arrays, one per layer, got {type(scores).__name__}")
    for layer, values in enumerate(scores):
        checks.require_ndim(f"scores[{layer}]", values, 1, "r")
        checks.require_finite(f"scores[{layer}]", values)
    ranked = sorted(
        (-float(values[i]), layer, i) for layer, values in enumerate(scores) for i in range(values.shape[0])
    )
    kept = {(layer, i) for _, layer, i in ranked[:budget]}
    return tuple(
        array_namespace(values).asarray(
            [(layer, i) in kept for i in range(values.shape[0])], dtype=array_namespace(values).bool
        )
        for layer, values in enumerate(scores)
    )


def mask(p: AdaloraParams, kept: Bool[Array, " r"]) -> AdaloraParams:
    """Set lam of the triplets that are not kept to zero; P and Q stay.  [adalora-keep]

    Raises `ShapeError`, `ConfigError`.

    >>> import numpy as np
    >>> p = AdaloraParams(P=np.ones((1, 2)), lam=np.array([3.0, 4.0]), Q=np.ones((2, 1)))
    >>> mask(p, np.array([True, False])).lam
    array([3., 0.])
    """
    _require_triplets("p", p)
    if not hasattr(kept, "dtype") or not checks.dtype_name(kept).startswith("bool"):
        raise ConfigError("kept must be an array of bools, one per triplet", fix="pass a mask that keep made")
    if tuple(kept.shape) != tuple(p.lam.shape):
        raise ShapeError(f"kept has shape {tuple(kept.shape)}, expected {tuple(p.lam.shape)}, that of lam")
    xp = array_namespace(p.lam)
    return p._replace(lam=xp.where(kept, p.lam, xp.zeros_like(p.lam)))


def _map(f, *groups: AdaloraParams) -> AdaloraParams:  # type: ignore[no-untyped-def]
    """Apply a function to the fields, one after another."""
    return AdaloraParams(*(f(*fields) for fields in zip(*groups, strict=True)))


def _require_triplets(name: str, p: AdaloraParams, **sizes: int) -> tuple[int, int, int]:
    """Raise unless `p` holds triplets of the sizes; return its d, r and k."""
    require_params(p, AdaloraParams, name)
    tensors = {"P": (p.P, "d r"), "lam": (p.lam, "r"), "Q": (p.Q, "r k")}
    require_tensors({f"{name}.{field}": tensor for field, tensor in tensors.items()}, **sizes)
    return p.P.shape[0], p.P.shape[1], p.Q.shape[1]


__all__ = ["History", "budget", "keep", "mask", "sensitivity", "smooth", "start", "triplet_scores"]
