"""Parameters: counts and memory of the real architectures."""

import streamlit as st

from lora_np.counts import ARCHITECTURES, PAPER_ROWS, claims, count, peft_options, training_memory
from lora_np.counts.memory import BYTES, QUANTIZED, STATES
from lora_np.counts.methods import METHODS
from lora_np.errors import ConfigError
from lora_np.figures.params_scene import grouped, params_scene, same_budget

MODELS = list(ARCHITECTURES)
SHOWN = ["lora", "dora", "adalora", "lora-fa", "lora-xs", "vera", "ia3", "bitfit", "full"]
RANKS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
TARGETS = ["q", "k", "v", "o", "mlp"]
BASES = ["float32", "bfloat16", *QUANTIZED]
DTYPES = [name for name in BYTES if name != "float64"]
OPTIMIZERS = list(STATES)
BATCHES = [1, 2, 4, 8, 16, 32, 64, 128]
LENGTHS = [128, 256, 512, 1024, 2048, 4096, 8192]
CODE = {"memory": (training_memory,), "treemap": (count, grouped), "budget": (same_budget,)}
HERE = """
from lora_np.counts import count

here = count(model, method, **options)
"""
MEMORY = f"""{HERE.replace("import count", "import count, training_memory")}
ways = [
    training_memory(count(model, "full"), dtype=dtype, **training),
    training_memory(here, dtype=dtype, base_dtype=base, **training),
]
numbers = {{
    f"{{term}} (bytes)": [getattr(way, term) for way in ways] for term in ("weights", "gradients", "activations")
}}
numbers["optimizer state (bytes)"] = [way.optimizer for way in ways]
print(numbers)
"""
GROUPS = f"""
from lora_np.figures.params_scene import grouped{HERE}
numbers = {{"parameters": list(grouped(here).values())}}
print(numbers)
"""
BUDGET = f"""{HERE}
each = {{
    targets: count(model, "lora", rank=1, targets=targets).trainable
    for targets in ("q", "v", "q,v", "q,k,v,o", "mlp", "all-linear")
}}
numbers = {{"largest rank within the budget": [here.trainable // one for one in each.values()]}}
print(numbers)
"""
scene = st.cache_data(params_scene, max_entries=256, show_spinner=False)


def takes(method: str, option: str) -> bool:
    """Tell whether a method has an option."""
    return option in METHODS[method].options


def taken(method: str, **options: object) -> dict[str, object]:
    """Keep the options that a method has."""
    return {name: value for name, value in options.items() if takes(method, name)}


def peft_settings(model: str, method: str, rank: int, targets: str) -> str:
    """Write PEFT's settings for this count; empty where PEFT has no name for it."""
    try:
        options = peft_options(count(model, method, rank=rank, targets=targets), alpha=2 * rank)
    except ConfigError:
        return ""
    lines = "".join(f"    {name}={value!r},\n" for name, value in options.items())
    return f"from peft import LoraConfig\n\nconfig = LoraConfig(\n{lines})"


@st.cache_data(show_spinner=False)
def paper_rows() -> dict[str, list[object]]:
    """List the LoRA paper's printed counts beside ours, and what does not come out."""
    return {
        "table": [row.table for row in PAPER_ROWS],
        "row": [f"{row.architecture}, {row.label}" for row in PAPER_ROWS],
        "printed (quoted, M)": [row.printed for row in PAPER_ROWS],
        "ours (computed)": [row.ours for row in PAPER_ROWS],
        "verdict": [row.verdict for row in PAPER_ROWS],
        "why": [row.reason for row in PAPER_ROWS],
    }


@st.cache_data(show_spinner=False)
def paper_claims() -> dict[str, list[object]]:
    """List the paper's statements on memory, files and speed beside ours."""
    found = claims()
    return {
        "statement": [claim.name for claim in found],
        "printed (quoted)": [claim.printed for claim in found],
        "ours (computed)": [f"{claim.ours:.4g} {claim.unit}" for claim in found],
        "arithmetic": [claim.arithmetic for claim in found],
        "verdict": [claim.verdict for claim in found],
        "why": [claim.reason for claim in found],
    }
