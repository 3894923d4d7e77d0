"""What `lora-np verify` runs: each equation's code against another road to the same number.  Floor 6.

    implementation    the functions under test, by name: the reference, or one with some of them replaced
    check             what a check is, what it found, and running it
    cases             seeded layers, and the same in exact rational or extended arithmetic
    layer             forward, backward and merge against the written-out formula in that arithmetic
    derivatives       gradients against HIPS autograd and against finite differences
    pairs             equal forms against each other
    optimizer_view    LoRA as an optimizer on the full gradient
    steps             SGD, momentum, Adam, AdamW, and the rank-r update in place
    pruning           gradients and importance of groups
    factoring         rank factorizations, the singular value decomposition
    networks          activations, cross-entropy, dense layers, whole networks
    registry          the table of all checks, and running it
    report            the printed table, the JSON file

A new method adds one `Check` to the table at the end of the file of its subject.  Nothing but `report` writes.
"""

from lora_np.conformance.verify.check import Check, Result, run
from lora_np.conformance.verify.implementation import Implementation, available, of_backend, reference
from lora_np.conformance.verify.registry import CHECKS, plan, verify

__all__ = [
    "CHECKS",
    "Check",
    "Implementation",
    "Result",
    "available",
    "of_backend",
    "plan",
    "reference",
    "run",
    "verify",
]
