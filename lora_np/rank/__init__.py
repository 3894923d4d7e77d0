"""Rank and its factorizations, from scratch: elimination, Householder QR, one-sided Jacobi SVD.  Floor 1.

One file per idea; this one gathers the public names.  LAPACK is used nowhere: it is what the tests compare with.
"""

from lora_np.rank.capacity import break_even_rank, extract_increment, factored_size, shortfall
from lora_np.rank.decomposition import SVD, svd, truncate
from lora_np.rank.factorization import METHODS, is_full_rank, matrix_rank, rank_factorization
from lora_np.rank.spectrum import (
    SpectrumReport,
    effective_rank,
    energy_kept,
    spectrum_report,
    stable_rank,
    truncation_errors,
)

__all__ = [
    "METHODS",
    "SVD",
    "SpectrumReport",
    "break_even_rank",
    "effective_rank",
    "energy_kept",
    "extract_increment",
    "factored_size",
    "is_full_rank",
    "matrix_rank",
    "rank_factorization",
    "shortfall",
    "spectrum_report",
    "stable_rank",
    "svd",
    "truncate",
    "truncation_errors",
]
