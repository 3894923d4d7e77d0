"""The importance of a network's hidden units, by every criterion.  Floor 4.

A hidden unit is a group: its row of the layer that makes it, with the bias, and its column of the layer that reads
it.  A criterion sees one batch forward and backward, and returns one score for each unit of each hidden layer.  It
ranks; it prunes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from lora_np import prune
from lora_np._typing import Array, Float, Int
from lora_np.errors import StateError
from lora_np.nn.dense import Dense
from lora_np.nn.losses import cross_entropy
from lora_np.nn.network import Network, Signals, Trace, forward
from lora_np.prune.groups import Groups, channels

MAKES, READS = "makes", "reads"


class Seen(NamedTuple):
    """What a criterion may look at: a network, a batch, both passes over it, and random numbers."""

    net: Network
    X: Float[Array, "N k"]
    y: Int[Array, " N"]
    trace: Trace
    signals: Signals
    rng: np.random.Generator


Criterion = Callable[[Seen, int], Float[Array, " q"]]


def hidden_units(net: Network, hidden: int) -> Groups:
    """Make each unit of a hidden layer a group over the layer that makes it and the one that reads it."""
    return channels(net.widths[hidden + 1], producers=(MAKES,), consumers=(READS,))


def score(criterion: str, seen: Seen) -> tuple[Float[Array, " q"], ...]:
    """Score every unit of every hidden layer."""
    return tuple(CRITERIA[criterion].scores(seen, hidden) for hidden in range(len(seen.net.masks)))


# ---- the criteria ------------------------------------------------------------------------------------------


def by_magnitude(seen: Seen, hidden: int) -> Float[Array, " q"]:
    """Add up |W| over the unit's row and column: large weights matter.  [prune-importance]

    The sum of |G W| with a gradient of ones, which is how LoRAPrune's program has it.
    """
    ones = {
        name: prune.Product(np.ones((W.shape[0], 1), W.dtype), np.ones((1, W.shape[1]), W.dtype))
        for name, W in ((name, seen.net.layers[at].W) for name, at in _places(hidden))
    }
    return prune.importance(_weights(seen, hidden), ones, hidden_units(seen.net, hidden), form="sum-abs")


def by_gradient_dot(seen: Seen, hidden: int) -> Float[Array, " q"]:
    """Square the Taylor term of the whole unit, read off activations.  [prune-group-dot] [prune-taylor-1]

    (Σ_S G W)² with the exact gradient (seed 000).  The bias counts as one of the unit's weights.
    """
    sums = {
        MAKES: prune.group_dot(seen.signals.gY[hidden], seen.trace.H[hidden]),
        READS: prune.group_dot_columns(seen.trace.X[hidden + 1], seen.signals.gX[hidden + 1]),
    }
    return prune.importance_from_sums(sums, hidden_units(seen.net, hidden), form="dot-squared")


def by_gradient_squares(seen: Seen, hidden: int) -> Float[Array, " q"]:
    """Add up the squared Taylor terms of the unit's weights, with the exact gradient.  [prune-group-sum]

    Σ_S (G W)²: LoRAPrune's form of the sum, without its estimate of G.
    """
    G = {
        name: prune.gradients.exact_product(seen.signals.gY[at], seen.trace.X[at])
        for name, at in _places(hidden)
    }
    groups = hidden_units(seen.net, hidden)
    return prune.importance(_weights(seen, hidden), G, groups, form="sum-squared")


def by_estimate(seen: Seen, hidden: int) -> Float[Array, " q"]:
    """Add up the squared Taylor terms with LoRAPrune's estimate of the gradient.  [prune-estimate] [prune-group-sum]

    Σ_S (Ĝ W)² with Ĝ = gB A + B gA − gB gA.  Raises `StateError` where a layer has no adapter.
    """
    G = {name: prune.gradients.estimated_product(*_factors(seen, at)) for name, at in _places(hidden)}
    groups = hidden_units(seen.net, hidden)
    return prune.importance(_weights(seen, hidden), G, groups, form="sum-squared")


def by_released(seen: Seen, hidden: int) -> Float[Array, " q"]:
    """Score as LoRAPrune's program does: absolute values, each module normalized.  [prune-released]"""
    modules = {name: (seen.net.layers[at].W, *_factors(seen, at)) for name, at in _places(hidden)}
    return prune.released.sensitivity(modules, hidden_units(seen.net, hidden), scale=seen.net.scale)


def at_random(seen: Seen, hidden: int) -> Float[Array, " q"]:
    """Draw the scores: what every criterion has to beat."""
    return seen.rng.random(seen.net.widths[hidden + 1]).astype(seen.X.dtype)


def by_removal(seen: Seen, hidden: int) -> Float[Array, " q"]:
    """Remove every unit in turn and square the change of the loss: what the others approximate.  [prune-true]"""

    def loss(weights: Mapping[str, Float[Array, "d k"]]) -> float:
        layers, adapters = list(seen.net.layers), list(seen.net.adapters)
        for name, at in _places(hidden):
            layers[at], adapters[at] = Dense(weights[name], layers[at].b), None
        net = replace(seen.net, layers=tuple(layers), adapters=tuple(adapters))
        return float(cross_entropy(forward(seen.X, net).logits, seen.y))

    weights = {name: _whole(weight) for name, weight in _weights(seen, hidden).items()}
    removal = prune.true_removal_loss(loss, weights, hidden_units(seen.net, hidden))
    return removal.squared.astype(seen.X.dtype)


class Described(NamedTuple):
    """A criterion and what it ranks by, in words."""

    scores: Criterion
    words: str


CRITERIA: Mapping[str, Described] = MappingProxyType(
    {
        "removal": Described(by_removal, "the true change of the loss, squared (the oracle)"),
        "gradient-dot": Described(by_gradient_dot, "exact gradient, (Σ G W)² of the unit"),
        "gradient-squares": Described(by_gradient_squares, "exact gradient, Σ (G W)²"),
        "estimate": Described(by_estimate, "LoRAPrune's estimate of the gradient, Σ (Ĝ W)²"),
        "released": Described(by_released, "LoRAPrune's program, Σ |Ĝ W| normalized"),
        "magnitude": Described(by_magnitude, "Σ |W|"),
        "random": Described(at_random, "chance"),
    }
)


# ---- what they read ----------------------------------------------------------------------------------------


def _places(hidden: int) -> tuple[tuple[str, int], ...]:
    """Name the two layers that a hidden layer's units live in."""
    return ((MAKES, hidden), (READS, hidden + 1))


def _weights(seen: Seen, hidden: int) -> dict[str, Any]:
    """Give the weight in use of both layers: W0 + s B A where there is an adapter."""
    net = seen.net
    found = {}
    for name, at in _places(hidden):
        W, p = net.layers[at].W, net.adapters[at]
        found[name] = W if p is None else prune.Adapted(W, p, net.scale)
    return found


def _whole(weight: Any) -> Float[Array, "d k"]:
    """Make the weight in use as one array."""
    if not isinstance(weight, prune.Adapted):
        return weight
    return weight.W0 + weight.scale * (weight.p.B @ weight.p.A)


def _factors(seen: Seen, at: int) -> tuple[Any, Any]:
    """Give a layer's factors and their gradients."""
    p, g = seen.net.adapters[at], seen.signals.adapters[at]
    if p is None or g is None:
        raise StateError(
            f"layer {at} has no adapter, and this criterion reads the gradients of its factors",
            fix="call with_adapters on every layer first, or choose a gradient criterion",
        )
    return p, g
