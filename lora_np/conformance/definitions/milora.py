"""MiLoRA: LoRA that starts at the r smallest singular triples of W0 (Wang et al. 2024, arXiv 2406.09044).  Floor 6."""

from lora_np.conformance.definitions.spectral import starting_at

DEFINITION = starting_at("milora", lambda rank: range(-rank, 0))
