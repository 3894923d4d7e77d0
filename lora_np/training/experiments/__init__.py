"""The tables: methods of adaptation compared, and accuracy against sparsity for every criterion.  Floor 4.

base         the network pretrained on the upright digits that every experiment starts from
adapting     a shifted task learnt by every method
pruning      hidden units removed by every criterion, at once or while adapting
task_adapters  several shifted tasks on one base, an adapter for each: what ships for merging and combining
records      tidy records: summaries over seeds, and the file of results that ships
matrices     a small transformer adapted on every set of matrices at every rank; it has a command and a file of its own

``python -m lora_np.training.experiments`` runs everything again and writes that file.
"""

from lora_np.training.experiments.adapting import VARIANTS, compare_methods
from lora_np.training.experiments.base import SEEDS
from lora_np.training.experiments.pruning import RATIOS, prune_at_once, prune_while_adapting
from lora_np.training.experiments.records import shipped_records, summary

__all__ = [
    "RATIOS",
    "SEEDS",
    "VARIANTS",
    "compare_methods",
    "prune_at_once",
    "prune_while_adapting",
    "shipped_records",
    "summary",
]
