"""A shifted task learnt by every method.  Floor 4."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from lora_np.nn.network import Network, with_adapters
from lora_np.training import plans
from lora_np.training.experiments.base import SEEDS, SHIFT, Base, last, pretrain
from lora_np.training.experiments.records import Record
from lora_np.training.loop import Settings, evaluate, start

STEPS = 1000
RANKS = (1, 2, 4, 8)
ALPHA_OVER_RANK = 2.0

VARIANTS: Mapping[str, tuple[Settings, int]] = MappingProxyType(
    {
        "full": (Settings("full", STEPS, 3e-3, weight_decay=0.01, report_every=STEPS), 0),
        **{f"lora r={r}": (Settings("lora", STEPS, 2e-2, report_every=STEPS), r) for r in RANKS},
        "bias": (Settings("bias", STEPS, 3e-2, report_every=STEPS), 0),
        "probe": (Settings("probe", STEPS, 3e-2, report_every=STEPS), 0),
    }
)
"""Every method under the name it is reported by: how it trains, and the rank of its adapters."""


def adapted_start(net: Network, rank: int, rng: np.random.Generator) -> Network:
    """Put fresh adapters of a rank on every layer, with alpha = 2 r; none for rank 0."""
    return with_adapters(net, rng, rank=rank, alpha=ALPHA_OVER_RANK * rank) if rank else net


def adapt(base: Base, variant: str, *, seed: int, steps: int = STEPS) -> Record:
    """Adapt a pretrained network to the shifted task by one method, and report."""
    settings, rank = VARIANTS[variant]
    settings = replace(settings, steps=steps, report_every=steps)
    rng = np.random.default_rng([seed, 1, list(VARIANTS).index(variant)])
    net = adapted_start(base.network, rank, rng)
    trainable, total, share = plans.count_trainable(net, plans.plan_for(settings.method, net))
    final = last(start(net, base.shifted, settings, rng), base.shifted, settings)
    return {
        "experiment": "adapt",
        "variant": variant,
        "rank": rank,
        "trainable": trainable,
        "total": total,
        "share": share,
        "seed": seed,
        "base_accuracy": base.accuracy,
        "before": evaluate(base.network, base.shifted)[1],
        "accuracy": final.accuracy,
    }


def compare_methods(
    *,
    seeds: Iterable[int] = SEEDS,
    variants: Iterable[str] = tuple(VARIANTS),
    shift: str = SHIFT,
    steps: int = STEPS,
) -> Iterator[Record]:
    """Adapt by every method from every seed's pretrained network; one record each, as they come."""
    variants = tuple(variants)
    for seed in seeds:
        base = pretrain(seed, shift=shift)
        for variant in variants:
            yield {**adapt(base, variant, seed=seed, steps=steps), "shift": shift}
