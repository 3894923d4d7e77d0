"""How many numbers two factors hold, and how much of an increment a rank can carry.  Floor 1.

An increment ΔW has a rank of its own, r_opt.  Factors of a smaller rank lose the tail of its spectrum; factors of
a larger rank lose nothing and hold numbers that nothing needs.  Nothing here trains.
"""

import numpy as np
from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ShapeError
from lora_np.lora import LoraParams
from lora_np.rank.decomposition import SVD, svd, truncate


def factored_size(m: int, n: int, r: int) -> int:
    """Count the numbers in two factors (m, r) and (r, n).  [rank-factored-size]

    r (m + n), against m n for the product.  Raises `ConfigError`.

    >>> factored_size(100, 1000, 10), factored_size(100, 1000, 10) / (100 * 1000)
    (11000, 0.11)
    """
    for name, value in {"m": m, "n": n, "r": r}.items():
        checks.require_int(name, value, minimum=0)
    return r * (m + n)


def break_even_rank(m: int, n: int) -> float:
    """Find the rank at which two factors hold as many numbers as their product.  [rank-break-even]

    m n / (m + n): below it, factoring saves.  0 for an empty matrix.  Raises `ConfigError`.

    >>> break_even_rank(64, 64)
    32.0
    """
    checks.require_int("m", m, minimum=0)
    checks.require_int("n", n, minimum=0)
    return m * n / (m + n) if m + n else 0.0


def extract_increment(W0: Float[Array, "d k"], W: Float[Array, "d k"], *, rank: int) -> LoraParams:
    """Turn a fully fine-tuned weight into the nearest LoRA factors.  [rank-increment] [rank-increment-mn]

    W = W0 + ΔW ≈ W0 + B A: B A is the best approximation of ΔW = W - W0 of that rank (with scale 1), B and A
    equally large.  A rank above min(d, k) is allowed, with a `RankWarning`; the columns beyond are zero.
    Raises `ShapeError`, `DTypeError`, `NonFiniteError`, `ConfigError`.

    >>> import numpy as np
    >>> p = extract_increment(np.eye(2), np.array([[5.0, 0.0], [0.0, 1.0]]), rank=1)
    >>> np.eye(2) + p.B @ p.A
    array([[5., 0.],
           [0., 1.]])
    """
    checks.require_ndim("W0", W0, 2, "d, k")
    checks.require_ndim("W", W, 2, "d, k")
    if W0.shape != W.shape:
        raise ShapeError(f"W0 {tuple(W0.shape)} and W {tuple(W.shape)} must have one shape (d, k)")
    checks.require_same_dtype(W0=W0, W=W)
    checks.require_rank(rank, *W.shape)
    xp, (d, k) = array_namespace(W0, W), W.shape
    most = min(rank, d, k)
    with np.errstate(over="ignore"):  # an overflow is raised by svd, by name
        delta_W = W - W0
    B, A = truncate(delta_W, most).factors()
    columns, rows = (
        xp.zeros((d, rank - most), dtype=W.dtype),
        xp.zeros((rank - most, k), dtype=W.dtype),
    )
    return LoraParams(B=xp.concat([B, columns], axis=1), A=xp.concat([A, rows]))


def shortfall(delta_W: Float[Array, "d k"] | SVD, *, rank: int) -> float:
    """Measure what factors of a rank cannot carry.  [rank-too-low] [rank-too-high] [rank-tradeoff]

    min over B, A of ‖ΔW - B A‖_F = √(sigma_{rank+1}² + ...): above 0 where rank < r_opt = rank(ΔW), 0 from there
    on (up to the rounding of a float spectrum).  Raises `ConfigError` and what `svd` raises.

    >>> import numpy as np
    >>> delta_W = np.diag([4.0, 3.0, 0.0])
    >>> [shortfall(delta_W, rank=r) for r in (1, 2, 3)]
    [3.0, 0.0, 0.0]
    """
    checks.require_int("rank", rank, minimum=0)
    sigma = (delta_W if isinstance(delta_W, SVD) else svd(delta_W)).sigma
    tail = sigma[min(rank, sigma.shape[0]) :]
    largest = float(tail[0]) if tail.shape[0] else 0.0
    xp = array_namespace(sigma)
    return largest * float(xp.sqrt(xp.sum((tail / largest) ** 2))) if largest else 0.0
