"""Several adapters on one base: combined, merged together, swapped, mixed within one batch.  Floor 2.

One file per idea; this one gathers the public names.  Combining works on increments s B A, as the papers do, except
where its name says factor by factor (`combine_linear`); `factor_increment` makes factors of an increment again.
"""

from lora_np.adapters.adapter import LoraAdapter, combined_config, increments, total_increment
from lora_np.adapters.bank import AdapterBank
from lora_np.adapters.cat import combine_cat
from lora_np.adapters.dare import combine_dare, combine_dare_ties, draw_keep, drop_and_rescale
from lora_np.adapters.inspection import (
    chance_cosine,
    cosine,
    cut_to_rank,
    frobenius,
    increment_norm,
    numbers_saved,
    thin_svd,
)
from lora_np.adapters.linear import combine_linear, cross_terms
from lora_np.adapters.magnitude import combine_magnitude, kept_count, trim
from lora_np.adapters.mixed import Grouping, backward_mixed, forward_mixed, group_rows
from lora_np.adapters.report import Likeness, ModuleReport, likeness, module_report
from lora_np.adapters.rounding import MergeLoss, merge_loss, rounded
from lora_np.adapters.several import merge_several, swap_merged, unmerge_several
from lora_np.adapters.svd import Truncated, combine_svd, factor_increment
from lora_np.adapters.ties import combine_ties, disjoint_mean, elect_sign

__all__ = [
    "AdapterBank",
    "Grouping",
    "Likeness",
    "LoraAdapter",
    "MergeLoss",
    "ModuleReport",
    "Truncated",
    "backward_mixed",
    "chance_cosine",
    "combine_cat",
    "combine_dare",
    "combine_dare_ties",
    "combine_linear",
    "combine_magnitude",
    "combine_svd",
    "combine_ties",
    "combined_config",
    "cosine",
    "cross_terms",
    "cut_to_rank",
    "disjoint_mean",
    "draw_keep",
    "drop_and_rescale",
    "elect_sign",
    "factor_increment",
    "forward_mixed",
    "frobenius",
    "group_rows",
    "increment_norm",
    "increments",
    "kept_count",
    "likeness",
    "merge_loss",
    "merge_several",
    "module_report",
    "numbers_saved",
    "rounded",
    "swap_merged",
    "thin_svd",
    "total_increment",
    "trim",
    "unmerge_several",
]
