"""The targets "reference" and "numba": this package's own code, behind the adapter protocol.  Floor 6.

Types of 16 bits are stored as such and computed in float32.  What a method can do is asked of the tables, so that a
new row is claimed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from lora_np.conformance.runner.adapter import own_version
from lora_np.conformance.targets import layers
from lora_np.conformance.targets.bank_state import CHOICES
from lora_np.conformance.targets.layers import LAYERS
from lora_np.conformance.targets.operations import OPERATIONS, Config, Function, Tensors
from lora_np.conformance.vectors.format import HALF_TYPES
from lora_np.lora import LoraParams


def _layer_table() -> dict[str, Function]:
    """Write every layer's operations under their capability names."""
    table: dict[str, Function] = {}
    for method, layer in LAYERS.items():
        table[f"{method}.forward"] = partial(_output, method)
        table[f"{method}.backward"] = partial(layers.backward, method)
        if layer.merges:
            table[f"{method}.merge"] = partial(layers.merge, method)
            table[f"{method}.unmerge"] = partial(layers.unmerge, method)
    return table


def _output(method: str, config: Config, t: Tensors) -> Any:
    return layers.forward(method, config, t)[0]


class Tabled:
    """An adapter whose operations stand in a table; every operation is looked up there."""

    name = "reference"
    dtypes: tuple[str, ...] = ("float16", "bfloat16", "float32", "float64")
    options: Mapping[str, str]
    table: Mapping[str, Function]

    def __init__(self) -> None:
        self.version = own_version()

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Everything in the table."""
        return tuple(sorted(self.table))

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        """Find the operation called `operation`, if any method has one of that name."""
        if (
            operation.startswith("_")
            or operation == "table"
            or not any(name.endswith(f".{operation}") for name in self.table)
        ):
            raise AttributeError(f"{type(self).__name__} has no operation {operation!r}")
        return lambda method, config, tensors: self._run(f"{method}.{operation}", config, tensors)

    def _run(self, capability: str, config: Config, tensors: Tensors) -> Any:
        """Compute in float32 where the element type is for storage only, and store the result."""
        dtype = config["dtype"]
        function = self.table[capability]
        if dtype not in HALF_TYPES:
            return function(config, tensors)
        wide = {name: x.astype(np.float32) if x.dtype.kind == "f" else x for name, x in tensors.items()}
        found = function(config, wide)
        return (
            {name: _stored(x, dtype) for name, x in found.items()}
            if isinstance(found, Mapping)
            else _stored(found, dtype)
        )


def _stored(x: Any, dtype: str) -> Any:
    """Round a result to a storage type; float32 carries bfloat16."""
    return x.astype(dtype) if dtype == "float16" and np.asarray(x).dtype.kind == "f" else x


class Reference(Tabled):
    """The NumPy code of this package, every method and operation."""

    options = {  # noqa: RUF012 (read only)
        "errors": "lora_np",
        "dora.norm": "detached, attached",
        "gelu": "erf, tanh",
        "oft.side": "paper, transposed",
        **CHOICES,
    }

    def __init__(self) -> None:
        super().__init__()
        self.table = {**_layer_table(), **OPERATIONS}


class Compiled(Tabled):
    """The Numba backend: the operations for which it has a road of its own."""

    name = "numba"
    dtypes = ("float32", "float64")
    options = {"errors": "lora_np"}  # noqa: RUF012 (read only)

    def __init__(self) -> None:
        super().__init__()
        from lora_np.backends import get_backend

        get_backend("numba")  # raises, with what to install, before the first case
        self.table = {
            f"{method}.{operation}": partial(function, method)
            for method in ("lora", "rslora", "lora-plus", "pissa", "milora", "olora")
            for operation, function in (("forward", _compiled_forward), ("backward", _compiled_backward))
        }


def _compiled_forward(method: str, config: Config, t: Tensors) -> Any:
    from lora_np.backends import get_backend

    scale = layers.keywords(method, config)["scale"]
    p = LoraParams(t["B"], t["A"])
    return get_backend("numba").forward(t["X"], t["W0"], p, scale=scale, bias=t.get("bias"))[0]


def _compiled_backward(method: str, config: Config, t: Tensors) -> dict[str, Any]:
    from lora_np.backends import get_backend

    backend, scale = get_backend("numba"), layers.keywords(method, config)["scale"]
    p = LoraParams(t["B"], t["A"])
    _, Z = backend.forward(t["X"], t["W0"], p, scale=scale)
    gX, g = backend.backward(t["gY"], t["X"], Z, t["W0"], p, scale=scale)
    return {"gX": gX, "gB": g.B, "gA": g.A}
