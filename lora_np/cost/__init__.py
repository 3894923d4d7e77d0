"""Cost: FLOPs, bytes, peak memory and predicted time of one layer in every variant, and their crossovers.  Floor 2.

`linear_costs` counts, `crossovers` solves for where lora-1 overtakes lora-2, `predicted_seconds` turns counts and a
machine's two rates into a floor.  Measuring is the bench's business.
"""

from lora_np.cost.crossovers import Crossovers, crossovers
from lora_np.cost.linear import REUSE_FROM, Line, LinearCosts, Phase, VariantCost, linear_costs
from lora_np.cost.programs import PROGRAMS, Program, Step
from lora_np.cost.roofline import limits, predicted_seconds

__all__ = [
    "PROGRAMS",
    "REUSE_FROM",
    "Crossovers",
    "Line",
    "LinearCosts",
    "Phase",
    "Program",
    "Step",
    "VariantCost",
    "crossovers",
    "limits",
    "linear_costs",
    "predicted_seconds",
]
