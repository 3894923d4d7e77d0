"""Oracle: what released software computes, held against answers that are known."""

import streamlit as st

from app import frame
from app.logic import report
from app.work import work
from lora_np.figures import report as figures

HERE = "views/report.py"
with frame.stopwatch() as seconds:
    scene = report.scene()
frame.heading(
    "The oracle's report", "Software that runs, trains and is used by everybody: does it compute the formula?"
)
frame.predict(
    "A port of LoRA passes its own tests to 1e-5. What does that say about its formulas?",
    ["they are right", "nothing yet", "they are wrong"],
    answer="nothing yet",
    because="In double precision 1e-5 is 90 billion times the rounding of one operation. A wrong constant, a number "
    "kept in single precision or a forgotten case fits in there: look at the open marks left of that line.",
    key="guess_report",
    see=(HERE, {"implementation": "peft", "rtol": "1e-5"}),
)
with frame.controls():
    first, second, third = st.columns(3)
    with first:
        name = st.selectbox(
            "Implementation", list(report.IMPLEMENTATIONS), key="implementation", bind=frame.URL
        )
        st.caption(f"Here: {report.IMPLEMENTATIONS[name]}.")
    with second:
        method = st.selectbox(
            "Method of the lists below", [report.ALL, *scene.methods], key="asked_method", bind=frame.URL
        )
        everything = st.toggle("Show methods that nobody claims", key="everything", bind=frame.URL)
    with third:
        rtol = st.select_slider(
            "What an ordinary test lets pass",
            report.TOLERANCES,
            value="1e-5",
            key="rtol",
            bind=frame.URL,
            help="A relative tolerance. The dotted line stands where double precision has it.",
        )
frame.presets(
    HERE,
    {
        "A rotation the wrong way round": {"implementation": "peft", "asked_method": "oft"},
        "A small number added where none belongs": {"implementation": "peft", "asked_method": "ia3"},
        "A scale that combining forgets": {"implementation": "peft-rslora"},
        "The authors' own code": {"implementation": "loralib", "asked_method": "lora"},
        "The formulas as anyone would type them": {"implementation": "torch"},
    },
)
one, rows = scene.implementations[name], scene.rows(report.shown(everything))
found = report.findings(one, "" if method == report.ALL else method)
frame.numbers(
    ("Cases asked", f"{one.cases:,}", "quoted"),
    ("Passed", f"{one.passed:,}", "quoted"),
    ("Failed", f"{one.failed:,}", "quoted"),
    ("Not claimed", f"{one.not_claimed:,}", "quoted"),
)
st.caption(
    f"{frame.tag('quoted', report.SOURCE)} The last published run of {name}: release {scene.suite} of the test "
    f"vectors, level {scene.level} (every operation, 16 u), with {report.versions(one)}. Nothing above “Ask again” is "
    "measured on this machine."
)
frame.show(
    figures.marks(rows),
    key="report_marks",
    kind="quoted",
    source=report.SOURCE,
    equations=("oracle-error",),
    code=report.CODE["marks"],
    snippet=frame.script(report.MARKS, everything=everything),
)
frame.show(
    figures.worst_errors(rows, tolerance=rtol, chosen=name),
    key="report_errors",
    kind="quoted",
    source=report.SOURCE,
    equations=("oracle-error", "oracle-gamma"),
    code=report.CODE["errors"],
    snippet=frame.script(report.ERRORS, everything=everything),
)

st.header(f"What was found in {name}", anchor=False)
if found:
    st.dataframe(
        report.listed(found),
        hide_index=True,
        column_config={
            "why": st.column_config.TextColumn(width="large"),
            "worst (u)": st.column_config.NumberColumn(format="scientific"),
        },
        alt=f"What fails in {name}: each finding with its number of cases, its verdict and why",
    )
    st.caption(" ".join(f"**{verdict}**: {words}." for verdict, words in report.VERDICTS.items()))
    picked = st.selectbox("Look at one", [row.name for row in found], key="finding", bind=frame.URL)
    row = next(row for row in found if row.name == picked)
    st.markdown(
        f"**{row.verdict}**, {row.cases} cases. {row.first.why}\n\n"
        f"- The first case, `{row.first.case}`: {row.first.problem}\n"
        f"- The diagnoser: {row.first.diagnosis or 'nothing; there is no number to explain'}\n"
        f"- Upstream: {row.first.upstream}"
    )
    if row.first.reproducer:
        with st.expander("A script that shows it, and what it printed"):
            st.code(row.first.reproducer, language="python", wrap_lines=True)
            st.code(row.first.prints, language="text", wrap_lines=True)
else:
    where = "" if method == report.ALL else f" for {method}"
    st.info(f"Nothing failed in {name}{where}.")
with st.expander("Where PEFT departs from the papers, whether or not a vector can see it"):
    st.markdown(f"{frame.tag('quoted', report.SOURCE)} Each row was reproduced with the released version.")
    st.dataframe(
        report.departures(method),
        hide_index=True,
        alt="Departures: method, verdict, what the paper says, what PEFT does, what comes of it, what is done here",
    )

st.header("Ask again", anchor=False)
asked = "lora" if method == report.ALL else method
again = work(
    f"Ask our own four about {asked}, here",
    lambda: report.rerun(asked),
    key="report_rerun",
    about=asked,
    help=f"NumPy, Numba, plain loops and autograd: the method's cases in this process, {report.RUNS} runs of training.",
)
if again is None:
    st.caption("It takes a few seconds. Everything, and other people's software, is asked by the command:")
else:
    frame.show(
        figures.worst_errors(again, tolerance=rtol, what="operation"),
        key="report_here",
        kind="measured",
        equations=("oracle-error",),
        code=report.CODE["here"],
        snippet=frame.script(report.HERE, method=asked),
    )
    st.caption("All methods, and other people's software, are asked by the command:")
st.code(report.command(method), language="bash", wrap_lines=True)
frame.lesson(
    "A test vector is a question whose answer is known exactly, computed with rational numbers. An error is counted "
    "in roundings: the unit u is the rounding of one operation, about 1e-16 in double and 6e-8 in single precision. "
    "What computes the right formula stays within a few u, whatever the order of its sums; what does not is usually "
    "off by millions. Between the two lies the gap in which ordinary tests live: to 1e-5 they cannot tell the two "
    "apart. Most failures of released software are not wrong formulas in ordinary cases, but the edges: a row of "
    "zeros, a scale changed while merged, input that should have been refused. And what is not claimed was not asked: "
    "a dash is neither praise nor blame."
)
state = {"finding": picked} if found else {}
frame.ending(
    seconds=seconds(), implementation=name, asked_method=method, everything=everything, rtol=rtol, **state
)
