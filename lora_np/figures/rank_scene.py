"""What the room on rank shows: one matrix, its decomposition, and its stand-in of a chosen rank.  Floor 6."""

from dataclasses import dataclass

import numpy as np

from lora_np._typing import Array, Float
from lora_np.rank.decomposition import SVD, truncate
from lora_np.rank.spectrum import SpectrumReport


@dataclass(frozen=True, slots=True, eq=False)
class RankScene:
    """A matrix M, the factors B and A of its best stand-in of rank r, and how far M − B A is from zero.

    `measured` maps a few ranks, r among them, to ‖M − B A‖_F / ‖M‖_F taken from the product itself; `zeros` counts
    the entries of M that are zero.
    """

    M: Float[Array, "m n"]
    B: Float[Array, "m r"]
    A: Float[Array, "r n"]
    rank: int
    report: SpectrumReport
    measured: dict[int, float]
    zeros: int

    @property
    def kept(self) -> float:
        """The share of the energy that rank r keeps."""
        return float(self.report.energies[self.rank])

    @property
    def least_errors(self) -> list[float]:
        """The least possible relative error at rank 0, 1, ..., q; all 0 for the zero matrix."""
        return [float(error) for error in self.report.errors / (float(self.report.errors[0]) or 1.0)]


def rank_scene(M: Float[Array, "m n"], found: SVD, report: SpectrumReport, *, rank: int) -> RankScene:
    """Cut a decomposed matrix at a rank and measure what is lost.  [rank-truncation] [rank-eckart-young]

    B A = M_r; the error is measured at r and at the powers of two.  Raises what `truncate` raises.

    >>> from lora_np.rank import spectrum_report, svd
    >>> M = np.diag([4.0, 3.0])
    >>> scene = rank_scene(M, svd(M), spectrum_report(M), rank=1)
    >>> scene.kept, scene.measured[1], scene.zeros
    (0.64, 0.6, 2)
    """
    B, A = truncate(found, rank).factors()
    norm = float(np.linalg.norm(M)) or 1.0
    ranks = sorted({rank} | {2**i for i in range(min(M.shape).bit_length())})
    measured = {r: float(np.linalg.norm(M - truncate(found, r).matrix())) / norm for r in ranks}
    return RankScene(M, B, A, rank, report, measured, int(np.sum(M == 0)))
