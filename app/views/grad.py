"""Gradients: the chain rule cell by cell, and three roads to the same numbers."""

import streamlit as st

from app import frame
from app.logic import grad
from lora_np.figures import grad as figures

HERE = "views/grad.py"

frame.heading("Gradients", "Where does each number of a gradient come from, and who says that it is right?")
frame.predict(
    "A finite difference moves one entry by h and looks at the loss: (L(x + h) − L(x)) / h. Which step h is the most "
    "exact in double precision?",
    ["0.1", "about 1e-4", "about 1e-8", "1e-15"],
    answer="about 1e-8",
    because="A large step follows the curve away from the slope; a small one subtracts two losses that agree in nearly "
    "all their digits, and divides what rounding left by h. The two errors meet near the root of 1e-16.",
    key="guess_grad",
    see=(HERE, {"grad_h": "1e-8", "grad_loss": "squares"}),
)
with frame.controls():
    first, second = st.columns(2)
    with first:
        which = frame.choose("Gradient of", list(grad.CELLS), default="B", key="grad_of")
        key = f"grad_cell_{which}"
        cell = frame.choose("Cell: row, column", grad.CELLS[which], default="2,1", key=key)
    with second:
        h = st.select_slider(
            "Step h of the differences", grad.STEPS, value="1e-6", key="grad_h", bind=frame.URL
        )
        loss = frame.choose(
            "Loss: sum of",
            list(grad.LOSSES),
            default="squares",
            key="grad_loss",
            help="squares: L = ½ Σ (Y − T)², so g_Y = Y − T. fourth powers: L = ¼ Σ (Y − T)⁴, so g_Y = (Y − T)³.",
        )
frame.presets(
    HERE,
    {
        "A cell of B's gradient": {"grad_of": "B", "grad_cell_B": "2,1"},
        "Through the bottleneck to A": {"grad_of": "A", "grad_cell_A": "1,2"},
        "Two paths to the input": {"grad_of": "X", "grad_cell_X": "2,1"},
        "A step that is too small": {"grad_h": "1e-14"},
        "Both differences have a V": {"grad_loss": "fourth powers", "grad_h": "1e-5"},
    },
)

with frame.stopwatch() as seconds:
    scene, curves = grad.scene(which, cell, h, loss), grad.curves(which, loss)
state = grad.drawn(scene, loss)
frame.numbers(
    ("The cell", f"{scene.value(scene.sums[0].cell):g}", "computed"),
    ("lora-1 and lora-2", "equal in every bit" if scene.forms_agree else "different", "measured"),
    ("Best step, forward", figures.power(curves.best["forward"]), "measured"),
    ("Best step, central", figures.power(curves.best["central"]), "measured"),
)
st.header("The sum that makes this cell", anchor=False)
for part in scene.sums:
    st.latex(figures.written_out(scene, part))
with st.expander("Where g_Y comes from"):
    st.markdown("The layer gives Y, the task wants T, and the loss grows with the difference:")
    st.latex(figures.upstream(scene, grad.outputs(scene)))
if frame.row_form():
    st.caption("Cells are counted in the paper's matrices: in row form, W₀, B and A are turned.")
frame.show(
    figures.matrices(scene),
    key="grad_matrices",
    equations=("lora-z", "grad-2") if which != "X" else ("lora-grad-x",),
    shapes={
        "X": (2, 2),
        "A": (2, 2),
        "Z": (2, 2),
        "B": (3, 2),
        "W_0": (3, 2),
        "g_Y": (2, 3),
        "g_Z": (2, 2),
        "s": (2,),
    },
    code=grad.CODE_OF_SUM,
    snippet=frame.script(grad.SUM, **state),
)
st.header("The same gradient by five roads", anchor=False)
st.dataframe(figures.side_by_side(scene), hide_index=True, alt="Every cell of the gradient by every road.")
frame.show(
    figures.roads_chart(scene, h=float(h)),
    key="grad_roads",
    kind="measured",
    equations=("grad-1",),
    shapes={"g_W": (3, 2), "A": (2, 2), "B": (3, 2), "s": (2,)},
    code=grad.CODE_OF_ROADS,
    snippet=frame.script(grad.ROADS, **state, which=f"g{which}", h=float(h)),
)
frame.show(
    figures.v_curve(curves, h=float(h)),
    key="grad_errors",
    kind="measured",
    equations=("lora-2",),
    shapes={"X": (2, 2), "W_0": (3, 2), "B": (3, 2), "A": (2, 2), "s": (2,)},
    code=grad.CODE_OF_ERRORS,
    snippet=frame.script(grad.ERRORS, which=f"g{which}", loss=loss),
)
frame.lesson(
    "Every cell of a gradient is a short sum of products, and you can do it on paper. **Autograd is no magic:** it "
    "multiplies the same numbers in the same order and agrees to the last bit. lora-1 forms the gradient of the whole "
    "weight and then projects it, lora-2 goes back through the bottleneck g_Z; both give the same cells. A finite "
    "difference needs neither, and is the check of both, but **a smaller step is not always better:** the left branch "
    "of the V is rounding, which grows as 1 / h; the right branch is truncation, what a straight line misses, "
    "which grows with h. A difference to both sides is better by a power of h, and on a parabola it misses nothing."
)
frame.ending(seconds=seconds(), grad_of=which, grad_h=h, grad_loss=loss, **{key: cell})
