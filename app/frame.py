"""The frame that every room shares: heading, prediction, controls, numbers, pictures with their cards, lesson, link.

A room reads: `heading`, `predict`, controls inside `controls()`, `presets`, `numbers`, at most three `show`, `lesson`,
`ending`.  Every control carries `key=` and `bind=URL`, so a link restores it, and what a link says is refused where
it is not one of the control's values.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from time import perf_counter
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from app.rooms import Room, room
from lora_np.equations import equation
from lora_np.equations.symbols import SYMBOLS
from lora_np.equations.typeset import in_lines
from lora_np.figures.chart import Chart, csv_text, in_seconds

URL = "query-params"  # bind=URL: the control's value stands in the address
TAGS = {"measured": "green", "computed": "blue", "quoted": "violet"}
PLOTLY = {"displaylogo": False, "toImageButtonOptions": {"format": "png", "scale": 2}}
STYLES = Path(__file__).parent / "styles"
LARGE_IN_PICTURES = 18
AT_ONCE = 2  # equations on a card; more would be longer than the picture beside them
INK = {"light": "#31333F", "dark": "#FAFAFA"}  # the page's own; plotly's default is too pale to read


# ---- the page ------------------------------------------------------------------------------------------------


def style() -> None:
    """Set how the page looks: its layout, contrast in its scheme, and a classroom's large letters."""
    scheme = str(st.context.theme.type)
    for name in ("page", *([scheme] if scheme in INK else []), *(["large"] if teaching() else [])):
        st.html(STYLES / f"{name}.css")


def teaching() -> bool:
    """Tell whether the teacher's mode is on: large letters, and no answer before it is asked for."""
    return on("teacher")


def on(toggle: str) -> bool:
    """Tell whether a way of reading is chosen; before its toggle is drawn, the link says it."""
    return bool(st.session_state.get(toggle, st.query_params.get(toggle) == "true"))


def row_form() -> bool:
    """Tell whether equations are read as rows times matrices."""
    return st.session_state.get("form") == "row"


def heading(title: str, question: str) -> None:
    """Open a room: its name, the question it answers, and how it wants to be read."""
    st.title(title, anchor=False)
    st.markdown(f"**{question}**")
    reading()


def reading() -> None:
    """Offer the ways to read a room: the form of its equations, their shapes, the teacher's mode."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        choose(
            "Equations as in",
            ["paper", "row"],
            default="paper",
            key="form",
            help="paper: W₀ x, columns. row: x W₀, rows. The same thing: every weight is the other's transpose.",
        )
        st.toggle("Shapes", key="shapes", bind=URL, help="Say what each letter is, and its size here.")
        st.toggle(
            "Teacher", key="teacher", bind=URL, help="Large letters; answers wait until they are revealed."
        )
    style()


def reading_state() -> dict[str, str]:
    """Give the ways of reading that are not the default, for links that keep them."""
    toggles = {name: "true" for name in ("shapes", "teacher") if on(name)}
    return toggles | ({"form": "row"} if row_form() else {})


def tag(kind: str, source: str = "") -> str:
    """Say in Markdown where a number comes from: measured here, computed by formula, or quoted from a source."""
    return f":{TAGS[kind]}-badge[{kind}{': ' + source if source else ''}]"


# ---- controls ------------------------------------------------------------------------------------------------


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


def choose_page(label: str, options: list[str], *, key: str, drops: Sequence[str] = ()) -> str:
    """Offer the pages of a book, of which the link names one; another choice rewrites the link, without `drops`.

    The link alone decides: so that links within the room can turn pages, too, which a bound control does not follow.
    """

    def turn() -> None:
        st.query_params[key] = st.session_state[f"{key}_page"]
        for other in drops:
            st.query_params.pop(other, None)

    said = st.query_params.get(key)
    page = said if said in options else options[0]
    if said is not None:
        st.query_params[key] = page  # a link within a room reaches its address no other way
    st.session_state[f"{key}_page"] = page
    st.segmented_control(label, options, required=True, key=f"{key}_page", on_change=turn)
    return page


def presets(view: str, states: Mapping[str, Mapping[str, str]]) -> None:
    """Offer states worth seeing as links, by name: in the open for a teacher, folded away for others."""
    with (
        st.container(horizontal=True)
        if teaching()
        else st.popover("Worth a look", icon=":material/bookmark:")
    ):
        for name, state in states.items():
            st.page_link(view, label=name, icon=":material/tune:", query_params={**reading_state(), **state})


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

    `see` is a page and its controls' values.  The guess stays in the session, out of the link.  In the teacher's mode
    the answer waits for a second press.
    """
    with st.container(border=True):
        guess = st.segmented_control(f"**Predict first.** {question}", options, key=key)
        if guess is None or not revealed("the answer", key=f"{key}_reveal"):
            return
        st.markdown(f"**{'Right' if guess == answer else f'It is “{answer}”'}.** {because}")
        if see is not None:
            state = {**reading_state(), **see[1]}
            st.page_link(see[0], label="Set the controls to it", icon=":material/tune:", query_params=state)


def revealed(what: str, *, key: str) -> bool:
    """Tell whether `what` may be shown: always, but for the teacher, who presses first."""
    return not teaching() or st.toggle(f"Reveal {what}", key=key)


def lesson(text: str) -> None:
    """Say what there was to see."""
    with st.container(border=True):
        if revealed("what you should see", key="lesson_reveal"):
            st.markdown(f"**What you should see.** {text}")


# ---- numbers and pictures ------------------------------------------------------------------------------------


