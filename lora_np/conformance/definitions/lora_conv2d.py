"""LoRA on a two-dimensional convolution, in PEFT's form and in loralib's.  Floor 6.

Y[n, o, y, x] = Σ W[o, i, u, v] X[n, c + i, y·stride + u·dilation − padding, ...] over the inputs i of o's group, which
begin at channel c; outside the image X is 0.

    "peft"     A (r, k, kh, kw) is a convolution over all k channels, never grouped; B (d, r / groups, 1, 1) mixes its r
               channels, in as many groups as the layer has.  With one group there is a merged kernel.
    "loralib"  the kernel itself gets an increment: s B A reshaped; B (d / groups · kh, r · kh), A (r · kh, k · kh).
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import (
    Config,
    Definition,
    Tensors,
    minus,
    plus,
    scaled,
)
from lora_np.conformance.definitions.lora import scale
from lora_np.conformance.exact.loops import flat, product, shaped, total


def convolve(X: Any, W: Any, *, stride: int, padding: int, dilation: int, groups: int) -> Any:
    """Slide the kernels W (d, k / groups, kh, kw) over the images X (N, k, H, W).

    >>> convolve([[[[1, 2, 3]]]], [[[[10, 1]]]], stride=1, padding=0, dilation=1, groups=1)
    [[[[12, 23]]]]
    """
    kh, kw = len(W[0][0]), len(W[0][0][0])
    result = []
    for image in X:
        height = (len(image[0]) + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
        width = (len(image[0][0]) + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
        corners = [
            [(y * stride - padding, x * stride - padding) for x in range(width)] for y in range(height)
        ]
        outputs = []
        for o, kernel in enumerate(W):
            first = o // (len(W) // groups) * len(kernel)  # the first channel of this output's group
            channels = image[first : first + len(kernel)]
            outputs.append([[patch(channels, kernel, at, dilation) for at in row] for row in corners])
        result.append(outputs)
    return result


def patch(channels: Any, kernel: Any, corner: tuple[int, int], dilation: int) -> Any:
    """Σ kernel · image over one patch; what lies outside the image is 0."""
    top, left = corner
    terms = []
    for plane, weights in zip(channels, kernel, strict=True):
        for u, row in enumerate(weights):
            for v, w in enumerate(row):
                y, x = top + u * dilation, left + v * dilation
                if 0 <= y < len(plane) and 0 <= x < len(plane[0]):
                    terms.append(w * plane[y][x])
    return total(terms)


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = conv(X, W0) + s conv1×1(conv(X, A), B) + b, or conv(X, W0 + ΔW) + b in loralib's form."""
    place = {name: config[name] for name in ("stride", "padding", "dilation")}
    groups, s = config["groups"], scale(config)
    if config["form"] == "loralib":
        Y = convolve(t["X"], plus(t["W0"], increment(t, config)), **place, groups=groups)
    else:
        Z = convolve(t["X"], t["A"], **place, groups=1)
        branch = convolve(Z, t["B"], stride=1, padding=0, dilation=1, groups=groups)
        Y = plus(convolve(t["X"], t["W0"], **place, groups=groups), scaled(s, branch))
    if "bias" not in t:
        return {"Y": Y}
    return {
        "Y": [
            [[[y + b for y in row] for row in plane] for plane, b in zip(image, t["bias"], strict=True)]
            for image in Y
        ]
    }


def increment(t: Tensors, config: Config) -> Any:
    """Compute the kernel's increment: s Σ_q B[o, q] A[q, i, u, v], or s B A reshaped in loralib's form."""
    s = scale(config)
    weight = t["W0"] if "W0" in t else t["W"]
    if config["form"] == "loralib":
        shape = (len(weight), len(weight[0]), len(weight[0][0]), len(weight[0][0][0]))
        return scaled(s, shaped(flat(product(t["B"], t["A"])), shape))
    factors = [[entry[0][0] for entry in row] for row in t["B"]]
    kernels = product(factors, [flat(kernel) for kernel in t["A"]])
    shape = (len(weight[0]), len(weight[0][0]), len(weight[0][0][0]))
    return [scaled(s, shaped(kernel, shape)) for kernel in kernels]


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0 + ΔW; in PEFT's form for one group only."""
    return {"W": plus(t["W0"], increment(t, config))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W − ΔW; in PEFT's form for one group only."""
    return {"W0": minus(t["W"], increment(t, config))}


DEFINITION = Definition(
    "lora-conv2d",
    trainable=("B", "A"),
    forward=forward,
    others={"merge": merge, "unmerge": unmerge},
)
