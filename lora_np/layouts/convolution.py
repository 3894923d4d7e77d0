"""Two-dimensional convolution and its pullback, as sums over the places of the kernel.  Floor 2.

At each of its kh · kw places the kernel is a matrix that meets one strided slice of the padded input, so both
directions are kh · kw products of matrices, batched over the groups; there is no window view and no array of all
windows.  Like torch's conv2d it correlates (the kernel is not turned around) and pads with zeros.  Callers check with
`require_images` first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError, ShapeError

Pair = tuple[int, int]
Numbers = int | tuple[int, int]
"""One number for both directions, or two: down and across."""


class Geometry(NamedTuple):
    """Where the kernel's windows lie, down and across."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)


POINT = Geometry()
"""The geometry of a 1 x 1 kernel."""


def as_pair(name: str, value: int | tuple[int, int], *, minimum: int) -> Pair:
    """Read one number for both directions, or two.  Raises `ConfigError`.

    >>> as_pair("stride", 2, minimum=1), as_pair("stride", [2, 1], minimum=1)
    ((2, 2), (2, 1))
    """
    if not isinstance(value, (tuple, list)):
        checks.require_int(name, value, minimum=minimum)
        return value, value
    if len(value) != 2:
        raise ConfigError(f"{name} must be one int or two, got {len(value)}: {value!r}")
    for i, number in enumerate(value):
        checks.require_int(f"{name}[{i}]", number, minimum=minimum)
    return value[0], value[1]


