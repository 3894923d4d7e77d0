"""The same work in torch and in PEFT, as their users write it; None where they are not installed.  Floor 6.

Same numbers, same element type, same thread count, and autograd where a user of theirs would have it: a LoRA layer
inside a network, whose input wants a gradient too.  Results are compared with ours before anything is timed.
"""

import importlib.util
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from lora_np._typing import Array
from lora_np.bench.machine import blas_and_threads
from lora_np.bench.measure import SCALE, LayerArrays
from lora_np.lora import LoraParams

Call = Callable[[], Any]


def torch_or_none() -> Any:
    """Import torch, with as many threads as NumPy's BLAS; None where it is missing."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    torch.set_num_threads(blas_and_threads()[1])
    return torch


def torch_step(arrays: LayerArrays) -> Call | None:
    """Make a forward and backward pass of the layer, written in torch.  [lora-2]"""
    torch = torch_or_none()
    if torch is None:
        return None
    X, B, A = (torch.tensor(x, requires_grad=True) for x in (arrays.X, *arrays.p))
    W0, gY = torch.tensor(arrays.W0), torch.tensor(arrays.gY)

    def step() -> Any:
        Y = torch.nn.functional.linear(X, W0) + SCALE * ((X @ A.T) @ B.T)
        return Y.detach(), *torch.autograd.grad(Y, (X, B, A), gY)

    return step


def peft_step(arrays: LayerArrays) -> Call | None:
    """Make a forward and backward pass of PEFT's `Linear`, made by its own `get_peft_model`.  [lora-2]"""
    torch = torch_or_none()
    if torch is None or importlib.util.find_spec("peft") is None:
        return None
    import peft

    d, k = arrays.W0.shape
    r = arrays.p.A.shape[0]
    base = torch.nn.Linear(k, d, bias=False)
    base.weight.data = torch.tensor(arrays.W0)
    network = torch.nn.Sequential(OrderedDict(layer=base))
    config = peft.LoraConfig(r=r, lora_alpha=SCALE * r, target_modules=["layer"], lora_dropout=0.0)
    layer: Any = peft.get_peft_model(network, config).base_model.get_submodule("model.layer")
    B, A = layer.lora_B["default"].weight, layer.lora_A["default"].weight
    B.data, A.data = torch.tensor(arrays.p.B), torch.tensor(arrays.p.A)
    X, gY = torch.tensor(arrays.X, requires_grad=True), torch.tensor(arrays.gY)

    def step() -> Any:
        Y = layer(X)
        return Y.detach(), *torch.autograd.grad(Y, (X, B, A), gY)

    return step


def torch_frozen(arrays: LayerArrays) -> Call | None:
    """Make what the layer costs without an adapter, by torch's own products."""
    torch = torch_or_none()
    if torch is None:
        return None
    X, W0, gY = (torch.tensor(x) for x in (arrays.X, arrays.W0, arrays.gY))
    return lambda: (torch.nn.functional.linear(X, W0), gY @ W0)


def torch_update(Y: Array, Z: Array, B: Array) -> Call | None:
    """Make Y += s Z Bᵀ as torch has it in one call."""
    torch = torch_or_none()
    if torch is None:
        return None
    buffer, left, right = (torch.tensor(x) for x in (Y, Z, B))
    return lambda: buffer.addmm_(left, right.T, alpha=SCALE)


def torch_exact(gY: Array, X: Array, W: Array) -> Call | None:
    """Make the importance of rows with the gradient formed.  [prune-exact]"""
    torch = torch_or_none()
    if torch is None:
        return None
    upstream, rows, weight = (torch.tensor(x) for x in (gY, X, W))
    return lambda: ((upstream.T @ rows) * weight).sum(1) ** 2


def torch_estimated(W0: Array, p: LoraParams, g: LoraParams) -> Call | None:
    """Make LoRAPrune's importance of rows with its estimate formed.  [prune-estimate]"""
    torch = torch_or_none()
    if torch is None:
        return None
    weight, B, A, gB, gA = (torch.tensor(x) for x in (W0, *p, *g))

    def score() -> Any:
        G = gB @ A + B @ gA - gB @ gA
        return ((G * (weight + SCALE * (B @ A))) ** 2).sum(1)

    return score


def torch_adam(p: Array, g: Array, lr: float) -> Call | None:
    """Make a step of torch's Adam, which works in place."""
    torch = torch_or_none()
    if torch is None:
        return None
    parameter = torch.nn.Parameter(torch.tensor(p))
    parameter.grad = torch.tensor(g)
    optimizer = torch.optim.Adam([parameter], lr=lr)

    def step() -> None:
        optimizer.step()

    return step
