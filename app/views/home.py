"""Home: what LoRA is, in one sentence, one picture and one control; and the doors."""

import streamlit as st

from app import frame
from app.logic.engine import fastest
from lora_np.figures.chart import percent
from lora_np.figures.diagram import Layer, increment_diagram
from lora_np.lora import forward

SIDE = 768
RANKS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512]

st.title("LoRA in one picture", anchor=False)
st.markdown(
    "**LoRA teaches a trained model something new without touching its weights:** it freezes the big square **W₀** "
    "and trains two thin strips, **B** and **A**, whose product is added to it."
)

rank = st.select_slider(
    "Thickness of the strips: the rank r",
    RANKS,
    value=8,
    key="rank",
    bind=frame.URL,
    help="B has r columns and A has r rows. B·A is as large as W₀, but holds only r independent directions.",
)
layer = Layer(SIDE, SIDE, rank)
left, right = st.columns([3, 1], vertical_alignment="center")
with left:
    frame.show(increment_diagram(layer), key="home_picture")
with right:
    frame.numbers(
        ("Frozen", f"{layer.frozen:,}", "computed"),
        ("Trained", f"{layer.trained:,}", "computed"),
        ("Share", percent(layer.share), "computed"),
    )
    outcome = (
        "fewer numbers than the square."
        if layer.saves
        else "as many numbers as the square: nothing is saved."
    )
    st.caption(f"One square matrix of GPT-2 small, {SIDE} × {SIDE}. The strips hold {outcome}")

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
        "Hold your port against the equations with `lora-np verify`; the code stands under every picture.",
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
frame.ending(forward, rank=rank)
st.caption(f"The rooms compute on this machine alone, with the {fastest().name} backend; nothing leaves it.")
