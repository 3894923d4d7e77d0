"""Home: what LoRA is, in one sentence, one picture and one control; and the doors."""

import streamlit as st

from app import frame
from app.logic import home

SIDE = 768

st.title("LoRA in one picture", anchor=False)
st.markdown(
    "**LoRA teaches a trained model something new without touching its weights:** it freezes the big square **W₀** "
    "and trains two thin strips, **B** and **A**, whose product is added to it."
)

rank = st.select_slider(
    "Thickness of the strips: the rank r",
    home.RANKS,
    value=8,
    key="rank",
    bind=frame.URL,
    help="B has r columns and A has r rows. B·A is as large as W₀, but holds only r independent directions.",
)
record = home.layer(SIDE, SIDE, rank)
left, right = st.columns([3, 1], vertical_alignment="center")
with left:
    frame.show(home.picture(record), key="home_picture")
with right:
    frame.numbers(
        ("Frozen", f"{record.frozen:,}", "computed"),
        ("Trained", f"{record.trained:,}", "computed"),
        ("Share", record.share, "computed"),
    )
    st.caption(f"One square matrix of GPT-2 small, {SIDE} × {SIDE}. {record.verdict}")

st.subheader("Which door is yours?", anchor=False)
DOORS = [
    ("Student", "What is rank, and why can two strips stand for a square?", "Rank", "views/rank.py", {}),
    (
        "Teacher",
        "Each room asks the class to predict before it shows; each state is a link for your slides.",
        "Cost of the two forms",
        "views/cost.py",
        {},
    ),
    (
        "Practitioner",
        "Will it fit on my card, and what do I really save?",
        "Parameters and memory",
        "views/params.py",
        {"model": "llama-3-8b"},
    ),
    (
        "Implementer",
        "The code behind every picture, and which parts of a network may go.",
        "LoRAPrune",
        "views/prune.py",
        {},
    ),
]
for column, (who, why, name, page, query) in zip(st.columns(4), DOORS, strict=True):
    with column, st.container(border=True, height="stretch"):
        st.markdown(f"**{who}**")
        st.markdown(why)
        st.page_link(page, label=name, icon=":material/arrow_forward:", query_params=query)

frame.equations("lora-delta", "lora-fwd")
frame.ending(*home.CODE, rank=rank)
