"""Dense layers in a row, with an adapter and a mask on any of them: forward, backward, merge, shrink.  Floor 4.

A `Network` is everything that forward needs, and nothing else.  `forward` returns a `Trace`, all the activations
under their names; `backward` takes it back and returns `Signals`, the gradient at every layer's output, from which
a method takes only the parameters' gradients that it trains (`dense.weight_gradient`), and the adapters'
gradients, which come with the pass.  The last layer has no activation and no mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks, lora, merging
from lora_np._typing import Array, Bool, Float
from lora_np.errors import ConfigError, ShapeError
from lora_np.lora import LoraParams
from lora_np.nn import dense
from lora_np.nn.activations import activation
from lora_np.nn.dense import Dense


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Layers, the adapter of each (or None), the mask of each hidden layer's units (or None), and two settings.

    >>> net = Network((Dense(np.zeros((4, 2)), np.zeros(4)), Dense(np.zeros((3, 4)), np.zeros(3))))
    >>> net.widths, net.adapters, net.masks
    ((2, 4, 3), (None, None), (None,))
    """

    layers: tuple[Dense, ...]
    adapters: tuple[LoraParams | None, ...] = ()
    masks: tuple[Bool[Array, " d"] | None, ...] = ()
    scale: float = 1.0
    activation: str = "relu"

    def __post_init__(self) -> None:
        """Fill in what was left out, and check that everything fits."""
        L = len(self.layers)
        object.__setattr__(self, "adapters", tuple(self.adapters) or (None,) * L)
        object.__setattr__(self, "masks", tuple(self.masks) or (None,) * (L - 1))
        _require_network(self)

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of inputs and then of every layer's units."""
        return (self.layers[0].W.shape[1], *(layer.W.shape[0] for layer in self.layers))


class Trace(NamedTuple):
    """What forward computed: each layer's input X, bottleneck Z (or None) and output H; H[-1] holds the logits."""

    X: tuple[Float[Array, "N k"], ...]
    Z: tuple[Float[Array, "N r"] | None, ...]
    H: tuple[Float[Array, "N d"], ...]

    @property
    def logits(self) -> Float[Array, "N c"]:
        """The last layer's output."""
        return self.H[-1]


class Signals(NamedTuple):
    """What backward computed: the gradients of each layer's input, output and adapter (or None).

    gX[0] is the gradient of the network's input; gX[l] is before the activation is pulled back, gY[l] after it.
    """

    gX: tuple[Float[Array, "N k"], ...]  # noqa: N815 (g and a capital: the gradient of a matrix)
    gY: tuple[Float[Array, "N d"], ...]  # noqa: N815
    adapters: tuple[LoraParams | None, ...]


def init(
    rng: np.random.Generator, widths: Sequence[int], *, activation: str = "relu", dtype: object = np.float64
) -> Network:
    """Draw a network with these widths, inputs first.  Raises `ConfigError`.

    >>> init(np.random.default_rng(0), (64, 32, 10)).widths
    (64, 32, 10)
    """
    gain = activation_gain(activation)
    if len(widths) < 2:
        raise ConfigError(f"widths must name inputs and at least one layer, got {tuple(widths)}")
    pairs = zip(widths[1:], widths[:-1], strict=True)
    layers = tuple(dense.init(rng, d, k, gain=gain, dtype=dtype) for d, k in pairs)
    return Network(layers, activation=activation)


def activation_gain(name: str) -> float:
    """Return the gain at which an activation keeps the size of random signals."""
    return activation(name).gain


def with_adapters(
    net: Network, rng: np.random.Generator, *, rank: int, alpha: float, layers: Sequence[int] | None = None
) -> Network:
    """Put a fresh adapter on some layers (all, if none are named); outputs stay as they are.  [net-lora]

    The rank of a layer's adapter is min(rank, d, k).  Raises `ConfigError`.

    >>> net = init(np.random.default_rng(0), (64, 32, 10))
    >>> [p.A.shape for p in with_adapters(net, np.random.default_rng(1), rank=4, alpha=8).adapters]
    [(4, 64), (4, 32)]
    """
    checks.require_rank(rank)
    wanted = range(len(net.layers)) if layers is None else layers
    adapters = list(net.adapters)
    for index in wanted:
        if index not in range(len(net.layers)):
            raise ConfigError(f"layers must name layers 0 to {len(net.layers) - 1}, got {index}")
        W = net.layers[index].W
        d, k = W.shape
        adapters[index] = lora.init(rng, d, k, min(rank, d, k), dtype=W.dtype)
    return replace(net, adapters=tuple(adapters), scale=lora.scaling(alpha, rank))


