"""Gradients: the sums behind a cell, and the errors of finite differences, run once for each gradient and loss."""

import streamlit as st

from lora_np._typing import Array
from lora_np.conformance.verify.derivatives import by_autograd, by_central_differences
from lora_np.figures.grad_scene import (
    LOSSES,
    ErrorCurves,
    GradScene,
    by_forward_differences,
    error_curves,
    grad_scene,
)
from lora_np.lora import backward, backward_via_weight, forward

CELLS = {
    "B": ["1,1", "1,2", "2,1", "2,2", "3,1", "3,2"],
    "A": ["1,1", "1,2", "2,1", "2,2"],
    "X": ["1,1", "1,2", "2,1", "2,2"],
}
STEPS = [f"1e-{exponent}" for exponent in range(1, 16)]
CODE_OF_SUM = (forward, backward)
CODE_OF_ROADS = (backward_via_weight, by_autograd, by_forward_differences)
CODE_OF_ERRORS = (by_forward_differences, by_central_differences)
SUM = """
import numpy as np
from lora_np import LoraParams, backward, forward

X, W0, T = np.array(X), np.array(W0), np.array(T)
p = LoraParams(B=np.array(B), A=np.array(A))
Y, Z = forward(X, W0, p, scale=s)
gY = (Y - T) ** (power - 1)  # the loss is the sum of (Y - T)^power / power
gX, g = backward(gY, X, Z, W0, p, scale=s)
gZ = s * (gY @ p.B)
everything = [X, p.A, Z, p.B, W0, gY, gZ, g.B, g.A, gX]
numbers = {"value": [float(x) for M in everything for x in M.ravel()]}
print(numbers)
"""
ROADS = """
import numpy as np
from lora_np import LoraParams, backward, forward
from lora_np.conformance.verify.derivatives import by_autograd, by_central_differences

def loss(X, B, A):
    Y, _ = forward(X, np.array(W0), LoraParams(B, A), scale=s)
    return ((Y - np.array(T)) ** power).sum() / power

parts = {"gX": np.array(X), "gB": np.array(B), "gA": np.array(A)}
numbers = {
    "autograd": by_autograd(loss, parts, which).ravel().tolist(),
    "central difference": by_central_differences(loss, parts, which, h).ravel().tolist(),
}
Y, Z = forward(parts["gX"], np.array(W0), LoraParams(parts["gB"], parts["gA"]), scale=s)
gY = (Y - np.array(T)) ** (power - 1)
gX, g = backward(gY, parts["gX"], Z, np.array(W0), LoraParams(parts["gB"], parts["gA"]), scale=s)
numbers["lora-2"] = {"gX": gX, "gB": g.B, "gA": g.A}[which].ravel().tolist()
print(numbers)
"""
ERRORS = """
import numpy as np
from lora_np.figures.grad_scene import LOSSES, by_forward_differences, everything, small_layer

layer, power = small_layer(), LOSSES[loss]
g = everything(layer, power)[which]
steps = [10 ** -(half / 2) for half in range(2, 31)]
errors = []
for h in steps:
    got = by_forward_differences(layer.loss(power), layer.parts, which, h)
    errors.append(float(np.linalg.norm(got - g)) / float(np.linalg.norm(g)))
numbers = {"h": steps, "error of forward difference": errors}
print(numbers)
"""


@st.cache_resource(max_entries=6, show_spinner=False)
def curves(which: str, loss: str) -> ErrorCurves:
    """Run the differences at every step; shared by all sessions and written by none."""
    return error_curves(f"g{which}", loss=loss)


def scene(which: str, cell: str, h: str, loss: str) -> GradScene:
    """Take one cell apart."""
    row, column = map(int, cell.split(","))
    return grad_scene(f"g{which}", row, column, h=float(h), loss=loss)


def drawn(scene: GradScene, loss: str) -> dict[str, object]:
    """Write the layer as numbers that a script can begin with."""
    X, W0, p, T, s = scene.layer
    arrays = {"X": X, "W0": W0, "B": p.B, "A": p.A, "T": T}
    return {name: M.tolist() for name, M in arrays.items()} | {"s": s, "power": LOSSES[loss]}


def outputs(scene: GradScene) -> Array:
    """Apply the layer."""
    X, W0, p, _, s = scene.layer
    return forward(X, W0, p, scale=s)[0]
