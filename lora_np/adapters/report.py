"""One module of an adapter, summed up: its spectrum, size, what a merge loses, likeness to another adapter.  Floor 2.

A report holds numbers of the rank's size and none of the tensors, so many can be kept.  It reads no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lora_np import checks
from lora_np._typing import Array, Float
from lora_np.adapters.adapter import LoraAdapter
from lora_np.adapters.inspection import cosine, frobenius, numbers_saved, thin_svd
from lora_np.adapters.rounding import FORMATS, MergeLoss, merge_loss
from lora_np.rank.capacity import factored_size
from lora_np.rank.decomposition import SVD
from lora_np.rank.kernels import REFERENCE, Kernels
from lora_np.rank.spectrum import SpectrumReport, spectrum_report
from lora_np.subspace import similarity_grid


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two increments of one weight are.  [increment-cosine] [subspace-phi]

    `outputs[i - 1]` and `inputs[i - 1]` are φ of the top i directions of both, on either side.
    """

    cosine: float
    outputs: tuple[float, ...]
    inputs: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ModuleReport:
    """What there is to say of the increment s B A of one module.

    `rank` is the number of columns of B, whatever they hold.  `base_norm` and `merges` are there where the base weight
    is, `likeness` where another adapter has this module and neither increment is zero.
    """

    name: str
    rank: int
    scale: float
    spectrum: SpectrumReport
    alpha: float | None = None
    base_norm: float | None = None
    merges: Mapping[str, MergeLoss] = field(default_factory=dict)
    likeness: Likeness | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (d, k) of the increment."""
        return self.spectrum.shape

    @property
    def norm(self) -> float:
        """‖ΔW‖_F."""
        return float(self.spectrum.errors[0])

    @property
    def relative_norm(self) -> float | None:
        """‖ΔW‖_F / ‖W0‖_F.  [increment-relative]  None without a base, or beside a base of zeros."""
        return self.norm / self.base_norm if self.base_norm else None

    @property
    def numbers(self) -> int:
        """How many numbers its factors hold."""
        return factored_size(*self.shape, self.rank)

    def kept(self, energy: float) -> int:
        """Find the least rank that keeps a share of the energy.  [increment-cut]"""
        return self.spectrum.smallest_rank(energy)

    def saved(self, energy: float) -> int:
        """Count the numbers that go when it is cut to that rank.  [increment-cut]"""
        return numbers_saved(*self.shape, rank=self.rank, kept=self.kept(energy))


def module_report(
    name: str,
    adapter: LoraAdapter,
    *,
    alpha: float | None = None,
    W0: Float[Array, "d k"] | None = None,
    other: LoraAdapter | None = None,
    kernels: Kernels = REFERENCE,
) -> ModuleReport:
    """Look at one module from every side that its inputs allow.  [increment-thin]

    `other` is the same module of another adapter, of any rank and scale.  Raises what `thin_svd`, `merge_loss` and
    `cosine` raise.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> adapter = LoraAdapter(LoraParams(B=np.eye(2), A=np.diag([4.0, 3.0])), scale=1.0)
    >>> report = module_report("q", adapter, W0=np.eye(2) * 50**0.5)
    >>> report.norm, round(report.relative_norm, 12), report.kept(0.6), report.saved(0.6)
    (5.0, 0.5, 1, 4)
    """
    found = thin_svd(adapter, kernels=kernels)
    return ModuleReport(
        name=name,
        rank=int(adapter.p.A.shape[0]),
        scale=float(adapter.scale),
        spectrum=spectrum_report(found),
        alpha=alpha,
        base_norm=None if W0 is None else frobenius(W0),
        merges={} if W0 is None else {dtype: merge_loss(W0, adapter, dtype=dtype) for dtype in FORMATS},
        likeness=None if other is None else likeness(found, thin_svd(other, kernels=kernels)),
    )


def likeness(one: SVD, other: SVD) -> Likeness | None:
    """Compare two decomposed increments of one weight; None where one is zero.  [increment-cosine] [subspace-phi]

    Raises `ShapeError`, and `ConfigError` for what is no decomposition.

    >>> import numpy as np
    >>> from lora_np.lora import LoraParams
    >>> found = thin_svd(LoraAdapter(LoraParams(B=np.eye(2), A=np.eye(2)), scale=1.0))
    >>> round(likeness(found, found).cosine, 12), likeness(found, found).outputs
    (1.0, (1.0, 1.0))
    """
    for name, found in (("one", one), ("other", other)):
        checks.require_instance(name, found, SVD, "give what thin_svd returns")
    if not _has_direction(one) or not _has_direction(other):
        return None
    alike = cosine(one, other)  # also raises where the shapes differ
    grids = [similarity_grid(one, other, side=side) for side in ("left", "right")]
    outputs, inputs = (tuple(float(grid[i, i]) for i in range(min(grid.shape))) for grid in grids)
    return Likeness(alike, outputs, inputs)


def _has_direction(found: SVD) -> bool:
    """Tell whether the increment is not zero."""
    return bool(found.sigma.shape[0]) and float(found.sigma[0]) > 0
