"""Counts: parameters and memory of real architectures under every method, and the paper's tables beside them.  Floor 2.

`count` is the entry; `training_memory` and the file sizes take what it returns; `after_pruning` makes a smaller
architecture to count on; `PAPER_ROWS` and `claims` recompute what the LoRA paper prints.
"""

from lora_np.counts.activations import Activations, activation_bytes
from lora_np.counts.architectures import ARCHITECTURES, architecture
from lora_np.counts.break_even import break_even_rank, factored_count
from lora_np.counts.layouts import count_layout, layout_tensors
from lora_np.counts.memory import (
    Memory,
    adapter_file_bytes,
    checkpoint_bytes,
    quantized_bytes,
    training_memory,
    weight_bytes,
)
from lora_np.counts.methods import METHODS, Method, count
from lora_np.counts.options import GROUPS
from lora_np.counts.paper_tables import PAPER_ROWS, VERDICTS, PaperRow, verdict
from lora_np.counts.parts import Architecture, Part
from lora_np.counts.peft_options import peft_options
from lora_np.counts.pruning import after_pruning
from lora_np.counts.resources import Claim, claims, speedup
from lora_np.counts.result import Count, Row

__all__ = [
    "ARCHITECTURES",
    "GROUPS",
    "METHODS",
    "PAPER_ROWS",
    "VERDICTS",
    "Activations",
    "Architecture",
    "Claim",
    "Count",
    "Memory",
    "Method",
    "PaperRow",
    "Part",
    "Row",
    "activation_bytes",
    "adapter_file_bytes",
    "after_pruning",
    "architecture",
    "break_even_rank",
    "checkpoint_bytes",
    "claims",
    "count",
    "count_layout",
    "factored_count",
    "layout_tensors",
    "peft_options",
    "quantized_bytes",
    "speedup",
    "training_memory",
    "verdict",
    "weight_bytes",
]
