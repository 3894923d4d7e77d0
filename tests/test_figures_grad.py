"""The room on gradients: its integers by plain loops on Fractions, its differences by what theory says of them."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from lora_np.errors import ConfigError
from lora_np.figures import grad as figures
from lora_np.figures.grad_scene import (
    EXPONENTS,
    GRADIENTS,
    LOSSES,
    Entry,
    bends,
    error_curves,
    grad_scene,
    small_layer,
)
from tests.chart_checks import check_chart

SHAPES = {"gB": (3, 2), "gA": (2, 2), "gX": (2, 2)}
CELLS = [(w, i + 1, j + 1) for w, (m, n) in SHAPES.items() for i in range(m) for j in range(n)]
PARTS = {"gB": "B", "gA": "A", "gX": "X"}


def lists() -> dict[str, list[list[Fraction]]]:
    """The layer's numbers as Fractions."""
    layer = small_layer()
    arrays = {"X": layer.X, "W0": layer.W0, "B": layer.p.B, "A": layer.p.A, "T": layer.T}
    return {name: [[Fraction(x) for x in row] for row in M.tolist()] for name, M in arrays.items()}


def loss_of(M: dict[str, list[list[Fraction]]], power: int) -> Fraction:
    """L = Σ (Y − T)^m / m with Y = X (W0 + s B A)ᵀ, loop by loop."""
    total = Fraction(0)
    for n, i in product(range(2), range(3)):
        y = Fraction(0)
        for j in range(2):
            w = M["W0"][i][j] + 2 * sum(M["B"][i][q] * M["A"][q][j] for q in range(2))
            y += M["X"][n][j] * w
        total += (y - M["T"][n][i]) ** power
    return total / power


def derivatives(which: str, power: int) -> dict[str, np.ndarray]:
    """The first three derivatives by every entry, from whole steps: exact, because L has degree 4 at most."""
    found = {order: np.zeros(SHAPES[which]) for order in (1, 2, 3)}
    for i, j in np.ndindex(*SHAPES[which]):
        L = {}
        for step in (-2, -1, 0, 1, 2):
            M = lists()
            M[PARTS[which]][i][j] += step
            L[step] = loss_of(M, power)
        found[1][i, j] = (L[-2] - 8 * L[-1] + 8 * L[1] - L[2]) / 12
        found[2][i, j] = (-L[-2] + 16 * L[-1] - 30 * L[0] + 16 * L[1] - L[2]) / 12
        found[3][i, j] = (-L[-2] + 2 * L[-1] - 2 * L[1] + L[2]) / 2
    return found


# ---- the integers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("which", GRADIENTS)
def test_gradients_are_the_exact_derivatives_of_the_loss_by_every_road(which, loss):
    """[grad-1] [grad-2] [lora-grad-x]: lora-2, lora-1 and autograd give the integers; no rounding, no tolerance."""
    scene = grad_scene(which, 1, 1, h=1e-6, loss=loss)
    want = derivatives(which, LOSSES[loss])[1]
    assert (scene.gradient == want).all()
    assert (scene.roads["lora-1"] == want).all()
    assert (scene.roads["autograd"] == want).all()
    assert scene.forms_agree


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("which", "row", "column"), CELLS)
def test_the_sum_that_is_shown_makes_the_cell(which, row, column, loss):
    """[grad-2] [lora-grad-x]: with the terms as listed, and no term missing or twice."""
    scene = grad_scene(which, row, column, h=1e-6, loss=loss)
    for part in scene.sums:
        total = sum(Fraction(scene.value(a)) * Fraction(scene.value(b)) for a, b in part.terms)
        assert scene.value(part.cell) == total * (2 if part.scaled else 1)
        assert len({*part.terms}) == len(part.terms) == {"gB": 2, "gA": 2, "gX": 5, "gZ": 3}[part.cell.matrix]
    inner = {cell for term in scene.sums[0].terms for cell in term if cell.matrix == "gZ"}
    assert {part.cell for part in scene.sums[1:]} == inner


def test_no_number_of_the_layer_is_zero_and_no_gradient_either():
    """A zero would hide a term that is missing."""
    matrices = grad_scene("gB", 1, 1, h=1e-6, loss="squares").matrices
    assert all((M != 0).all() for M in matrices.values())


@pytest.mark.parametrize("bad", [("gC", 1, 1, "squares", 1e-6), ("gB", 4, 1, "squares", 1e-6)])
def test_what_is_not_there_is_refused(bad):
    which, row, column, loss, h = bad
    with pytest.raises(ConfigError):
        grad_scene(which, row, column, h=h, loss=loss)
    with pytest.raises(ConfigError):
        grad_scene("gB", 1, 1, h=0.0, loss="squares")
    with pytest.raises(ConfigError):
        error_curves("gB", loss="cubes")


# ---- finite differences ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("which", GRADIENTS)
def test_the_bends_are_the_second_and_third_derivatives(which, loss):
    layer = small_layer()
    second, third = bends(layer.loss(LOSSES[loss]), layer.parts, which)
    want = derivatives(which, LOSSES[loss])
    assert (second == want[2]).all()
    assert (third == want[3]).all()


