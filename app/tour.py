"""The guided tour: a chain of links, one sentence each, from what rank is to which units can go."""

from typing import NamedTuple

import streamlit as st

from app import frame
from app.rooms import room


class Stop(NamedTuple):
    """A stop: the room, the state of its controls, and what to look at."""

    path: str
    state: dict[str, str]
    sentence: str


STOPS = (
    Stop(
        "rank",
        {"kind": "exact"},
        "This matrix has 4,096 entries, and four directions hold all of it: that is rank.",
    ),
    Stop(
        "rank",
        {"kind": "identity", "r": "4"},
        "The identity is almost all zeros, and yet no direction can go.",
    ),
    Stop(
        "home",
        {"rank": "8"},
        "LoRA freezes the square and trains two strips, whose product has the strips' rank.",
    ),
    Stop(
        "grad",
        {"grad_of": "B", "grad_cell_B": "2,1"},
        "Training needs slopes: each cell of one is a short sum, made by hand.",
    ),
    Stop("train", {}, "Press Start: the loss falls, and the increment grows one direction after another."),
    Stop(
        "train",
        {"train_init": "both zero"},
        "Start both strips at zero instead, and no step ever leaves it: try.",
    ),
    Stop(
        "cost",
        {"tokens": "512"},
        "Through the strips, or build the weight first: the number of rows decides.",
    ),
    Stop(
        "params",
        {"model": "llama-7b"},
        "A thousand times fewer trained numbers: look at how much memory stays.",
    ),
    Stop("merge", {"merge_look": "swap"}, "One base and an adapter for each task: each is good at its own."),
    Stop(
        "prune",
        {"ratio": "0.5"},
        "And the strips' slopes tell which hidden units can go: here half of them do.",
    ),
)


def position() -> int | None:
    """Read which stop the link asks for, counted from one; None outside the tour."""
    said = st.query_params.get("tour", "")
    number = int(said) if said.isascii() and said.isdigit() and len(said) < 4 else 0
    return number if 1 <= number <= len(STOPS) else None


def step(number: int, label: str, icon: str) -> None:
    """Link to a stop."""
    stop = STOPS[number - 1]
    state = {**frame.reading_state(), **stop.state, "tour": str(number)}
    st.page_link(room(stop.path).view, label=label, icon=icon, query_params=state)


def begin(label: str) -> None:
    """Link to the first stop."""
    step(1, label, ":material/tour:")


def banner() -> None:
    """Say where the visitor is on the tour, what to look at, and where it goes on."""
    number = position()
    if number is None:
        return
    with st.container(border=True):
        st.markdown(f"**Stop {number} of {len(STOPS)}.** {STOPS[number - 1].sentence}")
        with st.container(horizontal=True):
            if number > 1:
                step(number - 1, "Back", ":material/arrow_back:")
            if number < len(STOPS):
                step(number + 1, "Next stop", ":material/arrow_forward:")
            else:
                st.page_link(room("home").view, label="End of the tour", icon=":material/flag:")
