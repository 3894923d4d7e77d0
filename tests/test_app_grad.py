"""The room on gradients: every cell by its link, its snippets in every state, and what it may cost."""

import pytest

pytest.importorskip("streamlit", reason="streamlit is not installed")

from app.logic import grad
from lora_np.figures.grad_scene import EXPONENTS, LOSSES
from tests.app_visits import healthy, noted, opened


@pytest.mark.parametrize(("which", "cells"), grad.CELLS.items())
def test_every_cell_is_taken_apart(which, cells):
    for cell in cells:
        app = opened("grad", {"grad_of": which, f"grad_cell_{which}": cell})
        healthy(app, "grad")
        sums = [latex.value for latex in app.latex if r"\begin{aligned} g_" in latex.value]
        assert (
            sums[0].startswith(rf"$$ \begin{{aligned}} g_{which}[{cell}]") or f"g_{which}[{cell}]" in sums[0]
        )
        assert len(sums) == (1 if which == "B" else 3)  # and the two cells of g_Z that stand in it


def test_the_cells_offered_are_those_of_the_gradients():
    for which, cells in grad.CELLS.items():
        shape = grad.scene(which, "1,1", "1e-6", "squares").gradient.shape
        assert cells == [f"{i + 1},{j + 1}" for i in range(shape[0]) for j in range(shape[1])]


def test_a_cell_of_another_gradient_in_the_link_is_ignored():
    app = opened("grad", {"grad_of": "A", "grad_cell_A": "3,2"})
    healthy(app, "grad")
    assert any("g_A[2,1]" in latex.value for latex in app.latex)


def test_in_row_form_the_room_says_how_cells_are_counted():
    app = opened("grad", {"form": "row"})
    assert any("paper's matrices" in caption.value for caption in app.caption)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("which", grad.CELLS)
def test_every_snippet_gives_the_numbers_of_its_picture(which, loss):
    """In every state of the room that changes one, and to the last bit: the layer is small and the road the same."""
    with noted("grad", which) as visit:
        healthy(opened("grad", {"grad_of": which, "grad_loss": loss, "grad_h": "1e-11"}), "grad")
    assert len(visit.pictures) == 3
    for picture in visit.pictures:
        space: dict = {}
        exec(picture.card["snippet"], space)
        for column, values in space["numbers"].items():
            assert list(values) == list(picture.chart.table[column]), (picture.key, column)


def test_the_prediction_is_what_the_curves_say():
    assert all(
        1e-9 < grad.curves(which, loss).best["forward"] < 1e-7 for which in grad.CELLS for loss in LOSSES
    )


def test_what_it_computes_is_small():
    """Evaluations of a layer of 2 x 2 x 3, at some 60 µs each: less than 700 a gradient."""
    cells = max(len(cells) for cells in grad.CELLS.values())
    assert len(EXPONENTS) * (2 * cells + cells + 1) + 5 * cells < 700
