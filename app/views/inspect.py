"""Adapter inspector: what an adapter holds, how much of its rank it needs, what merging loses, whom it resembles."""

import streamlit as st

from app import frame
from app.logic import inspector
from app.work import work
from lora_np.figures import inspect as figures
from lora_np.figures import inspect_beside as beside
from lora_np.figures.chart import csv_text, in_bytes, percent
from lora_np.figures.inspect_scene import in_short, summary

HERE = "views/inspect.py"
frame.heading(
    "Adapter inspector", "How much of an adapter's rank is used, and what would be lost by merging it?"
)
frame.predict(
    "A small vision model was adapted with rank 8. How many of the 8 directions hold 95 % of what a module learned?",
    ["1", "3 or 4", "all 8"],
    answer="3 or 4",
    because="Its 16 modules need 52 of their 128 directions for 95 %. A rank is room to learn in, seldom used up.",
    key="guess_inspect",
    see=(HERE, {"inspect_adapter": "turned", "inspect_energy": "95"}),
)

uploads, name, other = None, *list(inspector.ADAPTERS)[:2]
with frame.controls():
    source = frame.choose("Files", inspector.SOURCES, default="example", key="inspect_source")
    if source == "example":
        first, second = st.columns(2)
        with first:
            name = st.selectbox("Adapter", list(inspector.ADAPTERS), key="inspect_adapter", bind=frame.URL)
            st.caption(f"Here: {inspector.ADAPTERS[name]}.")
        with second:
            other = st.selectbox(
                "Beside it", list(inspector.ADAPTERS), index=1, key="inspect_other", bind=frame.URL
            )
            st.caption(f"Here: {inspector.ADAPTERS[other]}.")
    else:
        boxes = {
            "adapter": ("Adapter", "adapter_model.safetensors and adapter_config.json, as PEFT saves them."),
            "other": (
                "Another adapter (optional)",
                "Its two files, to compare with: of the same base model.",
            ),
            "base": (
                "Base weights (optional)",
                "A .safetensors file with the weights of the adapted modules.",
            ),
        }
        dropped = []
        for column, (key, (label, words)) in zip(st.columns(3), boxes.items(), strict=True):
            with column:
                dropped.append(
                    st.file_uploader(
                        label,
                        accept_multiple_files=True,
                        key=f"inspect_{key}_files",
                        max_upload_size=inspector.LARGEST,
                    )
                )
                st.caption(words)
        uploads = inspector.Uploads(*dropped)
        st.caption(
            f"At most {inspector.LARGEST} MB a file and {in_bytes(inspector.TOGETHER)} together; read on the machine "
            "that runs this page, never executed, forgotten when you leave. For larger files: `lora-np inspect PATH`."
        )
    left, right = st.columns(2)
    with left:
        percentage = st.select_slider(
            "Energy to keep (%)",
            list(inspector.ENERGIES),
            value=95,
            key="inspect_energy",
            bind=frame.URL,
            help="The energy of an increment is the sum of its squared entries; its directions share it among them.",
        )
    with right:
        look = frame.choose("Third picture", inspector.LOOKS, default="likeness", key="inspect_look")
frame.presets(
    HERE,
    {
        "Same task, another seed": {
            "inspect_adapter": "turned",
            "inspect_other": "turned-again",
            "inspect_look": "likeness",
        },
        "Another task": {
            "inspect_adapter": "turned",
            "inspect_other": "inverted",
            "inspect_look": "likeness",
        },
        "For 99 % of the energy": {"inspect_adapter": "turned", "inspect_energy": "99"},
        "A gentle adapter, merged": {"inspect_adapter": "tilted", "inspect_look": "merging"},
    },
)
energy = inspector.ENERGIES[percentage]

with frame.stopwatch() as seconds:
    looked = None
    if uploads is not None and uploads.adapter:
        if inspector.too_large(uploads):
            st.error(f"Together the files have {in_bytes(uploads.size)}: take some out.")
        else:
            looked = inspector.at_once(uploads) or work(
                "Look at these files",
                lambda: inspector.steps(uploads),
                key="inspect_files",
                about=uploads.about,
            )
    for refusal in looked.refusals if looked is not None else ():
        st.error(refusal)
    own = looked is not None and looked.scene is not None
    scene = looked.scene if own else inspector.example(name, other)
    whole = summary(scene, energy)
