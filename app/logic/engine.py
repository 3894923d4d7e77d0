"""The backend that the rooms compute with, and its warming up."""

import threading

import numpy as np
import pandas  # noqa: F401  whole, before the pictures of two first visitors look for it at once
import streamlit as st

from lora_np.backends import best_backend

fastest = best_backend


@st.cache_resource(show_spinner=False)
def warmed_up() -> threading.Thread:
    """Load the compiled kernels once per server, beside the first page: no visitor waits for them."""
    thread = threading.Thread(target=_touch, name="warm-up", daemon=True)
    thread.start()
    return thread


def _touch() -> None:
    """Run the kernels that a room needs at once, on a matrix of four numbers, and read the shipped network."""
    from app.logic import prune  # takes a second: not while the first page waits

    fastest().svd(np.eye(2))
    prune.run()
