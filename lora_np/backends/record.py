"""What a backend is: a record of functions, under the names and with the signatures of the reference.  Floor 3.

There is no current backend: whoever wants speed takes a record and calls its fields, and whoever reads the code sees
which arithmetic ran.  What a backend does not make faster or leaner is the reference itself, so every record is whole.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from lora_np import lora, merging, optim, prune, rank
from lora_np.backends import low_rank


class Backend(NamedTuple):
    """The functions of one backend; each is documented where the reference has it."""

    name: str
    # lora, merging
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    forward_via_weight: Callable[..., Any]
    backward_via_weight: Callable[..., Any]
    merge: Callable[..., Any]
    unmerge: Callable[..., Any]
    add_low_rank: Callable[..., Any]
    # prune
    importance: Callable[..., Any]
    line_sums: Callable[..., Any]
    group_dot: Callable[..., Any]
    group_dot_columns: Callable[..., Any]
    # optim
    sgd_step: Callable[..., Any]
    momentum_step: Callable[..., Any]
    adam_step: Callable[..., Any]
    adamw_step: Callable[..., Any]
    # rank
    matrix_rank: Callable[..., Any]
    rank_factorization: Callable[..., Any]
    svd: Callable[..., Any]

    @property
    def overrides(self) -> tuple[str, ...]:
        """Name the functions that are this backend's own and not the reference's.

        >>> REFERENCE.overrides
        ()
        """
        return tuple(
            field
            for field, mine, plain in zip(self._fields, self, REFERENCE, strict=True)
            if field != "name" and mine is not plain
        )


REFERENCE = Backend(
    name="numpy",
    forward=lora.forward,
    backward=lora.backward,
    forward_via_weight=lora.forward_via_weight,
    backward_via_weight=lora.backward_via_weight,
    merge=merging.merge,
    unmerge=merging.unmerge,
    add_low_rank=low_rank.add_low_rank,
    importance=prune.importance,
    line_sums=prune.line_sums,
    group_dot=prune.group_dot,
    group_dot_columns=prune.group_dot_columns,
    sgd_step=optim.sgd_step,
    momentum_step=optim.momentum_step,
    adam_step=optim.adam_step,
    adamw_step=optim.adamw_step,
    matrix_rank=rank.matrix_rank,
    rank_factorization=rank.rank_factorization,
    svd=rank.svd,
)
"""The ``"numpy"`` backend: the reference arithmetic, which also runs on any other array library."""
