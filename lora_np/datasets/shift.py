"""Shifts: make another task of the one a network knows.  Floor 4.

A rotation is a linear map R of the pixels, so a network that knows the upright digits would know the turned ones
with W1 Rᵀ for its first weight: ΔW1 = W1 (Rᵀ − I), whose rank is that of R − I up to the width of the layer.  This
makes rotation a fair test of a low-rank increment.  All functions return new arrays.
"""

import math
from collections.abc import Sequence

import numpy as np

from lora_np import checks
from lora_np._typing import Array, Float, Int
from lora_np.datasets.digits import Labelled
from lora_np.errors import ConfigError, ShapeError


def rotate(images: Float[Array, "N s s"], degrees: float) -> Float[Array, "N s s"]:
    """Turn every image counter-clockwise about its centre; what comes in from outside is 0.

    Multiples of 90 move pixels and change no value; other angles interpolate between the four nearest pixels.

    >>> rotate(np.array([[[1.0, 2.0], [3.0, 4.0]]]), 90)
    array([[[2., 4.],
            [1., 3.]]])
    """
    _require_images(images)
    checks.require_number("degrees", degrees)
    N, s, _ = images.shape
    R = rotation_matrix(s, degrees).astype(images.dtype)
    return (images.reshape(N, s * s) @ R.T).reshape(N, s, s)


def rotation_matrix(side: int, degrees: float) -> Float[Array, "k k"]:
    """Build the linear map R that turns an image written as one row of k = side² pixels.

    A permutation where the angle is a multiple of 90.

    >>> np.linalg.matrix_rank(rotation_matrix(8, 90) - np.eye(64))  # 16 cycles of 4 pixels
    np.int64(48)
    """
    checks.require_int("side", side, minimum=1)
    cos, sin = _quarter_exact(degrees)
    centre = (side - 1) / 2
    target = np.arange(side * side)
    down, right = target // side - centre, target % side - centre
    # Where each pixel comes from: turned back, clockwise (rows count downwards).
    i, j = cos * down + sin * right + centre, -sin * down + cos * right + centre
    R = np.zeros((side * side, side * side))
    for di in (0, 1):
        for dj in (0, 1):
            row, col = np.floor(i) + di, np.floor(j) + dj
            weight = (1 - abs(i - row)) * (1 - abs(j - col))
            inside = (row >= 0) & (row < side) & (col >= 0) & (col < side)
            source = (row * side + col).astype(int)
            R[target[inside], source[inside]] += weight[inside]
    return R


def invert(images: Float[Array, "N s s"]) -> Float[Array, "N s s"]:
    """Swap ink and paper: 1 − X.

    >>> invert(np.array([[[0.0, 0.25]]]))
    array([[[1.  , 0.75]]])
    """
    checks.require_array("images", images)
    return 1 - images


def permute_classes(y: Int[Array, " N"], permutation: Sequence[int]) -> Int[Array, " N"]:
    """Give every class c the new number permutation[c].

    >>> permute_classes(np.array([0, 1, 2, 2]), [2, 0, 1])
    array([2, 0, 1, 1])
    """
    checks.require_labels(y)
    order = np.asarray(permutation)
    if sorted(order.tolist()) != list(range(len(order))):
        raise ConfigError(f"permutation must hold 0 to {len(order) - 1} once each, got {list(permutation)}")
    if y.size and not 0 <= y.min() <= y.max() < len(order):
        raise ConfigError(
            f"y holds classes {y.min()} to {y.max()}, but the permutation names {len(order)} classes"
        )
    return order[y].astype(y.dtype)


def subset(data: Labelled, classes: Sequence[int], *, relabel: bool = False) -> Labelled:
    """Keep the images of some classes; with `relabel`, number these by their place in `classes`.

    >>> subset(Labelled(np.zeros((3, 2, 2)), np.array([5, 7, 5])), [7, 5], relabel=True).y
    array([1, 0, 1])
    """
    checks.require_labels(data.y)
    wanted = [int(c) for c in classes]
    missing = [c for c in wanted if not (data.y == c).any()]
    if missing or not wanted or len(set(wanted)) < len(wanted):
        raise ConfigError(
            f"classes must name classes that are there, once each, got {wanted}"
            + (f"; none of the labels is {missing}" if missing else "")
        )
    keep = np.flatnonzero(np.isin(data.y, wanted))
    y = data.y[keep]
    if relabel:
        y = np.array([wanted.index(c) for c in y], dtype=data.y.dtype)
    return Labelled(data.X[keep], y)


def _quarter_exact(degrees: float) -> tuple[float, float]:
    """Return cosine and sine, exact at multiples of 90 degrees."""
    if degrees % 90 == 0:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(degrees // 90) % 4]
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def _require_images(images: Array) -> None:
    """Raise unless `images` are square: (N, s, s)."""
    checks.require_ndim("images", images, 3, "N, s, s")
    if images.shape[1] != images.shape[2]:
        raise ShapeError(f"images have shape {tuple(images.shape)}, expected (N, s, s): square ones")
