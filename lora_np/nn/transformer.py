"""A transformer of one block that names pictures: forward, backward, LoRA on any of its matrices.  Floor 4.

A picture is a sequence of T tokens.  Tokens are embedded, look at each other (q, k, v, o), are worked on one by one
(1, 2), averaged, and named (head); what the block adds goes on top of what comes in.  As in `network`, `forward`
returns a `Trace` and `backward` takes it back.  Not here: layer normalization, dropout, masks, further blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks, lora
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.errors import ConfigError, ShapeError
from lora_np.lora import LoraParams
from lora_np.nn import attention, dense
from lora_np.nn.activations import relu, relu_pullback
from lora_np.nn.dense import Dense

MATRICES = ("q", "k", "v", "o", "1", "2")
"""The block's matrices, which can be adapted: queries, keys, values, output, and both of the feed-forward part."""
LAYERS = ("embed", *MATRICES, "head")


@dataclass(frozen=True, slots=True, eq=False)
class Transformer:
    """Layers by name, the positions that are added to the embedded tokens, adapters by name, and two settings."""

    layers: Mapping[str, Dense]
    position: Float[Array, "T d"]
    adapters: Mapping[str, LoraParams] = field(default_factory=dict)
    scale: float = 1.0
    heads: int = 1

    def __post_init__(self) -> None:
        """Keep what was given from being changed, and check that everything fits."""
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))
        object.__setattr__(self, "adapters", MappingProxyType(dict(self.adapters)))
        _require_transformer(self)


class Trace(NamedTuple):
    """What forward computed, by layer: inputs X, bottlenecks Z (of adapters), outputs Y; and who looked at whom."""

    X: dict[str, Float[Array, "N T k"]]
    Z: dict[str, Float[Array, "N T r"]]
    Y: dict[str, Float[Array, "N T d"]]
    P: Float[Array, "N h T T"]

    @property
    def logits(self) -> Float[Array, "N c"]:
        """The head's output."""
        return self.Y["head"]


class Signals(NamedTuple):
    """What backward computed: gradients of every layer's output, of the adapters, in their order, and the rest."""

    gY: dict[str, Float[Array, "N T d"]]  # noqa: N815 (g and a capital: the gradient of a matrix)
    adapters: dict[str, LoraParams]
    position: Float[Array, "T d"]
    gX: Float[Array, "N T p"]  # noqa: N815


def init(
    rng: np.random.Generator,
    *,
    tokens: int,
    pixels: int,
    width: int,
    hidden: int,
    classes: int,
    heads: int,
    dtype: object = np.float64,
) -> Transformer:
    """Draw a transformer; every layer keeps the size of random signals.  Raises `ConfigError`.

    >>> net = init(np.random.default_rng(0), tokens=8, pixels=8, width=16, hidden=48, classes=10, heads=4)
    >>> {name: layer.W.shape for name, layer in net.layers.items() if name in ("q", "1", "2", "head")}
    {'q': (16, 16), '1': (48, 16), '2': (16, 48), 'head': (10, 16)}
    """
    d, h = width, hidden
    sides = {
        "embed": (d, pixels),
        **dict.fromkeys("qkvo", (d, d)),
        "1": (h, d),
        "2": (d, h),
        "head": (classes, d),
    }
    layers = {name: dense.init(rng, *side, gain=1.0, dtype=dtype) for name, side in sides.items()}
    checks.require_int("tokens", tokens, minimum=1)
    position = rng.normal(0.0, 0.5, size=(tokens, width)).astype(dtype)  # type: ignore[call-overload]
    return Transformer(layers, position, heads=heads)


def with_adapters(
    net: Transformer, rng: np.random.Generator, targets: Sequence[str], *, rank: int, alpha: float
) -> Transformer:
    """Put fresh adapters on these matrices, in place of all before; outputs stay as they are.  [net-lora]

    Raises `ConfigError`.

    >>> net = init(np.random.default_rng(0), tokens=8, pixels=8, width=16, hidden=48, classes=10, heads=4)
    >>> {
    ...     name: p.A.shape
    ...     for name, p in with_adapters(
    ...         net, np.random.default_rng(1), "qv", rank=2, alpha=4
    ...     ).adapters.items()
    ... }
    {'q': (2, 16), 'v': (2, 16)}
    """
    for name in targets:
        checks.require_one_of("targets", name, MATRICES)
    adapters = {}
    for name in targets:
        W = net.layers[name].W
        d, k = W.shape
        adapters[name] = lora.init(rng, d, k, rank, dtype=W.dtype)
    return replace(net, adapters=adapters, scale=lora.scaling(alpha, rank))


