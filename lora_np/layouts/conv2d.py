"""LoRA beside a 2-d convolution: a kernel A with r outputs, then a 1 x 1 kernel B.  Floor 2.

Y = conv(X, W0) + s conv1x1(conv(X, A), B), both convolutions of X with the same stride, padding and dilation.  The
factors are stored as PEFT stores them: A (r, k, kh, kw) sees every channel, also where W0 has groups, and B
(d, r / groups, 1, 1) is grouped.  So with groups the increment is dense in the channels, and the one kernel that it
merges into is (d, k, kh, kw), for one group; PEFT refuses to merge there.  `conv2d_reshaped` is loralib's other way.
"""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks, merging
from lora_np._typing import Array, Float
from lora_np.errors import RankError, ShapeError
from lora_np.layouts.convolution import (
    POINT,
    Geometry,
    Numbers,
    add_bias,
    as_pair,
    convolve,
    output_size,
    pull_to_input,
    pull_to_kernel,
    require_images,
)
from lora_np.lora import LoraParams


def init(
    rng: np.random.Generator,
    d: int,
    k: int,
    kernel: Numbers,
    rank: int,
    *,
    groups: int = 1,
    dtype: object = np.float64,
) -> LoraParams:
    """Draw the starting factors: A ~ U(±1/√(k kh kw)), B = 0.  [layout-conv]

    Raises `ConfigError`, `DTypeError`, `RankError` where `groups` does not divide the rank, `ShapeError` where it does
    not divide d and k; warns `RankWarning` where r > min(d, k kh kw).

    >>> p = init(np.random.default_rng(0), 4, 6, 3, 2, groups=2)
    >>> p.B.shape, p.A.shape
    ((4, 1, 1, 1), (2, 6, 3, 3))
    """
    checks.require_rng(rng)
    checks.require_int("d", d, minimum=0)
    checks.require_int("k", k, minimum=0)
    kh, kw = as_pair("kernel", kernel, minimum=1)
    checks.require_int("groups", groups, minimum=1)
    checks.require_rank(rank, d, k * kh * kw)
    _require_groups(d, k, rank, groups)
    checks.require_float_dtype(dtype)
    A = rng.uniform(-1, 1, size=(rank, k, kh, kw)) / math.sqrt(max(k * kh * kw, 1))
    B = np.zeros((d, rank // groups, 1, 1))
    return LoraParams(B.astype(dtype), A.astype(dtype))  # type: ignore[call-overload]


def forward(
    X: Float[Array, "N k H W"],
    W0: Float[Array, "d k/groups kh kw"],
    p: LoraParams,
    *,
    scale: float,
    stride: Numbers = 1,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    groups: int = 1,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d H' W'"], Float[Array, "N r H' W'"]]:
    """Apply the adapted convolution to images.  [layout-conv]

    Y = conv(X, W0) + s conv1x1(Z, B) + b with Z = conv(X, A).  Returns Y and Z, which `backward` needs.  Raises
    `ShapeError`, `DTypeError`, `RankError`, `ConfigError`.

    >>> X, W0 = np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
    >>> p = LoraParams(B=np.full((1, 1, 1, 1), 10.0), A=np.eye(2).reshape(1, 1, 2, 2))
    >>> Y, Z = forward(X, W0, p, scale=0.5)
    >>> float(Y[0, 0, 0, 0]), float(Z[0, 0, 0, 0])
    (14.0, 2.0)
    """
    g = _require(X, W0, p, scale, stride, padding, dilation, groups)
    B, A = p
    Z = convolve(X, A, g)  # (N, r, H', W')
    Y = convolve(X, W0, g, groups=groups) + float(scale) * convolve(Z, B, POINT, groups=groups)
    return add_bias(Y, bias), Z


def backward(
    gY: Float[Array, "N d H' W'"],
    X: Float[Array, "N k H W"],
    Z: Float[Array, "N r H' W'"],
    W0: Float[Array, "d k/groups kh kw"],
    p: LoraParams,
    *,
    scale: float,
    stride: Numbers = 1,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> tuple[Float[Array, "N k H W"], LoraParams]:
    """Pull gY back to the images and both factors.  [layout-conv-grad]

    gZ = s B's pullback of gY; gB = s gY with Z; gA = gZ with X; gX = W0's pullback of gY + A's pullback of gZ.  `Z` is
    what `forward` returned.  Raises what `forward` raises.

    >>> X, W0 = np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
    >>> p = LoraParams(B=np.full((1, 1, 1, 1), 10.0), A=np.eye(2).reshape(1, 1, 2, 2))
    >>> backward(np.ones((1, 1, 1, 1)), X, np.full((1, 1, 1, 1), 2.0), W0, p, scale=0.5)[0]
    array([[[[6., 1.],
             [1., 6.]]]])
    """
    g = _require(X, W0, p, scale, stride, padding, dilation, groups)
    (B, A), s, size, kernel = p, float(scale), tuple(X.shape[2:]), tuple(W0.shape[2:])
    windows = output_size(size, kernel, g)
    checks.require_shape("gY", gY, (X.shape[0], W0.shape[0], *windows), "N, d, H', W'")
    checks.require_shape("Z", Z, (X.shape[0], A.shape[0], *windows), "N, r, H', W'")
    checks.require_same_dtype(gY=gY, X=X, Z=Z)
    gZ = s * pull_to_input(gY, windows, B, POINT, groups=groups)  # (N, r, H', W')
    gX = pull_to_input(gY, size, W0, g, groups=groups) + pull_to_input(gZ, size, A, g)
    gB = s * pull_to_kernel(gY, Z, (1, 1), POINT, groups=groups)
    return gX, LoraParams(gB, pull_to_kernel(gZ, X, kernel, g))


def merge(
    W0: Float[Array, "d k/groups kh kw"], p: LoraParams, *, scale: float, groups: int = 1
) -> Float[Array, "d k kh kw"]:
    """Add the increment to the kernel; the sum is for one group.  [layout-conv-merge]

    W[o] = W0[o] + s Σ_q B[o, q] A[q], q over the r / groups of o's group.  With groups > 1, W0 is first written for one
    group, with zeros between the groups: convolve the result with groups=1.  Raises what `merging.merge` and `forward`
    raise.

    >>> p = LoraParams(B=np.full((1, 1, 1, 1), 10.0), A=np.eye(2).reshape(1, 1, 2, 2))
    >>> merge(np.ones((1, 1, 2, 2)), p, scale=0.5)
    array([[[[6., 1.],
             [1., 6.]]]])
    """
    _require_kernel("W0", W0, p, groups)
    shape = (W0.shape[0], W0.shape[1] * groups, *W0.shape[2:])
    flat = merging.merge(_rows(_ungroup(W0, groups)), _flat_factors(p, groups), scale=scale)
    return array_namespace(W0).reshape(flat, shape)


def unmerge(
    W: Float[Array, "d k kh kw"], p: LoraParams, *, scale: float, groups: int = 1
) -> Float[Array, "d k/groups kh kw"]:
    """Subtract the increment from a merged kernel and write it for its groups again.  [layout-conv-merge]

    Up to rounding; what stands between the groups is nothing else and is dropped.  Raises what
    `merging.unmerge` and `forward` raise.

    >>> p = LoraParams(B=np.full((1, 1, 1, 1), 10.0), A=np.eye(2).reshape(1, 1, 2, 2))
    >>> unmerge(np.array([[[[6.0, 1.0], [1.0, 6.0]]]]), p, scale=0.5)
    array([[[[1., 1.],
             [1., 1.]]]])
    """
    _require_kernel("W", W, p, groups, merged=True)
    flat = merging.unmerge(_rows(W), _flat_factors(p, groups), scale=scale)
    (d, k, kh, kw), xp = W.shape, array_namespace(W)
    own = xp.reshape(flat, (groups, d // groups, groups, k // groups, kh, kw))
    return xp.concat([own[i, :, i, ...] for i in range(groups)], axis=0)  # (d, k / groups, kh, kw)


# ---- the factors as matrices -------------------------------------------------------------------------------


def _rows(W: Float[Array, "d k kh kw"]) -> Float[Array, "d kkhkw"]:
    """Write a kernel as a matrix, one row an output."""
    return array_namespace(W).reshape(W, (W.shape[0], math.prod(W.shape[1:])))


def _ungroup(W: Float[Array, "d c ..."], groups: int) -> Float[Array, "d c*groups ..."]:
    """Write a kernel with groups for one group: zeros wherever an output does not see a channel."""
    xp, step = array_namespace(W), W.shape[0] // groups
    rows = []
    for i in range(groups):
        own = W[i * step : (i + 1) * step, ...]
        rows.append(xp.concat([own if j == i else xp.zeros_like(own) for j in range(groups)], axis=1))
    return xp.concat(rows, axis=0)


def _flat_factors(p: LoraParams, groups: int) -> LoraParams:
    """Write B and A as the matrices (d, r) and (r, k kh kw)."""
    return LoraParams(_rows(_ungroup(p[0], groups)), _rows(p[1]))


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require_groups(d: int, k: int, rank: int, groups: int) -> None:
    """Raise unless `groups` divides the outputs, the inputs and the rank."""
    if d % groups or k % groups:
        raise ShapeError(f"groups = {groups} must divide d = {d} and k = {k}")
    if rank % groups:
        raise RankError(f"groups = {groups} must divide the rank r = {rank}", fix=f"for example r = {groups}")


def _require_kernel(name: str, W: Array, p: LoraParams, groups: int, *, merged: bool = False) -> None:
    """Raise unless a kernel and its factors fit together; a merged kernel is written for one group."""
    checks.require_int("groups", groups, minimum=1)
    letters = "d, k, kh, kw" if merged else "d, k / groups, kh, kw"
    checks.require_ndim(name, W, 4, letters)
    checks.require_pair("p", p)
    B, A = p
    checks.require_ndim("A", A, 4, "r, k, kh, kw")
    (d, channels, *kernel), r = W.shape, A.shape[0]
    k = channels if merged else channels * groups
    if not all(kernel):
        raise ShapeError(f"{name} has shape {tuple(W.shape)}: a kernel of no places")
    _require_groups(d, k, r, groups)
    checks.require_shape("A", A, (r, k, *kernel), "r, k, kh, kw")
    checks.require_shape("B", B, (d, r // groups, 1, 1), "d, r / groups, 1, 1")
    checks.require_same_dtype(**{name: W, "B": B, "A": A})


def _require(
    X: Array,
    W0: Array,
    p: LoraParams,
    scale: float,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Geometry:
    """Raise unless images, kernel and factors make one layer; return where the windows lie."""
    _require_kernel("W0", W0, p, groups)
    checks.require_number("scale", scale)
    return require_images(X, W0, stride, padding, dilation, groups)
