"""Gradient descent: p ← p − lr g, a thousand steps.  Floor 6."""

from lora_np.conformance.definitions.optim import optimizer, sgd

DEFINITION = optimizer("sgd", sgd, bits=80)
