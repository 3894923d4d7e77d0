"""LoRA seen from the full gradient: an optimizer, an effective update, random projections, sums.  Floor 2.

    projection          LoRA as an optimizer that projects the weight's gradient onto both factors
    effective_update    what one SGD step does to the weight, with its term of second order
    random_projection   factors drawn afresh at every step
    additive            sums in the place of products

Everything of seed 001 after its two implementations, in the paper's matrices and with the scale kept.
"""

from lora_np.gradient_view.additive import (
    AdditiveParams,
    additive_backward,
    additive_forward,
    additive_gauge,
    additive_gradient,
    additive_init,
    additive_weight,
    block_identity,
)
from lora_np.gradient_view.effective_update import (
    effective_gradient,
    effective_update,
    first_order_update,
    second_order_update,
)
from lora_np.gradient_view.projection import adam_step, sgd_step, weight_step
from lora_np.gradient_view.random_projection import (
    expected_random_update,
    random_factors,
    random_projection_step,
)

__all__ = [
    "AdditiveParams",
    "adam_step",
    "additive_backward",
    "additive_forward",
    "additive_gauge",
    "additive_gradient",
    "additive_init",
    "additive_weight",
    "block_identity",
    "effective_gradient",
    "effective_update",
    "expected_random_update",
    "first_order_update",
    "random_factors",
    "random_projection_step",
    "second_order_update",
    "sgd_step",
    "weight_step",
]
