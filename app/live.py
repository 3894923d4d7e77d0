"""A live run: a generator that goes on a slice at a time while somebody looks, and that can be held, stepped, reset.

What it has yielded so far is kept; what it returns is its outcome.  A change of what it is about puts a fresh run in
its place, held at its first item.  Nothing but the buttons sets it going, and visitors take turns by slices.
"""

import functools
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import streamlit as st
from threadpoolctl import ThreadpoolController

from app.frame import stopwatch
from app.work import SLICE_SECONDS, TURN

PAUSE_SECONDS = 0.2  # between two looks


@functools.cache
def libraries() -> ThreadpoolController:
    """Find the libraries whose threads would fight over small products; looking for them takes long, so once."""
    return ThreadpoolController()


@dataclass(eq=False)
class Live:
    """A run: what it is about, what it has yet to yield, what was seen of it, and whether it goes."""

    about: Hashable
    items: Generator[Any, None, Any]
    seen: list[Any] = field(default_factory=list)
    going: bool = False
    over: bool = False
    outcome: Any = None
    seconds: float = 0.0  # of the last slice

    def advance(self, at_most: int) -> None:
        """Go on by one slice: at most so many items, and no longer than a slice lasts; at least one item."""
        with TURN, libraries().limit(limits=1), stopwatch() as seconds:
            end = perf_counter() + SLICE_SECONDS
            for _ in range(at_most):
                try:
                    self.seen.append(next(self.items))
                except StopIteration as ended:
                    self.going, self.over, self.outcome = False, True, ended.value
                    break
                if perf_counter() > end:
                    break
        self.seconds = seconds()


def live(key: str, about: Hashable, begin: Callable[[], Generator[Any, None, Any]]) -> Live:
    """Find the session's run; make a fresh one, held at its first item, where there is none about this."""
    run: Live | None = st.session_state.get(key)
    if run is None or run.about != about:
        run = st.session_state[key] = Live(about, begin())
        run.advance(1)
    return run


def buttons(run: Live, key: str, *, step_help: str) -> None:
    """Offer to start or hold the run, to go one item on, and to begin anew."""
    if run.going:
        st.button("Pause", key=f"{key}_pause", icon=":material/pause:", on_click=go, args=(run, False))
    else:
        st.button(
            "Start",
            key=f"{key}_start",
            type="primary",
            icon=":material/play_arrow:",
            disabled=run.over,
            on_click=go,
            args=(run, True),
        )
    st.button(
        "Step",
        key=f"{key}_step",
        icon=":material/skip_next:",
        disabled=run.going or run.over,
        help=step_help,
        on_click=run.advance,
        args=(1,),
    )
    st.button("Reset", key=f"{key}_reset", icon=":material/restart_alt:", on_click=reset, args=(key,))


def go(run: Live, going: bool) -> None:
    """Set the run going, or hold it."""
    run.going = going and not run.over


def reset(key: str) -> None:
    """Drop the run: the next look makes a fresh one."""
    st.session_state.pop(key, None)


def watched(run: Live, draw: Callable[[], None], *, at_most: int) -> None:
    """Draw what was seen; while the run goes, go on and draw again, and draw the whole room when it ends."""

    def look() -> None:
        if run.going:
            run.advance(at_most)
            if not run.going:
                st.rerun()
        draw()

    st.fragment(look, run_every=PAUSE_SECONDS if run.going else None)()
