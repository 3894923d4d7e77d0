"""OLoRA: LoRA that starts at the leading QR factors of W0 (Büyükakyüz 2024, arXiv 2406.01775, section 3).  Floor 6.

W0 = Q R, B = Q_r (the first r columns), A = R_r (the first r rows), base W0 − s Q_r R_r.  Columns of Q have no sign of
their own, so `init` is compared on the base, on B A = Q_r Q_rᵀ W0 and on the projector B Bᵀ = Q_r Q_rᵀ, all rational.
"""

from __future__ import annotations

from typing import Any

from lora_np.conformance.definitions.definition import Config, Definition, Tensors, minus, scaled
from lora_np.conformance.definitions.lora import forward, others, scale
from lora_np.conformance.exact.linear import frobenius, orthogonal, projector
from lora_np.conformance.exact.loops import each, product, transpose
from lora_np.conformance.exact.number import Exact


def init(t: Tensors, config: Config) -> dict[str, Any]:
    """Project W0 onto the span of its first r columns.

    The span moves by about κ = ‖W0‖ / (the shortest rest that Gram and Schmidt leave), which makes S.
    """
    W0, s, r = t["W0"], scale(config), config["rank"]
    columns = transpose(W0)[:r]
    P = projector(columns)
    kept = product(P, W0)
    norm, K = frobenius(W0), 10 * (len(W0) + len(W0[0]))
    condition = 1 + norm / min(frobenius([q]) for q in orthogonal(columns))

    def bounded(x: Any, size: float) -> Any:
        return Exact(x.value, size * condition, K) if isinstance(x, Exact) else x

    share = each(lambda x: bounded(x, norm), kept)
    return {
        "W_base": minus(W0, scaled(s, share)),
        "BA": share,
        "BBt": each(lambda x: bounded(x, 1.0), P),
    }


DEFINITION = Definition("olora", trainable=("B", "A"), forward=forward, others={**others, "init": init})
