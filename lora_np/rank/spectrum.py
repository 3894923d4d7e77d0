"""What the singular values say of a matrix: error and energy at each rank, effective and stable rank.  Floor 1.

The functions take the falling singular values alone, so one decomposition serves them all; `spectrum_report` does
everything for a matrix.
"""

from dataclasses import dataclass

from array_api_compat import array_namespace

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.errors import ConfigError, RankError
from lora_np.rank.capacity import break_even_rank
from lora_np.rank.decomposition import SVD, svd
from lora_np.rank.kernels import REFERENCE, Kernels


def truncation_errors(sigma: Float[Array, " q"]) -> Float[Array, " q1"]:
    """Give the Frobenius distance to the best approximation of rank 0, 1, ..., q.  [rank-eckart-young]

    ‖M - M_r‖_F = √(sigma_{r+1}² + ... + sigma_q²); entry 0 is ‖M‖_F, entry q is 0.  In the spectral norm the
    distance is sigma_{r+1}.

    >>> import numpy as np
    >>> truncation_errors(np.array([12.0, 4.0, 3.0]))
    array([13.,  5.,  3.,  0.])
    """
    xp, largest = _require_spectrum(sigma)
    tails = xp.flip(xp.cumulative_sum(xp.flip(sigma / largest) ** 2, include_initial=True))
    return largest * xp.sqrt(tails)


def energy_kept(sigma: Float[Array, " q"]) -> Float[Array, " q1"]:
    """Give the share of ‖M‖_F² that the best approximation of rank 0, 1, ..., q keeps.  [rank-energy]

    (sigma_1² + ... + sigma_r²) / (sigma_1² + ... + sigma_q²), from 0 to 1.  The zero matrix has nothing to lose:
    all 1.

    >>> import numpy as np
    >>> energy_kept(np.array([2.0, 1.0, 1.0, 0.0]))
    array([0.        , 0.66666667, 0.83333333, 1.        , 1.        ])
    """
    xp, largest = _require_spectrum(sigma)
    heads = xp.cumulative_sum((sigma / largest) ** 2, include_initial=True)
    return heads / heads[-1] if float(heads[-1]) else xp.ones_like(heads)


def effective_rank(sigma: Float[Array, " q"]) -> float:
    """Measure by entropy over how many directions a matrix spreads.  [rank-effective]

    exp(-Σ p_i log p_i) with p_i = sigma_i / Σ sigma: q where all are equal, 1 where one stands alone, and any real
    number between.  0 for the zero matrix.  Roy and Vetterli, EUSIPCO 2007.

    >>> import numpy as np
    >>> round(effective_rank(np.array([5.0, 5.0, 5.0, 0.0])), 12)
    3.0
    """
    xp, largest = _require_spectrum(sigma)
    shares = sigma / largest
    total = xp.sum(shares)
    if not float(total):
        return 0.0
    shares = shares / total
    logs = xp.log(xp.where(shares > 0, shares, xp.ones_like(shares)))
    return float(xp.exp(-xp.sum(shares * logs)))


def stable_rank(sigma: Float[Array, " q"]) -> float:
    """Compare the whole energy with the strongest direction's.  [rank-stable]

    ‖M‖_F² / ‖M‖_2² = Σ sigma_i² / sigma_1²: at most the rank, and unmoved by small perturbations.  0 for the zero
    matrix.

    >>> import numpy as np
    >>> stable_rank(np.array([2.0, 1.0, 1.0]))
    1.5
    """
    xp, largest = _require_spectrum(sigma)
    return float(xp.sum((sigma / largest) ** 2))


@dataclass(frozen=True, slots=True, eq=False)
class SpectrumReport:
    """What the spectrum of an (m, n) matrix says; arrays over r = 0, 1, ..., q have q + 1 entries.

    `rank` counts the sigma above `tol` = max(m, n) ε sigma_1.  Below `break_even` = m n / (m + n), two factors hold
    fewer numbers than the matrix.
    """

    shape: tuple[int, int]
    sigma: Float[Array, " q"]
    rank: int
    tol: float
    errors: Float[Array, " q1"]
    energies: Float[Array, " q1"]
    effective_rank: float
    stable_rank: float
    break_even: float

    def smallest_rank(self, energy: float) -> int:
        """Find the least r whose best approximation keeps a share of the energy, between 0 and 1.  [rank-energy]"""
        checks.require_number("energy", energy, least=0.0, most=1.0)
        return sum(float(kept) < energy for kept in self.energies[:-1])


def spectrum_report(M: Float[Array, "m n"] | SVD, *, kernels: Kernels = REFERENCE) -> SpectrumReport:
    """Describe the spectrum of a matrix, or of its `SVD`.  [rank-svd] [rank-energy] [rank-numerical]

    Raises what `svd` raises.

    >>> import numpy as np
    >>> report = spectrum_report(np.diag([12.0, 4.0, 3.0, 0.0]))
    >>> report.rank, report.errors, report.smallest_rank(energy=0.9)
    (3, array([13.,  5.,  3.,  0.,  0.]), 2)
    """
    U, sigma, Vt = M if isinstance(M, SVD) else svd(M, kernels=kernels)
    xp, (m, n) = array_namespace(sigma), (U.shape[0], Vt.shape[1])
    tol = max(m, n) * float(xp.finfo(sigma.dtype).eps) * (float(sigma[0]) if sigma.shape[0] else 0.0)
    return SpectrumReport(
        shape=(m, n),
        sigma=sigma,
        rank=int(xp.sum(xp.astype(sigma > tol, xp.int64))),
        tol=tol,
        errors=truncation_errors(sigma),
        energies=energy_kept(sigma),
        effective_rank=effective_rank(sigma),
        stable_rank=stable_rank(sigma),
        break_even=break_even_rank(m, n),
    )


def _require_spectrum(sigma: Float[Array, " q"]) -> tuple[Array, float]:
    """Raise unless sigma is a falling spectrum; return its namespace and its largest value (1 where that is 0)."""
    checks.require_ndim("sigma", sigma, 1, "q")
    checks.require_finite("sigma", sigma)
    xp, q = array_namespace(sigma), sigma.shape[0]
    if q and float(sigma[-1]) < 0:
        raise ConfigError(f"sigma holds the negative value {float(sigma[-1])}", fix="pass svd(M).sigma")
    if bool(xp.any(sigma[1:] > sigma[:-1])):
        raise RankError("sigma must fall from the largest to the smallest", fix="pass svd(M).sigma")
    largest = float(sigma[0]) if q else 0.0
    return xp, largest or 1.0
