"""The target "conv1d": PEFT on the `Conv1D` layers of transformers, whose weight is (inputs, outputs).  Floor 6.

GPT-2 is built of them.  The cases are those of the plain layer: the weight is transposed on its way in and out, and
nothing else is, so what holds for a linear layer has to hold here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lora_np.conformance.targets.peft_target import METHODS, Config, Method, Peft
from lora_np.conformance.targets.torch_bridge import Tensors

TARGETED = ("lora", "rslora", "dora", "pissa", "olora", "ia3", "vera", "adalora")
WEIGHTS = ("W0", "W", "W_base")


def _transposing(
    make: Callable[[Config, Mapping[str, Any]], Any],
) -> Callable[[Config, Mapping[str, Any]], Any]:
    def configured(config: Config, t: Mapping[str, Any]) -> Any:
        settings = make(config, t)
        settings.fan_in_fan_out = True
        return settings

    return configured


def _on_conv1d(method: Method) -> Method:
    return method._replace(base="Conv1D", config=_transposing(method.config))


class Conv1D(Peft):
    """PEFT on `transformers.pytorch_utils.Conv1D`."""

    name = "conv1d"
    methods = {name: _on_conv1d(METHODS[name]) for name in TARGETED}  # noqa: RUF012 (read only)
    several = ()

    def __init__(self) -> None:
        super().__init__()
        import transformers

        self.version = f"{self.version} on transformers {transformers.__version__}"

    def forward(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Apply the wrapped layer."""
        return super().forward(method, config, _turned(tensors))

    def backward(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Pull gY back through the wrapped layer."""
        return super().backward(method, config, _turned(tensors))

    def merge(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Merge, and turn the weight."""
        return super().merge(method, config, _turned(tensors)).T

    def unmerge(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Unmerge, and turn the weight."""
        return super().unmerge(method, config, _turned(tensors)).T

    def init(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Start the method on the turned weight; a weight that comes back is turned, the factors are not."""
        found = super().init(method, config, _turned(tensors))
        return _turned(found) if isinstance(found, Mapping) else found


def _turned(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: x.T if name in WEIGHTS else x for name, x in tensors.items()}
