"""The bottleneck adapter, which `houlsby` and `pfeiffer` put in two places of a block.  Floor 2.

Down to r numbers, a bent function, up again, and the input added: Y = X + f(X W_downᵀ + b_down) W_upᵀ + b_up.  No
weight stands beside it, and f is not linear, so nothing can be merged.  "gelu" is the tanh form, the one that the
authors of 1902.00751 released.  "gelu-erf" is the exact one, torch's default; neither NumPy nor the array API has erf,
so it takes Python's, number by number: right to the last digits, slow, and not for tracing by autograd.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows

_C = math.sqrt(2 / math.pi)
_K = 0.044715


class BottleneckParams(NamedTuple):
    """The trainable tensors of one adapter of width k and bottleneck r.  [adapter-bottleneck]"""

    W_down: Float[Array, "r k"]
    b_down: Float[Array, " r"]
    W_up: Float[Array, "k r"]
    b_up: Float[Array, " k"]


# ---- the bent function -------------------------------------------------------------------------------------


class Bend(NamedTuple):
    """A function of every number, and its derivative."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def _relu(U: Array) -> Array:
    xp = array_namespace(U)
    return xp.maximum(U, xp.zeros_like(U))


def _relu_slope(U: Array) -> Array:
    return array_namespace(U).astype(U > 0, U.dtype)


def _gelu_tanh(U: Array) -> Array:
    return array_namespace(U).tanh(_C * (U + _K * U * U * U))


def _gelu(U: Array) -> Array:
    return 0.5 * U * (1 + _gelu_tanh(U))


def _gelu_slope(U: Array) -> Array:
    t = _gelu_tanh(U)
    return 0.5 * (1 + t) + 0.5 * U * (1 - t * t) * _C * (1 + 3 * _K * U * U)


def _normal_share(U: Array) -> Array:
    """Compute Φ(U), the share of a normal distribution below U, number by number.  [adapter-gelu-erf]"""
    xp, count = array_namespace(U), math.prod(U.shape)
    flat = xp.reshape(U, (count,))
    shares = [0.5 * math.erfc(-float(flat[i]) / math.sqrt(2)) for i in range(count)]
    return xp.reshape(xp.asarray(shares, dtype=U.dtype), tuple(U.shape))


def _gelu_erf(U: Array) -> Array:
    return U * _normal_share(U)


def _gelu_erf_slope(U: Array) -> Array:
    return _normal_share(U) + U * array_namespace(U).exp(-0.5 * U * U) / math.sqrt(2 * math.pi)


def _tanh(U: Array) -> Array:
    return array_namespace(U).tanh(U)


def _tanh_slope(U: Array) -> Array:
    t = _tanh(U)
    return 1 - t * t


ACTIVATIONS: Mapping[str, Bend] = MappingProxyType(
    {
        "relu": Bend(_relu, _relu_slope),
        "gelu": Bend(_gelu, _gelu_slope),
        "gelu-erf": Bend(_gelu_erf, _gelu_erf_slope),
        "tanh": Bend(_tanh, _tanh_slope),
    }
)
"""Each bent function by name.  relu' is 0 at 0."""


# ---- the adapter -------------------------------------------------------------------------------------------


def init(
    rng: np.random.Generator, k: int, rank: int, *, std: float = 1e-2, dtype: object = np.float64
) -> BottleneckParams:
    """Draw an adapter that is nearly the identity.  [adapter-init]

    Both matrices from a Gaussian of standard deviation `std`, cut off at two of them; both biases zero.  Raises
    `ConfigError`, `DTypeError`.

    >>> p = init(np.random.default_rng(0), 6, 2)
    >>> p.W_down.shape, p.W_up.shape, bool(abs(p.W_up).max() <= 2e-2)
    ((2, 6), (6, 2), True)
    """
    checks.require_rng(rng)
    checks.require_int("k", k, minimum=0)
    checks.require_rank(rank)
    checks.require_number("std", std, least=0)
    checks.require_float_dtype(dtype)
    tensors = (
        _cut_normal(rng, (rank, k), std),
        np.zeros(rank),
        _cut_normal(rng, (k, rank), std),
        np.zeros(k),
    )
    return BottleneckParams(*(x.astype(dtype) for x in tensors))  # type: ignore[call-overload]


def _cut_normal(rng: np.random.Generator, shape: tuple[int, int], std: float) -> np.ndarray:
    """Draw from a Gaussian, and draw again whatever lies beyond two standard deviations."""
    x = rng.normal(size=shape)
    while (outside := np.abs(x) > 2).any():
        x[outside] = rng.normal(size=int(outside.sum()))
    return std * x


