"""Plans: which parameters of a network a method trains, and their gradients in the same order.  Floor 4.

A plan has one entry for each layer.  An optimizer sees a plain tuple of arrays: of each layer in turn its weight,
its bias, and its adapter's B and A, those that train.  Gradients of what is frozen are never formed.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from lora_np import checks, lora
from lora_np._typing import Array
from lora_np.errors import StateError
from lora_np.lora import LoraParams
from lora_np.nn import dense
from lora_np.nn.dense import Dense
from lora_np.nn.network import Network, Signals, Trace
from lora_np.optim.rates import lora_plus


class Trains(NamedTuple):
    """What trains in one layer."""

    weight: bool = False
    bias: bool = False
    adapter: bool = False
    only_b: bool = False  # of the adapter, B and not A


Plan = tuple[Trains, ...]

METHODS: Mapping[str, Callable[[Network], Plan]] = MappingProxyType(
    {
        "full": lambda net: tuple(Trains(weight=True, bias=True) for _ in net.layers),
        "lora": lambda net: tuple(Trains(adapter=p is not None) for p in net.adapters),
        "lora-fa": lambda net: tuple(Trains(only_b=p is not None) for p in net.adapters),
        "bias": lambda net: tuple(Trains(bias=True) for _ in net.layers),
        "probe": lambda net: (*(Trains() for _ in net.layers[1:]), Trains(weight=True, bias=True)),
    }
)


def plan_for(method: str, net: Network) -> Plan:
    """Plan full fine-tuning, LoRA, LoRA-FA (B only), biases only (BitFit), or a probe: the last layer only.

    Raises `ConfigError`; `StateError` for LoRA on a network without adapters.

    >>> import numpy as np
    >>> from lora_np.nn.network import init
    >>> plan_for("probe", init(np.random.default_rng(0), (4, 3, 2)))[0]
    Trains(weight=False, bias=False, adapter=False, only_b=False)
    """
    checks.require_one_of("method", method, METHODS)
    plan = METHODS[method](net)
    if not any(any(trains) for trains in plan):
        raise StateError(
            f"method {method!r} has nothing to train: no layer has an adapter", fix="call with_adapters first"
        )
    return plan


def parameters(net: Network, plan: Plan) -> tuple[Array, ...]:
    """Collect the arrays that train, layer by layer."""
    found: list[Array] = []
    for layer, p, trains in zip(net.layers, net.adapters, plan, strict=True):
        found += _chosen(layer, p, trains)
    return tuple(found)


def with_parameters(net: Network, plan: Plan, arrays: tuple[Array, ...]) -> Network:
    """Put arrays in the places that `parameters` took them from; a new network."""
    rest = iter(arrays)
    layers: list[Dense] = []
    adapters: list[LoraParams | None] = []
    for layer, p, trains in zip(net.layers, net.adapters, plan, strict=True):
        W = next(rest) if trains.weight else layer.W
        b = next(rest) if trains.bias else layer.b
        layers.append(Dense(W, b))
        B = next(rest) if trains.adapter or trains.only_b else None
        A = next(rest) if trains.adapter else None
        adapters.append(None if p is None else LoraParams(p.B if B is None else B, p.A if A is None else A))
    return replace(net, layers=tuple(layers), adapters=tuple(adapters))


def gradients(trace: Trace, signals: Signals, plan: Plan) -> tuple[Array, ...]:
    """Collect the gradients of what trains, in the order of `parameters`.  [net-backward]"""
    found: list[Array] = []
    for X, gY, gp, trains in zip(trace.X, signals.gY, signals.adapters, plan, strict=True):
        W = dense.weight_gradient(gY, X) if trains.weight else None
        b = lora.bias_gradient(gY) if trains.bias else None
        found += _chosen(Dense(W, b), gp, trains)
    return tuple(found)


def count_trainable(net: Network, plan: Plan) -> tuple[int, int, float]:
    """Count trainable parameters, the parameters of the network without adapters, and the first over the second.

    >>> import numpy as np
    >>> from lora_np.nn.network import init, with_adapters
    >>> rng = np.random.default_rng(0)
    >>> net = with_adapters(init(rng, (64, 96, 64, 10)), rng, rank=4, alpha=8)
    >>> trainable, total, share = count_trainable(net, plan_for("lora", net))
    >>> trainable, total, f"{share:.1%}"
    (1576, 13098, '12.0%')
    """
    trainable = sum(array.size for array in parameters(net, plan))
    total = sum(array.size for layer in net.layers for array in layer)
    return trainable, total, trainable / total


def names(plan: Plan) -> tuple[tuple[int, str], ...]:
    """Name the arrays that train by layer and letter, in the order of `parameters`.

    >>> names((Trains(bias=True), Trains(adapter=True)))
    ((0, 'b'), (1, 'B'), (1, 'A'))
    """
    return tuple((at, name) for at, trains in enumerate(plan) for name, flag in _flags(trains) if flag)


def rates(plan: Plan, lr: float, *, ratio: float = 1.0) -> tuple[float, ...]:
    """Give each array that trains its learning rate: B may learn `ratio` times faster.  [optim-lora-plus]

    >>> rates((Trains(adapter=True),), 0.25, ratio=8)
    (2.0, 0.25)
    """
    both = lora_plus(lr, ratio=ratio)
    return tuple(both.B if name == "B" else both.A for _, name in names(plan))


def _flags(trains: Trains) -> tuple[tuple[str, bool], ...]:
    """Say of each array of a layer whether it trains, in the order that an optimizer sees them."""
    return (
        ("W", trains.weight),
        ("b", trains.bias),
        ("B", trains.adapter or trains.only_b),
        ("A", trains.adapter),
    )


def _chosen(layer: Dense, p: LoraParams | None, trains: Trains) -> list[Array]:
    """List what trains of one layer: W, b, B, A."""
    arrays = (*layer, *(p if p is not None else (None, None)))
    return [array for array, (_, chosen) in zip(arrays, _flags(trains), strict=True) if chosen]
