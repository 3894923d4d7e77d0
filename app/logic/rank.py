"""Rank: an example matrix, decomposed once and cut at any rank."""

from typing import NamedTuple

import numpy as np
import streamlit as st

from app.logic.engine import fastest
from lora_np.figures.examples import KINDS, example_matrix
from lora_np.figures.rank_scene import RankScene, rank_scene
from lora_np.rank import SVD, SpectrumReport, spectrum_report
from lora_np.rank.capacity import factored_size
from lora_np.rank.decomposition import svd, truncate

SIDES = [4, 8, 16, 32, 64, 96, 128]  # an SVD of 128 x 128 takes some 40 ms with compiled loops
PIXELS = 64  # of a digit: its matrix has no more columns
CODE = (truncate, svd, spectrum_report)
__all__ = ["CODE", "KINDS", "PIXELS", "SIDES", "factored_size", "scene"]


class Decomposed(NamedTuple):
    """A matrix and what was found out about it."""

    M: np.ndarray
    found: SVD
    report: SpectrumReport


@st.cache_resource(max_entries=64, show_spinner=False)
def decomposed(kind: str, rows: int, columns: int, planted: int, decay: float, noise: float) -> Decomposed:
    """Decompose an example matrix; shared by all sessions and written by none."""
    M = example_matrix(kind, rows, columns, planted=planted, decay=decay, noise=noise)
    found = fastest().svd(M)
    return Decomposed(M, found, spectrum_report(found))


def scene(
    kind: str, rows: int, columns: int, planted: int, decay: float, noise: float, *, rank: int
) -> RankScene:
    """Cut it at a rank; what exceeds the matrix's size, or a digit's pixels, counts as that."""
    columns = min(columns, PIXELS) if kind == "digits" else columns
    M, found, report = decomposed(kind, rows, columns, planted, decay, noise)
    return rank_scene(M, found, report, rank=min(rank, *M.shape))
