"""Methods: every method of the package as the few lines that differ from LoRA's."""

import streamlit as st

from app import frame
from app.logic import methods
from lora_np.figures import methods as figures

frame.heading("Methods", "DoRA, PiSSA, VeRA, LoHa …: how much of each is new, and what does it buy?")
frame.predict(
    "LoHa with r = 4 trains as many numbers as LoRA with r = 8. What rank can its increment reach?",
    ["4", "8", "16", "64"],
    answer="16",
    because="It multiplies two matrices of rank 4 entry by entry, and then the ranks multiply: 4 · 4 = 16. More rank "
    "from the same count is not more freedom: the numbers that can be chosen are still as many.",
    key="guess_methods",
    see=("views/methods.py", {"variant": "loha", "variant_rank": "4"}),
)
with frame.controls():
    first, second = st.columns(2)
    with first:
        name = st.selectbox(
            "Method", methods.NAMES, methods.NAMES.index("vera"), key="variant", bind=frame.URL
        )
        st.caption(methods.about(name))
    with second:
        rank = st.select_slider(
            "Rank r",
            methods.RANKS,
            value=4,
            key="variant_rank",
            bind=frame.URL,
            help="Adapters take it as the width of their bottleneck, prefixes and prompts as their number of tokens.",
        )
    third, fourth = st.columns(2)
    with third:
        outputs = st.select_slider(
            "Outputs d of the layer", methods.SIDES, value=768, key="outputs", bind=frame.URL
        )
    with fourth:
        inputs = st.select_slider(
            "Inputs k of the layer", methods.SIDES, value=768, key="inputs", bind=frame.URL
        )
frame.presets(
    "views/methods.py",
    {
        "One line of difference: rsLoRA": {"variant": "rslora"},
        "Only another start: PiSSA": {"variant": "pissa"},
        "Two vectors instead of two strips: VeRA": {"variant": "vera"},
        "Rank r² from products: LoHa": {"variant": "loha", "variant_rank": "4"},
        "No increment at all: prefix tuning": {"variant": "prefix-tuning"},
    },
)

with frame.stopwatch() as seconds:
    rows = methods.scene(outputs, inputs, rank)
    row = methods.row_of(rows, name)
frame.numbers(
    ("Lines that LoRA does not have", f"{row.own}", "computed"),
    ("Trained numbers", f"{row.trained:,}", "computed"),
    ("Rank of the increment", "none" if row.rank is None else f"{row.rank}", "measured"),
    ("Merges, unmerges", f"{'yes' if row.merges else 'no'}, {'yes' if row.unmerges else 'no'}", "computed"),
)

st.header("The lines that differ", anchor=False)
checks = st.toggle(
    "With the checks of bad input",
    key="with_checks",
    bind=frame.URL,
    help="Every function first refuses what does not fit. Those lines are left out unless you ask.",
)
listing, card = st.columns([5, 3], gap="medium")
with listing:
    parts = methods.differing(name, checks=checks)
    for words, found in (
        ("Taken from LoRA as they are", methods.taken_over(name)),
        ("Not needed here", methods.lacking(name)),
    ):
        if found:
            st.markdown(f"{words}: {', '.join(f'`{part}`' for part in found)}.")
    if parts:
        st.markdown(
            ":small[− is LoRA's line, + is this method's; docstrings are left out. Read from the functions that run.]"
        )
        for part, tab in zip(parts, st.tabs(list(parts)), strict=True):
            with tab:
                st.code(parts[part], language="diff", wrap_lines=True)
    else:
        st.markdown(
            "This is the method that the others are compared with. Choose another to see what differs."
        )
with card:
    frame.equation_card(
        methods.equations_of(name), {"W_0": (outputs, inputs), "r": (rank,), "d": (outputs,), "k": (inputs,)}
    )

st.header("All methods beside LoRA", anchor=False)
frame.show(
    figures.line_bars(rows, chosen=name),
    key="methods_lines",
    equations=("lora-2", "grad-2"),
    shapes={"W_0": (outputs, inputs), "B": (outputs, rank), "A": (rank, inputs)},
    code=methods.CODE["lines"],
    snippet=frame.script(methods.LINES),
)
frame.show(
    figures.trained_bars(rows, chosen=name, layer=f"a layer of {outputs:,} × {inputs:,} with r = {rank}"),
    key="methods_trained",
    equations=("count-lora",),
    shapes={"B": (outputs, rank), "A": (rank, inputs), "r": (rank,)},
    code=methods.CODE["trained"],
    snippet=frame.script(methods.TRAINED, d=outputs, k=inputs, rank=rank),
)
frame.show(
    figures.rank_bars(rows, chosen=name, rank=rank),
    key="methods_rank",
    kind="measured",
    equations=("lora-delta", "loha-delta", "lokr-delta"),
    shapes={r"\Delta W": (methods.D, methods.K), "r": (rank,)},
    code=methods.CODE["rank"],
    snippet=frame.script(methods.RANK, rank=rank),
)

st.header("Where released software departs from the paper", anchor=False)
departures = methods.departures_of(name)
if departures:
    st.markdown(
        f"{frame.tag('measured')} Each was reproduced with PEFT {methods.released()}; "
        "`lora_np.conformance.published.departures()` gives them as records."
    )
else:
    st.markdown(f"None is known for {name} in PEFT {methods.released()}.")
for found in departures:
    title = found.id.removeprefix(f"{name}-").replace("-", " ")
    with st.expander(f"{title}: {found.verdict}"):
        st.markdown(f"**The paper.** {methods.plain(found.paper)}")
        st.markdown(f"**PEFT.** {methods.plain(found.peft)}")
        st.markdown(f"**What comes of it.** {methods.plain(found.effect)}")
        st.markdown(f"**Here.** {methods.plain(found.here)}")
frame.lesson(
    "Variants are not new architectures. Some change only where training starts (PiSSA, MiLoRA, OLoRA), only a factor "
    "(rsLoRA) or only the step (LoRA+): forward and backward are LoRA's, line by line. Others put something between "
    "the two strips (AdaLoRA, LoRA-XS, VeRA) or around the sum (DoRA). What really differs is seen below the line: how "
    "many numbers are trained, and which increments they can reach. A high rank does not take many numbers: (IA)³ "
    "reaches full rank, and LoKr a higher one than LoRA, with fewer numbers, by tying the entries to each other. Only "
    "the last ones, from BitFit on, change no weight, and so have nothing to merge."
)
frame.ending(
    seconds=seconds(),
    variant=name,
    variant_rank=rank,
    outputs=outputs,
    inputs=inputs,
    with_checks=checks,
)
