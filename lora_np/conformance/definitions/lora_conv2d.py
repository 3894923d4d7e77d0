"""LoRA on a two-dimensional convolution, in PEFT's form and in loralib's.  Floor 6.

Y[n, o, y, x] = Σ W[o, i, u, v] X[n, c + i, y·stride + u·dilation − padding, ...] over the inputs i of o's group, which
begin at channel c; outside the image X is 0.

    "peft"     A (r, k, kh, kw) is a convolution over all k channels, never grouped; B (d, r / groups, 1, 1) mixes its r
               channels, in as many groups as the layer has.  The merged kernel is ungrouped.
    "loralib"  the kernel itself gets an increment: s B A reshaped; B (d / groups · kh, r · kh), A (r · kh, k · kh).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lora_np.conformance.definitions.definition import (
    Config,
    Definition,
    Tensors,
    minus,
    plus,
    scaled,
)
from lora_np.conformance.definitions.lora import scale
from lora_np.conformance.exact.loops import dot, each, flat, product, shaped, total


class Geometry(NamedTuple):
    """How the kernel moves: (down, across) for each."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)


def geometry(config: Config) -> Geometry:
    """Read stride, padding and dilation: one number for both directions, or two."""
    read = (config[name] for name in ("stride", "padding", "dilation"))
    return Geometry(*((one, one) if isinstance(one, int) else (one[0], one[1]) for one in read))


def corners(size: int, kernel: int, along: tuple[int, int, int]) -> list[int]:
    """List where the kernel's first element lies, along one direction: it must stay inside the padded image.

    >>> corners(5, 2, (2, 1, 1))
    [-1, 1, 3]
    """
    stride, padding, dilation = along
    last = size + padding - dilation * (kernel - 1) - 1
    return list(range(-padding, last + 1, stride))


def convolve(X: Any, W: Any, g: Geometry, *, groups: int) -> Any:
    """Slide the kernels W (d, k / groups, kh, kw) over the images X (N, k, H, W).

    >>> convolve([[[[1, 2, 3]]]], [[[[10, 1]]]], Geometry(), groups=1)
    [[[[12, 23]]]]
    """
    down, across = zip(*g, strict=True)
    result = []
    for image in X:
        tops = corners(len(image[0]), len(W[0][0]), down)
        lefts = corners(len(image[0][0]), len(W[0][0][0]), across)
        outputs = []
        for o, kernel in enumerate(W):
            first = o // (len(W) // groups) * len(kernel)  # the first channel of this output's group
            seen = image[first : first + len(kernel)]
            outputs.append([[patch(seen, kernel, top, left, g) for left in lefts] for top in tops])
        result.append(outputs)
    return result


def patch(channels: Any, kernel: Any, top: int, left: int, g: Geometry) -> Any:
    """Σ kernel · image over one patch; what lies outside the image is 0."""
    terms = []
    for plane, weights in zip(channels, kernel, strict=True):
        for u, row in enumerate(weights):
            for v, w in enumerate(row):
                y, x = top + u * g.dilation[0], left + v * g.dilation[1]
                if 0 <= y < len(plane) and 0 <= x < len(plane[0]):
                    terms.append(w * plane[y][x])
    return total(terms)


def forward(t: Tensors, config: Config) -> dict[str, Any]:
    """Y = conv(X, W0) + s conv1×1(conv(X, A), B) + b, or conv(X, W0 + ΔW) + b in loralib's form."""
    g, groups, s = geometry(config), config["groups"], scale(config)
    if config["form"] == "loralib":
        Y = convolve(t["X"], plus(t["W0"], reshaped(t, s, t["W0"])), g, groups=groups)
    else:
        Z = convolve(t["X"], t["A"], g, groups=1)
        branch = convolve(Z, t["B"], Geometry(), groups=groups)
        Y = plus(convolve(t["X"], t["W0"], g, groups=groups), scaled(s, branch))
    if "bias" not in t:
        return {"Y": Y}
    return {
        "Y": [
            [[[y + b for y in row] for row in plane] for plane, b in zip(image, t["bias"], strict=True)]
            for image in Y
        ]
    }


def reshaped(t: Tensors, s: Any, weight: Any) -> Any:
    """Write s B A in the shape of the kernel, row by row."""
    shape = (len(weight), len(weight[0]), len(weight[0][0]), len(weight[0][0][0]))
    return scaled(s, shaped(flat(product(t["B"], t["A"])), shape))


def dense(t: Tensors, s: Any, groups: int) -> Any:
    """Write the increment of PEFT's form as one ungrouped kernel: s Σ_q B[o, q] A[q] over the q of o's group."""
    kernels = []
    for o, row in enumerate(t["B"]):
        first = o // (len(t["B"]) // groups) * len(row)
        of_group = t["A"][first : first + len(row)]
        kernels.append(each(lambda *a, b=row: s * dot((entry[0][0] for entry in b), a), *of_group))
    return kernels


def ungrouped(W: Any, groups: int) -> Any:
    """Write a grouped kernel for one group: zeros for the channels of the other groups."""
    kernels = []
    for o, kernel in enumerate(W):
        group = o // (len(W) // groups)
        nothing = [[0 for _ in row] for row in kernel[0]]
        kernels.append([plane if n == group else nothing for n in range(groups) for plane in kernel])
    return kernels


def merge(t: Tensors, config: Config) -> dict[str, Any]:
    """W = W0 + ΔW; in PEFT's form every output sees every channel, so W is written for one group."""
    s, W0 = scale(config), t["W0"]
    if config["form"] == "loralib":
        return {"W": plus(W0, reshaped(t, s, W0))}
    return {"W": plus(ungrouped(W0, config["groups"]), dense(t, s, config["groups"]))}


def unmerge(t: Tensors, config: Config) -> dict[str, Any]:
    """W0 = W − ΔW; in PEFT's form what W0 has no place for, between the groups, is dropped."""
    s, groups = scale(config), config["groups"]
    if config["form"] == "loralib":
        return {"W0": minus(t["W"], reshaped(t, s, t["W"]))}
    W0, inside = minus(t["W"], dense(t, s, groups)), len(t["W"][0]) // groups
    firsts = (o // (len(W0) // groups) * inside for o in range(len(W0)))
    return {"W0": [kernel[first : first + inside] for kernel, first in zip(W0, firsts, strict=True)]}


DEFINITION = Definition(
    "lora-conv2d",
    trainable=("B", "A"),
    forward=forward,
    others={"merge": merge, "unmerge": unmerge},
)
