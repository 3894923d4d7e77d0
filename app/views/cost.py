"""Cost: the two ways to compute the same layer, counted and measured."""

import streamlit as st

from app import frame
from app.logic import cost
from app.work import work
from lora_np.figures import cost as figures
from lora_np.figures.chart import in_bytes

HERE = "views/cost.py"
frame.heading(
    "Cost of lora-1 against lora-2",
    "Build the weight W₀ + s B A and apply it, or go through the two strips beside it: which is cheaper?",
)
frame.predict(
    "A layer of 256 × 256, rank 8, a batch of 4096 rows, forward only. Which form takes fewer FLOPs?",
    ["lora-1, build the weight", "lora-2, two thin products", "exactly the same"],
    answer="lora-1, build the weight",
    because="B A is formed once, whatever the batch, while the thin products are paid for every row: past N* = "
    "d k / (d + k) = 128 rows building wins the forward. In training lora-2 still wins: look at the whole step.",
    key="guess_cost",
    see=(HERE, {"tokens": "4096", "phase": "forward"}),
)
with frame.controls():
    first, second, third, fourth = st.columns(4)
    with first:
        tokens = st.select_slider("Rows of the batch N", cost.ROWS, value=512, key="tokens", bind=frame.URL)
    with second:
        d = st.select_slider("Outputs d", cost.WIDTHS, value=256, key="d", bind=frame.URL)
    with third:
        k = st.select_slider("Inputs k", cost.WIDTHS, value=256, key="k", bind=frame.URL)
    with fourth:
        r = st.select_slider("Rank r", cost.RANKS, value=8, key="layer_rank", bind=frame.URL)
    phase = frame.choose("What is compared", list(cost.PHASES), default="forward", key="phase")
frame.presets(
    HERE,
    {
        "One row, as in chat": {"tokens": "1", "phase": "forward"},
        "A large batch, forward": {"tokens": "4096", "phase": "forward"},
        "The same batch, a training step": {"tokens": "4096", "phase": "step"},
        "A rank far too high": {"d": "64", "k": "64", "layer_rank": "64", "phase": "step"},
    },
)

with frame.stopwatch() as seconds:
    scene = cost.scene(tokens, d, k, r, phase=phase)
one, two = scene.costs["lora-1"], scene.costs["lora-2"]
layer = {"X": (tokens, k), "W_0": (d, k), "B": (d, r), "A": (r, k)}
frame.numbers(
    ("Step of lora-2 over frozen", f"{scene.step_over('lora-2'):.2f} ×", "computed"),
    ("Step of lora-1 over frozen", f"{scene.step_over('lora-1'):.2f} ×", "computed"),
    ("Peak memory of lora-2", in_bytes(two.step_peak_bytes), "computed"),
    ("Peak memory of lora-1", in_bytes(one.step_peak_bytes), "computed"),
)
frame.show(
    figures.work_bars(scene.costs),
    key="cost_work",
    equations=("lora-1", "lora-2", "cost-forward", "cost-backward"),
    shapes=layer,
    code=cost.CODE["work"],
    snippet=frame.script(cost.WORK, N=tokens, d=d, k=k, r=r),
)
frame.show(
    figures.crossing(cost.ROWS, scene.ratios, crossover=scene.crossover, here=tokens, phase=phase),
    key="cost_crossing",
    equations=("cost-crossover",),
    shapes={"N": (tokens,), "d": (d,), "k": (k,), "r": (r,)},
    code=cost.CODE["crossing"],
    snippet=frame.script(cost.ALONG, d=d, k=k, r=r, phase=phase),
)
with st.expander(f"The {phase}, operation by operation"):
    st.markdown(f"{frame.tag('computed')} A small t is a temporary array.")
    for form, tab in zip(("lora-2", "lora-1"), st.tabs(["lora-2", "lora-1"]), strict=True):
        with tab:
            st.dataframe(
                figures.operations(scene.costs, form, phase=phase),
                hide_index=True,
                column_config=dict.fromkeys(
                    ("FLOPs", "bytes moved"), st.column_config.NumberColumn(format="localized")
                ),
                alt=f"The operations of {form}, {phase}, with FLOPs and bytes",
            )

st.header("What does a clock say?", anchor=False)
here, fits = (tokens, d, k, r), cost.measurable(tokens, d, k, r)
timed = work(
    "Measure it on this machine",
    lambda: cost.measured(*here),
    key="cost_timing",
    about=here,
    disabled=not fits,
    help="The functions of `lora-np bench`, in float32: all forms in turns, the fastest round counts.",
)
if not fits:
    st.caption("These sizes would take too long to time here. Choose smaller ones, or use `lora-np bench`.")
elif timed is None:
    st.caption("The pictures above count operations. Press to see how long they take.")
else:
    times, machine = timed
    floors = cost.floors(scene.costs, machine, cost.FORMS, phase=phase)
    # no snippet: nobody else's clock gives these numbers again
    frame.show(
        figures.measured_times(floors, cost.seconds(times, phase=phase), phase=phase),
        key="cost_measured",
        kind="measured",
        equations=("cost-roofline",),
        shapes=layer,
        code=cost.CODE["measured"],
    )
    st.caption(
        f"{frame.tag('measured')} A large product runs at {machine.gemm_gflops:.0f} GFLOP/s here and a copy at "
        f"{machine.copy_gbytes:.1f} GB/s; the floor is what these two rates allow. Read the ratios."
    )
frame.lesson(
    "A FLOP is one addition or multiplication; frozen is the layer without an adapter. Neither form is always cheaper. "
    "Forward alone, building the weight wins for large batches. Backward, lora-1 must form the full gradient of the "
    "weight, as much work again as the gradient of the input; lora-2 never does. And the gradient still has to flow "
    "through the frozen W₀, so a training step of lora-2 computes "
    f"{scene.step_over('lora-2', 'full'):.2f} times what full fine-tuning does, not the share of trained parameters."
)
frame.ending(seconds=seconds(), tokens=tokens, d=d, k=k, layer_rank=r, phase=phase)