def numbers(*rows: tuple[str, str, str]) -> None:
    """Show key figures side by side: (name, value, tag)."""
    with st.container(horizontal=True):
        for name, value, kind in rows:
            st.metric(f"{name} {tag(kind)}", value, border=True, width="content")


def show(
    chart: Chart,
    *,
    key: str,
    kind: str = "computed",
    source: str = "",
    equations: Sequence[str] = (),
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    code: Sequence[Callable[..., Any]] = (),
    snippet: str = "",
) -> None:
    """Show a picture and one sentence that says what it shows; beside it the card: equation, code, numbers, snippet.

    `shapes` gives the sizes of letters, by their LaTeX, in the paper's form; `snippet` is a script that computes the
    picture's numbers again with `lora_np` alone and leaves them in `numbers`, by the names of the table's columns.
    """
    picture, card = st.columns([5, 3], gap="medium")
    with picture:
        draw(chart, key=key, said=f"{tag(kind, source)} {chart.alt}")
    with card:
        names = {"Equation": equations, "Code": code, "Numbers": chart.table, "Take along": snippet}
        tabs = [name for name, content in names.items() if content]
        for name, tab in zip(tabs, st.tabs(tabs), strict=True):
            with tab:
                if name == "Equation":
                    equation_card(equations, shapes or {})
                elif name == "Code":
                    code_card(code)
                elif name == "Numbers":
                    table_card(chart, key=key)
                else:
                    snippet_card(snippet, key=key)


def draw(chart: Chart, *, key: str, said: str = "") -> None:
    """Draw a picture, and under it what is said of it: its own sentence, if nothing else."""
    inked(chart)
    st.plotly_chart(chart.figure, key=key, theme="streamlit", config=PLOTLY, alt=chart.alt)
    st.markdown(f":small[{said or chart.alt}]")


def inked(chart: Chart) -> None:
    """Write a picture's letters in this page's ink, and for a classroom larger."""
    ink, size = INK.get(str(st.context.theme.type)), LARGE_IN_PICTURES if teaching() else None
    chart.figure.update_layout(font={"color": ink, "size": size}, legend_font_color=ink)
    chart.figure.update_xaxes(title_font_color=ink, tickfont_color=ink)
    chart.figure.update_yaxes(title_font_color=ink, tickfont_color=ink)


def equation_card(keys: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Show equations: each formula in the chosen form, what it says, its source; and the letters' sizes if wanted."""
    for key in keys[:AT_ONCE]:
        equation_line(key)
    if keys[AT_ONCE:]:
        with st.expander("More of its equations"):
            for key in keys[AT_ONCE:]:
                equation_line(key)
    if shapes and on("shapes"):
        lines = [letter_line(latex, sizes) for latex, sizes in shapes.items()]
        st.markdown("\n".join(lines))


def equation_line(key: str) -> None:
    """Show one equation: the formula, what it says, its source."""
    entry = equation(key)
    st.latex(in_lines(entry.latex_row if row_form() else entry.latex))
    st.markdown(f"{entry.words} :small[{entry.source} · `{entry.key}`]")


def letter_line(latex: str, sizes: tuple[int, ...]) -> str:
    """Say in Markdown what a letter is and how large it is here."""
    symbol = SYMBOLS[latex]
    size = " × ".join(f"{n:,}" for n in symbol.shape(sizes, row_form=row_form()))
    return f"- ${latex}$ {f'is **{size}**: ' if symbol.axes else f'= **{size}**: '}{symbol.words}"


def code_card(functions: Sequence[Callable[..., Any]]) -> None:
    """Show the source of functions that ran."""
    for function in functions:
        st.markdown(f":small[`{function.__module__}.{function.__qualname__}`]")
        st.code(inspect.getsource(function), language="python", wrap_lines=True)


def table_card(chart: Chart, *, key: str) -> None:
    """Show the numbers in a picture and offer them as CSV."""
    st.dataframe(chart.table, hide_index=True, alt=f"Table: {chart.alt}")
    st.download_button(
        "CSV", csv_text(chart.table), f"{key}.csv", "text/csv", key=f"{key}_csv", on_click="ignore"
    )


def snippet_card(snippet: str, *, key: str) -> None:
    """Show the script that computes the picture's numbers anywhere, and offer it as a file."""
    st.markdown(":small[Runs anywhere with `lora_np` installed, and gives this picture's numbers.]")
    st.code(snippet, language="python", wrap_lines=True)
    st.download_button("Python", snippet, f"{key}.py", "text/x-python", key=f"{key}_py", on_click="ignore")


def script(body: str, **values: object) -> str:
    """Write a snippet: the values of this state first, as assignments, then what is done with them.

    >>> print(script("print(rank + 1)", rank=4))
    rank = 4
    <BLANKLINE>
    print(rank + 1)
    """
    state = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    return f"{state}\n{dedent(body).strip()}"


# ---- the end of a room ---------------------------------------------------------------------------------------


def ending(*, seconds: float | None = None, **state: object) -> None:
    """Close a room: the link that restores the controls, and how long its numbers took."""
    with st.expander("A link to this very state", icon=":material/link:"):
        st.code(link(**state), language=None, wrap_lines=True)
    if seconds is not None:
        st.caption(f"{tag('measured')} This page's numbers took {in_seconds(seconds)} of computing here.")


def by_hand(here: Room) -> None:
    """Link a room to the lesson in which a student makes by hand what it shows."""
    if here.lesson:
        state = {**reading_state(), "lesson": here.lesson}
        label = f"Do it yourself: lesson {here.lesson}"
        st.page_link(room("lessons").view, label=label, icon=":material/stairs:", query_params=state)


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
