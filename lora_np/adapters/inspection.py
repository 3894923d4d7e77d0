"""What one increment is like, from its factors alone: spectrum, size against the base, likeness to another.  Floor 2.

Every function works through products of the rank's size; the (d, k) increment is never formed.  Factors of any float
type are taken to at least double precision first: what is described is the increment of the numbers that are stored.
What rounding takes away in a merge is told in `rounding`; effective and stable rank in `lora_np.rank`.
"""

import math

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.adapters.adapter import LoraAdapter, require_adapter, require_finite_factors
from lora_np.errors import RankError, ShapeError
from lora_np.rank.capacity import factored_size
from lora_np.rank.decomposition import SVD, svd
from lora_np.rank.factorization import rank_factorization
from lora_np.rank.kernels import REFERENCE, Kernels
from lora_np.rank.scaling import from_unit_scale, to_unit_scale


def thin_svd(adapter: LoraAdapter, *, kernels: Kernels = REFERENCE) -> SVD:
    """Decompose s B A without multiplying it out.  [increment-thin]

    B = Q R and Aᵀ = P T, so s B A = Q (s R Tᵀ) Pᵀ, and the core in the middle is r x r: its singular values are those
    of the increment, at most r of them; a column of zeros takes one away.  Raises `ConfigError`, `ShapeError`,
    `RankError`, `DTypeError`, `NonFiniteError`, `UnsupportedCombinationError`.  `kernels` is for backends.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> p = LoraParams(B=np.array([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), A=np.eye(2))
    >>> thin_svd(LoraAdapter(p, scale=2.0)).sigma
    array([6., 2.])
    """
    require_adapter("adapter", adapter)
    require_finite_factors("adapter", adapter.p)
    (B, high), (A, wide) = (to_unit_scale(factor) for factor in adapter.p)
    Q, R = rank_factorization(B, "qr", tol=0.0, kernels=kernels)  # (d, p), (p, r)
    P, T = rank_factorization(A.T, "qr", tol=0.0, kernels=kernels)  # (k, q), (q, r)
    size, power = math.frexp(float(adapter.scale))
    U, sigma, Vt = svd(size * (R @ T.T), kernels=kernels)  # the core, (p, q)
    return SVD(Q @ U, from_unit_scale(sigma, high + wide + power, B), Vt @ P.T)


def increment_norm(found: SVD) -> float:
    """Give ‖ΔW‖_F of a decomposed increment: √(σ1² + σ2² + …).  [increment-relative]

    Raises `ConfigError` for anything else.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> increment_norm(thin_svd(LoraAdapter(LoraParams(B=np.eye(2), A=np.diag([3.0, 4.0])), scale=1.0)))
    5.0
    """
    checks.require_instance("found", found, SVD, "give what thin_svd returns")
    return math.hypot(*(float(value) for value in found.sigma))


def frobenius(W: Float[Array, "d k"]) -> float:
    """Give ‖W‖_F of a frozen weight, for comparison; squares neither overflow nor vanish.  [increment-relative]

    Raises `ShapeError`, `DTypeError`, `NonFiniteError`.

    >>> import numpy as np
    >>> frobenius(np.array([[3.0, 4.0]]) * 2.0**900) == 5 * 2.0**900
    True
    """
    checks.require_ndim("W", W, 2, "d, k")
    checks.require_finite("W", W)
    unit, exponent = to_unit_scale(W)
    xp = array_namespace(unit)
    return math.ldexp(float(xp.sqrt(xp.sum(unit * unit))), exponent)