def output_size(size: Pair, kernel: Pair, g: Geometry) -> Pair:
    """Count the windows down and across.  [layout-conv]

    (H + 2 padding − dilation (kh − 1) − 1) / stride + 1, rounded down.  Raises `ShapeError` where the kernel does not
    fit.

    >>> output_size((5, 5), (3, 3), Geometry(stride=(2, 2), padding=(1, 1)))
    (3, 3)
    """
    spans = [dilation * (k - 1) + 1 for dilation, k in zip(g.dilation, kernel, strict=True)]
    room = [n + 2 * padding for n, padding in zip(size, g.padding, strict=True)]
    if any(span > n for span, n in zip(spans, room, strict=True)):
        raise ShapeError(
            f"a kernel that spans {tuple(spans)} does not fit an input of {tuple(room)}, padding included"
        )
    down, across = ((n - span) // step + 1 for n, span, step in zip(room, spans, g.stride, strict=True))
    return down, across


def convolve(
    X: Float[Array, "N k H W"], W: Float[Array, "d k/groups kh kw"], g: Geometry, *, groups: int = 1
) -> Float[Array, "N d H' W'"]:
    """Convolve images with a kernel.  [layout-conv]

    Y[n, o, y, x] = Σ_c,i,j W[o, c, i, j] X[n, c, y stride + i dilation − padding, ...], c over the channels of the
    group of o, X zero outside.

    >>> import numpy as np
    >>> convolve(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), Geometry(padding=(1, 0)))
    array([[[[2., 2.],
             [4., 4.],
             [4., 4.],
             [2., 2.]]]])
    """
    down, across = output_size(X.shape[2:], W.shape[2:], g)
    padded, kernel = _pad(X, g.padding), _grouped_kernel(W, groups)
    Y = sum(
        kernel[:, :, :, i, j] @ _grouped(padded[slot], groups)
        for i, j, slot in _places(W.shape[2:], (down, across), g)
    )  # (N, groups, d / groups, H' W')
    return array_namespace(X).reshape(Y, (X.shape[0], W.shape[0], down, across))


def pull_to_input(
    gY: Float[Array, "N d H' W'"],
    size: Pair,
    W: Float[Array, "d k/groups kh kw"],
    g: Geometry,
    *,
    groups: int = 1,
) -> Float[Array, "N k H W"]:
    """Pull gY back to images of a given size: the transposed convolution.  [layout-conv-grad]

    Each place of the kernel adds Wᵀ gY to the slice that it met; what fell on the padding is dropped.

    >>> import numpy as np
    >>> pull_to_input(np.ones((1, 1, 2, 2)), (3, 3), np.ones((1, 1, 2, 2)), Geometry())
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    """
    xp, (N, _, down, across), (up, left) = array_namespace(gY), gY.shape, g.padding
    k, kernel, g_rows = W.shape[1] * groups, _grouped_kernel(W, groups), _grouped(gY, groups)
    gX = xp.zeros(
        (N, k, size[0] + 2 * up, size[1] + 2 * left), dtype=gY.dtype
    )  # ours alone, so it may be written
    for i, j, slot in _places(W.shape[2:], (down, across), g):
        part = xp.permute_dims(kernel[:, :, :, i, j], (0, 2, 1)) @ g_rows  # (N, groups, k / groups, H' W')
        gX[slot] = gX[slot] + xp.reshape(part, (N, k, down, across))
    return gX[:, :, up : up + size[0], left : left + size[1]]


def pull_to_kernel(
    gY: Float[Array, "N d H' W'"], X: Float[Array, "N k H W"], kernel: Pair, g: Geometry, *, groups: int = 1
) -> Float[Array, "d k/groups kh kw"]:
    """Pull gY back to a kernel of a given size.  [layout-conv-grad]

    At each place gY times the slice that it met, summed over images and windows.

    >>> import numpy as np
    >>> pull_to_kernel(np.ones((1, 1, 2, 2)), np.ones((1, 1, 3, 3)), (2, 2), Geometry())
    array([[[[4., 4.],
             [4., 4.]]]])
    """
    xp, padded, g_rows = array_namespace(gY), _pad(X, g.padding), _grouped(gY, groups)
    places = [
        xp.sum(g_rows @ xp.permute_dims(_grouped(padded[slot], groups), (0, 1, 3, 2)), axis=0)
        for _, _, slot in _places(kernel, gY.shape[2:], g)
    ]  # each (groups, d / groups, k / groups)
    return xp.reshape(xp.stack(places, axis=-1), (gY.shape[1], X.shape[1] // groups, *kernel))


# ---- places, padding, groups -------------------------------------------------------------------------------


def _places(kernel: Pair, windows: Pair, g: Geometry) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
    """Yield each place (i, j) of the kernel, and the slice of the padded input that it meets."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            starts = i * g.dilation[0], j * g.dilation[1]
            down, across = (
                slice(start, start + (n - 1) * step + 1, step)
                for start, n, step in zip(starts, windows, g.stride, strict=True)
            )
            yield i, j, (slice(None), slice(None), down, across)


def _pad(X: Float[Array, "N k H W"], padding: Pair) -> Array:
    """Put zeros around every image."""
    xp = array_namespace(X)
    for axis, width in zip((2, 3), padding, strict=True):
        if width:
            border = xp.zeros((*X.shape[:axis], width, *X.shape[axis + 1 :]), dtype=X.dtype)
            X = xp.concat([border, X, border], axis=axis)
    return X


def _grouped(X: Float[Array, "N k H W"], groups: int) -> Float[Array, "N groups k/groups HW"]:
    """Split the channels into groups and flatten the places."""
    N, k, H, W = X.shape
    return array_namespace(X).reshape(X, (N, groups, k // groups, H * W))


def _grouped_kernel(W: Float[Array, "d c kh kw"], groups: int) -> Float[Array, "groups d/groups c kh kw"]:
    """Split the outputs of a kernel into groups."""
    return array_namespace(W).reshape(W, (groups, W.shape[0] // groups, *W.shape[1:]))


def add_bias(Y: Float[Array, "N d H W"], bias: Float[Array, " d"] | None) -> Float[Array, "N d H W"]:
    """Add a number to every output channel."""
    if bias is None:
        return Y
    checks.require_shape("bias", bias, (Y.shape[1],), "d,")
    checks.require_same_dtype(Y=Y, bias=bias)
    return Y + bias[:, None, None]


# ---- what a user can get wrong -----------------------------------------------------------------------------


def require_images(
    X: Array, W0: Array, stride: Numbers, padding: Numbers, dilation: Numbers, groups: int
) -> Geometry:
    """Raise unless the images have the kernel's channels; return where the windows lie."""
    checks.require_ndim("X", X, 4, "N, k, H, W")
    if X.shape[1] != W0.shape[1] * groups:
        raise ShapeError(
            f"X has shape {tuple(X.shape)}, expected (N, {W0.shape[1] * groups}, H, W): its channels are k, the second "
            f"axis of W0 {tuple(W0.shape)} times groups = {groups}"
        )
    checks.require_same_dtype(X=X, W0=W0)
    return Geometry(
        as_pair("stride", stride, minimum=1),
        as_pair("padding", padding, minimum=0),
        as_pair("dilation", dilation, minimum=1),
    )
