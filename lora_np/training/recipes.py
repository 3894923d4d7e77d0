"""Recipes: what a method does to a network before it is trained, what trains then, and how fast.  Floor 4.

The methods whose layer is a weight, a bias and LoRA's two factors.  Those that change the layer itself (DoRA, VeRA,
AdaLoRA, LoRA-XS, LoHa, LoKr, OFT, (IA)³, bottlenecks, prefixes) are in `lora_np.methods`, one layer each, and not here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from lora_np import checks, lora
from lora_np._typing import Array, Float
from lora_np.backends import best_backend
from lora_np.lora import LoraParams
from lora_np.methods import olora
from lora_np.methods.pissa import require_start, start_at
from lora_np.nn.dense import Dense
from lora_np.nn.network import Network

Begun = tuple[Array, LoraParams]
Start = Callable[[np.random.Generator, Array, int, float, str], Begun]


def _drawn(rng: np.random.Generator, W: Float[Array, "d k"], rank: int, scale: float, scheme: str) -> Begun:
    """Draw the factors by a scheme; where neither is zero, take their product out of the weight."""
    d, k = W.shape
    p = lora.init(rng, d, k, rank, scheme=scheme, dtype=W.dtype)
    return (lora.symmetric_base(W, p, scale=scale) if scheme == "symmetric" else W), p


def _largest(
    _rng: np.random.Generator, W: Float[Array, "d k"], rank: int, scale: float, _scheme: str
) -> Begun:
    """Take PiSSA's start, the largest singular parts of the weight."""
    require_start(W, rank, scale)
    return start_at(W, best_backend().svd(W), slice(0, rank), scale=scale)


def _smallest(
    _rng: np.random.Generator, W: Float[Array, "d k"], rank: int, scale: float, _scheme: str
) -> Begun:
    """Take MiLoRA's start, the smallest singular parts of the weight."""
    require_start(W, rank, scale)
    q = min(W.shape)
    return start_at(W, best_backend().svd(W), slice(q - rank, q), scale=scale)


def _leading(
    _rng: np.random.Generator, W: Float[Array, "d k"], rank: int, scale: float, _scheme: str
) -> Begun:
    """Take OLoRA's start, the leading QR factors of the weight."""
    return olora.init(W, rank, scale=scale)


class Recipe(NamedTuple):
    """A method in words; what trains, by `plans.METHODS`; how adapters start; their scale; how much faster B learns."""

    words: str
    trains: str = "lora"
    start: Start | None = _drawn
    use_rslora: bool = False
    ratio: float = 1.0


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "lora": Recipe("two thin factors beside the frozen weight, scaled by alpha / r"),
        "full": Recipe("every weight and bias trains, there are no factors", "full", None),
        "rslora": Recipe("LoRA, scaled by alpha over the root of r", use_rslora=True),
        "lora-plus": Recipe("LoRA whose B learns 16 times faster than its A", ratio=16.0),
        "lora-fa": Recipe("LoRA whose A stays as it was drawn: only B trains", "lora-fa"),
        "pissa": Recipe("LoRA that starts at the largest singular parts of the weight", start=_largest),
        "milora": Recipe("LoRA that starts at the smallest singular parts of the weight", start=_smallest),
        "olora": Recipe("LoRA that starts at the leading QR factors of the weight", start=_leading),
        "bitfit": Recipe("only the biases train", "bias", None),
        "probe": Recipe("only the last layer trains: a linear probe", "probe", None),
    }
)
"""Every method that can be trained here, by the names of `lora_np.methods`, with full fine-tuning and the probe."""


def adapted(
    net: Network,
    rng: np.random.Generator,
    *,
    method: str,
    rank: int,
    alpha: float,
    scheme: str = "kaiming",
) -> Network:
    """Make a network ready for a method; its outputs stay as they are.  [net-lora] [lora-init] [lora-symmetric]

    Every layer gets an adapter of rank min(rank, d, k), where the method has adapters; `scheme` is one of
    `lora.INIT_SCHEMES`, for the methods that draw their start.  Raises `ConfigError`, `RankError`.

    >>> from lora_np.nn.network import init
    >>> net = adapted(
    ...     init(np.random.default_rng(0), (6, 4)), np.random.default_rng(1), method="rslora", rank=4, alpha=8
    ... )
    >>> net.scale, net.adapters[0].B.shape
    (4.0, (4, 4))
    """
    checks.require_one_of("method", method, RECIPES)
    recipe = RECIPES[method]
    if recipe.start is None:
        return net
    scale = lora.scaling(alpha, rank, use_rslora=recipe.use_rslora)
    layers: list[Dense] = []
    adapters: list[LoraParams] = []
    for W, b in net.layers:
        base, p = recipe.start(rng, W, min(rank, *W.shape), scale, scheme)
        layers.append(Dense(base, b))
        adapters.append(p)
    return replace(net, layers=tuple(layers), adapters=tuple(adapters), scale=scale)
