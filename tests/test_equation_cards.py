"""What a card adds to an equation: lines that a narrow column holds, and the letters with their sizes."""

import re

import pytest

from lora_np.equations import EQUATIONS
from lora_np.equations.symbols import SYMBOLS
from lora_np.equations.typeset import in_lines

FORMS = [
    (entry.key, text)
    for entry in EQUATIONS.values()
    for text in dict.fromkeys((entry.latex, entry.latex_row))
]
LAYOUT = re.compile(r"\\(begin|end)\{(gathered|aligned)\}|\\\\|&|\\q?quad|\s")


@pytest.mark.parametrize(("key", "latex"), FORMS)
def test_breaking_a_formula_changes_nothing_but_the_layout(key, latex):
    """What is left without spaces, breaks and environments is the same; environments come in pairs."""
    lines = in_lines(latex)
    assert LAYOUT.sub("", lines) == LAYOUT.sub("", latex)
    assert ("&" in lines) <= (r"\begin{" in lines)
    for name in ("gathered", "aligned"):
        assert lines.count(rf"\begin{{{name}}}") == lines.count(rf"\end{{{name}}}")


def test_an_environment_or_bracket_is_never_torn():
    latex = r"M = \begin{bmatrix} a = b = c & \quad d \end{bmatrix},\quad f(x = y = z)"
    assert in_lines(latex) == (
        r"\begin{gathered} M = \begin{bmatrix} a = b = c & \quad d \end{bmatrix}, \\ f(x = y = z) \end{gathered}"
    )


def test_a_symbol_is_turned_by_the_row_form_exactly_if_it_is_a_weight():
    """Rows of a batch stay rows: X, Y, Z and their gradients are the same in both forms."""
    turned = {latex for latex, symbol in SYMBOLS.items() if symbol.turns}
    assert {"W_0", "W", "B", "A", "g_B", "g_A", "g_W"} <= turned
    assert not turned & {"X", "Y", "Z", "g_X", "g_Y", "g_Z"}
    assert SYMBOLS["X"].shape((32, 48), row_form=True) == (32, 48)
    assert SYMBOLS["A"].shape((8, 48), row_form=True) == (48, 8)


@pytest.mark.parametrize("symbol", SYMBOLS.values(), ids=list(SYMBOLS))
def test_a_number_has_no_axes_and_a_matrix_has_two_or_one(symbol):
    assert len(symbol.axes) <= 2
    assert not symbol.words.endswith(".")
