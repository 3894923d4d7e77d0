"""Methods: every method beside LoRA on one layer, and the lines that differ."""

import re

import streamlit as st

from app.logic.engine import fastest
from lora_np.conformance.published import results
from lora_np.figures.listing_scene import PARTS, difference, equations_of, own_lines, part_of, taken_over
from lora_np.figures.methods_scene import D, K, MethodRow, departures_of, methods_scene, reached_rank, trained
from lora_np.methods import METHODS, method

NAMES = list(METHODS)
SIDES = [64, 128, 256, 512, 768, 1024, 2048, 4096, 8192]
RANKS = [1, 2, 4, 8]  # the rank is measured on a small layer of 24 x 32, whose sizes they divide
CODE = {
    "lines": (difference, own_lines),
    "trained": (trained,),
    "rank": (reached_rank,),
}
__all__ = [
    "CODE",
    "LINES",
    "NAMES",
    "RANK",
    "RANKS",
    "SIDES",
    "TRAINED",
    "D",
    "K",
    "about",
    "departures_of",
    "differing",
    "equations_of",
    "lacking",
    "plain",
    "released",
    "row_of",
    "scene",
    "taken_over",
]

LINES = """
from lora_np.figures.listing_scene import own_lines
from lora_np.methods import METHODS

lines = [sum(own_lines(name).values()) for name in METHODS]
numbers = {"method": list(METHODS), "lines in all": lines}
print(numbers)
"""
TRAINED = """
from lora_np.figures.methods_scene import trained
from lora_np.methods import METHODS

counts = [trained(name, d=d, k=k, rank=rank) for name in METHODS]
numbers = {"method": list(METHODS), "trained numbers": counts}
print(numbers)
"""
RANK = """
import numpy as np
from lora_np.figures.methods_scene import increment
from lora_np.methods import METHODS, method

numbers = {"method": [name for name in METHODS if hasattr(method(name), "merge")], "rank": []}
for name in numbers["method"]:
    delta_W = increment(name, np.random.default_rng(0), rank=rank)  # merged weight - W0, drawn at random
    sigma = np.linalg.svd(delta_W, compute_uv=False)
    numbers["rank"].append(int((sigma > 1e-9 * sigma[0]).sum()))
print(numbers)
"""


@st.cache_resource(max_entries=64, show_spinner=False)
def scene(d: int, k: int, rank: int) -> tuple[MethodRow, ...]:
    """Set every method beside LoRA: a fifth of a second the first time; written by none."""
    return methods_scene(d, k, rank, decompose=fastest().svd)


def row_of(rows: tuple[MethodRow, ...], name: str) -> MethodRow:
    """Find a method's row."""
    return next(row for row in rows if row.name == name)


def differing(name: str, *, checks: bool) -> dict[str, str]:
    """List the parts that a method does not take from LoRA, each as a diff."""
    return {
        part: "\n".join(lines)
        for part in PARTS
        if part_of(name, part) is not None and (lines := difference(name, part, checks=checks))
    }


def lacking(name: str) -> list[str]:
    """List the parts that LoRA has and a method has not."""
    return [part for part in PARTS if part_of("lora", part) is not None and part_of(name, part) is None]


def about(name: str) -> str:
    """Say what a method is, in the first line of its file."""
    return (method(name).__doc__ or "").split("  Floor")[0]


@st.cache_data(show_spinner=False)
def released() -> str:
    """Name the release of PEFT that the departures were found in."""
    return next(one.versions["peft"] for one in results().implementations if one.target == "peft")


def plain(text: str) -> str:
    """Write text so that Markdown shows it as it stands."""
    return re.sub(r"([\\`*_\[\]$<>#~:])", r"\\\1", text)
