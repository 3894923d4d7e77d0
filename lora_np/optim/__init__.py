"""Optimizers as pure steps: SGD, momentum, Adam, AdamW, and the learning rates of LoRA+.  Floor 2.

A step maps `(params, grads, state)` to new `(params, state)` and writes into nothing it was given.  Parameters are
a tuple of arrays, a NamedTuple such as `LoraParams` or a plain one; the gradients have the same shapes, and what
comes back has the same type.  The learning rate is one number, or a tuple with one number for each field.
There are no schedules, no gradient clipping and no loss scaling here: change `lr` or the gradients between steps.
A gradient that is not finite raises `NonFiniteError` before it can spoil the state.
"""

from lora_np.optim.adam import AdamState, adam_init, adam_step, adamw_step
from lora_np.optim.descent import (
    MomentumState,
    SgdState,
    momentum_init,
    momentum_step,
    sgd_init,
    sgd_step,
)
from lora_np.optim.rates import lora_plus

__all__ = [
    "AdamState",
    "MomentumState",
    "SgdState",
    "adam_init",
    "adam_step",
    "adamw_step",
    "lora_plus",
    "momentum_init",
    "momentum_step",
    "sgd_init",
    "sgd_step",
]
