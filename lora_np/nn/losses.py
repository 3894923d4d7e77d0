"""Losses with their gradients: cross-entropy on logits, with accuracy, and the squared error.  Floor 4.

The largest logit is subtracted first, so that finite logits give finite numbers.  The mean is over rows.
"""

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Bool, Float, Int
from lora_np.errors import ShapeError


def log_softmax(L: Float[Array, "N c"]) -> Float[Array, "N c"]:
    """Turn logits into log-probabilities.  [net-softmax]

    >>> import numpy as np
    >>> log_softmax(np.array([[1000.0, 0.0]]))
    array([[    0., -1000.]])
    """
    checks.require_ndim("L", L, 2, "N, c")
    xp = array_namespace(L)
    shifted = L - xp.max(L, axis=1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))


def softmax(L: Float[Array, "N c"]) -> Float[Array, "N c"]:
    """Turn logits into probabilities.  [net-softmax]

    >>> import numpy as np
    >>> softmax(np.array([[5.0, 5.0]]))
    array([[0.5, 0.5]])
    """
    return array_namespace(L).exp(log_softmax(L))


def cross_entropy(L: Float[Array, "N c"], y: Int[Array, " N"]) -> Float[Array, ""]:
    """Average the surprise at the true classes.  [net-cross-entropy]

    −1/N Σ_n log softmax(L)[n, y_n].  Raises `ShapeError`, `DTypeError`, `ConfigError`.

    >>> import numpy as np
    >>> float(cross_entropy(np.zeros((3, 4)), np.array([0, 1, 2])))  # log 4
    1.3862943611198906
    """
    hot = _one_hot(L, y)
    xp, logP = array_namespace(L), log_softmax(L)
    return -xp.sum(xp.where(hot, logP, xp.zeros_like(logP))) / L.shape[0]


def cross_entropy_gradient(L: Float[Array, "N c"], y: Int[Array, " N"]) -> Float[Array, "N c"]:
    """Differentiate `cross_entropy` with respect to the logits.  [net-cross-entropy]

    gL = (softmax(L) − onehot(y)) / N.  Raises what `cross_entropy` raises.

    >>> import numpy as np
    >>> cross_entropy_gradient(np.zeros((1, 2)), np.array([1]))
    array([[ 0.5, -0.5]])
    """
    hot = _one_hot(L, y)
    xp = array_namespace(L)
    return (softmax(L) - xp.astype(hot, L.dtype)) / L.shape[0]


def accuracy(L: Float[Array, "N c"], y: Int[Array, " N"]) -> float:
    """Return the share of rows whose largest logit is the true class; the first of equals counts.

    >>> import numpy as np
    >>> accuracy(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    0.5
    """
    _require_logits(L, y)
    xp = array_namespace(L)
    right = xp.argmax(L, axis=1) == y
    return float(int(xp.sum(xp.astype(right, xp.int64))) / L.shape[0])


def squared_error(Y: Float[Array, "N d"], T: Float[Array, "N d"]) -> Float[Array, ""]:
    """Average half the squared distance between outputs and targets.  [net-squared-error]

    1/(2N) Σ_n ‖Y_n − T_n‖².  Raises `ShapeError`, `DTypeError`.

    >>> import numpy as np
    >>> float(squared_error(np.array([[3.0, 0.0], [0.0, 4.0]]), np.zeros((2, 2))))
    6.25
    """
    _require_targets(Y, T)
    difference = Y - T
    return array_namespace(Y).sum(difference * difference) / (2 * Y.shape[0])


def squared_error_gradient(Y: Float[Array, "N d"], T: Float[Array, "N d"]) -> Float[Array, "N d"]:
    """Differentiate `squared_error` with respect to the outputs.  [net-squared-error]

    gY = (Y − T) / N.  Raises what `squared_error` raises.

    >>> import numpy as np
    >>> squared_error_gradient(np.array([[3.0, 0.0], [0.0, 4.0]]), np.zeros((2, 2)))
    array([[1.5, 0. ],
           [0. , 2. ]])
    """
    _require_targets(Y, T)
    return (Y - T) / Y.shape[0]


def _require_targets(Y: Array, T: Array) -> None:
    """Raise unless outputs and targets (N, d) belong together, with at least one row."""
    checks.require_ndim("Y", Y, 2, "N, d")
    checks.require_ndim("T", T, 2, "N, d")
    if tuple(Y.shape) != tuple(T.shape) or Y.shape[0] == 0:
        raise ShapeError(f"Y has shape {tuple(Y.shape)} and T {tuple(T.shape)}; expected equal, with rows")
    checks.require_same_dtype(Y=Y, T=T)


def _one_hot(L: Array, y: Array) -> Bool[Array, "N c"]:
    """Mark the true class of each row."""
    _require_logits(L, y)
    xp = array_namespace(y)
    classes = xp.arange(L.shape[1], dtype=y.dtype)
    return y[:, None] == classes[None, :]


def _require_logits(L: Array, y: Array) -> None:
    """Raise unless L (N, c) and labels y (N,) below c belong together, with at least one row."""
    checks.require_ndim("L", L, 2, "N, c")
    checks.require_labels(y, L.shape[1])
    if y.shape[0] != L.shape[0] or L.shape[0] == 0:
        raise ShapeError(
            f"L has {L.shape[0]} rows and y has {y.shape[0]} labels; expected as many, and at least one"
        )
