"""The target "loralib": the LoRA authors' own package, used as its users use it.  Floor 6.

A layer is made with the case's tensors in it; `eval()` merges and `train()` unmerges, as loralib has it.  Dropout is
off.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from lora_np.conformance.targets.torch_bridge import Tensors, array, pulled_back, tensor

Config = Mapping[str, Any]
METHODS = ("lora", "lora-transposed", "lora-embedding", "lora-merged-qkv", "lora-conv2d")


class Loralib:
    """loralib on the CPU."""

    name = "loralib"
    dtypes = ("float32", "float64")
    options: Mapping[str, str] = {}
    capabilities = tuple(f"{m}.{op}" for m in METHODS for op in ("forward", "backward", "merge", "unmerge"))

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)
        self.version = version("loralib")

    def forward(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Apply the layer in training mode, where nothing is merged."""
        t = _tensors(config, tensors)
        return array(_layer(method, config, t)(t["X"]))

    def backward(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Pull gY back in training mode."""
        t = _tensors(config, tensors)
        layer = _layer(method, config, t)
        by = {} if method == "lora-embedding" else {"X": t["X"].requires_grad_()}
        by |= {"B": layer.lora_B, "A": layer.lora_A}
        found = pulled_back(layer(t["X"]), t["gY"], by)
        return {name: x.reshape(tensors[name[1:]].shape) for name, x in found.items()}

    def merge(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Merge by going to evaluation mode."""
        layer = _layer(method, config, _tensors(config, tensors))
        layer.train(False)
        return array(_weight(layer))

    def unmerge(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Unmerge by going to training mode."""
        t = _tensors(config, tensors)
        layer = _layer(method, config, {**t, "W0": t["W"]})
        layer.merged = True
        layer.train(True)
        return array(_weight(layer))


def _tensors(config: Config, tensors: Tensors) -> dict[str, Any]:
    return {name: tensor(x, config["dtype"]) for name, x in tensors.items()}


def _weight(layer: Any) -> Any:
    return layer.conv.weight if hasattr(layer, "conv") else layer.weight


def _layer(method: str, config: Config, t: Mapping[str, Any]) -> Any:
    """Make loralib's layer and put the case's tensors in it."""
    W0 = t["W0"]
    layer = _made(method, config, W0, "bias" in t).to(W0.dtype)
    inner = getattr(layer, "conv", layer)
    inner.weight.data = W0.clone()
    if "bias" in t:
        inner.bias.data = t["bias"].clone()
    layer.load_state_dict({"lora_A": t["A"], "lora_B": t["B"]}, strict=False)
    return layer


def _made(method: str, config: Config, W0: Any, bias: bool) -> Any:
    import loralib

    settings = {"r": config["rank"], "lora_alpha": config["alpha"]}
    if method == "lora":
        return loralib.Linear(W0.shape[1], W0.shape[0], bias=bias, **settings)
    if method == "lora-transposed":
        return loralib.Linear(*W0.shape, fan_in_fan_out=True, bias=bias, **settings)
    if method == "lora-embedding":
        return loralib.Embedding(*W0.shape, padding_idx=config.get("padding"), **settings)
    if method == "lora-merged-qkv":
        enabled = config["enabled"]
        return loralib.MergedLinear(W0.shape[1], W0.shape[0], enable_lora=enabled, bias=bias, **settings)
    if config.get("form") != "loralib":
        raise NotImplementedError("loralib reshapes B A into a kernel; two convolutions are PEFT's form")
    if W0.shape[2] != W0.shape[3]:
        raise NotImplementedError("loralib takes square kernels only")
    groups = int(config.get("groups", 1))
    places = {key: config[key] for key in ("stride", "padding", "dilation") if key in config}
    return loralib.Conv2d(
        W0.shape[1] * groups, W0.shape[0], W0.shape[2], groups=groups, bias=bias, **places, **settings
    )
