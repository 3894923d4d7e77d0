"""Home: what LoRA is, in one sentence, one picture and one control; and the doors."""

import streamlit as st

from app import frame, tour
from app.logic.engine import fastest
from app.rooms import room
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
frame.numbers(
    ("Frozen", f"{layer.frozen:,}", "computed"),
    ("Trained", f"{layer.trained:,}", "computed"),
    ("Share", percent(layer.share), "computed"),
)
picture = st.container()  # filled last: how it is drawn is chosen below

st.header("Which door is yours?", anchor=False)
DOORS = (
    (
        "Student",
        "What is rank, and why can two strips stand for a square?",
        ("See what rank is", "rank", {}),
        ("Begin with lesson 01", "lessons", {}),
    ),
    (
        "Teacher",
        "The class predicts before a room shows; large letters, and answers that wait.",
        ("Train it, in teacher's mode", "train", {"teacher": "true"}),
        ("Project a lesson", "lessons", {"teacher": "true"}),
    ),
    (
        "Practitioner",
        "What is in my adapter, how much rank could go, what would merging lose?",
        ("Inspect an adapter", "inspect", {}),
    ),
    (
        "Implementer",
        "Is my port right? And what do the released ones compute?",
        ("Ask the oracle", "report", {}),
    ),
)
for column, (who, why, *ways) in zip(st.columns(4), DOORS, strict=True):
    with column, st.container(border=True, height="stretch"):
        st.markdown(f"**{who}**")
        st.markdown(why)
        for name, path, query in ways:
            st.page_link(room(path).view, label=name, icon=":material/arrow_forward:", query_params=query)
tour.begin("Or take the guided tour: five minutes, one sentence a stop")

frame.reading()
with picture:
    frame.show(
        increment_diagram(layer),
        key="home_picture",
        equations=("lora-delta", "lora-fwd"),
        shapes={"W_0": (SIDE, SIDE), "B": (SIDE, rank), "A": (rank, SIDE), "r": (rank,)},
        code=(forward,),
        snippet=frame.script(
            """
            import numpy as np
            from lora_np import init

            p = init(np.random.default_rng(0), d=side, k=side, rank=rank)
            numbers = {"numbers": [side * side, p.B.size, p.A.size]}
            print(numbers)
            """,
            side=SIDE,
            rank=rank,
        ),
    )
frame.ending(rank=rank)
st.caption(f"The rooms compute on this machine alone, with the {fastest().name} backend; nothing leaves it.")
