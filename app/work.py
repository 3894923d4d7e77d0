"""Long work in slices: a button that starts it, a bar that shows it, and a button that ends it.

The work is a generator of (share done, words); what it returns is the result.  It advances a slice at a time inside
a fragment, so the rest of the room stays alive and the visitor can leave; visitors take turns by slices, so many of
them slow each other down and nothing more.  No thread ever touches the page.
"""

import threading
from collections.abc import Callable, Generator, Hashable
from time import perf_counter
from typing import Any, NamedTuple

import streamlit as st
from threadpoolctl import threadpool_limits

SLICE_SECONDS = 0.1
PAUSE_SECONDS = 0.05  # between two slices of one visitor
TURN = threading.Lock()

Steps = Generator[tuple[float, str], None, Any]


class Job(NamedTuple):
    """Work under way: what it is about, and the generator that does it."""

    about: Hashable
    steps: Steps


class Done(NamedTuple):
    """Work that ended: what it was about, and what came out."""

    about: Hashable
    result: Any


def work(
    label: str,
    begin: Callable[[], Steps],
    *,
    key: str,
    about: Hashable,
    disabled: bool = False,
    help: str | None = None,
) -> Any:
    """Offer to start the work; while it goes, show the bar and the way out; afterwards, return the result.

    None stands for no result yet.  `about` is the state of the room that the result belongs to: another state drops
    both the work and the result.
    """
    job: Job | None = st.session_state.get(f"{key}_job")
    if job is not None and job.about != about:
        job = stop(key)
    if job is None:
        st.button(
            label,
            key=f"{key}_start",
            type="primary",
            disabled=disabled,
            help=help,
            on_click=start,
            args=(key, about, begin),
        )
    else:
        st.fragment(advance, run_every=PAUSE_SECONDS)(key)
    done: Done | None = st.session_state.get(f"{key}_done")
    return done.result if done is not None and done.about == about else None


def start(key: str, about: Hashable, begin: Callable[[], Steps]) -> None:
    """Put the work under way."""
    st.session_state.pop(f"{key}_done", None)
    st.session_state[f"{key}_job"] = Job(about, begin())
    st.session_state[f"{key}_shown"] = (0.0, "Starting …")


def stop(key: str) -> None:
    """End the work where it stands."""
    job = st.session_state.pop(f"{key}_job", None)
    if job is not None:
        job.steps.close()


def advance(key: str) -> None:
    """Do one slice and show how far it got; at the end, keep the result; ended or cancelled, draw the whole room."""
    job: Job | None = st.session_state.get(f"{key}_job")
    if job is None:
        st.rerun()
    share, words = st.session_state[f"{key}_shown"]
    bar = st.progress(min(share, 1.0), words)
    st.button("Cancel", key=f"{key}_cancel", on_click=stop, args=(key,))
    try:
        share, words = one_slice(job.steps)
    except StopIteration as ended:
        st.session_state[f"{key}_done"] = Done(job.about, ended.value)
        del st.session_state[f"{key}_job"]
        st.rerun()
    st.session_state[f"{key}_shown"] = (share, words)
    bar.progress(min(share, 1.0), words)


def one_slice(steps: Steps) -> tuple[float, str]:
    """Go on for as long as a slice lasts, one step at least; give the last thing said."""
    end = perf_counter() + SLICE_SECONDS
    with TURN, threadpool_limits(1):  # many visitors share the cores already
        said = next(steps)
        while perf_counter() < end:
            said = next(steps)
    return said
