"""The ``"numba"`` backend: the reference, with what compiled loops make faster or leaner in its place.  Floor 3."""

import numpy as np

from lora_np.backends import numba_importance, numba_layer, numba_low_rank, numba_optim, numba_rank
from lora_np.backends.record import REFERENCE
from lora_np.lora import LoraParams
from lora_np.optim import adam_init
from lora_np.prune import Adapted, Product

BACKEND = REFERENCE._replace(
    name="numba",
    forward=numba_layer.forward,
    backward=numba_layer.backward,
    forward_via_weight=numba_layer.forward_via_weight,
    add_low_rank=numba_low_rank.add_low_rank,
    importance=numba_importance.importance,
    line_sums=numba_importance.line_sums,
    group_dot=numba_importance.group_dot,
    group_dot_columns=numba_importance.group_dot_columns,
    adam_step=numba_optim.adam_step,
    adamw_step=numba_optim.adamw_step,
    matrix_rank=numba_rank.matrix_rank,
    rank_factorization=numba_rank.rank_factorization,
    svd=numba_rank.svd,
)


def warm(*, dtypes: tuple[str, ...] = ("float32", "float64")) -> None:
    """Compile every kernel, or load it from the cache on disk, by calling each on one number.

    The first call on a machine takes some seconds for each element type, later ones a fraction of a second; without
    it each kernel is compiled when it is first used.

    >>> warm(dtypes=("float64",))
    """
    for dtype in dtypes:
        one = np.ones((1, 1), dtype=dtype)
        p = LoraParams(one, one)
        BACKEND.forward(one, one, p, scale=1.0)
        for axis in (0, 1):
            BACKEND.line_sums(Adapted(one, p, 1.0), Product(one, one), axis=axis, form="sum-abs")
        BACKEND.group_dot(one, one)
        BACKEND.adam_step((one,), (one,), adam_init((one,)), lr=0.1)
        for method in ("rref", "qr", "svd"):
            BACKEND.rank_factorization(one, method)
