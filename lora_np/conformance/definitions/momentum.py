"""The heavy ball: v ← μ v + g, p ← p − lr v from rest, in PyTorch's convention.  Floor 6."""

from lora_np.conformance.definitions.optim import momentum, optimizer

DEFINITION = optimizer("momentum", momentum, bits=80)
