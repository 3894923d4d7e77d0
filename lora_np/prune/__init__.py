"""LoRAPrune and what it approximates: which groups of weights can go, and taking them away.  Floor 2.

gradients    the weight's gradient: exact, LoRAPrune's estimate, the last step's change
groups       rows, columns, heads, channels, any index set; over several matrices
importance   three forms of the first-order score       (criteria.py)
group_dot    the plain sum, read off activations         (activations.py)
removal      the true loss of removing; Taylor of order 1 and 2
schedule     cubic schedule, running average
mask         exact counts, nothing un-pruned             (masks.py)
shrink       physical removal                            (shrinking.py)
released     LoRAPrune's program where it differs from its equations
"""

from lora_np.prune import gradients, groups, released, schedule
from lora_np.prune.activations import group_dot, group_dot_columns
from lora_np.prune.criteria import (
    FORMS,
    group_sums,
    importance,
    importance_from_sums,
    line_sums,
    sum_by_label,
    sums_by_part,
    weightwise,
)
from lora_np.prune.factored import Adapted, Product
from lora_np.prune.groups import Groups, Part
from lora_np.prune.masks import mask, mask_across, masked, masked_forward, pruned_count
from lora_np.prune.removal import Removal, taylor_1, taylor_2, true_removal_loss
from lora_np.prune.shrinking import shrink

__all__ = [
    "FORMS",
    "Adapted",
    "Groups",
    "Part",
    "Product",
    "Removal",
    "gradients",
    "group_dot",
    "group_dot_columns",
    "group_sums",
    "groups",
    "importance",
    "importance_from_sums",
    "line_sums",
    "mask",
    "mask_across",
    "masked",
    "masked_forward",
    "pruned_count",
    "released",
    "schedule",
    "shrink",
    "sum_by_label",
    "sums_by_part",
    "taylor_1",
    "taylor_2",
    "true_removal_loss",
    "weightwise",
]