def cosine(one: LoraAdapter | SVD, other: LoraAdapter | SVD) -> float:
    """Measure the angle between two increments of one weight.  [increment-cosine]

    ⟨ΔW1, ΔW2⟩ / (‖ΔW1‖ ‖ΔW2‖) = Σ σᵢ τⱼ (u1ᵢ·u2ⱼ)(v1ᵢ·v2ⱼ) / (‖σ‖ ‖τ‖): 1 for the same direction whatever the sizes,
    −1 for the opposite, near 0 for increments that have nothing to do with each other.  Give the result of
    `thin_svd` where it is at hand.  Raises `ShapeError`, `RankError` for an increment that is zero, and what
    `thin_svd` raises.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> one, other = (
    ...     LoraAdapter(LoraParams(B=np.eye(2), A=np.diag(a)), 1.0) for a in ([1.0, 0.0], [3.0, 4.0])
    ... )
    >>> cosine(one, other)
    0.6
    """
    first, second = (part if isinstance(part, SVD) else thin_svd(part) for part in (one, other))
    _require_one_weight(first, second)
    xp = array_namespace(first.sigma, second.sigma)
    shares = [found.sigma / increment_norm(found) for found in (first, second)]
    agreement = (first.U.T @ second.U) * (first.Vt @ second.Vt.T)  # (p, q)
    found = float(xp.sum(shares[0][:, None] * agreement * shares[1][None, :]))
    return max(-1.0, min(1.0, found))


def chance_cosine(d: int, k: int) -> float:
    """Say how large a cosine chance gives, as a root mean square: 1 / √(d k).  [increment-chance]

    For increments of any ranks whose directions are random and independent.  Raises `ConfigError`.

    >>> chance_cosine(32, 32)
    0.03125
    """
    checks.require_int("d", d, minimum=1)
    checks.require_int("k", k, minimum=1)
    return 1 / math.sqrt(d * k)


def numbers_saved(d: int, k: int, *, rank: int, kept: int) -> int:
    """Count the numbers that go when factors of one rank are cut to another.  [increment-cut]

    (r − r') (d + k).  Raises `ConfigError`, `RankError` where more would be kept than there is.

    >>> numbers_saved(4096, 4096, rank=16, kept=8)
    65536
    """
    checks.require_int("kept", kept, minimum=0)
    checks.require_int("rank", rank, minimum=0)
    if kept > rank:
        raise RankError(f"kept = {kept} exceeds the rank {rank} that is there", fix=f"keep at most {rank}")
    return factored_size(d, k, rank) - factored_size(d, k, kept)


def cut_to_rank(adapter: LoraAdapter, rank: int, *, kernels: Kernels = REFERENCE) -> LoraAdapter:
    """Cut an adapter to its strongest directions, again without forming the increment.  [increment-cut]

    The nearest increment of that rank, as factors of scale 1 in the stored type.  Raises `ConfigError`, `RankError`
    for a rank above the number of directions there are, and what `thin_svd` raises.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> cut = cut_to_rank(LoraAdapter(LoraParams(B=np.eye(2), A=np.diag([3.0, 4.0])), scale=1.0), 1)
    >>> cut.p.B.shape, cut.delta()
    ((2, 1), array([[0., 0.],
           [0., 4.]]))
    """
    checks.require_int("rank", rank, minimum=1)
    found = thin_svd(adapter, kernels=kernels)
    if rank > found.sigma.shape[0]:
        raise RankError(
            f"rank = {rank} exceeds {found.sigma.shape[0]}, the number of directions of the increment",
            fix="choose a smaller rank",
        )
    xp, dtype = array_namespace(found.sigma), adapter.p.B.dtype
    B, A = SVD(found.U[:, :rank], found.sigma[:rank], found.Vt[:rank, :]).factors()
    return LoraAdapter(type(adapter.p)(xp.astype(B, dtype), xp.astype(A, dtype)), 1.0)


# ---- what a user can get wrong -----------------------------------------------------------------------------


def _require_one_weight(first: SVD, second: SVD) -> None:
    """Raise unless both increments belong to weights of one shape and neither is zero."""
    shapes = [(found.U.shape[0], found.Vt.shape[1]) for found in (first, second)]
    if shapes[0] != shapes[1]:
        raise ShapeError(f"the increments belong to weights of different shapes (d, k): {shapes}")
    for name, found in (("one", first), ("other", second)):
        if not found.sigma.shape[0] or not float(found.sigma[0]):
            raise RankError(f"{name} is zero: it has no direction", fix="train it first")
