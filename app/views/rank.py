"""Rank: what a low-rank stand-in keeps, and what it loses."""

import streamlit as st

from app import frame
from app.logic import rank
from lora_np.figures import rank as figures
from lora_np.figures.chart import percent

frame.heading(
    "Rank and factorization", "How much of a matrix survives when only r directions of it are kept?"
)
frame.predict(
    "A 64 × 64 identity matrix is almost all zeros. How much of its energy does a product of rank 4 keep?",
    ["about 6 %", "about 50 %", "about 94 %", "all of it"],
    answer="about 6 %",
    because="4 of 64 equal directions are kept: 4 / 64 = 6.25 %. Zeros say nothing about rank.",
    key="guess_rank",
    see=("views/rank.py", {"kind": "identity", "r": "4"}),
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
        r = st.slider("Rank r that is kept", 0, 128, 4, key="r", bind=frame.URL)
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

with frame.stopwatch() as seconds:
    scene = rank.scene(kind, rows, columns, planted, decay, noise, rank=r)
report = scene.report
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
frame.show(figures.triptych(scene.M, scene.B, scene.A, energy=scene.kept), key="rank_matrices")
left, right = st.columns(2)
with left:
    frame.show(
        figures.spectrum(
            report.sigma, rank=scene.rank, energy=scene.kept, effective_rank=report.effective_rank
        ),
        key="rank_spectrum",
    )
with right:
    frame.show(
        figures.error_curve(scene.least_errors, scene.measured, rank=scene.rank),
        key="rank_error",
        kind="measured",
    )
st.markdown(
    "**What you should see.** LoRA does not compress W₀: it stands for the *change* of W₀, and a change learned from "
    "one task often has a spectrum that falls off fast. The identity and the random matrix show what happens where it "
    "does not: no small rank will do. Below the break-even rank of "
    f"{report.break_even:.3g}, two factors hold fewer numbers than the matrix."
)
frame.equations("rank-factorization", "rank-truncation", "rank-eckart-young", "rank-energy")
frame.ending(
    *rank.CODE,
    seconds=seconds(),
    kind=kind,
    rows=rows,
    columns=columns,
    r=r,
    noise=noise,
    planted=planted,
    decay=decay,
)
