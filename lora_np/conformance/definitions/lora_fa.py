"""LoRA-FA: LoRA whose A is frozen (Zhang et al. 2023, arXiv 2308.03303, section 3).  Floor 6.

`step` is the correction that the released optimizer applies to B's gradient: of all gradients of this form it is the
one whose step moves W nearest to the full gradient's.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors
from lora_np.conformance.definitions.lora import forward, others, scale
from lora_np.conformance.exact.linear import frobenius, inverse
from lora_np.conformance.exact.loops import each, product, transpose
from lora_np.conformance.exact.number import Exact


def step(t: Tensors, config: Config) -> dict[str, Any]:
    """Compute gB (A Aᵀ + damping I)⁻¹ / s²."""
    A, s = t["A"], scale(config)
    gram = product(A, transpose(A))
    damped = [
        [x + config["damping"] if i == j else x for j, x in enumerate(row)] for i, row in enumerate(gram)
    ]
    solved = inverse(damped)
    corrected = each(lambda x: x / (s * s), product(t["gB"], solved))
    if not isinstance(s, Exact):
        return {"gB": corrected}
    # An inverse is known to its condition: S = ‖gB row‖ ‖M⁻¹‖² ‖M‖ / s², the same for a whole row.
    spread = frobenius(solved) ** 2 * frobenius(damped) / float(s.value) ** 2
    K = 10 * (len(A) + len(A[0]))
    rows = zip(corrected, t["gB"], strict=True)
    return {"gB": [[Exact(x.value, frobenius([g]) * spread, K) for x in row] for row, g in rows]}


DEFINITION = Definition("lora-fa", trainable=("B",), forward=forward, others={**others, "step": step})
