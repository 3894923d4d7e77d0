"""A step of an optimizer with one thing wrong: rates, moments, corrections, decay.  Floor 6.

Each operation is a formula with switches; the right answer is the formula with none of them set.  A row of the table
names a switch and says it in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lora_np._typing import Array
from lora_np.conformance.diagnose.guessing import IMPOSSIBLE, Guess, Hypothesis
from lora_np.conformance.diagnose.question import Question, Tensors

Switched = Callable[..., Mapping[str, Any]]
"""From tensors, configuration and switches to outputs by name."""


def slips(operations: Mapping[str, Switched], flag: str, words: str, **switch: Any) -> Hypothesis:
    """Make a row: the operations, given by capability, with a switch set."""

    def guesses(q: Question) -> Iterator[Guess]:
        formula = operations[q.case.capability]
        try:
            with np.errstate(all="ignore"):
                found = formula(q.tensors, q.config, **switch).get(q.name)
        except (*IMPOSSIBLE, KeyError):
            return
        if found is not None:
            yield np.asarray(found, dtype=np.float64), words

    return Hypothesis(flag, lambda q: q.case.capability in operations, guesses)


# ---- LoRA+ --------------------------------------------------------------------------------------------------


def adam_direction(
    t: Tensors,
    name: str,
    c: Mapping[str, Any],
    *,
    corrected: tuple[bool, bool] = (True, True),
    inside: bool = False,
    scaled_eps: bool = False,
    eps: float | None = None,
    betas: str = "right",
    late: int = 0,
    first: bool = True,
    root: bool = True,
) -> Array:
    """m̂ / (√v̂ + eps), with switches for what is often forgotten."""
    beta1, beta2 = (c["beta2"], c["beta1"]) if betas == "swapped" else (c["beta1"], c["beta2"])
    g, n = t[f"g{name}"], c["step"] + late
    kept = (1.0, 1.0) if betas == "not complementary" else (1 - beta1, 1 - beta2)
    m = beta1 * t[f"m{name}"] + kept[0] * g if first else g
    v = beta2 * t[f"v{name}"] + kept[1] * g * g
    m_hat = m / (1 - beta1**n) if corrected[0] and first else m
    v_hat = v / (1 - beta2**n) if corrected[1] else v
    small = c["eps"] if eps is None else eps
    small = small * np.sqrt(1 / (1 - beta2**n)) if scaled_eps else small
    if inside:
        return np.asarray(m_hat / np.sqrt(v_hat + small))
    return np.asarray(m_hat / ((np.sqrt(v_hat) if root else v_hat) + small))


def lora_plus(t: Tensors, c: Mapping[str, Any], **switch: Any) -> dict[str, Array]:
    """Step to A − lr u(gA) and B − ratio lr u(gB)."""
    rates = {"B": c["ratio"] * c["lr"], "A": c["lr"]}
    on = switch.pop("ratio_on", "B")
    if on != "B":
        rates = {
            "A": {"A": c["ratio"] * c["lr"], "B": c["lr"]},
            "none": dict.fromkeys("AB", c["lr"]),
            "both": dict.fromkeys("AB", c["ratio"] * c["lr"]),
            "divided": {"A": c["lr"], "B": c["lr"] / c["ratio"]},
        }[on]
    sign, decay = switch.pop("sign", -1), switch.pop("decay", 0.0)
    frozen = switch.pop("frozen", "")
    adam = c.get("optimizer") == "adam"
    if switch and not adam:
        raise ValueError("no such switch in plain descent")
    return {
        name: t[name] * (1 - rate * decay)
        + sign * rate * (adam_direction(t, name, c, **switch) if adam else t[f"g{name}"])
        if name != frozen
        else t[name]
        for name, rate in rates.items()
    }


PLUS: dict[str, Switched] = {"lora-plus.step": lora_plus}

# ---- LoRA-FA ------------------------------------------------------------------------------------------------


def lora_fa(
    t: Tensors, c: Mapping[str, Any], *, power: int = -2, damping: float | None = None, inverse: bool = True
) -> dict[str, Array]:
    """GB (A Aᵀ + damping I)⁻¹ / s²."""
    s, A = c["alpha"] / c["rank"], t["A"]
    damped = A @ A.T + (c["damping"] if damping is None else damping) * np.eye(len(A))
    turned = np.linalg.solve(damped, t["gB"].T).T if inverse else t["gB"]
    return {"gB": turned * s**power}


FA: dict[str, Switched] = {"lora-fa.step": lora_fa}

HYPOTHESES = (
    slips(PLUS, "RatioMissing", "both rates are equal: the ratio is left out", ratio_on="none"),
    slips(PLUS, "RatioOnWrongFactor", "the ratio multiplies A's rate for B's", ratio_on="A"),
    slips(PLUS, "RatioOnBoth", "the ratio multiplies both rates", ratio_on="both"),
    slips(PLUS, "RatioInverted", "B's rate is divided by the ratio", ratio_on="divided"),
    slips(PLUS, "SignFlipped", "the step goes uphill", sign=1),
    slips(PLUS, "FactorNotMoved", "B is not moved", frozen="B"),
    slips(PLUS, "FactorNotMoved", "A is not moved", frozen="A"),
    slips(
        PLUS,
        "BiasCorrectionMissing",
        "the moments are not corrected for their start at zero",
        corrected=(False, False),
    ),
    slips(
        PLUS,
        "BiasCorrectionMissing",
        "the first moment is not corrected for its start at zero",
        corrected=(False, True),
    ),
    slips(
        PLUS,
        "BiasCorrectionMissing",
        "the second moment is not corrected for its start at zero",
        corrected=(True, False),
    ),
    slips(PLUS, "EpsilonInsideRoot", "eps is added under the root", inside=True),
    slips(PLUS, "EpsilonScaled", "eps is scaled by the correction of the second moment", scaled_eps=True),
    slips(PLUS, "EpsilonMissing", "eps is left out", eps=0.0),
    slips(PLUS, "AnotherEpsilon", "eps is 1e-8", eps=1e-8),
    slips(PLUS, "BetasSwapped", "beta1 and beta2 are exchanged", betas="swapped"),
    slips(PLUS, "BetasNotComplementary", "1 for 1 − beta before the gradient", betas="not complementary"),
    slips(PLUS, "StepOffByOne", "the steps are counted from 0", late=-1),
    slips(PLUS, "StepOffByOne", "the steps are counted one too far", late=1),
    slips(PLUS, "MomentMissing", "there is no first moment", first=False),
    slips(PLUS, "RootMissing", "the root of the second moment is not taken", root=False),
    *(slips(PLUS, "WeightDecay", f"weights decay by {decay:g}", decay=decay) for decay in (0.01, 0.1, 0.001)),
    slips(FA, "SquaredScaleMissing", "not divided by the squared scale", power=0),
    slips(FA, "SquaredScaleMissing", "divided by the scale, not by its square", power=-1),
    slips(FA, "ScaleInverted", "multiplied by the squared scale for divided", power=2),
    slips(FA, "CorrectionMissing", "the gradient is not multiplied by the inverse of A Aᵀ", inverse=False),
    slips(FA, "CorrectionMissing", "the gradient as it was", inverse=False, power=0),
    slips(FA, "EpsilonMissing", "the damping is left out", damping=0.0),
)