if source == "my files" and not own:
    st.info("Until an adapter is dropped and looked at, this is the shipped example.")
for remark in scene.remarks:
    st.caption(remark)

st.markdown(f"**In short.** {in_short(scene, energy)}")
shown = [
    ("Modules", f"{whole.modules:,}", "computed"),
    ("Directions needed", f"{whole.kept_ranks:,} of {whole.ranks:,}", "computed"),
    ("Could go", in_bytes(whole.saved_bytes), "computed"),
]
if whole.relative_norm is not None:
    shown.append(("‖ΔW‖ / ‖W₀‖, median", percent(whole.relative_norm), "computed"))
frame.numbers(*shown)

with st.columns(2)[0]:
    module = st.selectbox("Module shown", scene.names, key="inspect_module", bind=frame.URL)
report = scene.module(module)
(d, k), r = report.shape, report.rank
files = inspector.names_of(own=own, adapter=name, other=other)
sizes = {"B": (d, r), "A": (r, k), r"\Delta W": (d, k), "s": (report.scale,), "r": (r,)}
frame.show(
    figures.spectra(scene, module, energy=energy),
    key="inspect_spectra",
    equations=("increment-thin", "rank-energy"),
    shapes=sizes,
    code=inspector.CODE["spectra"],
    snippet=inspector.snippet("spectra", **files),
)
frame.show(
    figures.ranks(scene, energy=energy),
    key="inspect_ranks",
    equations=("increment-cut", "rank-effective"),
    shapes=sizes,
    code=inspector.CODE["ranks"],
    snippet=inspector.snippet("ranks", **files, energy=energy),
)
if look == "likeness" and whole.alike:
    most = inspector.most_directions(scene)
    with st.columns(2)[0]:
        directions = st.slider("Directions compared", 1, most, 1, key="inspect_directions", bind=frame.URL)
    frame.show(
        beside.likenesses(scene, directions=directions),
        key="inspect_likeness",
        equations=("increment-cosine", "subspace-phi", "increment-chance"),
        shapes=sizes,
        code=inspector.CODE["likeness"],
        snippet=inspector.snippet("likeness", **files, directions=directions),
    )
elif look == "likeness":
    st.info("Drop another adapter of the same base to see how alike the two are.")
elif whole.unchanged:
    frame.show(
        beside.merge_losses(scene),
        key="inspect_merging",
        equations=("increment-rounded", "increment-unchanged"),
        shapes={"W_0": (d, k), **sizes},
        code=inspector.CODE["merging"],
        snippet=inspector.snippet("merging", **files),
    )
else:
    st.info("Drop the base weights to see what a merge would lose.")

st.header("All modules", anchor=False)
table = figures.modules_table(scene, energy=energy)
st.dataframe(table, hide_index=True, alt=f"Table: {whole.modules} modules with their sizes, norms and ranks.")
st.download_button(
    "CSV", csv_text(table), "modules.csv", "text/csv", key="inspect_modules_csv", on_click="ignore"
)
frame.lesson(
    "The rank of an adapter is an upper limit. Training fills a few directions strongly and leaves the others faint: "
    "look where the bars end below the grey ones. What is faint can be cut away, and the nearest smaller adapter is "
    "known exactly. Two adapters of one task, from different random starts, are far more alike than chance, and far "
    "from the same; those of different tasks are nearly unrelated, which is why they can share one base. And a merge "
    "in 16 bits keeps an entry's change only where it is not small beside the weight: the gentler the adapter, the "
    "more of it is lost."
)
frame.ending(
    seconds=seconds(),
    inspect_source=source,
    inspect_energy=percentage,
    inspect_look=look,
    inspect_module=module,
    **inspector.told(source, name, other),
    **({"inspect_directions": directions} if look == "likeness" and whole.alike else {}),
)
