"""The letters of the equations: what each stands for, and the shape it has.  Floor 0.

Letters that mean different things in different equations are not here; the equation's own words say them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Symbol:
    """One letter: `axes` are the names of its sizes in the paper's form, `turns` says that the row form transposes it.

    An empty `axes` is a number.
    """

    latex: str
    axes: tuple[str, ...]
    words: str
    turns: bool = False

    def shape(self, sizes: tuple[int, ...], *, row_form: bool = False) -> tuple[int, ...]:
        """Write the sizes in the order of the form that is read.

        >>> SYMBOLS["B"].shape((768, 8)), SYMBOLS["B"].shape((768, 8), row_form=True)
        ((768, 8), (8, 768))
        """
        return sizes[::-1] if row_form and self.turns else sizes


def _table(*rows: Symbol) -> Mapping[str, Symbol]:
    """Index the letters by how they are written."""
    return MappingProxyType({symbol.latex: symbol for symbol in rows})


SYMBOLS: Mapping[str, Symbol] = _table(
    Symbol("X", ("N", "k"), "the inputs, one a row"),
    Symbol("Y", ("N", "d"), "the outputs, one a row"),
    Symbol("Z", ("N", "r"), "the bottleneck: the inputs after A"),
    Symbol("W_0", ("d", "k"), "the frozen weight", turns=True),
    Symbol("W", ("d", "k"), "the weight in use", turns=True),
    Symbol(r"\Delta W", ("d", "k"), "the increment", turns=True),
    Symbol("B", ("d", "r"), "the strip next to the output, trained", turns=True),
    Symbol("A", ("r", "k"), "the strip next to the input, trained", turns=True),
    Symbol("g_Y", ("N", "d"), "the gradient that arrives from above"),
    Symbol("g_X", ("N", "k"), "the gradient handed down"),
    Symbol("g_Z", ("N", "r"), "the gradient of the bottleneck"),
    Symbol("g_W", ("d", "k"), "the gradient of the weight", turns=True),
    Symbol("g_B", ("d", "r"), "the gradient of B", turns=True),
    Symbol("g_A", ("r", "k"), "the gradient of A", turns=True),
    Symbol(r"\hat G", ("d", "k"), "the estimated gradient of the weight", turns=True),
    Symbol("M", ("m", "n"), "the matrix that is looked at"),
    Symbol("U", ("m", "q"), "directions of the outputs, one a column"),
    Symbol("V", ("n", "q"), "directions of the inputs, one a column"),
    Symbol("s", (), "the scale, α / r"),
    Symbol("r", (), "the rank"),
    Symbol("N", (), "rows of the batch"),
    Symbol("d", (), "outputs"),
    Symbol("k", (), "inputs"),
    Symbol(r"\eta", (), "the learning rate"),
    Symbol(r"\alpha", (), "the adapter's strength"),
    Symbol(r"\sigma_i", (), "the weight of direction i: a singular value"),
)
"""Every letter that a card can explain, by its LaTeX."""
