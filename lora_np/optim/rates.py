"""Learning rates that differ by factor: LoRA+.  Floor 2.  No schedules over time."""

from lora_np import checks
from lora_np.lora import LoraParams


def lora_plus(lr: float, *, ratio: float = 16.0) -> LoraParams:
    """Make the two learning rates of LoRA+: pass the result as `lr`.  [optim-lora-plus]

    lr_A = lr and lr_B = ratio · lr: the factor that starts at zero learns faster.  Raises `ConfigError`.

    >>> lora_plus(0.25, ratio=8)
    LoraParams(B=2.0, A=0.25)
    """
    checks.require_number("lr", lr, least=0)
    checks.require_number("ratio", ratio, above=0)
    return LoraParams(B=float(ratio) * float(lr), A=float(lr))