def forward(X: Float[Array, "N T p"], net: Transformer) -> Trace:
    """Send pictures through the block.  [net-block] [net-attention] [net-lora-distributed]

    E = embed(X) + position,  R = E + o(attention(q(E), k(E), v(E))),  M = R + 2(relu(1(R))),  logits = head(mean M),
    where each layer with an adapter is X W₀ᵀ + s (X Aᵀ) Bᵀ + b.  Raises `ShapeError`, `DTypeError`.
    """
    checks.require_ndim("X", X, 3, "N, T, p")
    xp = array_namespace(X)
    trace = Trace({}, {}, {}, X)

    def layer(name: str, rows: Array) -> Array:
        trace.X[name], trace.Y[name] = rows, _apply(name, rows, net, trace)
        return trace.Y[name]

    E = layer("embed", X) + net.position
    Y, P = attention.forward(layer("q", E), layer("k", E), layer("v", E), heads=net.heads)
    R = E + layer("o", Y)
    M = R + layer("2", relu(layer("1", R)))
    layer("head", xp.mean(M, axis=1))
    return trace._replace(P=P)


def backward(gL: Float[Array, "N c"], trace: Trace, net: Transformer) -> Signals:
    """Pull the gradient of the logits back through the block.  [net-block-backward] [net-attention-backward]

    gM = gmean / T,  gR = gM + 1←(2←(gM)),  gE = gR + q←(gQ) + k←(gK) + v←(gV), where n←(g) pulls g back through layer
    n.  `trace` is what `forward` returned.  Raises `ShapeError`.
    """
    if tuple(gL.shape) != tuple(trace.logits.shape):
        raise ShapeError(f"gL has shape {tuple(gL.shape)}, expected {tuple(trace.logits.shape)}, the logits'")
    xp, Y, T = array_namespace(gL), trace.Y, net.position.shape[0]
    gY: dict[str, Array] = {}
    adapters: dict[str, LoraParams] = {}

    def pull(name: str, g: Array) -> Array:
        gY[name] = g
        return _pull(name, g, net, trace, adapters)

    gM = xp.zeros_like(trace.X["o"]) + pull("head", gL)[:, None, :] / T
    gR = gM + pull("1", relu_pullback(pull("2", gM), Y["1"]))
    gQ, gK, gV = attention.backward(pull("o", gR), Y["q"], Y["k"], Y["v"], trace.P, heads=net.heads)
    gE = gR + pull("q", gQ) + pull("k", gK) + pull("v", gV)
    in_order = {name: adapters[name] for name in net.adapters}
    return Signals(gY, in_order, xp.sum(gE, axis=0), pull("embed", gE))


def gradient(name: str, trace: Trace, signals: Signals) -> Dense:
    """Take the gradient of a layer's own weight and bias.  [net-backward]

    gW = gYᵀ X and gb = Σ gY, over all tokens of all pictures.
    """
    g = flat_rows(signals.gY[name])
    return Dense(dense.weight_gradient(g, flat_rows(trace.X[name])), lora.bias_gradient(g))


# ---- one layer, adapted or not -----------------------------------------------------------------------------


def _apply(name: str, X: Float[Array, "N T k"], net: Transformer, trace: Trace) -> Float[Array, "N T d"]:
    """Send rows through one layer; its adapter's bottleneck goes into the trace."""
    (W, b), rows, p = net.layers[name], flat_rows(X), net.adapters.get(name)
    if p is None:
        Y = dense.forward(rows, net.layers[name])
    else:
        Y, trace.Z[name] = lora.forward(rows, W, p, scale=net.scale, bias=b)
    return array_namespace(Y).reshape(Y, (*X.shape[:-1], W.shape[0]))


def _pull(
    name: str, gY: Float[Array, "N T d"], net: Transformer, trace: Trace, adapters: dict[str, LoraParams]
) -> Float[Array, "N T k"]:
    """Pull a gradient back through one layer; its adapter's gradient goes into `adapters`."""
    W, g, X, p = net.layers[name].W, flat_rows(gY), trace.X[name], net.adapters.get(name)
    if p is None:
        gX = g @ W
    else:
        gX, adapters[name] = lora.backward(g, flat_rows(X), trace.Z[name], W, p, scale=net.scale)
    return array_namespace(gX).reshape(gX, X.shape)


def _require_transformer(net: Transformer) -> None:
    """Raise unless all layers are there and fit each other, the positions and the adapters."""
    if tuple(net.layers) != LAYERS:
        raise ConfigError(f"layers must be {', '.join(LAYERS)} in this order, got {', '.join(net.layers)}")
    checks.require_ndim("position", net.position, 2, "T, d")
    checks.require_number("scale", net.scale)
    checks.require_int("heads", net.heads, minimum=1)
    d, h = net.position.shape[1], net.layers["1"].W.shape[0]
    wanted = {
        "embed": (d, None),
        **dict.fromkeys("qkvo", (d, d)),
        "1": (h, d),
        "2": (d, h),
        "head": (None, d),
    }
    for name, (W, b) in net.layers.items():
        checks.require_ndim(f"W of {name}", W, 2, "d, k")
        checks.require_ndim(f"b of {name}", b, 1, "d")
        fits = all(want in (None, got) for want, got in zip(wanted[name], W.shape, strict=True))
        if not fits or b.shape[0] != W.shape[0]:
            raise ShapeError(
                f"{name} has W {tuple(W.shape)} and b {tuple(b.shape)}; expected W {wanted[name]} with d = {d}, the "
                "width of position, and b as high as W"
            )
    for name, p in net.adapters.items():
        checks.require_one_of("an adapter's name", name, MATRICES)
        checks.require_factors(p, *net.layers[name].W.shape)
