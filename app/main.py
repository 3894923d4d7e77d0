"""The table of rooms: who is where, and under which address."""

import sys
from pathlib import Path

import streamlit as st

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:  # `streamlit run app/main.py` puts only app/ itself there
    sys.path.insert(0, ROOT)

from app.logic.engine import warmed_up  # noqa: E402

ROOMS = [
    st.Page("views/home.py", title="Home", default=True),  # stays at /, whatever its own path would be
    st.Page("views/rank.py", title="Rank", url_path="rank"),
    st.Page("views/cost.py", title="Cost", url_path="cost"),
    st.Page("views/params.py", title="Parameters", url_path="params"),
    st.Page("views/prune.py", title="LoRAPrune", url_path="prune"),
]

warmed_up()
room = st.navigation(ROOMS, position="top")
st.set_page_config(page_title=f"{room.title} · lora_np", layout="wide")
st.html("<style>.stMainBlockContainer { padding-top: 4.5rem; }</style>")
room.run()
