"""Functions that bend a layer's output, each with its pullback.  Floor 4.

`gelu` is the tanh form, which GPT-2 uses; the exact form with erf differs from it by less than 5e-4 and needs a
function that neither NumPy nor the array API has.  Each forward keeps nothing: a pullback takes H again.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float

_C = math.sqrt(2 / math.pi)
_K = 0.044715


def relu(H: Float[Array, "N d"]) -> Float[Array, "N d"]:
    """Keep what is positive.  [net-relu]

    >>> import numpy as np
    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    xp = array_namespace(H)
    return xp.maximum(H, xp.zeros_like(H))


def relu_pullback(gA: Float[Array, "N d"], H: Float[Array, "N d"]) -> Float[Array, "N d"]:
    """Pass the gradient where H > 0; at 0 itself take 0.  [net-relu]

    >>> import numpy as np
    >>> relu_pullback(np.array([5.0, 5.0, 5.0]), np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 5.])
    """
    xp = array_namespace(H)
    return gA * xp.astype(H > 0, H.dtype)


def gelu(H: Float[Array, "N d"]) -> Float[Array, "N d"]:
    """Weigh H by a smooth gate, the tanh form.  [net-gelu]

    h/2 (1 + tanh(√(2/π) (h + 0.044715 h³)))

    >>> import numpy as np
    >>> gelu(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.1588,  0.    ,  0.8412])
    """
    xp = array_namespace(H)
    return 0.5 * H * (1 + xp.tanh(_C * (H + _K * H * H * H)))


def gelu_pullback(gA: Float[Array, "N d"], H: Float[Array, "N d"]) -> Float[Array, "N d"]:
    """Multiply by the derivative of the tanh form.  [net-gelu]

    (1 + t)/2 + h/2 (1 − t²) √(2/π) (1 + 3 · 0.044715 h²), with t the tanh.

    >>> import numpy as np
    >>> gelu_pullback(np.ones(1), np.zeros(1))
    array([0.5])
    """
    xp = array_namespace(H)
    t = xp.tanh(_C * (H + _K * H * H * H))
    return gA * (0.5 * (1 + t) + 0.5 * H * (1 - t * t) * _C * (1 + 3 * _K * H * H))


def tanh(H: Float[Array, "N d"]) -> Float[Array, "N d"]:
    """Squash H into (−1, 1).  [net-tanh]

    >>> import numpy as np
    >>> tanh(np.array([0.0, 100.0]))
    array([0., 1.])
    """
    return array_namespace(H).tanh(H)


def tanh_pullback(gA: Float[Array, "N d"], H: Float[Array, "N d"]) -> Float[Array, "N d"]:
    """Multiply by 1 − tanh².  [net-tanh]

    >>> import numpy as np
    >>> tanh_pullback(np.array([2.0]), np.array([0.0]))
    array([2.])
    """
    t = array_namespace(H).tanh(H)
    return gA * (1 - t * t)


class Activation(NamedTuple):
    """A function, its pullback, and the gain that keeps the size of random activations."""

    apply: Callable[[Array], Array]
    pullback: Callable[[Array, Array], Array]
    gain: float


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "relu": Activation(relu, relu_pullback, math.sqrt(2.0)),
        "gelu": Activation(gelu, gelu_pullback, math.sqrt(2.0)),
        "tanh": Activation(tanh, tanh_pullback, 1.0),
    }
)


def activation(name: str) -> Activation:
    """Look up an activation by name.  Raises `ConfigError`.

    >>> activation("relu").apply is relu
    True
    """
    checks.require_one_of("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
