"""Prefix tuning: trained keys and values of extra tokens, one attention head.  Floor 2.

Every query also looks at l keys and values that no token made ("Prefix-Tuning", 2101.00190, section 4.2):
softmax(Q [P_k; K]ᵀ / √dh) [P_v; V].  Two ways to train them: `forward` and `backward` take P_k and P_v themselves;
the paper trains a smaller matrix E and a two-layer network that makes them, and keeps only what it made:
`reparametrize` and its `reparametrize_backward`.  One head, no mask (every query sees the whole prefix in any case), no
projections; nothing merges.
"""

import math
from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.batches import flat_rows
from lora_np.errors import ShapeError


class PrefixParams(NamedTuple):
    """The trainable keys and values of the l extra tokens, in one head.  [prefix-attention]"""

    P_k: Float[Array, "l dh"]
    P_v: Float[Array, "l dh"]


class PrefixGradients(NamedTuple):
    """Gradients of what attention is given.  [prefix-attention-grad]"""

    Q: Float[Array, "N dh"]
    K: Float[Array, "T dh"]
    V: Float[Array, "T dh"]


class Reparametrization(NamedTuple):
    """The tensors that make a prefix: E (l, e) through a hidden layer of h.  [prefix-reparam]"""

    E: Float[Array, "l e"]
    W1: Float[Array, "h e"]
    b1: Float[Array, " h"]
    W2: Float[Array, "2dh h"]
    b2: Float[Array, " 2dh"]


# ---- the prefix itself -------------------------------------------------------------------------------------


def init(rng: np.random.Generator, length: int, dh: int, *, dtype: object = np.float64) -> PrefixParams:
    """Draw the keys and values from a standard Gaussian, PEFT's start.  [prefix-attention]

    The paper starts them through its network, or at the activations of real words.  Raises `ConfigError`, `DTypeError`.

    >>> init(np.random.default_rng(0), 3, 4).P_k.shape
    (3, 4)
    """
    checks.require_rng(rng)
    checks.require_int("length", length, minimum=0)
    checks.require_int("dh", dh, minimum=1)
    checks.require_float_dtype(dtype)
    P_k, P_v = rng.normal(size=(2, length, dh)).astype(dtype)  # type: ignore[call-overload]
    return PrefixParams(P_k, P_v)


def forward(
    Q: Float[Array, "N dh"], K: Float[Array, "T dh"], V: Float[Array, "T dh"], p: PrefixParams
) -> tuple[Float[Array, "N dh"], Float[Array, "N l+T"]]:
    """Attend to the prefix and the tokens.  [prefix-attention]

    Y = S [P_v; V] with S = softmax(Q [P_k; K]ᵀ / √dh), row by row, the largest of a row subtracted first.  Returns Y
    and S, which `backward` needs.  Q may have leading axes.  Raises `ShapeError`, `DTypeError`.

    >>> Q, K, V = np.zeros((1, 1)), np.zeros((1, 1)), np.array([[4.0]])
    >>> forward(Q, K, V, PrefixParams(P_k=np.zeros((1, 1)), P_v=np.array([[8.0]])))
    (array([[6.]]), array([[0.5, 0.5]]))
    """
    _require(Q, K, V, p)
    xp = array_namespace(Q)
    keys, values = xp.concat([p.P_k, K], axis=0), xp.concat([p.P_v, V], axis=0)  # (l + T, dh)
    scores = (Q @ keys.T) / math.sqrt(Q.shape[-1])  # (N, l + T)
    weights = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
    S = weights / xp.sum(weights, axis=-1, keepdims=True)
    return S @ values, S


def backward(
    gY: Float[Array, "N dh"],
    Q: Float[Array, "N dh"],
    S: Float[Array, "N l+T"],
    K: Float[Array, "T dh"],
    V: Float[Array, "T dh"],
    p: PrefixParams,
) -> tuple[PrefixGradients, PrefixParams]:
    """Pull gY back to the queries, keys, values and the prefix.  [prefix-attention-grad]

    gS = gY [P_v; V]ᵀ,  gscores = S (gS − Σ gS S) / √dh,  gQ = gscores [P_k; K],  [gP_k; gK] = gscoresᵀ Q,
    [gP_v; gV] = Sᵀ gY.  `S` is what `forward` returned.  Raises what `forward` raises.

    >>> Q, K, V, p = (
    ...     np.ones((1, 1)),
    ...     np.ones((1, 1)),
    ...     np.array([[4.0]]),
    ...     PrefixParams(np.ones((1, 1)), np.array([[8.0]])),
    ... )
    >>> backward(np.ones((1, 1)), Q, forward(Q, K, V, p)[1], K, V, p)[1]
    PrefixParams(P_k=array([[1.]]), P_v=array([[0.5]]))
    """
    _require(Q, K, V, p)
    length, dh = p.P_k.shape
    checks.require_rows("gY", gY, dh, "dh, the width of Q")
    checks.require_rows("S", S, length + K.shape[0], "l + T, the prefix and the keys")
    checks.require_same_rows(gY=gY, Q=Q, S=S)
    checks.require_same_dtype(gY=gY, Q=Q, S=S)
    xp = array_namespace(Q)
    keys, values = xp.concat([p.P_k, K], axis=0), xp.concat([p.P_v, V], axis=0)
    gS = gY @ values.T  # (N, l + T)
    g_scores = S * (gS - xp.sum(gS * S, axis=-1, keepdims=True)) / math.sqrt(dh)
    g_keys = flat_rows(g_scores).T @ flat_rows(Q)  # (l + T, dh)
    g_values = flat_rows(S).T @ flat_rows(gY)
    given = PrefixGradients(Q=g_scores @ keys, K=g_keys[length:, :], V=g_values[length:, :])
    return given, PrefixParams(P_k=g_keys[:length, :], P_v=g_values[:length, :])


