"""LoRAPrune: which units may go, by which measure, and what really gets faster."""

import streamlit as st

from app import frame
from app.logic import prune
from app.work import work
from lora_np.figures import prune as figures
from lora_np.figures.chart import in_seconds, percent

HERE = "views/prune.py"
frame.heading(
    "LoRAPrune",
    "LoRA trains two thin strips. Can their gradients tell which parts of the frozen network may go?",
)
frame.predict(
    "Half of the hidden units are set to zero by a mask. How much faster does the network get?",
    ["not at all", "about twice", "about four times"],
    answer="not at all",
    because="A mask multiplies the same numbers, zeros among them. Only taking rows and columns away makes it faster.",
    key="guess_prune",
)
with frame.controls():
    first, second = st.columns(2)
    with first:
        criterion = st.selectbox("Rank the units by", prune.NAMES, key="criterion", bind=frame.URL)
        st.caption(f"Here: {prune.words(criterion)}.")
    with second:
        ratio = st.slider("Share of units to cut", 0.0, 0.9, 0.5, 0.05, key="ratio", bind=frame.URL)
        layer = frame.choose("Hidden layer that is shown", list(prune.LAYERS), default="first", key="layer")
        adapted = frame.choose("Steps of LoRA before the cut", prune.ADAPTED_FOR, default=100, key="adapted")
frame.presets(
    HERE,
    {
        "LoRAPrune's estimate": {"criterion": "estimate", "ratio": "0.5"},
        "The exact gradient": {"criterion": "gradient-dot", "ratio": "0.5"},
        "Small weights first": {"criterion": "magnitude", "ratio": "0.5"},
        "By lot": {"criterion": "random", "ratio": "0.5"},
        "Nine of ten units gone": {"criterion": "estimate", "ratio": "0.9"},
    },
)

with frame.stopwatch() as seconds:
    scene = prune.scene(criterion, ratio)
index = prune.LAYERS[layer]
frame.numbers(
    ("Accuracy before", percent(scene.accuracy_before), "measured"),
    ("with the mask", percent(scene.accuracy_masked), "measured"),
    ("physically smaller", percent(scene.accuracy_smaller), "measured"),
    ("FLOPs with the mask", f"{scene.flops[0]:,}", "computed"),
    ("FLOPs smaller", f"{scene.flops[1]:,}", "computed"),
)
st.caption(
    "A real network of 64, 96, 64 and 10 units: pretrained on handwritten digits, then adapted by LoRA of rank 4 for "
    f"100 steps to a shifted task ({prune.shift()}). Cut without further training; accuracy is on digits held out."
)
state = {"criterion": criterion, "ratio": ratio, "layer": index}
sizes = prune.sizes(index)
frame.show(
    figures.importance_bars(
        scene.scores[index], scene.kept[index], criterion=criterion, layer=f"Hidden layer {index + 1}"
    ),
    key="prune_importance",
    equations=(*prune.EQUATIONS[criterion], "prune-mask"),
    shapes=sizes,
    code=(*prune.SOURCES[criterion], *prune.CODE["importance"]),
    snippet=frame.script(prune.IMPORTANCE, **state),
)
frame.show(
    figures.against_truth(
        scene.scores[index],
        prune.run().removal[index],
        scene.kept[index],
        criterion=criterion,
        correlation=scene.correlation[index],
    ),
    key="prune_truth",
    kind="measured",
    equations=("prune-true",),
    shapes=sizes,
    code=prune.CODE["truth"],
    snippet=frame.script(prune.TRUTH, **state),
)
rows = prune.curves(adapted)
if rows:
    frame.show(
        figures.accuracy_curves(rows, ratio=ratio, chosen=criterion),
        key="prune_curves",
        kind="measured",
        equations=("prune-masked-fwd", "prune-shrink"),
        code=prune.CODE["curves"],
        snippet=frame.script(prune.CURVES, adapted_for=adapted),
    )
else:
    st.info(
        "The curves over seeds are not on this machine: `python -m lora_np.training.experiments` makes them."
    )

st.header("Try it on this machine", anchor=False)
slow = criterion == "removal"
ended = work(
    "Prune while adapting",
    lambda: prune.live(criterion, ratio),
    key="prune_live",
    about=(criterion, ratio),
    disabled=slow,
    help=f"{prune.STEPS} steps of LoRA, with units cut on the way.",
)
if slow:
    st.caption(
        "Removing every unit in turn at every step would take too long here; choose another criterion."
    )
if ended is not None:
    st.markdown(
        f"{frame.tag('measured')} Cut step by step to {percent(ratio)} while {prune.STEPS} steps of LoRA repair "
        f"what is lost: accuracy **{percent(ended.accuracy)}**, against {percent(scene.accuracy_masked)} when "
        "cut at once."
    )
if st.button("Time mask against smaller network", key="clock"):
    masked, smaller = prune.times(criterion, ratio)
    st.markdown(
        f"{frame.tag('measured')} One forward pass over the held-out digits: **{in_seconds(masked)}** with the mask, "
        f"**{in_seconds(smaller)}** physically smaller."
    )
frame.lesson(
    "Each criterion judges a unit as if it went alone. The exact gradient of a whole unit can be read off the "
    "activations, without any gradient of W₀, and follows the true loss best. LoRAPrune's estimate needs only the "
    "strips' own gradients: compare its correlation. When many units go together, even the true loss of single "
    "removals stops being the best guide: follow its curve to the right. One mask serves W₀ and B A alike, so what is "
    "left still merges."
)
frame.ending(seconds=seconds(), criterion=criterion, ratio=ratio, layer=layer, adapted=adapted)
