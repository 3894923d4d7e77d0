"""loralib's LoRA beside a 2-d convolution: a product of two matrices, reshaped into a kernel.  Floor 2.

B (d / groups · kh, r · kh) times A (r · kh, k · kh) has as many numbers as a square kernel (d, k / groups, kh, kh) and
is read as one, row by row: ΔW = s reshape(B A).  Its rows are not the kernel's outputs, so the increment is no
convolution through a bottleneck, has no smaller form than itself, and rank r · kh in that arrangement; it merges into
a kernel of the same shape, groups or not.  Square kernels only, as in loralib.
"""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks, lora, merging
from lora_np._typing import Array, Float
from lora_np.errors import ShapeError
from lora_np.layouts.convolution import (
    Numbers,
    add_bias,
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
    kernel: int,
    rank: int,
    *,
    groups: int = 1,
    dtype: object = np.float64,
) -> LoraParams:
    """Draw the starting factors: A ~ U(±1/√(k kh)), B = 0.  [layout-conv-reshaped]

    Raises `ConfigError`, `DTypeError`, `ShapeError`.

    >>> p = init(np.random.default_rng(0), 4, 6, 3, 2, groups=2)
    >>> p.B.shape, p.A.shape
    ((6, 6), (6, 18))
    """
    checks.require_rng(rng)
    checks.require_int("d", d, minimum=0)
    checks.require_int("k", k, minimum=0)
    checks.require_int("kernel", kernel, minimum=1)
    checks.require_int("groups", groups, minimum=1)
    checks.require_rank(rank)
    checks.require_float_dtype(dtype)
    if d % groups or k % groups:
        raise ShapeError(f"groups = {groups} must divide d = {d} and k = {k}")
    A = rng.uniform(-1, 1, size=(rank * kernel, k * kernel)) / math.sqrt(max(k * kernel, 1))
    B = np.zeros((d // groups * kernel, rank * kernel))
    return LoraParams(B.astype(dtype), A.astype(dtype))  # type: ignore[call-overload]


def forward(
    X: Float[Array, "N k H W"],
    W0: Float[Array, "d k/groups kh kh"],
    p: LoraParams,
    *,
    scale: float,
    stride: Numbers = 1,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    groups: int = 1,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d H' W'"], Float[Array, "d k/groups kh kh"]]:
    """Apply the adapted convolution to images, by building its kernel.  [layout-conv-reshaped]

    Y = conv(X, W0 + s reshape(B A)) + b.  Returns Y and the kernel W, which `backward` needs.  Raises `ShapeError`,
    `DTypeError`, `RankError`, `ConfigError`.

    >>> p = LoraParams(B=np.ones((2, 2)), A=np.ones((2, 2)))
    >>> forward(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), p, scale=0.5)[0]
    array([[[[8.]]]])
    """
    B, A = _require_factors("W0", W0, p, scale, groups)
    g = require_images(X, W0, stride, padding, dilation, groups)
    W = W0 + float(scale) * array_namespace(W0).reshape(B @ A, tuple(W0.shape))  # (d, k / groups, kh, kh)
    return add_bias(convolve(X, W, g, groups=groups), bias), W


def backward(
    gY: Float[Array, "N d H' W'"],
    X: Float[Array, "N k H W"],
    W: Float[Array, "d k/groups kh kh"],
    p: LoraParams,
    *,
    scale: float,
    stride: Numbers = 1,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    groups: int = 1,
) -> tuple[Float[Array, "N k H W"], LoraParams]:
    """Pull gY back to the images and both factors, through the kernel's own gradient.  [layout-conv-reshaped] [grad-1]

    gW is the kernel's gradient, read as the matrix that B A is: gB = s gW Aᵀ and gA = s Bᵀ gW.  `W` is the kernel that
    `forward` returned.  Raises what `forward` raises.

    >>> p = LoraParams(B=np.ones((2, 2)), A=np.ones((2, 2)))
    >>> backward(np.ones((1, 1, 1, 1)), np.ones((1, 1, 2, 2)), np.full((1, 1, 2, 2), 2.0), p, scale=0.5)[1].A
    array([[1., 1.],
           [1., 1.]])
    """
    _require_factors("W", W, p, scale, groups)
    g = require_images(X, W, stride, padding, dilation, groups)
    size, kernel = tuple(X.shape[2:]), tuple(W.shape[2:])
    checks.require_shape("gY", gY, (X.shape[0], W.shape[0], *output_size(size, kernel, g)), "N, d, H', W'")
    checks.require_same_dtype(gY=gY, X=X)
    gW = pull_to_kernel(gY, X, kernel, g, groups=groups)  # (d, k / groups, kh, kh)
    gX = pull_to_input(gY, size, W, g, groups=groups)
    return gX, lora.project_gradient(_matrix(gW, p), p, scale=scale)


def merge(
    W0: Float[Array, "d k/groups kh kh"], p: LoraParams, *, scale: float, groups: int = 1
) -> Float[Array, "d k/groups kh kh"]:
    """Add the increment to the kernel.  [layout-conv-reshaped]

    W0 + s reshape(B A).  Raises what `merging.merge` and `forward` raise.

    >>> merge(np.zeros((1, 1, 2, 2)), LoraParams(B=np.ones((2, 2)), A=np.eye(2)), scale=0.5)
    array([[[[0.5, 0.5],
             [0.5, 0.5]]]])
    """
    _require_factors("W0", W0, p, scale, groups)
    return array_namespace(W0).reshape(merging.merge(_matrix(W0, p), p, scale=scale), tuple(W0.shape))


def unmerge(
    W: Float[Array, "d k/groups kh kh"], p: LoraParams, *, scale: float, groups: int = 1
) -> Float[Array, "d k/groups kh kh"]:
    """Subtract the increment from a merged kernel, up to rounding.  [layout-conv-reshaped]

    W − s reshape(B A).  Raises what `merging.unmerge` and `forward` raise.

    >>> unmerge(np.full((1, 1, 2, 2), 0.5), LoraParams(B=np.ones((2, 2)), A=np.eye(2)), scale=0.5)
    array([[[[0., 0.],
             [0., 0.]]]])
    """
    _require_factors("W", W, p, scale, groups)
    return array_namespace(W).reshape(merging.unmerge(_matrix(W, p), p, scale=scale), tuple(W.shape))


def _matrix(W: Float[Array, "d c kh kh"], p: LoraParams) -> Float[Array, "m n"]:
    """Read a kernel as the matrix that B A is."""
    return array_namespace(W).reshape(W, (p[0].shape[0], p[1].shape[1]))


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require_factors(name: str, W: Array, p: LoraParams, scale: float, groups: int) -> tuple[Array, Array]:
    """Raise unless a square kernel and its factors fit together; return B and A."""
    checks.require_int("groups", groups, minimum=1)
    checks.require_ndim(name, W, 4, "d, k / groups, kh, kh")
    d, channels, kh, kw = W.shape
    if kh != kw or not kh:
        raise ShapeError(
            f"{name} has shape {tuple(W.shape)}, expected a square kernel (d, k / groups, kh, kh)"
        )
    if d % groups:
        raise ShapeError(f"groups = {groups} must divide d = {d}")
    checks.require_factors(p, d // groups * kh, channels * groups * kh)
    B, A = p
    if A.shape[0] % kh:
        raise ShapeError(f"A has {A.shape[0]} rows, expected r · kh with kh = {kh}")
    checks.require_same_dtype(**{name: W, "B": B, "A": A})
    checks.require_number("scale", scale)
    return B, A
