"""The target "torch": each method as a few lines of torch, gradients by torch's autograd.  Floor 6.

Written from the formulas as anyone would write them, in torch's own operations; PEFT is the target "peft".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lora_np.conformance.targets.torch_bridge import Tensors, array, pulled_back, tensor

Config = Mapping[str, Any]
T = Mapping[str, Any]


def _scale(config: Config) -> float:
    return float(config["alpha"]) / int(config["rank"])


def _row_norm(V: Any) -> Any:
    import torch

    return torch.linalg.norm(V, dim=1, keepdim=True)


def _dora(t: T, config: Config) -> Any:
    V = t["W0"] + _scale(config) * (t["B"] @ t["A"])
    norm = _row_norm(V)
    return t["m"][:, None] * V / (norm if config.get("norm") == "attached" else norm.detach())


def _lokr(t: T, config: Config) -> Any:
    import torch

    D = t["D"] if "D" in t else t["B"] @ t["A"]
    return t["W0"] + _scale(config) * torch.kron(t["C"], D)


def _rotation(t: T, config: Config) -> Any:
    """Block-diagonal R of OFT, by Cayley's formula or five terms of its Neumann series."""
    import torch

    q = t["q"]
    b = (1 + math.isqrt(1 + 8 * q.shape[1])) // 2
    rows, columns = torch.triu_indices(b, b, 1)
    blocks = []
    for values in q:
        upper = torch.zeros(b, b, dtype=q.dtype).index_put((rows, columns), values)
        Q, one = upper - upper.T, torch.eye(b, dtype=q.dtype)
        if config.get("neumann"):  # (I − Q)(I − Q + Q² − Q³)
            blocks.append((one - Q) @ (one - Q @ (one - Q @ (one - Q))))
        else:
            blocks.append(torch.linalg.solve(one + Q, one - Q, left=False))
    return torch.block_diag(*blocks)


def _oft(t: T, config: Config) -> Any:
    R = _rotation(t, config)
    return t["W0"] @ (R.T if config.get("side") == "transposed" else R)


WEIGHTS: Mapping[str, Callable[[T, Config], Any]] = {
    "lora": lambda t, c: t["W0"] + _scale(c) * (t["B"] @ t["A"]),
    "rslora": lambda t, c: t["W0"] + float(c["alpha"]) / math.sqrt(c["rank"]) * (t["B"] @ t["A"]),
    "symmetric": lambda t, c: t["W0"] - _scale(c) * (t["B0"] @ t["A0"]) + _scale(c) * (t["B"] @ t["A"]),
    "dora": _dora,
    "loha": lambda t, c: t["W0"] + _scale(c) * (t["B1"] @ t["A1"]) * (t["B2"] @ t["A2"]),
    "lokr": _lokr,
    "vera": lambda t, _: t["W0"] + t["lambda_b"][:, None] * (t["B"] @ (t["lambda_d"][:, None] * t["A"])),
    "adalora": lambda t, c: t["W0"] + float(c["scale"]) * (t["P"] * t["lam"]) @ t["Q"],
    "lora-xs": lambda t, _: t["W0"] + t["B"] @ t["R"] @ t["A"],
    "oft": _oft,
}
"""The weight in use, by method: the layer applies it, and merging stores it."""

TRAINED: Mapping[str, tuple[str, ...]] = {
    "lora": ("B", "A"),
    "rslora": ("B", "A"),
    "symmetric": ("B", "A"),
    "dora": ("B", "A", "m"),
    "loha": ("B1", "A1", "B2", "A2"),
    "lokr": ("C", "D", "B", "A"),
    "vera": ("lambda_b", "lambda_d"),
    "adalora": ("P", "lam", "Q"),
    "lora-xs": ("R",),
    "oft": ("q",),
    "ia3": ("l",),
    "bitfit": ("bias",),
}


def layer(method: str, config: Config, t: T) -> Any:
    """Apply a method to rows."""
    from torch.nn.functional import linear

    if method == "ia3":
        if config["feedforward"]:
            return linear(t["l"] * t["X"], t["W0"], t.get("bias"))
        return t["l"] * linear(t["X"], t["W0"], t.get("bias"))
    weight = t["W0"] if method == "bitfit" else WEIGHTS[method](t, config)
    return linear(t["X"], weight, t.get("bias"))


class Torch:
    """Plain torch on the CPU."""

    name = "torch"
    dtypes = ("float32", "float64")
    options: Mapping[str, str] = {"errors": "none", "dora.norm": "attached", "oft.side": "transposed"}

    def __init__(self) -> None:
        import torch

        self.version = str(torch.__version__)
        self.capabilities = sorted(
            {f"{method}.{operation}" for method in TRAINED for operation in ("forward", "backward")}
            | {f"{method}.merge" for method in WEIGHTS}
        )

    def forward(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Apply a layer."""
        return array(layer(method, config, self._tensors(config, tensors)))

    def backward(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Pull gY back by torch's autograd."""
        t = self._tensors(config, tensors)
        by = {name: t[name].requires_grad_() for name in ("X", *TRAINED[method]) if name in t}
        return pulled_back(layer(method, config, t), t["gY"], by)

    def merge(self, method: str, config: Config, tensors: Tensors) -> Any:
        """Build the weight in use."""
        return array(WEIGHTS[method](self._tensors(config, tensors), config))

    def _tensors(self, config: Config, tensors: Tensors) -> dict[str, Any]:
        return {name: tensor(x, config["dtype"]) for name, x in tensors.items()}
