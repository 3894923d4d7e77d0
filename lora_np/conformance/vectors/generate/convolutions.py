"""Vectors of LoRA beside a 2-d convolution, in PEFT's form and in loralib's.  Floor 6."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from lora_np.conformance.vectors.generate.layers import USUAL_FLAGS, layer_recipes
from lora_np.conformance.vectors.generate.pieces import (
    WRONG_WIDTH,
    Listing,
    joined,
    listing,
    only,
    overflowing,
    refusing,
    scale_of,
    spoilt,
    wrong_tensor,
)
from lora_np.conformance.vectors.generate.plan import Recipe
from lora_np.conformance.vectors.generate.roads import AUTOGRAD, of_autograd
from lora_np.conformance.vectors.generate.situations import (
    Configuration,
    Shapes,
    Sizes,
    plans,
    rank_and_alpha,
    situations,
)

POINT = {"stride": 1, "padding": 0, "dilation": 1}
ONE = {"N": 1, "d": 2, "k": 2, "r": 2, "H": 3, "W": 3, "kh": 2, "kw": 2, "groups": 1, **POINT}
CONV_SIZES: tuple[dict[str, Any], ...] = (
    {**ONE, "N": 2, "d": 3, "H": 4, "kw": 3, "padding": 1},
    {**ONE, "d": 4, "k": 4, "W": 5, "kh": 3, "groups": 2, "stride": 2, "padding": 1},
    {**ONE, "N": 2, "k": 3, "r": 1, "H": 5, "W": 4, "dilation": 2},
    {**ONE, "N": 2, "H": 2, "W": 2, "padding": 1},
    {**ONE, "d": 3, "k": 3, "r": 3, "groups": 3},
    {**ONE, "k": 1, "r": 1, "H": 6, "W": 5, "kw": 3, "stride": (2, 1), "padding": (0, 1), "dilation": (3, 1)},
)


def _pair(number: Any) -> tuple[int, int]:
    return (number[0], number[1]) if isinstance(number, (list, tuple)) else (number, number)


def _conv_sizes(sizes: Sizes) -> dict[str, int]:
    """Count the sides of the kernels in both forms, and of the images that come out."""
    groups = sizes["groups"]
    found = {
        "own": sizes["k"] // groups,
        "share": max(sizes["r"] // groups, 1),
        "r": max(sizes["r"] // groups, 1) * groups,
        "kernel rows": sizes["d"] // groups * sizes["kh"],
    }
    for n, (side, kernel, name) in enumerate((("H", "kh", "down"), ("W", "kw", "across"))):
        stride, padding, dilation = (_pair(sizes[word])[n] for word in POINT)
        found[name] = (sizes[side] + 2 * padding - dilation * (sizes[kernel] - 1) - 1) // stride + 1
    return {**found, "r rows": found["r"] * sizes["kh"], "k columns": sizes["k"] * sizes["kw"]}


def convolved(X: Any, W: Any, config: Mapping[str, Any], groups: int) -> Any:
    """Gather the patches with a 0-1 tensor for each direction, then multiply by the ungrouped kernel."""
    from autograd import numpy as anp

    def moves(side: int, kernel: int, n: int) -> np.ndarray:
        """Which place of the image (p) a place of the kernel (u) meets in each window (y)."""
        stride, padding, dilation = (_pair(config[word])[n] for word in POINT)
        windows = (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        y, u, p = np.ogrid[:windows, :kernel, :side]
        found: np.ndarray = (y * stride + u * dilation - padding == p).astype(float)
        return found

    down, across = moves(X.shape[2], W.shape[2], 0), moves(X.shape[3], W.shape[3], 1)
    patches = anp.einsum("ncpq,yup->ncyuq", X, down)
    patches = anp.einsum("ncyuq,xvq->ncyuxv", patches, across)
    return anp.einsum("ncyuxv,ocuv->noyx", patches, wide(W, groups))


def wide(W: Any, groups: int) -> Any:
    """Write a grouped kernel for one group, by a mask on its repetition."""
    from autograd import numpy as anp

    mask = np.kron(np.eye(groups), np.ones((W.shape[0] // groups, W.shape[1])))
    return anp.concatenate([W] * groups, axis=1) * mask[:, :, None, None]


def conv_delta(t: Mapping[str, Any], config: Mapping[str, Any], weight: str = "W0") -> Any:
    """Make the increment of the kernel: ungrouped in PEFT's form, in the kernel's own shape in loralib's."""
    from autograd import numpy as anp

    if config["form"] == "loralib":
        return scale_of(config) * (t["B"] @ t["A"]).reshape(t[weight].shape)
    B = wide(t["B"], config["groups"])[:, :, 0, 0]
    return scale_of(config) * anp.einsum("oq,qcuv->ocuv", B, t["A"])


