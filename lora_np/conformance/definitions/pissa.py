"""PiSSA: LoRA that starts at the r largest singular triples of W0 (Meng et al. 2024, arXiv 2404.02948).  Floor 6."""

from lora_np.conformance.definitions.spectral import starting_at

DEFINITION = starting_at("pissa", lambda rank: range(rank))
