"""Rank: what a low-rank stand-in keeps, and what it loses."""

import streamlit as st

from app import frame
from app.logic import rank
from lora_np.figures import rank as figures
from lora_np.figures.chart import percent

HERE = "views/rank.py"
frame.heading(
    "Rank and factorization", "How much of a matrix survives when only r directions of it are kept?"
)
frame.predict(
    "A 64 × 64 identity matrix is almost all zeros. How much of its energy does a product of rank 4 keep?",
    ["about 6 %", "about 50 %", "about 94 %", "all of it"],
    answer="about 6 %",
    because="4 of 64 equal directions are kept: 4 / 64 = 6.25 %. Zeros say nothing about rank.",
    key="guess_rank",
    see=(HERE, {"kind": "identity", "r": "4"}),
)
with frame.controls():
    kind = frame.choose("Matrix", list(rank.KINDS), default="decay", key="kind")
    st.caption(f"Here: {rank.KINDS[kind]}.")
    first, second, third, fourth = st.columns(4)
    with first:
        rows = st.select_slider("Rows", rank.SIDES, value=64, key="rows", bind=frame.URL)
    with second:
        columns = st.select_slider("Columns", rank.SIDES, value=64, key="columns", bind=frame.URL)
    with third:
        r = st.slider("Rank r that is kept", 0, rank.SIDES[-1], 4, key="r", bind=frame.URL)
    with fourth:
        noise = st.slider("Noise added", 0.0, 1.0, 0.0, 0.05, key="noise", bind=frame.URL)
    if kind == "exact":
        planted = st.slider("Rank k of the exact product", 1, 64, 4, key="planted", bind=frame.URL)
    else:
        planted = 4
    if kind == "decay":
        decay = st.slider(
            "Decay: σᵢ falls as i to the power −p, p =", 0.0, 3.0, 1.0, 0.1, key="decay", bind=frame.URL
        )
    else:
        decay = 1.0
frame.presets(
    HERE,
    {
        "Four directions hold all of it": {"kind": "exact", "planted": "4", "r": "4"},
        "One direction too few": {"kind": "exact", "planted": "4", "r": "3"},
        "Noise gives it full rank": {"kind": "exact", "planted": "4", "r": "4", "noise": "0.3"},
        "Almost all zeros, full rank": {"kind": "identity", "r": "32"},
        "Handwritten digits": {"kind": "digits", "rows": "128", "columns": "64", "r": "10"},
    },
)

with frame.stopwatch() as seconds:
    scene = rank.scene(kind, rows, columns, planted, decay, noise, rank=r)
report, state = scene.report, rank.drawn(kind, rows, columns, planted, decay, noise)
(m, n), q = scene.M.shape, report.sigma.size
frame.numbers(
    ("Rank of the matrix", f"{report.rank}", "computed"),
    ("Energy kept", percent(scene.kept), "computed"),
    (
        "Numbers in B and A",
        f"{rank.factored_size(*scene.M.shape, scene.rank):,} of {scene.M.size:,}",
        "computed",
    ),
    ("Entries that are zero", f"{scene.zeros:,}", "measured"),
)
if kind == "digits" and columns > rank.PIXELS:
    st.caption(f"A digit has {rank.PIXELS} pixels, so there are {rank.PIXELS} columns.")
if scene.rank < r:
    st.caption(f"The matrix has only {scene.rank} directions, so r = {r} counts as {scene.rank}.")
frame.show(
    figures.triptych(scene.M, scene.B, scene.A, energy=scene.kept),
    key="rank_matrices",
    equations=("rank-svd", "rank-truncation"),
    shapes={"M": (m, n), "U": (m, q), "V": (n, q), "r": (scene.rank,)},
    code=rank.CODE["matrices"],
    snippet=frame.script(rank.CUT, **state, r=scene.rank),
)
frame.show(
    figures.spectrum(report.sigma, rank=scene.rank, energy=scene.kept, effective_rank=report.effective_rank),
    key="rank_spectrum",
    equations=("rank-energy", "rank-effective"),
    shapes={"r": (scene.rank,)},
    code=rank.CODE["spectrum"],
    snippet=frame.script(rank.DIRECTIONS, **state, r=scene.rank),
)
frame.show(
    figures.error_curve(scene.least_errors, scene.measured, rank=scene.rank),
    key="rank_error",
    kind="measured",
    equations=("rank-eckart-young",),
    shapes={"M": (m, n), "r": (scene.rank,)},
    code=rank.CODE["error"],
    snippet=frame.script(rank.ERRORS, **state),
)
frame.lesson(
    "A direction is one pattern of rows times one pattern of columns; the rank is how many of them a matrix needs. "
    "LoRA does not compress the frozen weight W₀: it stands for the *change* of W₀, and a change learned from one task "
    "often has a spectrum that falls off fast, so a few directions hold most of it. The identity and the random matrix "
    "show what happens where it does not: no small rank will do. Two strips save numbers only below the break-even "
    f"rank, which is {report.break_even:.3g} here."
)
frame.ending(
    seconds=seconds(),
    kind=kind,
    rows=rows,
    columns=columns,
    r=r,
    noise=noise,
    planted=planted,
    decay=decay,
)