def forward(X: Float[Array, "N k"], net: Network) -> Trace:
    """Send rows through all layers.  [net-linear] [net-lora-distributed] [net-mask] [net-tanh]

    H_l = (X_l W_lᵀ + s (X_l A_lᵀ) B_lᵀ + b_l) ⊙ m_l and X_{l+1} = σ(H_l).  Raises `ShapeError`, `DTypeError`.

    >>> forward(np.ones((1, 2)), Network((Dense(np.eye(2), np.zeros(2)),))).logits
    array([[1., 1.]])
    """
    sigma = activation(net.activation).apply
    X_l, Z_l, H_l = [], [], []
    for index, (layer, p) in enumerate(zip(net.layers, net.adapters, strict=True)):
        if p is None:
            Z, H = None, dense.forward(X, layer)
        else:
            H, Z = lora.forward(X, layer.W, p, scale=net.scale, bias=layer.b)
        H = _masked(H, net, index)
        X_l.append(X)
        Z_l.append(Z)
        H_l.append(H)
        X = sigma(H)
    return Trace(tuple(X_l), tuple(Z_l), tuple(H_l))


def backward(gL: Float[Array, "N c"], trace: Trace, net: Network) -> Signals:
    """Pull the gradient of the logits back through all layers.  [net-backward] [net-mask]

    Layer by layer from the last: gY_l = gH_l ⊙ m_l, gX_l = gY_l (W_l + s B_l A_l), gH_{l-1} = gX_l ⊙ σ'(H_{l-1}).
    `trace` is what `forward` returned.  Raises `ShapeError`.

    >>> net = Network((Dense(np.eye(2), np.zeros(2)),))
    >>> backward(np.ones((1, 2)), forward(np.ones((1, 2)), net), net).gX[0]
    array([[1., 1.]])
    """
    pullback = activation(net.activation).pullback
    checks.require_ndim("gL", gL, 2, "N, c")
    if tuple(gL.shape) != tuple(trace.logits.shape):
        raise ShapeError(f"gL has shape {tuple(gL.shape)}, expected {tuple(trace.logits.shape)}, the logits'")
    g = gL
    gX: list[Array] = []
    gY: list[Array] = []
    gp: list[LoraParams | None] = []
    for index in reversed(range(len(net.layers))):
        if gX:  # every layer but the last, which has no activation
            g = pullback(gX[0], trace.H[index])
        g = _masked(g, net, index)
        layer, p = net.layers[index], net.adapters[index]
        if p is None:
            g_input, g_adapter = g @ layer.W, None
        else:
            X, Z = trace.X[index], trace.Z[index]
            g_input, g_adapter = lora.backward(g, X, Z, layer.W, p, scale=net.scale)
        gX.insert(0, g_input)
        gY.insert(0, g)
        gp.insert(0, g_adapter)
    return Signals(tuple(gX), tuple(gY), tuple(gp))


def merged(net: Network) -> Network:
    """Add every adapter into its weight and drop it.  [net-update] [net-update-low-rank] [lora-merge]

    W' = W + ΔW = W + s B A.

    >>> net = Network(
    ...     (Dense(np.eye(2), np.zeros(2)),), (LoraParams(np.ones((2, 1)), np.ones((1, 2))),), scale=0.5
    ... )
    >>> merged(net).layers[0].W
    array([[1.5, 0.5],
           [0.5, 1.5]])
    """
    pairs = zip(net.layers, net.adapters, strict=True)
    layers = tuple(
        layer if p is None else Dense(merging.merge(layer.W, p, scale=net.scale), layer.b)
        for layer, p in pairs
    )
    return replace(net, layers=layers, adapters=())


def _masked(H: Float[Array, "N d"], net: Network, index: int) -> Float[Array, "N d"]:
    """Multiply a hidden layer's outputs by its mask."""
    mask = net.masks[index] if index < len(net.masks) else None
    return H if mask is None else H * array_namespace(mask).astype(mask, H.dtype)


def _require_network(net: Network) -> None:
    """Raise unless layers chain, and adapters and masks belong to them."""
    if not net.layers:
        raise ConfigError("a network needs at least one layer, got none")
    if len(net.adapters) != len(net.layers) or len(net.masks) != len(net.layers) - 1:
        raise ShapeError(
            f"{len(net.layers)} layers need {len(net.layers)} adapters and {len(net.layers) - 1} masks, "
            f"got {len(net.adapters)} and {len(net.masks)}",
            fix="write None where a layer has none",
        )
    activation(net.activation)
    checks.require_number("scale", net.scale)
    for index, ((W, b), p) in enumerate(zip(net.layers, net.adapters, strict=True)):
        checks.require_ndim(f"W of layer {index}", W, 2, "d, k")
        checks.require_ndim(f"b of layer {index}", b, 1, "d")
        below = net.layers[index - 1].W.shape[0] if index else W.shape[1]
        if b.shape[0] != W.shape[0] or W.shape[1] != below:
            raise ShapeError(
                f"layer {index} has W {tuple(W.shape)} and b {tuple(b.shape)}; expected W (d, {below}) and b (d,)"
            )
        if p is not None:
            checks.require_factors(p, *W.shape)
    for index, mask in enumerate(net.masks):
        width = net.layers[index].W.shape[0]
        if mask is not None and tuple(mask.shape) != (width,):
            raise ShapeError(f"mask {index} has shape {tuple(mask.shape)}, expected (d,) = ({width},)")
