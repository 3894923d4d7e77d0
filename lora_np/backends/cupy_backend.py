"""The ``"cupy"`` backend: the reference on the GPU's arrays, with fused kernels where they pay.  Floor 3.

The reference runs on CuPy's arrays as it stands; what stands here saves passes over the GPU's memory.  Arrays stay on
the device: nothing is copied to it or from it, apart from the checks for numbers that are not finite.
"""

import math
from typing import Any

import cupy

from lora_np import checks, lora, optim, prune
from lora_np._typing import Array, Float
from lora_np.backends import cupy_kernels, low_rank
from lora_np.backends.record import REFERENCE
from lora_np.lora import LoraParams
from lora_np.optim import AdamState
from lora_np.prune import Adapted, Product


def _takes(*arrays: object) -> bool:
    """Tell whether kernels can run on these: CuPy arrays of float32 or float64, all of one type."""
    kinds = {str(x.dtype) if isinstance(x, cupy.ndarray) else "" for x in arrays}
    return kinds in ({"float32"}, {"float64"})


def add_low_rank(
    Y: Float[Array, "N d"], Z: Float[Array, "N r"], B: Float[Array, "d r"], *, scale: float
) -> Float[Array, "N d"]:
    """Add a product of rank r to a buffer, in place and in one pass.  [lora-2] [lora-merge]

    Y += s Z Bᵀ.  Raises what the reference raises.
    """
    low_rank.require_low_rank(Y, Z, B, scale)
    if not (_takes(Y, Z, B) and Y.flags.c_contiguous):
        return low_rank.add_low_rank(Y, Z, B, scale=scale)
    if cupy.shares_memory(Y, Z) or cupy.shares_memory(Y, B):
        low_rank.require_buffer("Y", Y, Z=Y)
    left, right = cupy.ascontiguousarray(Z), cupy.ascontiguousarray(B)
    cupy_kernels.add_low_rank(left, right, float(scale), Y.shape[1], B.shape[1], Y)
    return Y


def forward(
    X: Float[Array, "N k"],
    W0: Float[Array, "d k"],
    p: LoraParams,
    *,
    scale: float,
    bias: Float[Array, " d"] | None = None,
) -> tuple[Float[Array, "N d"], Float[Array, "N r"]]:
    """Apply the adapted layer to rows, the bottleneck's share added in place.  [lora-2] [lora-fwd]

    Returns and raises what `lora.forward` does.
    """
    if not _takes(X, W0, *p) or X.ndim != 2:
        return lora.forward(X, W0, p, scale=scale, bias=bias)
    checks.require_layer(X, W0, p, scale, bias)
    Z = X @ p[1].T  # (N, r)
    Y = add_low_rank(cupy.ascontiguousarray(X @ W0.T), Z, p[0], scale=scale)  # (N, d)
    return (Y if bias is None else Y + bias), Z


def group_dot(
    gY: Float[Array, "N d"], Y: Float[Array, "N d"], *, bias: Float[Array, " d"] | None = None, tile: int = 64
) -> Float[Array, " d"]:
    """Sum G W over each row of the weight, from activations, in one pass.  [prune-group-dot]

    Result and errors are those of `prune.group_dot`.
    """
    plain = bias is None or (_takes(gY, bias) and bias.shape == Y.shape[-1:])
    if not (plain and _takes(gY, Y) and gY.shape == Y.shape and gY.ndim == 2):
        return prune.group_dot(gY, Y, bias=bias, tile=tile)
    shift = cupy.zeros(Y.shape[1], Y.dtype) if bias is None else bias
    return cupy_kernels.dots(gY, Y, shift, axis=0)


def line_sums(W: Any, G: Any, *, axis: int | None, form: str, tile: int = 64) -> Float[Array, " n"]:
    """Sum the terms of one matrix over each row in one fused pass; columns as the reference does.  [prune-importance]

    Result and errors are those of `prune.line_sums`.
    """
    fused = (
        axis == 0 and form in ("sum-squared", "sum-abs") and isinstance(W, Adapted) and isinstance(G, Product)
    )
    if not fused or not _takes(W.W0, *W.p, *G) or G.U.shape[1] != G.V.shape[0]:
        return prune.line_sums(W, G, axis=axis, form=form, tile=tile)
    checks.require_weight("W0", W.W0, W.p, W.scale)
    if (G.U.shape[0], G.V.shape[1]) != W.W0.shape:
        return prune.line_sums(W, G, axis=axis, form=form, tile=tile)
    B = float(W.scale) * W.p[0]
    return cupy_kernels.row_sums(W.W0, B, W.p[1], G.U, G.V, square=form == "sum-squared")


def adam_step(
    params: Any,
    grads: Any,
    state: AdamState,
    *,
    lr: Any,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Any, AdamState]:
    """Take one step of Adam, in one pass.  [optim-adam]

    Result and errors are those of `optim.adam_step`.
    """
    sound = isinstance(params, tuple) and isinstance(grads, tuple) and isinstance(lr, float) and lr >= 0
    if (
        not sound
        or not isinstance(state, AdamState)
        or not _takes(*params, *grads, *state.first, *state.second)
    ):
        return optim.adam_step(params, grads, state, lr=lr, betas=betas, eps=eps)
    for i, beta in enumerate(betas):
        checks.require_number(f"betas[{i}]", beta, least=0, below=1)
    checks.require_number("eps", eps, above=0)
    step = state.step + 1
    numbers = [lr, 1.0, *betas, *(1 - beta for beta in betas)]
    numbers += [-math.expm1(step * math.log(beta)) if beta else 1.0 for beta in betas]
    new = [
        cupy_kernels.adam(*arrays, *numbers, eps)
        for arrays in zip(params, grads, state.first, state.second, strict=True)
    ]
    if not all(bool(cupy.isfinite(x[2]).all()) for x in new):  # the reference says which gradient is to blame
        return optim.adam_step(params, grads, state, lr=lr, betas=betas, eps=eps)
    fields = [_like(params, [x[i] for x in new]) for i in range(3)]
    return fields[0], AdamState(step, fields[1], fields[2])


def _like(params: Any, arrays: list[Array]) -> Any:
    """Make a tuple of the type of `params`."""
    return type(params)(*arrays) if hasattr(params, "_fields") else tuple(arrays)


BACKEND = REFERENCE._replace(
    name="cupy",
    forward=forward,
    add_low_rank=add_low_rank,
    group_dot=group_dot,
    line_sums=line_sums,
    adam_step=adam_step,
)
