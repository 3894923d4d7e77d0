"""Home: one layer and its two strips."""

from typing import NamedTuple

from lora_np.figures.chart import Chart, percent
from lora_np.figures.diagram import increment_diagram
from lora_np.lora import forward

RANKS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512]
CODE = (forward,)


class Layer(NamedTuple):
    """The sizes of one adapted layer."""

    d: int
    k: int
    rank: int
    frozen: int
    trained: int
    share: str
    verdict: str


def layer(d: int, k: int, rank: int) -> Layer:
    """Count the numbers in W0, and in B and A together."""
    frozen, trained = d * k, rank * (d + k)
    verdict = (
        "The strips hold fewer numbers than the square."
        if trained < frozen
        else "The strips hold as many numbers as the square or more: nothing is saved any longer."
    )
    return Layer(d, k, rank, frozen, trained, percent(trained / frozen), verdict)


def picture(record: Layer) -> Chart:
    """Draw it to scale."""
    return increment_diagram(record.d, record.k, record.rank, frozen=record.frozen, trained=record.trained)
