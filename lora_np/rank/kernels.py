"""The three loops that do the work, as a record: a backend replaces the loops and keeps the mathematics.  Floor 1."""

from collections.abc import Callable
from typing import NamedTuple

from lora_np._typing import Array
from lora_np.rank.elimination import eliminate
from lora_np.rank.householder import pivoted_qr
from lora_np.rank.jacobi import orthogonalize_rows


class Kernels(NamedTuple):
    """Functions with the signatures of `pivoted_qr`, `orthogonalize_rows` and `eliminate`."""

    pivoted_qr: Callable[[Array, float], tuple[Array, Array, list[int]]]
    orthogonalize_rows: Callable[[Array], tuple[Array, Array]]
    eliminate: Callable[[Array, float], tuple[Array, list[int]]]


REFERENCE = Kernels(pivoted_qr, orthogonalize_rows, eliminate)