@pytest.mark.parametrize("which", GRADIENTS)
def test_truncation_is_what_theory_says_of_it(which):
    """On a parabola a forward difference errs by h L'' / 2 and nothing else; a central one on a quartic by h² L''' / 6.

    1e-6 relative: the rounding of the loss over h, at the steps where truncation rules.
    """
    squares, quartics = error_curves(which, loss="squares"), error_curves(which, loss="fourth powers")
    assert np.allclose(squares.errors["forward"][:5], squares.truncation["forward"][:5], rtol=1e-6, atol=0)
    assert np.allclose(quartics.errors["central"][:5], quartics.truncation["central"][:5], rtol=1e-4, atol=0)
    assert not any(squares.truncation["central"])
    second, third = (derivatives(which, 4)[order] for order in (2, 3))
    g = np.linalg.norm(derivatives(which, 4)[1])
    assert np.isclose(quartics.truncation["forward"][0], 0.1 * np.linalg.norm(second) / 2 / g, rtol=1e-12)
    assert np.isclose(quartics.truncation["central"][2], 1e-4 * np.linalg.norm(third) / 6 / g, rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("which", GRADIENTS)
def test_the_curve_is_a_v_with_the_step_that_the_prediction_names(which, loss):
    """Forward: best near 1e-8; the left branch rises as 1 / h, below what theory says at most."""
    curves = error_curves(which, loss=loss)
    assert 1e-9 <= curves.best["forward"] <= 1e-7
    assert 1e-7 <= curves.best["central"] <= 1e-4 or loss == "squares"
    if loss == "squares":
        assert curves.best["central"] == pytest.approx(0.1)
    left = [place for place, exponent in enumerate(EXPONENTS) if exponent >= 10]
    for errors in curves.errors.values():
        slope = np.polyfit(np.log([curves.steps[i] for i in left]), np.log([errors[i] for i in left]), 1)[0]
        assert -1.25 < slope < -0.75
        assert all(1 / 200 < errors[i] / curves.rounding[i] < 1 for i in left)


# ---- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("which", GRADIENTS)
@pytest.mark.parametrize("h", [1e-1, 1e-8, 1e-15])
def test_every_picture_in_every_state(which, loss, h):
    scene = grad_scene(which, *SHAPES[which], h=h, loss=loss)
    check_chart(figures.matrices(scene), axes=False)
    check_chart(figures.roads_chart(scene, h=h))
    check_chart(figures.v_curve(error_curves(which, loss=loss), h=h))


def test_the_matrices_mark_what_enters_by_border_and_number():
    """g_B[2,1] = s (g_Y[1,2] Z[1,1] + g_Y[2,2] Z[2,1]) = 2 (2 · −3 + 1 · −3) = −18."""
    scene = grad_scene("gB", 2, 1, h=1e-6, loss="squares")
    chart = figures.matrices(scene)
    assert chart.alt.startswith("g_B[2,1] = 2 · (2 · (-3) + 1 · (-3)) = -18: 2 terms")
    rows = list(zip(*(chart.table[name] for name in ("cell", "value", "part", "term")), strict=True))
    assert [row for row in rows if row[2]] == [
        ("Z[1,1]", -3.0, "second factor", 1),
        ("Z[2,1]", -3.0, "second factor", 2),
        ("g_Y[1,2]", 2.0, "first factor", 1),
        ("g_Y[2,2]", 1.0, "first factor", 2),
        ("g_B[2,1]", -18.0, "the cell", None),
    ]
    dashes = {shape.line.dash for shape in chart.figure.layout.shapes if shape.line.width > 1}
    assert dashes == {"solid", "dash"}
    assert len(chart.figure.layout.shapes) == len(rows) == 48


def test_the_sum_is_written_in_letters_numbers_and_its_value():
    scene = grad_scene("gA", 1, 2, h=1e-6, loss="squares")
    first, *inner = (figures.written_out(scene, part) for part in scene.sums)
    assert r"g_A[1,2] &= g_Z[1,1] X[1,2] + g_Z[2,1] X[2,2]" in first
    assert r"&= (-6) \cdot 1 + (-4) \cdot 2 \\ &= -14" in first
    assert len(inner) == 2
    assert r"s\,(g_Y[1,1] B[1,1]" in inner[0]
    assert "^{3}" in figures.upstream(grad_scene("gA", 1, 2, h=1e-6, loss="fourth powers"), scene.layer.T)


def test_the_roads_say_how_many_digits_agree():
    chart = figures.roads_chart(grad_scene("gB", 1, 1, h=1e-6, loss="squares"), h=1e-6)
    assert chart.alt.startswith(
        "lora-1 and autograd agree with lora-2 in all 16 digits of every cell; at h = 1e-6 "
    )
    assert chart.table["digits of autograd"] == [16.0] * 6
    assert all(4 < x < 7 for x in chart.table["digits of forward difference"])
    table = figures.side_by_side(grad_scene("gB", 1, 1, h=1e-6, loss="squares"))
    assert table["autograd"] == ["-24", "22", "-18", "4", "18", "-14"]
    assert all(len(column) == 6 for column in table.values())


def test_the_v_curve_says_where_it_is_least():
    squares = figures.v_curve(error_curves("gB", loss="squares"), h=1e-6)
    assert "no truncation on a parabola" in squares.alt
    assert len(squares.figure.data) == 4  # two runs, two branches: central has no truncation
    quartics = figures.v_curve(error_curves("gB", loss="fourth powers"), h=1e-6)
    assert "a central one at 3e-6" in quartics.alt
    assert len(quartics.figure.data) == 5


def test_text_of_a_cell():
    assert figures.as_text(Entry("W0", 1, 2)) == "W0[1,2]"
    assert figures.agreeing_digits(0.0, 0.0) == 16
    assert figures.agreeing_digits(0.01, 0.0) == 2
