"""When no mistake with a name fits: one constant factor, or which part is wrong.  Floor 6."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lora_np.conformance.diagnose.guessing import Guess, Hypothesis, always, base_of
from lora_np.conformance.diagnose.question import Question, constant_factor


def _share(q: Question) -> Iterator[Guess]:
    base = base_of(q)
    if not base.any():
        return
    factor = constant_factor(q, base)
    if factor is not None:
        yield (
            base + factor * (q.want - base),
            f"the adapter's share is off by the factor {factor:.9g}, the base path is right",
        )


def _whole(q: Question) -> Iterator[Guess]:
    factor = constant_factor(q, np.zeros(q.want.shape))
    if factor is not None:
        yield factor * q.want, f"one factor, {factor:.9g}, explains all"


def _base(q: Question) -> Iterator[Guess]:
    base = base_of(q)
    if base.any() and (share := q.want - base).any():
        wrong = np.unravel_index(np.argmax(np.abs(base)), base.shape)
        factor = float((q.got[wrong] - share[wrong]) / base[wrong])
        if np.isfinite(factor):
            yield (
                share + factor * base,
                f"the base path is off by the factor {factor:.9g}, the adapter's share is right",
            )


def _constant(q: Question) -> Iterator[Guess]:
    gap = q.got - q.want
    if gap.size > 1:
        yield q.want + np.median(gap), f"one number, {np.median(gap):.9g}, is added to all"


def _per_slice(q: Question) -> Iterator[Guess]:
    for axis in range(q.want.ndim if q.want.ndim > 1 else 0):
        others = tuple(i for i in range(q.want.ndim) if i != axis)
        with np.errstate(all="ignore"):
            factors = (q.got * q.want).sum(axis=others, keepdims=True) / (q.want**2).sum(
                axis=others, keepdims=True
            )
        if np.isfinite(factors).all():
            yield (
                factors * q.want,
                f"each slice along axis {axis} has its own factor: {factors.ravel()[:4].round(6).tolist()}",
            )


def _lines(q: Question) -> Iterator[Guess]:
    """Say which rows or columns hold all that is wrong, where others are right."""
    for axis in range(q.want.ndim):
        others = tuple(i for i in range(q.want.ndim) if i != axis)
        lines = np.flatnonzero(q.wrong.any(axis=others))
        if 0 < len(lines) < q.want.shape[axis]:
            yield q.got, f"all of it at {lines[:6].tolist()} of axis {axis}; the rest is right"


def _not_finite(q: Question) -> Iterator[Guess]:
    count = int((~np.isfinite(q.got)).sum())
    if count > int((~np.isfinite(q.want)).sum()):
        yield q.got, f"{count} are NaN or infinite"


FIRST = (Hypothesis("NotFinite", always, _not_finite),)
HYPOTHESES = (
    Hypothesis("ConstantFactor", always, _share),
    Hypothesis("ConstantFactor", always, _whole),
    Hypothesis("BaseFactor", always, _base),
    Hypothesis("ConstantAdded", always, _constant),
    Hypothesis("FactorPerSlice", always, _per_slice),
)
LAST = (Hypothesis("PartlyWrong", always, _lines),)