# ---- the network that makes it -----------------------------------------------------------------------------


def reparametrize(q: Reparametrization) -> tuple[PrefixParams, Float[Array, "l h"]]:
    """Make the prefix from the smaller matrix.  [prefix-reparam]

    [P_k P_v] = T W2ᵀ + b2 with T = tanh(E W1ᵀ + b1).  Returns the prefix and T, which `reparametrize_backward` needs.
    After training only the prefix is kept.  Raises `ShapeError`, `DTypeError`.

    >>> q = Reparametrization(
    ...     np.zeros((1, 1)), np.ones((1, 1)), np.zeros(1), np.ones((2, 1)), np.array([3.0, 4.0])
    ... )
    >>> reparametrize(q)[0]
    PrefixParams(P_k=array([[3.]]), P_v=array([[4.]]))
    """
    _require_reparametrization(q)
    T = array_namespace(q.E).tanh(q.E @ q.W1.T + q.b1)  # (l, h)
    both = T @ q.W2.T + q.b2  # (l, 2 dh)
    dh = both.shape[1] // 2
    return PrefixParams(P_k=both[:, :dh], P_v=both[:, dh:]), T


def reparametrize_backward(
    gp: PrefixParams, T: Float[Array, "l h"], q: Reparametrization
) -> Reparametrization:
    """Pull the prefix's gradient back to the tensors that made it.  [prefix-reparam-grad]

    g = [gP_k gP_v],  gU = (g W2) (1 − T²),  gE = gU W1,  gW1 = gUᵀ E,  gb1 = Σ gU,  gW2 = gᵀ T,  gb2 = Σ g.  Raises
    what `reparametrize` raises.

    >>> q = Reparametrization(np.zeros((1, 1)), np.ones((1, 1)), np.zeros(1), np.ones((2, 1)), np.zeros(2))
    >>> p, T = reparametrize(q)
    >>> reparametrize_backward(PrefixParams(np.array([[3.0]]), np.array([[4.0]])), T, q).E
    array([[7.]])
    """
    _require_reparametrization(q)
    (length, _), (h, _), width = q.E.shape, q.W1.shape, q.W2.shape[0]
    checks.require_shape("T", T, (length, h), "l, h")
    checks.require_instance("gp", gp, PrefixParams)
    checks.require_shape("gP_k", gp.P_k, (length, width // 2), "l, dh")
    checks.require_shape("gP_v", gp.P_v, (length, width // 2), "l, dh")
    checks.require_same_dtype(gP_k=gp.P_k, gP_v=gp.P_v, T=T, E=q.E)
    xp = array_namespace(T)
    g = xp.concat([gp.P_k, gp.P_v], axis=1)  # (l, 2 dh)
    gU = (g @ q.W2) * (1 - T * T)  # (l, h)
    return Reparametrization(
        E=gU @ q.W1, W1=gU.T @ q.E, b1=xp.sum(gU, axis=0), W2=g.T @ T, b2=xp.sum(g, axis=0)
    )


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require(Q: Array, K: Array, V: Array, p: PrefixParams) -> None:
    """Raise unless queries, keys, values and prefix fit together, of one element type, with a key to look at."""
    checks.require_instance("p", p, PrefixParams, "pass PrefixParams(P_k=..., P_v=...)")
    checks.require_ndim("K", K, 2, "T, dh")
    dh = K.shape[1]
    checks.require_rows("Q", Q, dh, f"dh, the width of K {tuple(K.shape)}")
    checks.require_shape("V", V, tuple(K.shape), "T, dh")
    checks.require_ndim("P_k", p.P_k, 2, "l, dh")
    length = p.P_k.shape[0]
    checks.require_shape("P_k", p.P_k, (length, dh), "l, dh")
    checks.require_shape("P_v", p.P_v, (length, dh), "l, dh")
    checks.require_same_dtype(Q=Q, K=K, V=V, P_k=p.P_k, P_v=p.P_v)
    if dh == 0 or length + K.shape[0] == 0:
        raise ShapeError(
            f"attention needs a key of at least one number, got {length} + {K.shape[0]} keys of {dh}",
            fix="pass tokens, a prefix, or both",
        )


def _require_reparametrization(q: Reparametrization) -> None:
    """Raise unless the five tensors fit one another."""
    checks.require_instance("q", q, Reparametrization, "pass Reparametrization(E=..., W1=..., ...)")
    checks.require_ndim("E", q.E, 2, "l, e")
    checks.require_ndim("W1", q.W1, 2, "h, e")
    h, e = q.W1.shape
    checks.require_shape("E", q.E, (q.E.shape[0], e), "l, e")
    checks.require_shape("b1", q.b1, (h,), "h,")
    checks.require_ndim("W2", q.W2, 2, "2 dh, h")
    width = q.W2.shape[0]
    checks.require_shape("W2", q.W2, (width, h), "2 dh, h")
    checks.require_shape("b2", q.b2, (width,), "2 dh,")
    checks.require_same_dtype(**q._asdict())
    if width % 2:
        raise ShapeError(f"W2 has {width} rows, expected an even number: keys above values, (2 dh, h)")
