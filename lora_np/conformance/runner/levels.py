"""The three levels: which cases each runs, and how large an error, in units of u, each allows.  Floor 6.

    bronze   forward and merge            γ(K): more proves an error beyond the rounding of the arithmetic
    silver   every operation but state and train, and input that must be refused        min(γ(K), 6 √K)
    gold     everything                   16; for dora, which divides by a norm, 64

A lower level is never stricter than a higher one: where γ(K) is below gold's limit, which is the case for short sums,
gold's limit stands at every level, because another order of the same arithmetic may round more often.  So what
exceeds bronze's limit is certified.  An output that takes no rounding (K = 0) must be equal at every level.

Types of 16 bits are storage: sums are expected in float32, u is float32's, and storing a result may err by one
more half unit of its own type.
"""

from __future__ import annotations

import math

from lora_np import checks
from lora_np.conformance.bounds import GOLD, gamma_in_u
from lora_np.conformance.vectors.format import HALF_TYPES, Case

LEVELS = ("bronze", "silver", "gold")
_BRONZE = ("forward", "merge")
_GOLD_ONLY = ("state", "train")
_GOLD_LIMITS = {"dora": 64.0}


def require_level(level: object) -> None:
    """Raise `ConfigError` unless `level` is one of the three."""
    checks.require_one_of("level", level, LEVELS)


def runs(level: str, case: Case) -> bool:
    """Tell whether a level runs a case.

    >>> case = Case("lora/forward#1", "lora", "forward", {}, "float64", {}, result="invalid")
    >>> runs("bronze", case), runs("silver", case)
    (False, True)
    """
    if level == "bronze":
        return case.operation in _BRONZE and case.result != "invalid"
    return level == "gold" or case.operation not in _GOLD_ONLY


def working_type(dtype: str) -> str:
    """Name the type that arithmetic is done in: float32 for the types of 16 bits.

    >>> working_type("bfloat16"), working_type("float64")
    ('float32', 'float64')
    """
    if dtype in HALF_TYPES:
        return "float32"
    return dtype if dtype.startswith("float") else "float64"


def limit_in_u(level: str, roundings: int, dtype: str, method: str) -> float:
    """Return the largest error, in units of u S, that a level lets pass for K roundings.

    >>> [limit_in_u(level, 400, "float64", "lora") for level in ("silver", "gold")]
    [120.0, 16.0]
    >>> limit_in_u("bronze", 5, "float64", "lora"), limit_in_u("bronze", 0, "float64", "lora")
    (16.0, 0.0)
    """
    if roundings == 0:
        return 0.0
    gold = _GOLD_LIMITS.get(method, GOLD)
    if level == "gold":
        return gold
    certain = gamma_in_u(roundings, working_type(dtype))
    if level == "silver":
        certain = min(certain, 6 * math.sqrt(roundings))
    return max(certain, gold)
