"""Rank: an example matrix, decomposed once and cut at any rank."""

from typing import NamedTuple

import numpy as np
import streamlit as st

from app.logic.engine import fastest
from lora_np.figures.examples import KINDS, example_matrix
from lora_np.figures.rank_scene import RankScene, rank_scene
from lora_np.rank import SVD, SpectrumReport, spectrum_report
from lora_np.rank.capacity import factored_size
from lora_np.rank.decomposition import truncate
from lora_np.rank.spectrum import energy_kept, truncation_errors

SIDES = [4, 8, 16, 32, 64, 96, 128, 192, 256]  # an SVD of 256 x 256 takes some 120 ms with compiled loops
PIXELS = 64  # of a digit: its matrix has no more columns
__all__ = [
    "CODE",
    "CUT",
    "DIRECTIONS",
    "ERRORS",
    "KINDS",
    "PIXELS",
    "SIDES",
    "drawn",
    "factored_size",
    "scene",
]

decompose = fastest().svd
CODE = {
    "matrices": (decompose, truncate, SVD.factors),
    "spectrum": (spectrum_report, energy_kept),
    "error": (truncation_errors,),
}

IMPORTS = """
import numpy as np
from lora_np.backends import best_backend
from lora_np.figures.examples import example_matrix
"""
MATRIX = """
M = example_matrix(kind, rows, columns, planted=planted, decay=decay, noise=noise)
found = best_backend().svd(M)
"""
CUT = f"""{IMPORTS}from lora_np.figures.rank_scene import pooled
from lora_np.rank import truncate
{MATRIX}
B, A = truncate(found, r).factors()
panels = [np.round(pooled(P), 4) for P in (M, B @ A, M - B @ A)]  # at most 64 x 64 cells each
numbers = {{"mean entry": np.concatenate([P.ravel() for P in panels]).tolist()}}
print(numbers)
"""
DIRECTIONS = f"""{IMPORTS}{MATRIX}
index = np.arange(1, found.sigma.size + 1)
numbers = {{"i": index.tolist(), "singular value": found.sigma.tolist(), "kept": (index <= r).tolist()}}
print(numbers)
"""
ERRORS = f"""{IMPORTS}{MATRIX}
tail = np.cumsum(found.sigma[::-1] ** 2)[::-1]  # what is left when the first 0, 1, ... directions go
error = np.sqrt(np.append(tail, 0.0))
numbers = {{"least possible error (share of the norm)": (error / (error[0] or 1.0)).tolist()}}
print(numbers)
"""


class Decomposed(NamedTuple):
    """A matrix and what was found out about it."""

    M: np.ndarray
    found: SVD
    report: SpectrumReport


def drawn(
    kind: str, rows: int, columns: int, planted: int, decay: float, noise: float
) -> dict[str, str | float]:
    """Say which matrix is drawn: a digit has only so many pixels."""
    columns = min(columns, PIXELS) if kind == "digits" else columns
    return {
        "kind": kind,
        "rows": rows,
        "columns": columns,
        "planted": planted,
        "decay": decay,
        "noise": noise,
    }


@st.cache_resource(max_entries=64, show_spinner=False)
def decomposed(kind: str, rows: int, columns: int, planted: int, decay: float, noise: float) -> Decomposed:
    """Decompose an example matrix; shared by all sessions and written by none."""
    M = example_matrix(kind, rows, columns, planted=planted, decay=decay, noise=noise)
    found = decompose(M)
    return Decomposed(M, found, spectrum_report(found))


def scene(
    kind: str, rows: int, columns: int, planted: int, decay: float, noise: float, *, rank: int
) -> RankScene:
    """Cut it at a rank; what exceeds the matrix's size counts as that."""
    M, found, report = decomposed(**drawn(kind, rows, columns, planted, decay, noise))
    return rank_scene(M, found, report, rank=min(rank, *M.shape))
