"""What the room on rank shows: one matrix, its decomposition, and its stand-in of a chosen rank.  Floor 6."""

from dataclasses import dataclass

import numpy as np

from lora_np._typing import Array, Float
from lora_np.rank.decomposition import SVD, truncate
from lora_np.rank.spectrum import SpectrumReport

CELLS = 64  # a heatmap shows at most this many cells a side


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


def pooled(M: Float[Array, "m n"], cells: int = CELLS) -> Float[Array, "p q"]:
    """Average blocks of a matrix until it has at most `cells` rows and columns.

    >>> pooled(np.arange(8.0).reshape(2, 4), cells=2)
    array([[0.5, 2.5],
           [4.5, 6.5]])
    """
    return _averaged(_averaged(M, cells).T, cells).T


def _averaged(M: Float[Array, "m n"], cells: int) -> Float[Array, "p n"]:
    """Average equal runs of rows; the last run may be shorter."""
    step = -(-M.shape[0] // cells)
    starts = np.arange(0, M.shape[0], step)
    sizes = np.diff(np.append(starts, M.shape[0]))
    means: Array = np.add.reduceat(M, starts, axis=0) / sizes[:, None]
    return means