def branch(
    X: Float[Array, "N k"], p: BottleneckParams, *, activation: str
) -> tuple[Float[Array, "N k"], Float[Array, "N r"]]:
    """Compute what the adapter adds to its input.  [adapter-bottleneck] [net-relu] [net-gelu] [net-tanh]

    f(U) W_upᵀ + b_up with U = X W_downᵀ + b_down.  Returns it and U.  Raises what `forward` raises.

    >>> p = BottleneckParams(np.eye(1, 2), np.zeros(1), np.ones((2, 1)), np.zeros(2))
    >>> branch(np.array([[3.0, 5.0]]), p, activation="relu")
    (array([[3., 3.]]), array([[3.]]))
    """
    _require(X, p, activation)
    W_down, b_down, W_up, b_up = p
    U = X @ W_down.T + b_down  # (N, r)
    return ACTIVATIONS[activation].value(U) @ W_up.T + b_up, U


def forward(
    X: Float[Array, "N k"], p: BottleneckParams, *, activation: str
) -> tuple[Float[Array, "N k"], Float[Array, "N r"]]:
    """Apply the adapter to rows.  [adapter-bottleneck]

    Y = X + f(U) W_upᵀ + b_up.  Returns Y and U = X W_downᵀ + b_down, which `backward` needs.  With W_up = 0 and
    b_up = 0, Y equals X exactly.  Raises `ShapeError`, `DTypeError`, `ConfigError`.

    >>> p = BottleneckParams(np.eye(1, 2), np.zeros(1), np.ones((2, 1)), np.zeros(2))
    >>> forward(np.array([[3.0, 5.0]]), p, activation="relu")
    (array([[6., 8.]]), array([[3.]]))
    """
    added, U = branch(X, p, activation=activation)
    return X + added, U


def backward(
    gY: Float[Array, "N k"],
    X: Float[Array, "N k"],
    U: Float[Array, "N r"],
    p: BottleneckParams,
    *,
    activation: str,
) -> tuple[Float[Array, "N k"], BottleneckParams]:
    """Pull gY back to the input and the four tensors.  [adapter-bottleneck-grad]

    gU = (gY W_up) f'(U),  gX = gY + gU W_down,  gW_down = gUᵀ X,  gb_down = Σ gU,  gW_up = gYᵀ f(U),  gb_up = Σ gY.
    `U` is what `forward` returned.  Raises what `forward` raises.

    >>> X, p = (
    ...     np.array([[3.0, 5.0]]),
    ...     BottleneckParams(np.eye(1, 2), np.zeros(1), np.ones((2, 1)), np.zeros(2)),
    ... )
    >>> gX, g = backward(np.array([[1.0, 10.0]]), X, np.array([[3.0]]), p, activation="relu")
    >>> gX, g.W_down, g.b_down
    (array([[12., 10.]]), array([[33., 55.]]), array([11.]))
    """
    _require(X, p, activation)
    checks.require_rows("gY", gY, X.shape[-1], "k, the width of X")
    checks.require_rows("U", U, p.W_down.shape[0], "r, the height of W_down")
    checks.require_same_rows(gY=gY, X=X, U=U)
    checks.require_same_dtype(gY=gY, X=X, U=U)
    xp, (W_down, _, W_up, _) = array_namespace(X), p
    bend = ACTIVATIONS[activation]
    gU = (gY @ W_up) * bend.slope(U)  # (N, r)
    gX = gY + gU @ W_down  # (N, k): the skip adds gY itself
    rows, g_rows, gU_rows = flat_rows(X), flat_rows(gY), flat_rows(gU)
    return gX, BottleneckParams(
        W_down=gU_rows.T @ rows,
        b_down=xp.sum(gU_rows, axis=0),
        W_up=g_rows.T @ flat_rows(bend.value(U)),
        b_up=xp.sum(g_rows, axis=0),
    )


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require(X: Array, p: BottleneckParams, activation: str) -> None:
    """Raise unless X (..., k) and the four tensors make one adapter of one element type."""
    checks.require_one_of("activation", activation, ACTIVATIONS)
    require_params(p)
    checks.require_rows("X", X, p.W_down.shape[1], f"k, the width of W_down {tuple(p.W_down.shape)}")
    checks.require_same_dtype(X=X, W_down=p.W_down)


def require_params(p: BottleneckParams) -> None:
    """Raise unless the four tensors fit one another."""
    checks.require_instance("p", p, BottleneckParams, "pass BottleneckParams(W_down=..., b_down=..., ...)")
    checks.require_ndim("W_down", p.W_down, 2, "r, k")
    r, k = p.W_down.shape
    checks.require_shape("b_down", p.b_down, (r,), "r,")
    checks.require_shape("W_up", p.W_up, (k, r), "k, r")
    checks.require_shape("b_up", p.b_up, (k,), "k,")
    checks.require_same_dtype(**p._asdict())
