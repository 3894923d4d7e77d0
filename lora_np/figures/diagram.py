"""The first picture: a frozen square and two thin strips, drawn to scale.  Floor 6."""

from typing import NamedTuple

import plotly.graph_objects as go

from lora_np.counts import factored_count
from lora_np.figures.chart import BLUE, GREY, VERMILLION, Chart, Table, finished, percent


class Layer(NamedTuple):
    """The sizes of an adapted layer.  [count-lora]

    >>> Layer(d=768, k=768, rank=8).trained, Layer(d=768, k=768, rank=384).saves
    (12288, False)
    """

    d: int
    k: int
    rank: int

    @property
    def frozen(self) -> int:
        """How many numbers W0 holds."""
        return self.d * self.k

    @property
    def trained(self) -> int:
        """How many numbers B and A hold."""
        return factored_count(self.d, self.k, self.rank)

    @property
    def share(self) -> float:
        """Trained over frozen."""
        return self.trained / self.frozen

    @property
    def saves(self) -> bool:
        """Whether the strips hold fewer numbers than the square."""
        return self.trained < self.frozen


def increment_diagram(layer: Layer) -> Chart:
    """Draw W0, B and A with every side in proportion to its number of entries.  [lora-delta]

    The square is the frozen weight (d, k), the upright strip B (d, r), the lying strip A (r, k).
    """
    d, k, rank = layer
    gap = 0.12 * k
    left_of_b = k + gap
    left_of_a = left_of_b + rank + gap / 2
    figure = go.Figure()
    _rectangle(figure, 0, 0, k, d, GREY, f"W0, frozen: {d} × {k}")
    _rectangle(figure, left_of_b, 0, rank, d, BLUE, f"B, trained: {d} × {rank}")
    _rectangle(figure, left_of_a, d - rank, k, rank, VERMILLION, f"A, trained: {rank} × {k}")
    _label(figure, k / 2, d / 2, f"<b>W₀</b><br>frozen<br>{d} × {k}")
    _label(figure, left_of_b - gap / 2, d / 2, "<b>+</b>", size=26)
    _label(figure, left_of_b + rank / 2, -0.05 * d, f"<b>B</b> {d} × {rank}")
    _label(figure, left_of_a + k / 2, d - rank - 0.06 * d, f"<b>A</b> {rank} × {k}")
    finished(figure, height=330)
    figure.update_layout(showlegend=False, margin={"l": 0, "r": 0, "t": 4, "b": 4})
    figure.update_xaxes(visible=False, range=[-0.02 * k, left_of_a + 1.02 * k], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-0.12 * d, 1.02 * d], scaleanchor="x", fixedrange=True)
    alt = (
        f"Drawn to scale: a frozen {d} × {k} square W0, plus a strip B of {d} × {rank} times a strip A of "
        f"{rank} × {k}; the strips hold {layer.trained:,} numbers, {percent(layer.share)} of what the square holds."
    )
    table: Table = {
        "matrix": ["W0", "B", "A"],
        "rows": [d, d, rank],
        "columns": [k, rank, k],
        "numbers": [layer.frozen, d * rank, rank * k],
        "trained": ["no", "yes", "yes"],
    }
    return Chart(figure, alt, table)


def _rectangle(
    figure: go.Figure, x: float, y: float, wide: float, high: float, colour: str, text: str
) -> None:
    """Draw one matrix as a filled rectangle that says its name and shape when pointed at."""
    figure.add_scatter(
        x=[x, x + wide, x + wide, x, x],
        y=[y, y, y + high, y + high, y],
        mode="lines",
        fill="toself",
        line={"color": colour, "width": 1},
        fillcolor=colour if colour != GREY else "rgba(128,128,128,0.25)",
        name=text,
        hoveron="fills",
        hoverinfo="name",
        hoverlabel={"namelength": -1},
    )


def _label(figure: go.Figure, x: float, y: float, text: str, *, size: int = 15) -> None:
    """Write on the picture."""
    figure.add_annotation(x=x, y=y, text=text, showarrow=False, font={"size": size})