def conv_forward(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Convolve with the whole kernel at once."""
    groups = config["groups"]
    if config["form"] == "loralib":
        Y = convolved(t["X"], t["W0"] + conv_delta(t, config), config, groups)
    else:
        Y = convolved(t["X"], wide(t["W0"], groups) + conv_delta(t, config), config, 1)
    return Y + t["bias"][:, None, None] if "bias" in t else Y


def conv_merged(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Add the increment."""
    W0 = t["W0"] if config["form"] == "loralib" else wide(t["W0"], config["groups"])
    return W0 + conv_delta(t, config)


def conv_unmerged(t: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Subtract the increment and keep what the groups have a place for."""
    W = t["W"] - conv_delta(t, config, "W")
    if config["form"] == "loralib":
        return W
    groups, (d, k) = config["groups"], W.shape[:2]
    found: np.ndarray = np.concatenate(
        [
            W[g * (d // groups) : (g + 1) * (d // groups), g * (k // groups) : (g + 1) * (k // groups)]
            for g in range(groups)
        ]
    )
    return found


CONV_FLAGS = (*USUAL_FLAGS, "GroupsMixed", "WindowShifted")
CONV_SHAPES: dict[str, dict[str, tuple[str | int, ...]]] = {
    "peft": {"A": ("r", "k", "kh", "kw"), "B": ("d", "share", 1, 1)},
    "loralib": {"A": ("r rows", "k columns"), "B": ("kernel rows", "r rows")},
}


def conv_recipes() -> list[Recipe]:
    """Make the recipes of the convolution: PEFT's form, then loralib's, whose kernels are square."""
    parts = []
    for form, factors in CONV_SHAPES.items():

        def config(sizes: Sizes, number: int, form: str = form) -> dict[str, Any]:
            place = {word: sizes[word] for word in POINT}
            return {**rank_and_alpha(sizes, number), **place, "groups": sizes["groups"], "form": form}

        sizes = CONV_SIZES if form == "peft" else [{**size, "kh": 2, "kw": 2} for size in CONV_SIZES]
        smallest = dict.fromkeys(("N", "d", "k", "r", "H", "W", "kh", "kw", "groups"), 1) | POINT
        listed = partial(
            listing(situations, derive=_conv_sizes), sizes=sizes, smallest=smallest, half=form == "peft"
        )
        usual = partial(
            layer_recipes,
            "lora-conv2d",
            config=config,
            forward=conv_forward,
            weight=conv_merged,
            take_out=conv_unmerged,
            flags=CONV_FLAGS,
            listed=listed,
        )
        images: dict[str, tuple[str | int, ...]] = {
            "X": ("N", "k", "H", "W"),
            "W0": ("d", "own", "kh", "kw"),
            **factors,
        }
        merged = {**images, "W0": ("d", "k", "kh", "kw")} if form == "peft" else images
        parts += [
            only(usual({**images, "bias": ("d",)}), "forward", "merge"),
            [_conv_backward({**images, "gY": ("N", "d", "down", "across")}, config, listed)],
            only(usual(merged), "unmerge"),
        ]
    return refusing(joined(*parts), CONV_BAD)


def _conv_backward(shapes: Shapes, config: Configuration, listed: Listing) -> Recipe:
    """Make the recipe of the gradients; gY is as large as the images that come out."""
    flags = (*CONV_FLAGS, "MeanForSum")
    return Recipe(
        "lora-conv2d",
        "backward",
        lambda: plans(
            "lora-conv2d/backward", shapes, config, listed(zeros=("B", "A"), scaled=("gY",)), flags=flags
        ),
        road=of_autograd(conv_forward, ("X", "B", "A")),
        road_name=AUTOGRAD,
    )


CONV_BAD = {
    "forward 1": spoilt(
        lambda arrays: {**arrays, "X": arrays["X"][:, 1:]}, "ShapeError", ["X"], "X lacks a channel"
    ),
    **wrong_tensor("B"),
    **wrong_tensor("A"),
    **overflowing("B"),
    **{
        f"{name} more": WRONG_WIDTH[name]
        for name in ("forward 2", "forward 3", "forward 4", "forward 5", "backward 2")
    },
    "backward type": WRONG_WIDTH["backward 3"],
    **{
        f"{operation} groups": spoilt(dict, "ConfigError", ["groups"], "no groups", config={"groups": 0})
        for operation in ("forward", "merge", "unmerge")
    },
    "forward 2": spoilt(dict, "ConfigError", ["stride"], "a stride of 0", config={"stride": 0}),
    "forward 3": spoilt(
        lambda arrays: {**arrays, "X": arrays["X"][:, :, :1, :1]},
        "ShapeError",
        ["kernel"],
        "the kernel does not fit into the image",
        config={"padding": 0},
    ),
}


def recipes() -> list[Recipe]:
    """List this module's files."""
    return conv_recipes()
