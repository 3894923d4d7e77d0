"""AdamW: Adam, and beside it p ← p − lr λ p (Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2).  Floor 6."""

from lora_np.conformance.definitions.optim import adamw, optimizer

DEFINITION = optimizer("adamw", adamw)
