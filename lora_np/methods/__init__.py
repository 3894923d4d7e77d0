"""The methods: every way to fine-tune a linear layer that this package is an oracle for, one file each.  Floor 2.

Each file holds the same paragraphs: the trainable tensors (a NamedTuple), `init`, `forward`, `backward`, and `merge`
and `unmerge` where the method has them.  Nothing is imported here: `method("rslora")` loads the one file that is asked
for.  Layouts of a weight other than (d, k) are in `layouts`, combinations of adapters in `adapters`.

    lora               W0 + s B A, s = alpha / r
    rslora             the same with s = alpha / sqrt(r)
    lora-plus          LoRA whose B learns faster than its A
    lora-fa            LoRA whose A is frozen, and a correction of B's gradient
    lora-xs            W0 + B R A, the factors frozen at the SVD of W0
    vera               W0 + diag(lambda_b) B diag(lambda_d) A, the factors frozen at random
    adalora            W0 + s P diag(lam) Q; the rule that spends a budget of ranks is in `adalora_budget`
    additive           W0 + s (B E + Eᵀ A): sums in place of products
    symmetric          W0 − s B0 A0 + s B A: both factors start away from zero
    dora               diag(m / ‖V‖) V, V = W0 + s B A
    pissa              LoRA that starts at the largest singular vectors of W0
    milora             LoRA that starts at the smallest ones
    olora              LoRA that starts at the QR factors of W0
    loha               W0 + s (B1 A1) ∘ (B2 A2), entry by entry
    lokr               W0 + s C ⊗ D
    oft                W0 blockdiag(R), R orthogonal
    ia3                l ∘ (W0 x), or W0 (l ∘ x)
    bitfit             W0 x + b, only b trained
    houlsby, pfeiffer  h + W_up f(W_down h + b_down) + b_up, in two places of a block
    prefix-tuning      keys and values of extra tokens in attention
    prompt-tuning      extra rows of input

What they share.  `forward(X, W0, p, *, ..., bias=None)` returns Y and what `backward` needs of it, under its own name;
`backward(gY, X, kept, W0, p, *, ...)` returns gX and the gradients, of the parameters' own type; `merge(W0, p, *, ...)`
and `unmerge(W, p, *, ...)` return a weight.  Frozen tensors of a method stand right after W0.  Where there is a scale
on the increment it is the keyword `scale`, which the module's `scaling(alpha, rank)` makes.  No function holds
state, writes into an argument, or looks for NaN, save where merging would store one.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from lora_np import checks

METHODS = (
    "lora",
    "rslora",
    "lora-plus",
    "lora-fa",
    "lora-xs",
    "vera",
    "adalora",
    "additive",
    "symmetric",
    "dora",
    "pissa",
    "milora",
    "olora",
    "loha",
    "lokr",
    "oft",
    "ia3",
    "bitfit",
    "houlsby",
    "pfeiffer",
    "prefix-tuning",
    "prompt-tuning",
)
"""Every method's name, in the order of the list above."""


def method(name: str) -> ModuleType:
    """Load the module of a method by its name.

    Raises `ConfigError` for a name that is not in `METHODS`, with the list and the nearest one.

    >>> method("rslora").scaling(alpha=8, rank=4)
    4.0
    """
    checks.require_one_of("method", name, METHODS)
    return import_module(f"lora_np.methods.{name.replace('-', '_')}")


__all__ = ["METHODS", "method"]
