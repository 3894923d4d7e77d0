"""Several adapters on one base: combined, merged together, swapped, mixed within one batch.  Floor 2.

One file per idea; this one gathers the public names.  Combining works on increments s B A, as the papers do, except
where its name says factor by factor (`combine_linear`); `factor_increment` makes factors of an increment again.
"""

from lora_np.adapters.adapter import LoraAdapter, combined_config, increments, total_increment
from lora_np.adapters.bank import AdapterBank
from lora_np.adapters.cat import combine_cat
from lora_np.adapters.dare import combine_dare, combine_dare_ties, draw_keep, drop_and_rescale
from lora_np.adapters.linear import combine_linear, cross_terms
from lora_np.adapters.magnitude import combine_magnitude, kept_count, trim
from lora_np.adapters.mixed import Grouping, backward_mixed, forward_mixed, group_rows
from lora_np.adapters.several import merge_several, swap_merged, unmerge_several
from lora_np.adapters.svd import Truncated, combine_svd, factor_increment
from lora_np.adapters.ties import combine_ties, disjoint_mean, elect_sign

__all__ = [
    "AdapterBank",
    "Grouping",
    "LoraAdapter",
    "Truncated",
    "backward_mixed",
    "combine_cat",
    "combine_dare",
    "combine_dare_ties",
    "combine_linear",
    "combine_magnitude",
    "combine_svd",
    "combine_ties",
    "combined_config",
    "cross_terms",
    "disjoint_mean",
    "draw_keep",
    "drop_and_rescale",
    "elect_sign",
    "factor_increment",
    "forward_mixed",
    "group_rows",
    "increments",
    "kept_count",
    "merge_several",
    "swap_merged",
    "total_increment",
    "trim",
    "unmerge_several",
]
