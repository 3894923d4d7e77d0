"""Which matrices, which rank: the shipped runs, read once; and the small grid again, while somebody watches."""

import functools

import streamlit as st

from app.live import libraries
from app.logic.engine import fastest
from app.work import Steps
from lora_np.figures.subspace_scene import (
    BUDGETS,
    FACTORS,
    OTHERS,
    PhiScene,
    Strength,
    at_budget,
    before,
    by_rank,
    increment,
    of_the_grid,
    phi_scene,
    rerun,
    same_again,
    strengths,
    told,
)
from lora_np.figures.subspace_words import better_of, means_of, on_matrices, on_ranks, on_sharing, on_strength
from lora_np.nn import attention, transformer
from lora_np.subspace import amplification, similarity_grid
from lora_np.training.experiments import matrices
from lora_np.training.experiments.matrices import ADAPTING, LIVE_STEPS, RANKS, SEEDS, SETS, Shipped

MATRICES = ["q", "v"]
GUESSES = {"q": "on q", "v": "on v", "": "no difference"}
NAMES = {told(name): name for name in SETS}
TRAINING = (transformer.forward, attention.forward, matrices.adapting)
SHARING, STRENGTH = (similarity_grid,), (amplification, increment)
__all__ = [
    "ADAPTING",
    "BUDGETS",
    "FACTORS",
    "GUESSES",
    "LIVE_STEPS",
    "MATRICES",
    "NAMES",
    "OTHERS",
    "RANKS",
    "SEEDS",
    "SETS",
    "SHARING",
    "STRENGTH",
    "TRAINING",
    "again",
    "at_budget",
    "before",
    "better_of",
    "by_rank",
    "means_of",
    "of_the_grid",
    "on_matrices",
    "on_ranks",
    "on_sharing",
    "on_strength",
    "phi",
    "same_again",
    "shipped",
    "strength",
    "told",
]


@functools.cache  # 400 kB, for all visitors; nobody writes into it
def shipped() -> Shipped:
    """Read the runs that ship."""
    return matrices.read()


@st.cache_resource(max_entries=128, show_spinner=False)
def phi(matrix: str, factor: str, rank: int, other: str, other_rank: int) -> PhiScene:
    """Compare two factors."""
    return phi_scene(shipped(), matrix, factor, rank, other=other, other_rank=other_rank)


@st.cache_resource(max_entries=4, show_spinner=False)
def strength(matrix: str) -> list[Strength]:
    """Measure a matrix's increments of every rank."""
    return strengths(shipped(), matrix, decompose=fastest().svd)


def again() -> Steps:
    """Begin to train the small grid again, each step on one thread: several would wait for each other."""
    steps = rerun(shipped())
    while True:
        with libraries().limit(limits=1):
            try:
                said = next(steps)
            except StopIteration as ended:
                return ended.value
        yield said
