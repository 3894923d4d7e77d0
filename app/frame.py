"""The frame that every room shares: heading, prediction, picture with table, equation card, code that ran, link.

A room reads: `heading`, `predict`, controls inside `controls()`, numbers, at most three `show`, `equations`, `ending`.
Every control carries `key=` and `bind=URL`, so a link restores it, and what a link says is refused where it is not
one of the control's values.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from lora_np.equations import equation
from lora_np.figures.chart import Chart, csv_text, in_seconds

URL = "query-params"  # bind=URL: the control's value stands in the address
TAGS = {"measured": "green", "computed": "blue", "quoted": "violet"}
PLOTLY = {"displaylogo": False, "toImageButtonOptions": {"format": "png", "scale": 2}}


def heading(title: str, question: str) -> None:
    """Open a room: its name and the question it answers."""
    st.title(title, anchor=False)
    st.markdown(f"**{question}**")


def tag(kind: str, source: str = "") -> str:
    """Say in Markdown where a number comes from: measured here, computed by formula, or quoted from a source."""
    return f":{TAGS[kind]}-badge[{kind}{': ' + source if source else ''}]"


def controls() -> Any:
    """Make the box that holds a room's controls."""
    return st.container(border=True)


def choose(label: str, options: list[Any], *, default: Any, key: str, help: str | None = None) -> Any:
    """Offer a few words of which one holds.

    The words are shown as they stand in the link: a format_func would change the link.  An empty value in a link
    leaves the control without a choice, required or not: then the default holds.
    """
    chosen = st.segmented_control(
        label, options, default=default, required=True, key=key, bind=URL, help=help
    )
    return default if chosen is None else chosen


def predict(
    question: str,
    options: list[str],
    *,
    answer: str,
    because: str,
    key: str,
    see: tuple[str, dict[str, str]] | None = None,
) -> None:
    """Ask for a guess; once it is made, say what is so and why, and offer to set the controls to `see` it.

    `see` is a page and its controls' values.  The guess stays in the session, out of the link.
    """
    with st.container(border=True):
        guess = st.segmented_control(f"**Predict first.** {question}", options, key=key)
        if guess is not None:
            st.markdown(f"**{'Right' if guess == answer else f'It is “{answer}”'}.** {because}")
            if see is not None:
                st.page_link(
                    see[0], label="Set the controls to it", icon=":material/tune:", query_params=see[1]
                )


def numbers(*rows: tuple[str, str, str]) -> None:
    """Show key figures side by side: (name, value, tag)."""
    with st.container(horizontal=True):
        for name, value, kind in rows:
            st.metric(f"{name} {tag(kind)}", value, border=True, width="content")


def show(chart: Chart, *, key: str, kind: str = "computed", source: str = "") -> None:
    """Show a picture, what it shows in one sentence, and its numbers as table and CSV."""
    st.plotly_chart(chart.figure, key=key, theme="streamlit", config=PLOTLY, alt=chart.alt)
    st.caption(f"{tag(kind, source)} {chart.alt}")
    with st.expander("The numbers in this picture"):
        st.dataframe(chart.table, hide_index=True, alt=f"Table: {chart.alt}")
        st.download_button(
            "CSV", csv_text(chart.table), f"{key}.csv", "text/csv", key=f"{key}_csv", on_click="ignore"
        )


def equations(*keys: str) -> None:
    """Show equations as a card: the formula in the chosen form, what it says, and its source."""
    st.subheader("The equations", anchor=False)
    form = choose(
        "Written as in",
        ["paper", "row"],
        default="paper",
        key="form",
        help="paper: W₀ x, columns. row: x W₀, rows. The same thing: every matrix is the other's transpose.",
    )
    for key in keys:
        entry = equation(key)
        with st.container(border=True):
            st.latex(entry.latex_row if form == "row" else entry.latex)
            st.markdown(f"{entry.words} :small[:gray[{entry.source} · `{entry.key}`]]")


def ending(*functions: Callable[..., Any], seconds: float | None = None, **state: object) -> None:
    """Close a room: the source of the functions that ran, and the link that restores the controls."""
    st.subheader("The code that ran", anchor=False)
    for function in functions:
        with st.expander(f"`{function.__module__}.{function.__qualname__}`"):
            st.code(inspect.getsource(function), language="python")
    with st.expander("A link to this very state"):
        st.code(link(**state), language=None, wrap_lines=True)
    if seconds is not None:
        st.caption(f"{tag('measured')} This page's numbers took {in_seconds(seconds)} of computing here.")


def link(**state: object) -> str:
    """Write the address that opens this room with these controls."""
    address = (st.context.url or "/").split("?")[0]
    told = {key: str(value).lower() if isinstance(value, bool) else value for key, value in state.items()}
    return f"{address}?{urlencode(told, doseq=True)}"


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Measure the seconds spent inside; call what it gives, afterwards, to read them."""
    start, end = perf_counter(), 0.0
    try:
        yield lambda: end - start
    finally:
        end = perf_counter()
