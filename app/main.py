"""The entry: the menu, the guided tour's banner, and the room that was asked for."""

import sys
from pathlib import Path

import streamlit as st

ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:  # `streamlit run app/main.py` puts only app/ itself there
    sys.path.insert(0, ROOT)

from app import frame, tour  # noqa: E402
from app.logic.engine import warmed_up  # noqa: E402
from app.rooms import ROOMS  # noqa: E402

MENU: dict[str, list[object]] = {}
for room in ROOMS:  # the first stays at /, whatever its own path would be
    page = st.Page(room.view, title=room.title, url_path=room.path, default=room is ROOMS[0])
    MENU.setdefault(room.group, []).append(page)

warmed_up()
chosen = st.navigation(MENU, position="top")
st.set_page_config(page_title=f"{chosen.title} · lora_np", layout="wide")
tour.banner()
chosen.run()
frame.by_hand(next(room for room in ROOMS if room.address == chosen.url_path))
