"""Parameters and memory of real architectures: what fewer trained parameters save, and what they do not."""

import streamlit as st

from app import frame
from app.logic import params
from lora_np.errors import LoraNpError
from lora_np.figures import params as figures
from lora_np.figures.chart import counted, in_bytes, percent

HERE = "views/params.py"
frame.heading(
    "Parameters and memory",
    "LoRA trains a thousand times fewer numbers. Does it take a thousand times less memory?",
)
frame.predict(
    "LLaMA-7B, LoRA of rank 8 on q and v trains 1600 times fewer numbers. How much less memory?",
    ["about 5 times less", "about 40 times less", "about 1600 times less"],
    answer="about 5 times less",
    because="Gradients and optimizer state vanish, but the frozen weights must be there, and most activations too.",
    key="guess_params",
    see=(HERE, {"model": "llama-7b", "method": "lora", "adapter_rank": "8"}),
)
with frame.controls():
    first, second, third = st.columns(3)
    with first:
        model = st.selectbox(
            "Architecture", params.MODELS, params.MODELS.index("llama-7b"), key="model", bind=frame.URL
        )
        method = st.selectbox("Method", params.SHOWN, key="method", bind=frame.URL)
        picked = st.pills(
            "Target matrices (mlp: all of the feed-forward layer)",
            params.TARGETS,
            selection_mode="multi",
            default=["q", "v"],
            key="targets",
            bind=frame.URL,
            disabled=not params.takes(method, "targets"),
        )
    with second:
        rank = st.select_slider(
            "Rank r",
            params.RANKS,
            value=8,
            key="adapter_rank",
            bind=frame.URL,
            disabled=not params.takes(method, "rank"),
        )
        batch = st.select_slider("Batch (sequences)", params.BATCHES, value=1, key="batch", bind=frame.URL)
        seq = st.select_slider(
            "Length (tokens a sequence)", params.LENGTHS, value=512, key="seq", bind=frame.URL
        )
    with third:
        base = st.selectbox("Frozen weights kept in", params.BASES, 1, key="base", bind=frame.URL)
        dtype = st.selectbox("Trained numbers kept in", params.DTYPES, 2, key="dtype", bind=frame.URL)
        optimizer = st.selectbox("Optimizer", params.OPTIMIZERS, 3, key="optimizer", bind=frame.URL)
    with st.container(horizontal=True):
        checkpointing = st.toggle(
            "Recompute activations (checkpointing)", key="checkpointing", bind=frame.URL
        )
        fused = st.toggle("Fused attention", True, key="fused", bind=frame.URL)

frame.presets(
    HERE,
    {
        "LLaMA-7B on one card": {"model": "llama-7b", "base": "nf4", "checkpointing": "true"},
        "GPT-3, as the paper counts": {
            "model": "gpt3-175b",
            "adapter_rank": "4",
            "batch": "1",
            "seq": "2048",
        },
        "Long texts: activations win": {"model": "llama-3-8b", "batch": "8", "seq": "8192", "fused": "false"},
        "Biases only": {"model": "gpt2", "method": "bitfit"},
        "Everything": {"model": "gpt2", "method": "full"},
    },
)

targets = ",".join(picked) or "q,v"
options = {"rank": rank, "targets": targets}
training = {
    "batch": batch,
    "seq": seq,
    "optimizer": optimizer,
    "checkpointing": checkpointing,
    "fused_attention": fused,
}
try:
    with frame.stopwatch() as seconds:
        scene = params.scene(model, method, **options, dtype=dtype, base_dtype=base, **training)
except LoraNpError as error:
    st.warning(f"This combination cannot be: {error}")
    st.stop()
if not picked and params.takes(method, "targets"):
    st.caption("No matrix is chosen, so q and v are taken.")

frame.numbers(
    ("Trained", f"{scene.count.trainable:,}", "computed"),
    ("Share of all", percent(scene.count.share), "computed"),
    ("Fewer trained numbers", f"{scene.fewer:,.0f} ×", "computed"),
    ("Less memory", f"{scene.less:.1f} ×", "computed"),
    ("File of one task", in_bytes(scene.file_bytes), "computed"),
)
state = {"model": model, "method": method, "options": params.taken(method, **options)}
sizes = {"r": (rank,)} if params.takes(method, "rank") else {}
frame.show(
    figures.memory_bars(scene.memory),
    key="params_memory",
    equations=("memory-training",),
    code=params.CODE["memory"],
    snippet=frame.script(params.MEMORY, **state, dtype=dtype, base=base, training=training),
)
frame.show(
    figures.treemap(scene.count),
    key="params_treemap",
    equations=(f"count-{method}", "count-share"),
    shapes=sizes,
    code=params.CODE["treemap"],
    snippet=frame.script(params.GROUPS, **state),
)
frame.show(
    figures.budget_bars(scene.same_budget, budget=scene.count.trainable, chosen=targets),
    key="params_budget",
    equations=("count-lora",),
    shapes=sizes,
    code=params.CODE["budget"],
    snippet=frame.script(params.BUDGET, **state),
)
wanted = params.peft_settings(model, method, rank, targets)
if wanted:
    with st.expander("These settings for PEFT"):
        st.code(wanted, language="python")
with st.expander("Do such counts give the figures that the LoRA paper prints?"):
    st.markdown(f"{frame.tag('quoted', 'Hu et al., arXiv 2106.09685')} beside {frame.tag('computed')}.")
    st.dataframe(params.paper_rows(), hide_index=True, alt="The paper's printed parameter counts beside ours")
    st.dataframe(params.paper_claims(), hide_index=True, alt="The paper's statements on memory beside ours")
frame.lesson(
    f"{counted(scene.count.trainable)} trained numbers need gradients and the optimizer's running averages; "
    f"the other {counted(scene.count.frozen)} need neither, but they must be in memory for every step, and so must the "
    "activations: what the forward pass keeps for the backward pass. A task's file shrinks by the full factor, from "
    f"{in_bytes(scene.full_file_bytes)} to {in_bytes(scene.file_bytes)}. In llama-3-8b, mistral-7b and qwen2.5-7b "
    "several query heads share one key and one value head, so the k and v matrices are narrower than q and an adapter "
    "on them is smaller."
)
frame.ending(
    seconds=seconds(),
    model=model,
    method=method,
    targets=picked,
    adapter_rank=rank,
    batch=batch,
    seq=seq,
    base=base,
    dtype=dtype,
    optimizer=optimizer,
    checkpointing=checkpointing,
    fused=fused,
)
